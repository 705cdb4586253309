// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
)

// serviceClient is the client of the authorization server that gets tokens of its own.
const serviceClient = "sid1"

// accounts is a real authorization server, zitadel's example, whose one service account may get another secret, and an MCP server
// that takes its tokens.
type accounts struct {
	*storage.Storage

	issuer, url string // url is that of the MCP server
	upstream    *recorder.Server

	mu     sync.Mutex
	secret string
	given  []string // access tokens, in order
	taken  map[string]bool
}

func startAccounts(t *testing.T, secret string) *accounts {
	t.Helper()
	a := &accounts{secret: secret, taken: make(map[string]bool), upstream: recorder.Start(t)}
	a.Storage = storage.NewStorage(storage.NewUserStore("http://localhost"))
	var provider http.Handler
	as := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.note(w, r, provider) }))
	t.Cleanup(as.Close)
	a.issuer = as.URL
	provider = exampleop.SetupServer(a.issuer, a, nil, false)
	target, err := url.Parse(strings.TrimSuffix(a.upstream.URL, "/mcp"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, FlushInterval: -1}
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.guard(w, r, proxy) }))
	t.Cleanup(guarded.Close)
	a.url = guarded.URL + "/mcp"
	return a
}

// ClientCredentials implements op.ClientCredentialsStorage.
func (a *accounts) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if secret != a.secret {
		return nil, errors.New("another secret")
	}
	return a.Storage.ClientCredentials(ctx, id, "verysecret") // that of the example
}

// note remembers the tokens that the authorization server gives.
func (a *accounts) note(w http.ResponseWriter, r *http.Request, provider http.Handler) {
	rec := httptest.NewRecorder()
	provider.ServeHTTP(rec, r)
	var said struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal(rec.Body.Bytes(), &said) == nil && said.Token != "" {
		a.mu.Lock()
		a.given, a.taken[said.Token] = append(a.given, said.Token), true
		a.mu.Unlock()
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = io.Copy(w, bytes.NewReader(rec.Body.Bytes()))
}

// guard lets requests with a token through, and says where tokens are from.
func (a *accounts) guard(w http.ResponseWriter, r *http.Request, to http.Handler) {
	const metadata = "/.well-known/oauth-protected-resource/mcp"
	if r.URL.Path == metadata {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"resource": a.url, "authorization_servers": []string{a.issuer}})
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	taken := a.taken[token]
	a.mu.Unlock()
	if !taken {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="http://`+r.Host+metadata+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	to.ServeHTTP(w, r)
}

// revoke ends every token, and sets which secret is good from now on.
func (a *accounts) revoke(secret string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.taken)
	a.secret = secret
}

func (a *accounts) tokens() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.given)
}

// TestServiceAccount: calls of a server with oauth_client_credentials carry one access token for a person and for a token that is
// nobody's; what the server refuses is renewed once, and a secret that is set anew counts from then on (RFC 6749 §4.4, UP-8).
func TestServiceAccount(t *testing.T) {
	const first, second = "canary-77f0-first-secret", "canary-77f0-second-secret"
	env := testenv.Start(t, testenv.Config{})
	a := startAccounts(t, first)
	server := func(secret string) string {
		return fmt.Sprintf(`---
kind: Server
name: svc
streamable_http: {url: %q}
credential: {oauth_client_credentials: {client_id: %s, client_secret: {from_file: "secret/%s"}}}
visibility: {organization: {}}
`, a.url, serviceClient, secret)
	}
	env.Apply(t, users("ada@penstock.test")+server(first)+"---\nkind: Connection\nname: shared\nserver: svc\nowner: {organization: {}}\n")
	env.Discover(t, "svc", "shared")
	env.Apply(t, `
kind: Gateway
name: g
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: svc/echo, resolve_at_call_time: {}}
`)
	callers := map[string]testenv.Token{
		"ada": env.Token(t, testenv.OfUser("ada@penstock.test"), "g"), "nobody": env.Token(t, testenv.OfOrganization(), "g"),
	}
	env.WaitEnforced(t)
	call := func(caller string) string {
		t.Helper()
		return client(env, env.Nodes[0], "g", callers[caller].Text).Call(t, "svc__echo", `{"message":"hi"}`).Body
	}
	// want calls as everybody; the server sees the newest of so many tokens, and no other.
	want := func(step string, tokens int) {
		t.Helper()
		a.upstream.Forget()
		for caller := range callers {
			if body := call(caller); !strings.Contains(body, `"text":"hi"`) {
				t.Fatalf("%s: %s: %s", step, caller, body)
			}
		}
		given := a.tokens()
		if len(given) != tokens {
			t.Fatalf("%s: %d tokens were given, want %d", step, len(given), tokens)
		}
		for _, r := range a.upstream.Calls() {
			if got := r.Header.Get("Authorization"); got != "Bearer "+given[tokens-1] {
				t.Errorf("%s: the server saw %q", step, got)
			}
		}
	}
	want("at first", 1)
	a.revoke(first)
	want("after a refusal", 2)
	a.revoke(second)
	env.Apply(t, server(second))
	env.WaitEnforced(t)
	want("with another secret", 3)
	a.revoke(first)
	if body := call("ada"); !strings.Contains(body, `"isError":true`) || !strings.Contains(body, "UPSTREAM_CLIENT_REFUSED") {
		t.Errorf("with a secret that is over: %s", body)
	}
	if got := len(a.tokens()); got != 3 {
		t.Errorf("%d tokens were given", got)
	}
	for _, secret := range append(a.tokens(), first, second) {
		if strings.Contains(env.Log.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}
