// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// granting is a real authorization server of an upstream, zitadel's example, that notes what it is told to revoke.
type granting struct {
	issuer, secret, password string

	mu      sync.Mutex // guards revoked
	revoked []string   // kinds of tokens
}

func newGranting(t *testing.T, redirect string) *granting {
	t.Helper()
	g := &granting{secret: rand.Text(), password: rand.Text()}
	people, err := json.Marshal(map[string]*storage.User{"ada": {ID: "ada", Username: "ada", Password: g.password, Email: "ada@penstock.test"}}) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(file, people, 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := storage.StoreFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]*storage.Client{"penstock": storage.WebClient("penstock", g.secret, redirect)}
	var op http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/revoke" {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			form, _ := url.ParseQuery(string(body))
			g.mu.Lock()
			g.revoked = append(g.revoked, form.Get("token_type_hint"))
			g.mu.Unlock()
		}
		op.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.issuer = server.URL
	op = exampleop.SetupServer(g.issuer, storage.NewStorageWithClients(users, clients), nil, false)
	return g
}

// takes reports whether an access token is good.
func (g *granting) takes(t *testing.T, authorization string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.issuer+"/userinfo", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode == http.StatusOK
}

// TestLeaverLosesGrants is SC-2 and UP-11 for the whole product: within 5 s of Ada's deactivation no node serves her, the upstream's
// authorization server takes neither the token that nodes had of hers nor a renewal, and when she is back, her calls ask for a
// new grant.
func TestLeaverLosesGrants(t *testing.T) {
	env := testenv.Start(t, testenv.Config{Nodes: 2, TLS: true})
	upstream := recorder.Start(t)
	as := newGranting(t, env.Issuer+"/upstream/callback/rec")
	const password, who = "correct horse battery staple", "ada@penstock.test"
	env.Apply(t, users(who))
	install(t, env, "rec", upstream.URL)
	env.Apply(t, fmt.Sprintf(`
kind: Server
name: rec
streamable_http: {url: %q}
credential: {oauth: {issuer: %q, client_id: penstock, client_secret: {from_file: %q}, scopes: [openid, offline_access], no_resource: true}}
visibility: {organization: {}}
own_connections_only: true
---
kind: Gateway
name: g
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: rec/echo, resolve_at_call_time: {}}
`, upstream.URL, as.issuer, "secret/"+as.secret))
	if _, err := env.Admin.Users.SetUserPassword(t.Context(), &adminv1.SetUserPasswordRequest{Name: who, Password: password}); err != nil {
		t.Fatal(err)
	}
	ada := env.Token(t, testenv.OfUser(who), "g")
	env.WaitEnforced(t)
	call := func(n *testenv.Node) string {
		t.Helper()
		a := client(env, n, "g", ada.Text).Call(t, "rec__echo", `{"message":"hi"}`)
		return fmt.Sprint(a.Status, " ", a.Body)
	}
	link := regexp.MustCompile(regexp.QuoteMeta(env.Issuer) + `/connect/[A-Za-z0-9_-]{22}`)
	first := link.FindString(call(env.Nodes[0]))
	if first == "" {
		t.Fatalf("no link: %s", call(env.Nodes[0]))
	}
	as.grant(t, env.Issuer, first, who, password)
	env.WaitEnforced(t)
	for _, n := range env.Nodes { // both have the credential now
		if got := call(n); !strings.Contains(got, `"hi"`) {
			t.Fatalf("%s: %s", n.Name, got)
		}
	}
	calls := upstream.Calls()
	header := calls[len(calls)-1].Header.Get("Authorization")
	if !as.takes(t, header) {
		t.Fatalf("the authorization server does not take what the upstream got (%d bytes)", len(header))
	}

	env.Apply(t, fmt.Sprintf("{kind: User, name: %s, deactivated: true}\n", who))
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		served := 0
		for _, n := range env.Nodes {
			if !strings.HasPrefix(call(n), "401 ") {
				served++
			}
		}
		good := as.takes(t, header)
		if served == 0 && !good {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("after 5 s: %d nodes serve her, the upstream token is good: %t", served, good)
		}
	}
	as.mu.Lock()
	if len(as.revoked) == 0 || as.revoked[0] != "refresh_token" {
		t.Errorf("revoked %q", as.revoked)
	}
	as.mu.Unlock()
	upstream.Forget()
	env.Apply(t, fmt.Sprintf("{kind: User, name: %s, deactivated: false}\n", who))
	env.WaitEnforced(t)
	for _, n := range env.Nodes {
		if got := call(n); link.FindString(got) == "" || len(upstream.Calls()) > 0 {
			t.Errorf("%s, back: %s", n.Name, got)
		}
	}
	if log := env.Log.String(); strings.Contains(log, strings.TrimPrefix(header, "Bearer ")) || strings.Contains(log, as.secret) {
		t.Error("a secret is in the log")
	}
}

// grant has somebody give a grant under a connect link.
func (g *granting) grant(t *testing.T, issuer, link, who, password string) {
	t.Helper()
	browser := newForms(t)
	page := browser.get(link)
	page = browser.post(page, issuer+"/login/password", url.Values{"email": {who}, "password": {password}})
	page = browser.post(page, link, url.Values{})
	to := regexp.MustCompile(`href="(` + regexp.QuoteMeta(g.issuer) + `/[^"]+)"`).FindStringSubmatch(page)
	if to == nil {
		t.Fatalf("no way to the authorization server: %s", page)
	}
	page = browser.get(html.UnescapeString(to[1]))
	page = browser.post(page, g.issuer+"/login/username", url.Values{"username": {"ada"}, "password": {g.password}})
	if !strings.Contains(page, "Go back to your client") {
		t.Fatalf("not connected: %s", page)
	}
}
