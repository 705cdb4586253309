// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// UP-4: from the URL of a server alone to a token that it takes: RFC 9728, RFC 8414, registration, PKCE, resource, iss. The
// second person needs no second registration.
func TestGrant(t *testing.T) {
	w := newWorld(t)
	j, to, err := w.up.Begin(t.Context(), w.view.Load().Server("github"), upstream.Departure{State: state, Verifier: verifier})
	w.must(err)
	u, err := url.Parse(to)
	w.must(err)
	q := u.Query()
	if q.Get("resource") != w.fake.MCP || q.Get("scope") != "read write offline_access" || j.Issuer != w.fake.Issuer || !j.NamesIssuer {
		t.Errorf("the request is %v of %+v", q, j)
	}
	for range 2 {
		version := w.grant()
		header, until, err := w.resolve(w.up, version, false)
		w.must(err)
		if !w.fake.Valid(header) {
			t.Errorf("the server does not take %q", header)
		}
		if in := until.Sub(w.now()).Round(time.Minute); in != 15*time.Minute {
			t.Errorf("it may be kept for %s", in)
		}
	}
	if w.fake.Registrations != 1 {
		t.Errorf("%d registrations", w.fake.Registrations)
	}
	w.fake.Check(t)
	w.checkSecrecy()
}

// A static secret goes through as it is.
func TestOtherSecrets(t *testing.T) {
	w := newWorld(t)
	version, err := w.vault.Put(t.Context(), connection, vault.Secret{Headers: map[string]obsSecret{"Authorization": "Bearer x"}})
	w.must(err)
	header, until, err := w.resolve(w.up, version, true)
	if err != nil || header != "Bearer x" || !until.IsZero() {
		t.Errorf("got %q until %v, %v", header, until, err)
	}
	_, _, err = w.resolve(w.up, "v_none", false)
	wantFault(t, err, fault.Precondition, vault.ReasonMissing)
}

