// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/discovery"
)

const issuer = "https://auth.example.com"

// golden is the body of auth.md §2 where no identity assertions are accepted.
const golden = `{"issuer":"https://auth.example.com","authorization_endpoint":"https://auth.example.com/api/auth/oauth2/authorize",` +
	`"token_endpoint":"https://auth.example.com/api/auth/oauth2/token","registration_endpoint":"https://auth.example.com/api/auth/oauth2/register",` +
	`"revocation_endpoint":"https://auth.example.com/api/auth/oauth2/revoke","introspection_endpoint":"https://auth.example.com/api/auth/oauth2/introspect",` +
	`"jwks_uri":"https://auth.example.com/api/auth/jwks","response_types_supported":["code"],"response_modes_supported":["query"],` +
	`"grant_types_supported":["authorization_code","refresh_token"],` +
	`"code_challenge_methods_supported":["S256"],"token_endpoint_auth_methods_supported":["none","private_key_jwt","client_secret_basic","client_secret_post"],` +
	`"token_endpoint_auth_signing_alg_values_supported":["ES256","RS256","PS256"],"scopes_supported":["mcp","offline_access"],` +
	`"client_id_metadata_document_supported":true,"authorization_response_iss_parameter_supported":true}`

// asserting is the whole body of auth.md §2.
func asserting() string {
	return strings.Replace(golden, `"grant_types_supported":["authorization_code","refresh_token"],`,
		`"grant_types_supported":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:jwt-bearer"],`+
			`"authorization_grant_profiles_supported":["urn:ietf:params:oauth:grant-profile:id-jag"],`, 1)
}

// AS-8, AS-9: identity assertions are listed exactly while they are accepted, and their issuers never.
func TestAssertions(t *testing.T) {
	accepted := false
	c := config()
	c.Assertions = func() bool { return accepted }
	d, s := serve(t, c)
	for _, now := range []bool{false, true, false} {
		accepted = now
		want := golden
		if now {
			want = asserting()
		}
		if got := string(d.Document()); got != want {
			t.Errorf("accepted %t: document is\n%s\nwant\n%s", now, got, want)
		}
		if _, body := get(t, http.MethodGet, s.URL+discovery.OpenIDPath, nil); body != want {
			t.Errorf("accepted %t: served is %s", now, body)
		}
	}
}

func config() discovery.Config {
	return discovery.Config{Issuer: issuer, Registration: true, MetadataDocuments: true, ClientSecrets: true}
}

func serve(t *testing.T, c discovery.Config) (*discovery.Discovery, *httptest.Server) {
	t.Helper()
	d, err := discovery.New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, path := range []string{discovery.ServerPath, discovery.OpenIDPath} {
		mux.Handle(path, d)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return d, s
}

type reply struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64
}

func get(t *testing.T, method, url string, header map[string]string) (reply, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, answer.ContentLength}, string(body)
}

// AS-1, AS-3, AS-14, AS-18.
func TestDocument(t *testing.T) {
	d, s := serve(t, config())
	if got := string(d.Document()); got != golden {
		t.Errorf("document is\n%s\nwant\n%s", got, golden)
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			answer, body := get(t, method, s.URL+path, map[string]string{
				"MCP-Protocol-Version": "2024-11-05", "Host": "evil.example", "X-Forwarded-Host": "evil.example",
			})
			want := map[string]string{"Content-Type": "application/json", "Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=300"}
			for name, value := range want {
				if got := answer.Header.Get(name); got != value {
					t.Errorf("%s %s: %s is %q", method, path, name, got)
				}
			}
			if answer.StatusCode != http.StatusOK || answer.ContentLength != int64(len(golden)) {
				t.Errorf("%s %s: status %d, length %d", method, path, answer.StatusCode, answer.ContentLength)
			}
			if method == http.MethodGet && body != golden {
				t.Errorf("%s: %s", path, body)
			}
		}
		answer, _ := get(t, http.MethodPost, s.URL+path, nil)
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d %q", path, answer.StatusCode, answer.Header.Get("Allow"))
		}
	}
}

