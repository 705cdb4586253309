// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// provisioner is an identity provider that speaks SCIM to an authserver.
type provisioner struct {
	t           *testing.T
	base, token string
}

// send sends a request and returns the answer's status and its id.
func (p provisioner) send(method, path, body string) (status int, id string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Content-Type", "application/scim+json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to the end
	var answer struct {
		ID, Detail string
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil && res.StatusCode != http.StatusNoContent {
		p.t.Fatalf("%s %s: status %d: %v", method, path, res.StatusCode, err)
	}
	if answer.Detail != "" {
		p.t.Logf("%s %s: %s", method, path, answer.Detail)
	}
	return res.StatusCode, answer.ID
}

// must is send with the status that is wanted.
func (p provisioner) must(want int, method, path, body string) (id string) {
	p.t.Helper()
	status, id := p.send(method, path, body)
	if status != want {
		p.t.Fatalf("%s %s: status %d, want %d", method, path, status, want)
	}
	return id
}

// listening is a stream that a client holds open.
type listening struct {
	opened, closed chan struct{}
}

// listen opens a stream of notices at a gateway.
func (c caller) listen(t *testing.T) listening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := listening{opened: make(chan struct{}), closed: make(chan struct{})}
	go func() {
		defer close(l.closed)
		first := true
		_, _ = c.send(ctx, "subscriptions/listen", "", map[string]any{"notifications": map[string]any{"toolsListChanged": true}}, func(string) {
			if first {
				close(l.opened)
			}
			first = false
		})
	}()
	t.Cleanup(func() { cancel(); <-l.closed })
	select {
	case <-l.opened:
	case <-l.closed:
		t.Fatal("the stream did not open")
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came on the stream")
	}
	return l
}

// TestOffboarding is SC-1 to SC-3 from end to end: an identity provider makes a user and a group over SCIM, which opens a gateway
// to her; takes her out of the group, which shuts it; and when it says that she has left, her login, her refresh token, her
// static token and her open stream end within 5 s, and none of them comes back with her.
func TestOffboarding(t *testing.T) {
	a := newAlone(t)
	ada := person{Username: "ada", Email: "ada@example.com", Password: rand.Text()}
	p := a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	provider := newProvider(t, a.endpoints().Authserver+"/login/callback/example", map[string]person{"engineering": ada})
	provider.up()
	manifests := providerManifests(provider.issuer(), newUpstream(t, "").URL)
	manifests = strings.NewReplacer("just_in_time_users: true\n", "", "{oauth: {}}", "{oauth: {}, bearer_token: {}}", "group: engineering", "group: Engineers").Replace(manifests)
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	apply := func() {
		t.Helper()
		o := options{dir: a.home, env: []string{portOffset(a.offset), "PROVIDER_SECRET=" + provider.secret}}
		if got := run(t, o, "penstock", "apply", "-f", file, "--discover", "--wait"); got.code != 0 {
			t.Fatalf("apply: exit code %d\n%s", got.code, got.stderr)
		}
	}
	apply()
	made := a.cli("identity-provider", "create-scim-token", "example")
	if made.code != 0 {
		t.Fatalf("create-scim-token: exit code %d: %s", made.code, made.stderr)
	}
	scim := provisioner{t, a.endpoints().Authserver + "/scim/v2", strings.TrimSpace(made.stdout)}
	eventually(t, 5*time.Second, func() error {
		if status, _ := scim.send("GET", "/ServiceProviderConfig", ""); status != http.StatusOK {
			return fmt.Errorf("status %d", status)
		}
		return nil
	})

	// The subject at the provider is the external identifier.
	uid := scim.must(201, "POST", "/Users", `{"userName":"ada@example.com","externalId":"engineering","displayName":"Ada","active":true}`)
	member := fmt.Sprintf(`[{"value":%q}]`, uid)
	group := scim.must(201, "POST", "/Groups", `{"displayName":"Engineers","members":`+member+`}`)
	client := registerClient(t, a.endpoints().MCP+"tools")
	first := client.attempt()
	got := client.redeem(first, walkAll(t, ada, "Example Login", first.url)[0])
	static := a.cli("token", "create", "--user", ada.Email, "--gateway", "tools")
	if static.code != 0 {
		t.Fatalf("token create: exit code %d: %s", static.code, static.stderr)
	}
	byOAuth, byToken := client.caller(got), caller{url: client.gateway, token: strings.TrimSpace(static.stdout)}
	works := func(yes bool) {
		t.Helper()
		eventually(t, 5*time.Second, func() error {
			for name, c := range map[string]caller{"OAuth": byOAuth, "a static token": byToken} {
				if err := c.echo(t.Context(), "bench__echo"); (err == nil) != yes {
					return fmt.Errorf("a call with %s: %w", name, err)
				}
			}
			return nil
		})
	}
	works(true)
	scim.must(204, "PATCH", "/Groups/"+group, fmt.Sprintf(`{"Operations":[{"op":"Remove","path":"members[value eq \"%s\"]"}]}`, uid))
	works(false)
	scim.must(204, "PATCH", "/Groups/"+group, `{"Operations":[{"op":"Add","path":"members","value":`+member+`}]}`)
	works(true)

	streams := []listening{byOAuth.listen(t), byToken.listen(t)}
	scim.must(200, "PATCH", "/Users/"+uid, `{"Operations":[{"op":"Replace","path":"active","value":"False"}]}`)
	end := time.After(5 * time.Second)
	for i, s := range streams {
		select {
		case <-s.closed:
		case <-end:
			t.Errorf("stream %d is open 5 s after its user has left", i)
		}
	}
	works(false)
	apply() // no manifest brings her back
	works(false)
	if next, err := client.refresh(got); err != nil || next.Error != "invalid_grant" {
		t.Errorf("refresh: %q, %v, want invalid_grant", next.Error, err)
	}
	// She comes back with nothing but her static token, which nobody has revoked.
	scim.must(200, "PATCH", "/Users/"+uid, `{"Operations":[{"op":"Replace","value":{"active":true}}]}`)
	eventually(t, 5*time.Second, func() error { return byToken.echo(t.Context(), "bench__echo") })
	eventually(t, 5*time.Second, func() error { // revocations are handed on four times a second, and all this takes less
		if byOAuth.echo(t.Context(), "bench__echo") == nil {
			return fmt.Errorf("an access token of before works")
		}
		return nil
	})
	if next, err := client.refresh(got); err != nil || next.Error != "invalid_grant" {
		t.Errorf("refresh of one who is back: %q, %v, want invalid_grant", next.Error, err)
	}
	scim.must(204, "DELETE", "/Users/"+uid, "")
	scim.must(404, "GET", "/Users/"+uid, "")
	eventually(t, 5*time.Second, func() error {
		if byToken.echo(t.Context(), "bench__echo") == nil {
			return fmt.Errorf("a call of somebody deleted works")
		}
		return nil
	})
	p.stop()
	noSecrets(t, []*program{p}, databases(t, a.data), ada.Password, scim.token, got.Access, got.Refresh, byToken.token)
}
