// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TestWithoutDirectory starts everything while no control plane is there: what needs no directory works, and what needs one
// says that it comes later.
func TestWithoutDirectory(t *testing.T) {
	h := newHouse(t)
	c := h.config(t)
	c.ControlPlane.Endpoints, c.DialControlPlane = []string{"127.0.0.1:1"}, nowhere
	c.PublicListener, c.OpsListener = listener(t), listener(t)
	s, _ := start(t, c)
	public := "http://" + c.PublicListener.Addr().String()
	t.Run("documents", func(t *testing.T) { checkDocuments(t, public) })
	t.Run("refusals", func(t *testing.T) { checkRefusals(t, public) })
	t.Run("readiness", func(t *testing.T) { checkReadiness(t, "http://"+c.OpsListener.Addr().String()) })
	t.Run("introspection", func(t *testing.T) { checkIntrospection(t, public, s) })
	t.Run("registration", func(t *testing.T) { checkRegistration(t, public) })
}

// checkDocuments: AS-1 and AS-3, also for who claims another host, and the keys.
func checkDocuments(t *testing.T, public string) {
	var bodies []string
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		r := request(t, http.MethodGet, public+path, "")
		r.Host = "evil.example.com"
		r.Header.Set("X-Forwarded-Host", "evil.example.com")
		a := send(t, http.DefaultTransport, r)
		if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: status %d, %v", path, a.status, a.header)
		}
		bodies = append(bodies, a.body)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("the two documents differ:\n%s\n%s", bodies[0], bodies[1])
	}
	var metadata struct {
		Issuer        string   `json:"issuer"`
		Token         string   `json:"token_endpoint"`
		Authorization string   `json:"authorization_endpoint"`
		Challenges    []string `json:"code_challenge_methods_supported"`
		Documents     bool     `json:"client_id_metadata_document_supported"`
	}
	must(t, json.Unmarshal([]byte(bodies[0]), &metadata))
	if metadata.Issuer != issuer || metadata.Token != issuer+"/api/auth/oauth2/token" || metadata.Authorization != issuer+"/api/auth/oauth2/authorize" ||
		!slices.Equal(metadata.Challenges, []string{"S256"}) || !metadata.Documents {
		t.Errorf("the metadata say %s", bodies[0])
	}
	var set struct{ Keys []map[string]any }
	status, body := get(t, public+"/api/auth/jwks")
	must(t, json.Unmarshal([]byte(body), &set))
	if status != http.StatusOK || len(set.Keys) == 0 {
		t.Errorf("keys: status %d, %s", status, body)
	}
	for _, key := range set.Keys {
		if key["d"] != nil || key["kid"] == nil {
			t.Errorf("the key is private or has no name: %s", body)
		}
	}
}

// checkRefusals: what is not there, what takes other methods, and what waits for a directory.
func checkRefusals(t *testing.T, public string) {
	for _, c := range []struct {
		method, path string
		status       int
		header       http.Header
	}{
		{http.MethodGet, "/api/auth/oauth2/nothing", http.StatusNotFound, nil},
		{http.MethodGet, "/penstock.credential.v1.CredentialService/Resolve", http.StatusNotFound, nil},
		{http.MethodPost, "/penstock.credential.v1.CredentialService/Resolve", http.StatusNotFound, nil},
		{http.MethodGet, "/readyz", http.StatusNotFound, nil},
		{http.MethodGet, "/metrics", http.StatusNotFound, nil},
		{http.MethodGet, "/api/auth/oauth2/token", http.StatusMethodNotAllowed, http.Header{"Allow": {"POST"}}},
		{http.MethodDelete, "/api/auth/oauth2/register", http.StatusMethodNotAllowed, http.Header{"Allow": {"POST"}}},
		{http.MethodPut, "/api/auth/oauth2/authorize", http.StatusMethodNotAllowed, nil},
		{http.MethodPost, "/.well-known/oauth-authorization-server", http.StatusMethodNotAllowed, nil},
		{http.MethodOptions, "/api/auth/oauth2/token", http.StatusNoContent, http.Header{"Access-Control-Allow-Origin": {"*"}}},
		{http.MethodGet, "/login", http.StatusServiceUnavailable, http.Header{"Retry-After": nil}},
		{http.MethodGet, "/account", http.StatusSeeOther, http.Header{"Location": {"/login"}}}, // where it says 503
		{http.MethodGet, "/api/auth/oauth2/authorize?client_id=a&response_type=code", http.StatusServiceUnavailable, nil},
		{http.MethodGet, "/assets/nothing.css", http.StatusNotFound, nil},
	} {
		a := send(t, http.DefaultTransport, request(t, c.method, public+c.path, ""))
		if a.status != c.status {
			t.Errorf("%s %s: status %d, want %d: %s", c.method, c.path, a.status, c.status, a.body)
		}
		for name, want := range c.header {
			if want == nil && a.header.Get(name) == "" || want != nil && a.header.Get(name) != want[0] {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.path, name, a.header.Get(name), want)
			}
		}
		if a.header.Get("Strict-Transport-Security") == "" { // AS-17: the issuer is https
			t.Errorf("%s %s: no HSTS", c.method, c.path)
		}
	}
}