// AS-2: the path of an issuer is part of every URL; where the document then lies is the router's to know.
func TestIssuerWithPath(t *testing.T) {
	c := config()
	c.Issuer += "/t1"
	d, err := discovery.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"issuer":"https://auth.example.com/t1",`, `"token_endpoint":"https://auth.example.com/t1/api/auth/oauth2/token"`} {
		if !strings.Contains(string(d.Document()), want) {
			t.Errorf("no %s in %s", want, d.Document())
		}
	}
}

// AS-4 to AS-13, AS-20, AS-21: what the document says for each setting, and what it never says.
func TestSettings(t *testing.T) {
	list := func(m map[string]any, name string) []string {
		var out []string
		values, _ := m[name].([]any)
		for _, v := range values {
			out = append(out, v.(string))
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		change func(*discovery.Config)
		check  func(map[string]any) bool
	}{
		{"AS-5 no registration", func(c *discovery.Config) { c.Registration = false }, func(m map[string]any) bool { return m["registration_endpoint"] == nil }},
		{"AS-5 no documents", func(c *discovery.Config) { c.MetadataDocuments = false }, func(m map[string]any) bool {
			_, there := m["client_id_metadata_document_supported"]
			return !there
		}},
		{"AS-7 no secrets", func(c *discovery.Config) { c.ClientSecrets = false }, func(m map[string]any) bool {
			return slices.Equal(list(m, "token_endpoint_auth_methods_supported"), []string{"none", "private_key_jwt"})
		}},
		{"AS-8 client credentials", func(c *discovery.Config) { c.ClientCredentials = true }, func(m map[string]any) bool {
			return slices.Equal(list(m, "grant_types_supported"), []string{"authorization_code", "refresh_token", "client_credentials"})
		}},
		{"AS-12 documentation", func(c *discovery.Config) { c.Documentation = "https://docs.example" }, func(m map[string]any) bool {
			return m["service_documentation"] == "https://docs.example"
		}},
	} {
		c := config()
		tc.change(&c)
		d, err := discovery.New(c)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(d.Document(), &m); err != nil {
			t.Fatal(err)
		}
		if !tc.check(m) {
			t.Errorf("%s: %s", tc.name, d.Document())
		}
		if !slices.Equal(list(m, "code_challenge_methods_supported"), []string{"S256"}) || m["authorization_response_iss_parameter_supported"] != true {
			t.Errorf("%s: AS-4 or AS-6 is missing", tc.name)
		}
		for name, value := range m {
			if text, ok := value.(string); ok && !strings.HasPrefix(text, "https://") {
				t.Errorf("%s: %s is %q", tc.name, name, text)
			}
			if values, ok := value.([]any); value == nil || ok && len(values) == 0 {
				t.Errorf("%s: AS-13 %s is empty", tc.name, name)
			}
			if strings.Contains(name, "pushed") || strings.HasPrefix(name, "dpop") || strings.Contains(name, "resource") {
				t.Errorf("%s: AS-12, AS-20, AS-21 %s", tc.name, name)
			}
		}
		for _, never := range []string{"implicit", "password", "plain", "jwt-bearer", "id-jag", "fragment"} {
			if strings.Contains(string(d.Document()), never) {
				t.Errorf("%s: the document says %s", tc.name, never)
			}
		}
	}
}

func TestIssuerRefused(t *testing.T) {
	for _, bad := range []string{
		"", "auth.example.com", "https://", "https://auth.example.com/", "https://auth.example.com?x", "https://auth.example.com#f",
		"https://u@auth.example.com", "ftp://auth.example.com", "https://auth.example.com/t1/",
	} {
		if _, err := discovery.New(discovery.Config{Issuer: bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if _, err := discovery.New(discovery.Config{Issuer: "http://127.0.0.1:8083"}); err != nil {
		t.Error(err)
	}
}