// UP-4, §16 157: what an authorization server may not say, each with a reason for the administrator.
func TestRefusals(t *testing.T) {
	type row struct {
		name     string
		behavior func(w *world, b *upstreamfake.Behavior)
		server   func(o *directory.OAuth)
		kind     fault.Kind
		reason   string
	}
	metadata := func(key string, value any) func(*world, *upstreamfake.Behavior) {
		return func(_ *world, b *upstreamfake.Behavior) {
			b.Metadata = func(m map[string]any) {
				if m[key] = value; value == nil {
					delete(m, key)
				}
			}
		}
	}
	resource := func(key string, value any) func(*world, *upstreamfake.Behavior) {
		return func(_ *world, b *upstreamfake.Behavior) { b.Resource = func(m map[string]any) { m[key] = value } }
	}
	response := func(key, value string) func(*world, *upstreamfake.Behavior) {
		return func(_ *world, b *upstreamfake.Behavior) {
			b.Response = func(v url.Values) {
				if v.Set(key, value); value == "" {
					v.Del(key)
				}
			}
		}
	}
	tokens := func(key string, value any) func(*world, *upstreamfake.Behavior) {
		return func(_ *world, b *upstreamfake.Behavior) { b.Tokens = func(m map[string]any) { m[key] = value } }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	const pre, denied, away = fault.Precondition, fault.Denied, fault.Unavailable
	rows := []row{
		{"issuer of another", metadata("issuer", "https://evil.example"), nil, pre, upstream.ReasonIssuer},
		{"issuer with a slash more", func(w *world, b *upstreamfake.Behavior) {
			b.Metadata = func(m map[string]any) { m["issuer"] = w.fake.Issuer + "/" }
		}, nil, pre, upstream.ReasonIssuer},
		{"plain token endpoint", metadata("token_endpoint", "http://as.example/token"), nil, pre, upstream.ReasonInsecure},
		{"plain authorization endpoint", metadata("authorization_endpoint", "http://as.example/authorize"), nil, pre, upstream.ReasonInsecure},
		{"plain registration endpoint", metadata("registration_endpoint", "http://as.example/register"), nil, pre, upstream.ReasonInsecure},
		{"private token endpoint", metadata("token_endpoint", "https://10.0.0.1/token"), nil, pre, egress.ReasonRefused},
		{"link-local token endpoint", metadata("token_endpoint", "https://169.254.169.254/token"), nil, pre, egress.ReasonRefused},
		{"token endpoint with a password", metadata("token_endpoint", "https://a:b@as.example/token"), nil, pre, egress.ReasonURL},
		{"no token endpoint", metadata("token_endpoint", ""), nil, pre, egress.ReasonURL},
		{"no PKCE", metadata("code_challenge_methods_supported", nil), nil, pre, upstream.ReasonPKCE},
		{"plain PKCE", metadata("code_challenge_methods_supported", []string{"plain"}), nil, pre, upstream.ReasonPKCE},
		{"no registration", metadata("registration_endpoint", nil), nil, pre, upstream.ReasonClient},
		{"refused registration", func(_ *world, b *upstreamfake.Behavior) { b.Register = status(403) }, nil, pre, upstream.ReasonClient},
		{"registration without a client", func(_ *world, b *upstreamfake.Behavior) {
			b.Register = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }
		}, nil, pre, upstream.ReasonResponse},
		{"no resource metadata", func(_ *world, b *upstreamfake.Behavior) { b.NoMetadata = true }, nil, pre, upstream.ReasonMetadata},
		{"metadata of another resource", resource("resource", "https://mcp.example/mcp"), nil, pre, upstream.ReasonResource},
		{"metadata of a neighbour", func(w *world, b *upstreamfake.Behavior) {
			b.Resource = func(m map[string]any) { m["resource"] = w.fake.MCP + "-other" }
		}, nil, pre, upstream.ReasonResource},
		{"no authorization server", resource("authorization_servers", []string{}), nil, pre, upstream.ReasonMetadata},
		{"private authorization server", resource("authorization_servers", []string{"https://192.168.0.1"}), nil, pre, egress.ReasonRefused},
		{"plain authorization server", resource("authorization_servers", []string{"http://as.example"}), nil, pre, upstream.ReasonInsecure},
		{"authorization server without metadata", func(w *world, b *upstreamfake.Behavior) {
			b.Resource = func(m map[string]any) {
				m["authorization_servers"] = []string{strings.TrimSuffix(w.fake.Issuer, "/tenant")}
			}
		}, nil, pre, upstream.ReasonMetadata},
		{"another iss", response("iss", "https://evil.example"), nil, pre, upstream.ReasonIssuer},
		{"no iss", response("iss", ""), nil, pre, upstream.ReasonIssuer},
		{"two codes", func(_ *world, b *upstreamfake.Behavior) { b.Response = func(v url.Values) { v.Add("code", "x") } }, nil, pre, upstream.ReasonResponse},
		{"no code", response("code", ""), nil, pre, upstream.ReasonResponse},
		{"the person says no", response("error", "access_denied"), nil, denied, upstream.ReasonRefused},
		{"another code", response("code", "x"), nil, pre, upstream.ReasonDead},
		{"tokens of another kind", tokens("token_type", "DPoP"), nil, pre, upstream.ReasonResponse},
		{"no access token", tokens("access_token", ""), nil, pre, upstream.ReasonResponse},
		{"an access token with a line break", tokens("access_token", "a\r\nb"), nil, pre, upstream.ReasonResponse},
		{"a token endpoint in trouble", func(_ *world, b *upstreamfake.Behavior) { b.Token = status(502) }, nil, away, upstream.ReasonUnreachable},
		{"a token endpoint that leads on", func(_ *world, b *upstreamfake.Behavior) {
			b.Token = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example", http.StatusTemporaryRedirect)
			}
		}, nil, pre, upstream.ReasonResponse},
		{"an answer of 257 KiB", func(_ *world, b *upstreamfake.Behavior) {
			b.Token = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 257<<10)) }
		}, nil, pre, upstream.ReasonResponse},
		{"a pinned issuer that is another", nil, func(o *directory.OAuth) { o.Issuer = "https://10.1.1.1" }, pre, egress.ReasonRefused},
		{"a client that is not known", nil, func(o *directory.OAuth) { o.ClientID = "nobody" }, pre, upstream.ReasonClient},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var b upstreamfake.Behavior
			if tt.behavior != nil {
				tt.behavior(w, &b)
			}
			w.fake.Set(b)
			if tt.server != nil {
				tt.server(w.server.OAuth)
				w.publish()
			}
			_, err := w.tryGrant()
			wantFault(t, err, tt.kind, tt.reason)
		})
	}
}

// CIMD-5: the server's own host is permitted, since an administrator registered it; what it names is not.
func TestOwnHostOnly(t *testing.T) {
	w := newWorld(t)
	w.egress = egress.Policy{}
	w.up, _, _ = w.another()
	_, err := w.tryGrant()
	wantFault(t, err, fault.Precondition, egress.ReasonRefused) // the issuer, on the same machine
	if f := fault.From(err); !strings.Contains(f.Public, "issuer") {
		t.Errorf("the reason is %q", f.Public)
	}
}

