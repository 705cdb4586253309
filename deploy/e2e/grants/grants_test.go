// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestGrantOfRealServer: Ada gives a grant at a real authorization server, by way of its login, and a node gets access tokens that
// this server takes (UP-4); two authservers renew it by one request (UP-5, §16 158); trouble keeps what there is; an end is
// CREDENTIAL_DEAD, and a new link mends it. Nothing secret is in a log or in clear on disk (SE-4).
func TestGrantOfRealServer(t *testing.T) {
	h := newHouse(t)
	as := newProvider(t, h.issuer+"/upstream/callback/tasks")
	p := newPlane(as.mcp, &resourcev1.OAuthCredential{
		ClientId: clientID, SecretVersion: h.secretOf(t, serverUID, as.secret), Scopes: []string{"openid", "offline_access"},
	})
	one, two := h.start(t, "one", p), h.start(t, "two", p)

	links := []string{h.connect(t, one, as)}
	version := p.version(t)
	first := resolve(t, one, version, false)
	if !as.takes(t, first) {
		t.Fatal("the authorization server does not take its token")
	}
	if got := resolve(t, two, version, false); got != first {
		t.Error("the other authserver gives another token")
	}

	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		wg.Go(func() {
			got[i] = resolve(t, []credentialv1connect.CredentialServiceClient{one, two}[i%2], version, true)
		})
	}
	wg.Wait()
	for i := range got {
		if got[i] != got[0] || got[i] == first {
			t.Errorf("caller %d gets another token", i)
		}
	}
	if n := as.refreshes.Load(); n != 1 || !as.takes(t, got[0]) {
		t.Errorf("%d refreshes, want 1", n)
	}

	links = append(links, h.connect(t, one, as))
	version = p.version(t)
	second := resolve(t, one, version, false)
	as.down.Store(true)
	if reason := refusal(t, one, version, true); reason != "UPSTREAM_UNREACHABLE" {
		t.Errorf("with the authorization server down: %s", reason)
	}
	if resolve(t, two, version, false) != second {
		t.Error("what there is was not kept")
	}
	as.down.Store(false)
	must(t, as.storage.TerminateSession(t.Context(), "ada", clientID))
	for _, c := range []credentialv1connect.CredentialServiceClient{one, two} {
		if reason := refusal(t, c, version, true); reason != "CREDENTIAL_DEAD" {
			t.Errorf("after the end of the grant: %s", reason)
		}
	}
	links = append(links, h.connect(t, one, as))
	if !as.takes(t, resolve(t, two, p.version(t), false)) {
		t.Error("a new link does not mend it")
	}
	h.noSecrets(t, append(append(links, as.secret, as.login, h.password), as.secrets...))
}

// connect has Ada connect the server, and returns the identifier of the link.
func (h *house) connect(t *testing.T, node credentialv1connect.CredentialServiceClient, as *provider) string {
	t.Helper()
	link, err := node.CreateConnectLink(t.Context(), &credentialv1.CreateConnectLinkRequest{UserUid: adaUID, Server: "tasks", Gateway: "eng"})
	must(t, err)
	b := newBrowser(t)
	page := b.get(link.GetUrl())
	if !strings.Contains(page, "Log in to connect Tasks") {
		t.Fatalf("no login: %s", page)
	}
	page = b.post(h.issuer, page, "/login/password", "email", adaName, "password", h.password)
	if !strings.Contains(page, "Connect Tasks") {
		t.Fatalf("no connect page: %s", page)
	}
	page = b.post(h.issuer, page, "/connect/")
	to := regexp.MustCompile(`href="(` + regexp.QuoteMeta(as.issuer) + `/[^"]+)"`).FindStringSubmatch(page)
	if to == nil {
		t.Fatalf("no way to the authorization server: %s", page)
	}
	page = b.get(html.UnescapeString(to[1]))
	page = b.post(as.issuer, page, "/login/username", "username", "ada", "password", as.login)
	if !strings.Contains(page, "Connected. Go back to your client") {
		t.Fatalf("not connected: %s", page)
	}
	return link.GetUrl()[strings.LastIndexByte(link.GetUrl(), '/')+1:]
}

func resolve(t *testing.T, node credentialv1connect.CredentialServiceClient, version string, refused bool) string {
	t.Helper()
	r, err := node.Resolve(t.Context(), &credentialv1.ResolveRequest{
		ConnectionUid: connectionUID, Version: version, Principal: &credentialv1.ResolvePrincipal{Kind: "user", Uid: adaUID}, Refused: refused,
	})
	if err != nil {
		t.Error(err)
	}
	return r.GetSecret().GetHeaders()["Authorization"]
}

// refusal returns the reason of a refused Resolve.
func refusal(t *testing.T, node credentialv1connect.CredentialServiceClient, version string, refused bool) string {
	t.Helper()
	_, err := node.Resolve(context.WithoutCancel(t.Context()), &credentialv1.ResolveRequest{ConnectionUid: connectionUID, Version: version, Refused: refused})
	return reasonOf(err)
}

// noSecrets looks for what must be nowhere in clear.
func (h *house) noSecrets(t *testing.T, secrets []string) {
	t.Helper()
	places := map[string]string{"the log": h.log.String()}
	must(t, filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // in a folder of the test's own
		places[path] = string(text)
		return err
	}))
	for _, s := range secrets {
		if len(s) < 12 {
			t.Fatalf("%q is too short to be looked for", s)
		}
		for place, text := range places {
			if strings.Contains(text, s) {
				t.Errorf("%s has %q", place, s)
			}
		}
	}
}
