// SPDX-License-Identifier: Apache-2.0

package upstreamfake

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Behavior is how the servers answer. The zero value is good ones.
type Behavior struct {
	NoChallenge bool                   // the MCP server's 401 does not name its metadata
	NoMetadata  bool                   // the MCP server has none
	Resource    func(m map[string]any) // changes the resource metadata
	Metadata    func(m map[string]any) // changes the authorization server's
	Tokens      func(m map[string]any) // changes token responses
	Token       http.HandlerFunc       // answers in place of the token endpoint
	Slow        chan struct{}          // a token request waits until it is closed
	Asked       func(grantType string) // is told of token requests, outside of the lock
	Response    func(v url.Values)     // changes authorization responses
	Register    http.HandlerFunc       // answers in place of the registration endpoint
	Revoke      http.HandlerFunc       // answers in place of the revocation endpoint
}

// Fake is the two servers. Its exported fields may be changed between requests, under Lock.
type Fake struct {
	sync.Mutex
	Behavior Behavior
	Issuer   string // of the authorization server
	MCP      string // URL of the MCP server
	ClientID string // of the client that is registered by hand; empty: none
	Secret   string // of it
	Key      any    // public key of it, which then has no secret but signs ES256 (private_key_jwt)
	Now      func() time.Time

	Registrations int
	Refreshes     int
	Revoked       []string   // kinds of the tokens that were revoked, in order
	Services      int        // tokens that the client got for itself
	Wanted        url.Values // the last request for one
	Mistakes      []string   // of the client
	Secrets       []string   // everything that must appear nowhere: codes, tokens, client secrets

	clients map[string]registered
	codes   map[string]url.Values // authorization requests
	refresh map[string]string     // live refresh tokens → client_id
	spent   map[string]bool
	access  map[string]bool
	n       int
	scope   string // of the last authorization request
}

type registered struct {
	secret    string
	redirects []string
}

// New starts the servers; they end with the test.
func New(t testing.TB) *Fake {
	t.Helper()
	f := &Fake{
		clients: make(map[string]registered), codes: make(map[string]url.Values), refresh: make(map[string]string),
		spent: make(map[string]bool), access: make(map[string]bool), Now: time.Now,
	}
	as := http.NewServeMux()
	as.HandleFunc("GET /.well-known/oauth-authorization-server/tenant", f.metadata)
	as.HandleFunc("POST /register", f.register)
	as.HandleFunc("GET /authorize", f.authorize)
	as.HandleFunc("POST /token", f.token)
	as.HandleFunc("POST /revoke", f.revoke)
	mcp := http.NewServeMux()
	mcp.HandleFunc("/mcp", f.mcp)
	mcp.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", f.resource)
	for at, mux := range map[*string]http.Handler{&f.Issuer: as, &f.MCP: mcp} {
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		*at = server.URL
	}
	f.Issuer += "/tenant"
	f.MCP += "/mcp"
	return f
}

// Set changes how the servers answer.
func (f *Fake) Set(b Behavior) {
	f.Lock()
	defer f.Unlock()
	f.Behavior = b
}

func (f *Fake) behavior() Behavior {
	f.Lock()
	defer f.Unlock()
	return f.Behavior
}

func (f *Fake) base() string { return strings.TrimSuffix(f.Issuer, "/tenant") }

// Valid reports whether the MCP server takes a header.
func (f *Fake) Valid(authorization string) bool {
	f.Lock()
	defer f.Unlock()
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	return ok && f.access[token]
}

// End ends every grant.
func (f *Fake) End() {
	f.Lock()
	defer f.Unlock()
	clear(f.refresh)
	clear(f.access)
}

// Count returns how many refreshes there were.
func (f *Fake) Count() int {
	f.Lock()
	defer f.Unlock()
	return f.Refreshes
}

// Scope returns what the last authorization request asked for.
func (f *Fake) Scope() string {
	f.Lock()
	defer f.Unlock()
	return f.scope
}

// Check fails the test if the client made mistakes.
func (f *Fake) Check(t testing.TB) {
	t.Helper()
	f.Lock()
	defer f.Unlock()
	if len(f.Mistakes) > 0 {
		t.Errorf("mistakes of the client: %q", f.Mistakes)
	}
}