// A client that an administrator registered, over every way to find and authenticate it.
func TestConfiguredClient(t *testing.T) {
	for _, tt := range []struct {
		name     string
		behavior upstreamfake.Behavior
		change   func(w *world, o *directory.OAuth)
	}{
		{"basic", upstreamfake.Behavior{}, func(*world, *directory.OAuth) {}},
		{"post", upstreamfake.Behavior{Metadata: func(m map[string]any) {
			m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
		}}, func(*world, *directory.OAuth) {}},
		{"pinned issuer without a word of PKCE", upstreamfake.Behavior{NoMetadata: true, Metadata: func(m map[string]any) {
			delete(m, "code_challenge_methods_supported")
		}}, func(w *world, o *directory.OAuth) { o.Issuer = w.fake.Issuer }},
		{
			"no metadata at all",
			upstreamfake.Behavior{NoMetadata: true, Metadata: func(m map[string]any) { clear(m) }, Response: func(v url.Values) { v.Del("iss") }},
			func(w *world, o *directory.OAuth) {
				o.AuthorizationEndpoint = strings.TrimSuffix(w.fake.Issuer, "/tenant") + "/authorize"
				o.TokenEndpoint = strings.TrimSuffix(w.fake.Issuer, "/tenant") + "/token"
			},
		},
		{"metadata without a challenge", upstreamfake.Behavior{NoChallenge: true}, func(*world, *directory.OAuth) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.fake.ClientID, w.fake.Secret = "penstock", "s3cret/+:%-canary"
			w.fake.Secrets = append(w.fake.Secrets, w.fake.Secret)
			version, err := w.vault.Put(t.Context(), "s1", vault.Secret{ClientSecret: obsSecret(w.fake.Secret)})
			w.must(err)
			w.server.OAuth.ClientID, w.server.OAuth.SecretVersion = "penstock", version
			tt.change(w, w.server.OAuth)
			w.publish()
			w.fake.Set(tt.behavior)
			granted := w.grant()
			w.want(granted, false)
			w.want(granted, true) // a refresh
			if w.fake.Registrations != 0 || w.fake.Refreshes != 1 {
				t.Errorf("%d registrations, %d refreshes", w.fake.Registrations, w.fake.Refreshes)
			}
			w.fake.Check(t)
			w.checkSecrecy()
		})
	}
}

// What an administrator asks for is asked for, and nothing else: scopes, and no resource (Entra v2).
func TestAskedFor(t *testing.T) {
	w := newWorld(t)
	w.server.OAuth.Scopes, w.server.OAuth.NoResource = []string{"api://x/.default"}, true
	w.publish()
	_, to, err := w.up.Begin(t.Context(), w.view.Load().Server("github"), upstream.Departure{State: state, Verifier: verifier})
	w.must(err)
	u, err := url.Parse(to)
	w.must(err)
	if q := u.Query(); q.Has("resource") || q.Get("scope") != "api://x/.default" {
		t.Errorf("the request is %v", q)
	}
	w.want(w.grant(), false)
	w.fake.Check(t)
}

// UP-8: what a server wants for more is asked for together with what it wants of everybody; an administrator's scopes stay as they are.
func TestMoreScopes(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		configured []string
		want       string
	}{
		{nil, "read write offline_access admin:x"},
		{[]string{"read"}, "read"},
	} {
		w.server.OAuth = &directory.OAuth{Scopes: tt.configured}
		w.publish()
		d := upstream.Departure{State: state, Verifier: verifier, Scopes: []string{"write", "admin:x"}}
		_, to, err := w.up.Begin(t.Context(), w.view.Load().Server("github"), d)
		w.must(err)
		u, err := url.Parse(to)
		w.must(err)
		if got := u.Query().Get("scope"); got != tt.want {
			t.Errorf("asked for %q, want %q", got, tt.want)
		}
	}
}

// A server that takes client metadata documents is given ours, which lists the callback of each server that needs it.
func TestClientDocument(t *testing.T) {
	w := newWorld(t)
	w.fake.Set(upstreamfake.Behavior{Metadata: func(m map[string]any) { m["client_id_metadata_document_supported"] = true }})
	version := w.grant()
	w.want(version, false)
	w.want(version, true)
	if w.fake.Registrations != 0 {
		t.Errorf("%d registrations", w.fake.Registrations)
	}
	get := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		w.up.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, upstream.DocumentPath, http.NoBody))
		return rec
	}
	var doc struct {
		ID        string   `json:"client_id"`
		Name      string   `json:"client_name"`
		Redirects []string `json:"redirect_uris"`
		Method    string   `json:"token_endpoint_auth_method"`
	}
	rec := get()
	w.must(json.Unmarshal(rec.Body.Bytes(), &doc))
	if doc.ID != issuer+"/upstream/client.json" || doc.Name != "Penstock" || doc.Method != "none" ||
		!slices.Equal(doc.Redirects, []string{issuer + "/upstream/callback/github"}) || rec.Header().Get("Content-Type") != "application/json" {
		t.Errorf("the document is %s", rec.Body)
	}
	w.server.OAuth.ClientID = "penstock"
	w.publish()
	if rec = get(); rec.Code != http.StatusNotFound {
		t.Errorf("without a server: %d %s", rec.Code, rec.Body)
	}
	w.fake.Check(t)
}

// A registration that the authorization server has forgotten is dropped, and the next grant registers anew.
func TestForgottenRegistration(t *testing.T) {
	w := newWorld(t)
	w.grant()
	w.fake.Forget()
	_, err := w.tryGrant()
	wantFault(t, err, fault.Precondition, upstream.ReasonClient)
	old := w.grant()
	w.want(old, false)
	if w.fake.Registrations != 2 {
		t.Errorf("%d registrations, want 2", w.fake.Registrations)
	}
	// A grant is bound to the client that it was given to: only its person can mend it.
	w.fake.Forget()
	for range 2 {
		_, _, err = w.resolve(w.up, old, true)
		wantFault(t, err, fault.Precondition, upstream.ReasonDead)
	}
	w.want(w.grant(), false)
	if w.fake.Registrations != 3 {
		t.Errorf("%d registrations, want 3", w.fake.Registrations)
	}
	w.checkSecrecy()
}