// checkReadiness: the server is alive, and says what it waits for.
func checkReadiness(t *testing.T, ops string) {
	if status, body := get(t, ops+"/healthz"); status != http.StatusOK {
		t.Errorf("not alive: status %d, %s", status, body)
	}
	deadline := time.Now().Add(startWithin)
	for {
		status, body := get(t, ops+"/readyz")
		if strings.Contains(body, `{"name":"store","ok":true}`) && strings.Contains(body, `{"name":"signing keys","ok":true}`) {
			if status != http.StatusServiceUnavailable || !strings.Contains(body, "no directory of users and gateways yet") {
				t.Errorf("status %d, want 503 for want of a directory: %s", status, body)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the other checks do not pass: %s", body)
		}
	}
}

// checkIntrospection is TK-22: nobody on the public listener, nodes inside.
func checkIntrospection(t *testing.T, public string, s *authserver.Server) {
	const path, form = "/api/auth/oauth2/introspect", "token=psr_nothing"
	if a := send(t, http.DefaultTransport, request(t, http.MethodPost, public+path, form)); a.status != http.StatusUnauthorized || strings.Contains(a.body, "active") {
		t.Errorf("on the public listener: status %d, %s", a.status, a.body)
	}
	for role, want := range map[ident.Role]int{ident.RoleNode: http.StatusOK, ident.RoleControlPlane: http.StatusUnauthorized} {
		a := send(t, s.Local(role).Transport, request(t, http.MethodPost, authserver.LocalURL+path, form))
		if a.status != want || role == ident.RoleNode && a.body != `{"active":false}` {
			t.Errorf("as %s: status %d, want %d: %s", role, a.status, want, a.body)
		}
	}
}

// checkRegistration: a client may register before anybody can log in, and gets no token for nothing.
func checkRegistration(t *testing.T, public string) {
	r := request(t, http.MethodPost, public+"/api/auth/oauth2/register",
		`{"client_name":"Editor","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}`)
	r.Header.Set("Content-Type", "application/json")
	a := send(t, http.DefaultTransport, r)
	var registered struct {
		ID string `json:"client_id"`
	}
	must(t, json.Unmarshal([]byte(a.body), &registered))
	if a.status != http.StatusCreated || registered.ID == "" {
		t.Fatalf("registration: status %d, %s", a.status, a.body)
	}
	exchange := url.Values{"grant_type": {"authorization_code"}, "client_id": {registered.ID}, "code": {"psa_wrong"}, "redirect_uri": {"http://127.0.0.1/callback"}, "code_verifier": {strings.Repeat("v", 43)}}
	a = send(t, http.DefaultTransport, request(t, http.MethodPost, public+"/api/auth/oauth2/token", exchange.Encode()))
	if a.status != http.StatusBadRequest || !strings.Contains(a.body, `"invalid_grant"`) {
		t.Errorf("a wrong code: status %d, %s", a.status, a.body)
	}
}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   string
}

// request is one with a form, or with nothing.
func request(t *testing.T, method, target, form string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form))
	must(t, err)
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Close = true // the test leaves no connection behind
	return r
}

func send(t *testing.T, transport http.RoundTripper, r *http.Request) answer {
	t.Helper()
	res, err := transport.RoundTrip(r)
	must(t, err)
	defer func() { must(t, res.Body.Close()) }()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{res.StatusCode, res.Header, string(body)}
}

func get(t *testing.T, target string) (status int, body string) {
	t.Helper()
	a := send(t, http.DefaultTransport, request(t, http.MethodGet, target, ""))
	return a.status, a.body
}