func (f *Fake) mcp(w http.ResponseWriter, r *http.Request) {
	if f.Valid(r.Header.Get("Authorization")) {
		reply(w, http.StatusOK, map[string]any{"jsonrpc": "2.0", "id": 1, "result": map[string]any{}})
		return
	}
	if b := f.behavior(); !b.NoChallenge {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer resource_metadata="%s", scope="read write"`,
			strings.TrimSuffix(f.MCP, "/mcp")+"/.well-known/oauth-protected-resource/mcp"))
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func (f *Fake) resource(w http.ResponseWriter, _ *http.Request) {
	b := f.behavior()
	if b.NoMetadata {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	m := map[string]any{"resource": f.MCP, "authorization_servers": []string{f.Issuer}, "scopes_supported": []string{"read"}}
	if b.Resource != nil {
		b.Resource(m)
	}
	reply(w, http.StatusOK, m)
}

func (f *Fake) metadata(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{
		"issuer": f.Issuer, "authorization_endpoint": f.base() + "/authorize", "token_endpoint": f.base() + "/token",
		"registration_endpoint": f.base() + "/register", "revocation_endpoint": f.base() + "/revoke", "code_challenge_methods_supported": []string{"S256"},
		"authorization_response_iss_parameter_supported": true, "scopes_supported": []string{"read", "write", "offline_access"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	}
	if b := f.behavior(); b.Metadata != nil {
		b.Metadata(m)
	}
	reply(w, http.StatusOK, m)
}

func (f *Fake) register(w http.ResponseWriter, r *http.Request) {
	if b := f.behavior(); b.Register != nil {
		b.Register(w, r)
		return
	}
	f.Lock()
	defer f.Unlock()
	var m struct {
		RedirectURIs []string `json:"redirect_uris"`
		Method       string   `json:"token_endpoint_auth_method"`
		Application  string   `json:"application_type"`
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &m) != nil || len(m.RedirectURIs) != 1 || m.Method != "client_secret_basic" || m.Application != "web" {
		f.mistake(w, "registration")
		return
	}
	f.Registrations++
	id, secret := f.mint("client"), f.mint("secret")
	f.Secrets = append(f.Secrets, secret)
	f.clients[id] = registered{secret, m.RedirectURIs}
	reply(w, http.StatusCreated, map[string]any{
		"client_id": id, "client_secret": secret, "token_endpoint_auth_method": m.Method, "client_secret_expires_at": 0,
	})
}

// authorize allows whatever is asked.
func (f *Fake) authorize(w http.ResponseWriter, r *http.Request) {
	b := f.behavior()
	f.Lock()
	defer f.Unlock()
	q := r.URL.Query()
	for name, ok := range map[string]bool{
		"client_id":             q.Get("client_id") != "",
		"response_type":         q.Get("response_type") == "code",
		"redirect_uri":          strings.HasPrefix(q.Get("redirect_uri"), "http"),
		"state":                 len(q.Get("state")) >= 22,
		"code_challenge":        len(q.Get("code_challenge")) == 43,
		"code_challenge_method": q.Get("code_challenge_method") == "S256",
	} {
		if !ok || len(q[name]) != 1 {
			f.mistake(w, "authorization request: "+name)
			return
		}
	}
	if c, known := f.clients[q.Get("client_id")]; known && c.redirects[0] != q.Get("redirect_uri") {
		f.mistake(w, "authorization request: another redirect_uri")
		return
	}
	f.scope = q.Get("scope")
	code := f.mint("code")
	f.Secrets = append(f.Secrets, code)
	f.codes[code] = q
	response := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {f.Issuer}}
	if b.Response != nil {
		b.Response(response)
	}
	w.Header().Set("Location", q.Get("redirect_uri")+"?"+response.Encode())
	w.WriteHeader(http.StatusFound)
}

// Forget forgets every client that registered itself.
func (f *Fake) Forget() {
	f.Lock()
	defer f.Unlock()
	clear(f.clients)
}

func (f *Fake) mint(what string) string {
	f.n++
	return fmt.Sprintf("canary-%s-%04d-of-the-fake", what, f.n)
}

func (f *Fake) mistake(w http.ResponseWriter, what string) {
	f.Mistakes = append(f.Mistakes, what)
	reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": what})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the test sees that the answer is not whole
}
