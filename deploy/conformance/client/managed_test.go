// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

// TestManaged: how an administrator configures a server whose authorization server takes what an identity provider asserts.
func TestManaged(t *testing.T) {
	answer := `{"authorization_servers":["https://as.example"]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-protected-resource/mcp" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	f := startFake(t)
	s, err := Start(t.Context(), Config{Publisher: f, Protector: f})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	good := task{Scenario: scenarioManaged, URL: server.URL + "/mcp", Context: scenarioHints{
		ClientID: "id", ClientSecret: "s3cret", ProviderClientID: "penstock", ProviderIDToken: "x", ProviderTokenEndpoint: "http://localhost",
	}}
	p := protected(good, gateway.Server{Name: "managed"})
	b, err := s.managed(t.Context(), good, &p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{token_exchange: {identity_provider: managed, grant: ID_JAG, issuer: "https://as.example", client_id: "id", client_secret: {from_env: SECRET}}}`
	if p.Credential != want || p.Secrets["SECRET"] != "s3cret" || p.Secrets[gateway.ProviderSecret] != b.with.clientSecret || p.Shared {
		t.Errorf("got %+v", p)
	}
	if *p.Provider != (gateway.Provider{Issuer: b.with.issuer, ClientID: "penstock", Subject: b.with.who.ID}) || b.who != s.browser.who || b.http == s.browser.http {
		t.Errorf("got %+v, %+v", p.Provider, b)
	}

	for _, tt := range []struct{ name, url, answer, want string }{
		{"no URL", "http://%", answer, "find the authorization server: parse"},
		{"no HTTP", "mcp://x", answer, "unsupported protocol"},
		{"another path", server.URL, answer, "answers 404 Not Found"},
		{"no JSON", good.URL, "x", "find the authorization server: read " + server.URL},
		{"none", good.URL, "{}", "does not name one authorization server"},
		{"two", good.URL, `{"authorization_servers":["a","b"]}`, "does not name one authorization server"},
	} {
		answer = tt.answer
		wrong := good
		wrong.URL = tt.url
		if _, err := s.managed(t.Context(), wrong, &p); !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	answer = `{"authorization_servers":["https://as.example"]}`
	good.Context.ProviderIDToken = ""
	if _, err := s.managed(t.Context(), good, &p); !strings.Contains(fmt.Sprint(err), "start an identity provider: the scenario says too little") {
		t.Errorf("got %v", err)
	}
}
