// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// newService is a world whose server takes tokens of a client of Penstock's own, with a secret.
func newService(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.fake.ClientID, w.fake.Secret, w.fake.Now = "penstock", "s3cret/+:%-canary", w.now
	w.fake.Secrets = append(w.fake.Secrets, w.fake.Secret)
	w.server.OAuth = nil
	w.server.Made, w.server.Client = "m_1", &directory.ServerClient{ClientID: "penstock", SecretVersion: w.keepSecret(w.fake.Secret)}
	w.publish()
	return w
}

func (w *world) keepSecret(text string) string {
	w.t.Helper()
	version, err := w.vault.Put(w.t.Context(), "s1", vault.Secret{ClientSecret: obsSecret(text)})
	w.must(err)
	return version
}

// service returns the header that a node gets.
func (w *world) service(refused bool) (header string, until time.Time, err error) {
	w.t.Helper()
	s, until, err := w.up.ClientToken(w.t.Context(), w.view.Load().Server("github"), refused)
	return s.Headers["Authorization"].Reveal(), until, err
}

// wantService gets a header and checks that the MCP server takes it, and how many tokens there were by now.
func (w *world) wantService(refused bool, requests int) string {
	w.t.Helper()
	header, _, err := w.service(refused)
	w.must(err)
	w.fake.Lock()
	got := w.fake.Services
	w.fake.Unlock()
	if !w.fake.Valid(header) || got != requests {
		w.t.Fatalf("the server takes %q: %t; %d requests, want %d", header, w.fake.Valid(header), got, requests)
	}
	return header
}

// RFC 6749 §4.4: one token for all, renewed before its end, however it is found and the client authenticates.
func TestService(t *testing.T) {
	pinned := func(w *world, c *directory.ServerClient) { c.Issuer = w.fake.Issuer }
	for _, tt := range []struct {
		name            string
		behavior        upstreamfake.Behavior
		change          func(w *world, c *directory.ServerClient)
		scope, resource string
	}{
		{"what the server says", upstreamfake.Behavior{}, nil, "read write", "MCP"},
		{"what its metadata say", upstreamfake.Behavior{NoChallenge: true}, nil, "read", "MCP"},
		{"post", upstreamfake.Behavior{Metadata: func(m map[string]any) {
			m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
		}}, nil, "read write", "MCP"},
		{"a server of clients only", upstreamfake.Behavior{Metadata: func(m map[string]any) {
			delete(m, "authorization_endpoint")
			delete(m, "code_challenge_methods_supported")
		}}, nil, "read write", "MCP"},
		{"a pinned issuer", upstreamfake.Behavior{NoMetadata: true}, pinned, "", "MCP"},
		{"a token endpoint without metadata", upstreamfake.Behavior{NoMetadata: true, Metadata: func(m map[string]any) { clear(m) }}, func(w *world, c *directory.ServerClient) {
			c.TokenEndpoint = strings.TrimSuffix(w.fake.Issuer, "/tenant") + "/token"
		}, "", "MCP"},
		{"scopes, and no resource", upstreamfake.Behavior{}, func(_ *world, c *directory.ServerClient) {
			c.Scopes, c.NoResource = []string{"api://x/.default", "b"}, true
		}, "api://x/.default b", ""},
		{"a private key", upstreamfake.Behavior{Metadata: func(m map[string]any) {
			m["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
			m["token_endpoint_auth_signing_alg_values_supported"] = []string{"RS256", "ES256"}
		}}, func(w *world, c *directory.ServerClient) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			w.must(err)
			der, err := x509.MarshalPKCS8PrivateKey(key)
			w.must(err)
			text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
			w.fake.Key, w.fake.Secrets = key.Public(), append(w.fake.Secrets, strings.Split(text, "\n")[1])
			c.PrivateKey, c.SecretVersion = true, w.keepSecret(text)
		}, "read write", "MCP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newService(t)
			if tt.change != nil {
				tt.change(w, w.server.Client)
				w.publish()
			}
			w.fake.Set(tt.behavior)
			first := w.wantService(false, 1)
			if want := strings.Replace(tt.resource, "MCP", w.fake.MCP, 1); w.fake.Wanted.Get("resource") != want || w.fake.Wanted.Get("scope") != tt.scope {
				t.Errorf("asked for %v", w.fake.Wanted)
			}
			_, until, err := w.service(false)
			if in := until.Sub(w.now()).Round(time.Minute); err != nil || in != 15*time.Minute {
				t.Errorf("it may be kept for %s, %v", in, err)
			}
			w.pass(57 * time.Minute)
			if w.wantService(false, 1) != first {
				t.Error("there is another token")
			}
			w.pass(time.Minute + time.Second)
			if w.wantService(false, 2) == first {
				t.Error("the token is not renewed")
			}
			if got := w.events(); !slices.Equal(got, []string{"upstream.credential.refreshed ok  github", "upstream.credential.refreshed ok  github"}) {
				t.Errorf("events: %q", got)
			}
			w.fake.Check(t)
			w.checkSecrecy()
		})
	}
}

// UP-8: what the server refused is renewed at once, for all who ask within a minute.
func TestServiceRefusedOnce(t *testing.T) {
	w := newService(t)
	first := w.wantService(false, 1)
	second := w.wantService(true, 2)
	if w.wantService(true, 2) != second || first == second {
		t.Error("the token is another for each who asks")
	}
	w.pass(61 * time.Second)
	w.wantService(false, 2)
	w.wantService(true, 3)
}

// UP-5: many callers cause one request.
func TestServiceOnce(t *testing.T) {
	w := newService(t)
	slow := make(chan struct{})
	var asked sync.Once
	w.fake.Set(upstreamfake.Behavior{Slow: slow, Asked: func(string) { asked.Do(func() { time.AfterFunc(50*time.Millisecond, func() { close(slow) }) }) }})
	var wg sync.WaitGroup
	headers, errs := make([]string, 12), make([]error, 12)
	for i := range headers {
		wg.Go(func() { headers[i], _, errs[i] = w.service(false) })
	}
	wg.Wait()
	for i := range headers {
		w.must(errs[i])
		if headers[i] != headers[0] {
			t.Errorf("caller %d got another token", i)
		}
	}
	w.wantService(false, 1)
}

// Trouble leaves the token that there is, to its end; and while it lasts, the server is not asked by every call.
func TestServiceTrouble(t *testing.T) {
	w := newService(t)
	first := w.wantService(false, 1)
	requests := 0
	w.fake.Set(upstreamfake.Behavior{Asked: func(string) { requests++ }, Token: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }})
	w.pass(59 * time.Minute)
	for range 3 {
		if w.wantService(false, 1) != first {
			t.Error("there is another token")
		}
	}
	_, _, err := w.service(true) // what was refused is not given out again for this
	wantFault(t, err, fault.Unavailable, upstream.ReasonUnreachable)
	w.pass(2 * time.Minute)
	for range 3 {
		_, _, err = w.service(false)
		wantFault(t, err, fault.Unavailable, upstream.ReasonUnreachable)
	}
	if requests != 2 {
		t.Errorf("%d requests, want one for each pause", requests)
	}
	w.fake.Set(upstreamfake.Behavior{})
	w.pass(5 * time.Second)
	if w.wantService(false, 2) == first {
		t.Error("the token is not renewed")
	}
	w.checkSecrecy()
}

// A secret that is set anew, and a server that moves, make another token at once, failure or not; a failure is asked about again by
// itself, too.
func TestServiceChanged(t *testing.T) {
	w := newService(t)
	first := w.wantService(false, 1)
	w.fake.Secret = "another"
	w.pass(59 * time.Minute)
	w.wantService(false, 1) // refused, but there still is one
	w.pass(2 * time.Minute)
	for range 3 {
		_, _, err := w.service(false)
		wantFault(t, err, fault.Precondition, upstream.ReasonClient)
	}
	if got := w.events(); len(got) != 3 || got[2] != "upstream.credential.failed refused UPSTREAM_CLIENT_REFUSED github" {
		t.Errorf("events: %q", got)
	}
	c := *w.server.Client
	c.SecretVersion = w.keepSecret("another")
	w.server.Client, w.server.Made = &c, "m_2"
	w.publish()
	second := w.wantService(false, 2)
	if second == first {
		t.Error("the token is that of the old secret")
	}
	w.server.URL += "/"
	w.publish()
	if third := w.wantService(false, 3); third == second {
		t.Error("the token is that of the old place")
	}
	w.fake.Secret = "a third"
	_, _, err := w.service(true)
	wantFault(t, err, fault.Precondition, upstream.ReasonClient)
	w.fake.Secret = "another"
	w.pass(31 * time.Second)
	w.wantService(false, 3) // the token is not over
	w.pass(30 * time.Second)
	w.wantService(true, 4)
}

// What an authorization server may not say, each with a reason for the administrator.
func TestServiceRefusals(t *testing.T) {
	metadata := func(key string, value any) func(b *upstreamfake.Behavior) {
		return func(b *upstreamfake.Behavior) { b.Metadata = func(m map[string]any) { m[key] = value } }
	}
	resource := func(key string, value any) func(b *upstreamfake.Behavior) {
		return func(b *upstreamfake.Behavior) { b.Resource = func(m map[string]any) { m[key] = value } }
	}
	tokens := func(key string, value any) func(b *upstreamfake.Behavior) {
		return func(b *upstreamfake.Behavior) { b.Tokens = func(m map[string]any) { m[key] = value } }
	}
	says := func(code string) func(b *upstreamfake.Behavior) {
		return func(b *upstreamfake.Behavior) {
			b.Token = func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"` + code + `","error_description":"canary"}`))
			}
		}
	}
	answers := func(h http.HandlerFunc) func(b *upstreamfake.Behavior) {
		return func(b *upstreamfake.Behavior) { b.Token = h }
	}
	const pre, away = fault.Precondition, fault.Unavailable
	for _, tt := range []struct {
		name     string
		behavior func(b *upstreamfake.Behavior)
		change   func(w *world, c *directory.ServerClient)
		kind     fault.Kind
		reason   string
		says     string
	}{
		{"no resource metadata", func(b *upstreamfake.Behavior) { b.NoMetadata = true }, nil, pre, upstream.ReasonMetadata, "set oauth_client_credentials.issuer, or oauth_client_credentials.token_endpoint"},
		{"metadata of another resource", resource("resource", "https://mcp.example/mcp"), nil, pre, upstream.ReasonResource, "another resource"},
		{"no authorization server", resource("authorization_servers", []string{}), nil, pre, upstream.ReasonMetadata, "no authorization server"},
		{"a private authorization server", resource("authorization_servers", []string{"https://192.168.0.1"}), nil, pre, egress.ReasonRefused, "egress"},
		{"a plain authorization server", resource("authorization_servers", []string{"http://as.example"}), nil, pre, upstream.ReasonInsecure, "https"},
		{"an issuer without metadata", nil, func(w *world, c *directory.ServerClient) {
			c.Issuer = strings.TrimSuffix(w.fake.Issuer, "/tenant")
		}, pre, upstream.ReasonMetadata, "set oauth_client_credentials.token_endpoint"},
		{"issuer of another", metadata("issuer", "https://evil.example"), nil, pre, upstream.ReasonIssuer, "another issuer"},
		{"a plain token endpoint", metadata("token_endpoint", "http://as.example/token"), nil, pre, upstream.ReasonInsecure, "https"},
		{"a private token endpoint", metadata("token_endpoint", "https://10.0.0.1/token"), nil, pre, egress.ReasonRefused, "token endpoint"},
		{"no token endpoint", metadata("token_endpoint", ""), nil, pre, egress.ReasonURL, "token endpoint"},
		{"a plain token endpoint by hand", nil, func(_ *world, c *directory.ServerClient) { c.TokenEndpoint = "http://as.example/token" }, pre, upstream.ReasonInsecure, "https"},
		{"no secret", nil, func(_ *world, c *directory.ServerClient) { c.SecretVersion = "" }, pre, upstream.ReasonClient, "set oauth_client_credentials.client_secret"},
		{"a secret that is gone", nil, func(_ *world, c *directory.ServerClient) { c.SecretVersion = "v_none" }, pre, vault.ReasonMissing, ""},
		{"a secret of another kind", nil, func(w *world, c *directory.ServerClient) {
			version, err := w.vault.Put(w.t.Context(), "s1", vault.Secret{Headers: map[string]obsSecret{"Authorization": "x"}})
			w.must(err)
			c.SecretVersion = version
		}, pre, upstream.ReasonClient, "set oauth_client_credentials.client_secret"},
		{"another secret", nil, func(w *world, c *directory.ServerClient) { c.SecretVersion = w.keepSecret("x") }, pre, upstream.ReasonClient, "check client_id, client_secret"},
		{"another client", nil, func(_ *world, c *directory.ServerClient) { c.ClientID = "nobody" }, pre, upstream.ReasonClient, "check client_id"},
		{"a secret for a key", nil, func(_ *world, c *directory.ServerClient) { c.PrivateKey = true }, pre, upstream.ReasonClient, "PKCS #8"},
		{"a client without the grant", says("unauthorized_client"), nil, pre, upstream.ReasonClient, "allow it the grant client_credentials"},
		{"a server without the grant", says("unsupported_grant_type"), nil, pre, upstream.ReasonClient, "allow it the grant client_credentials"},
		{"other scopes", says("invalid_scope"), nil, pre, upstream.ReasonResponse, "check oauth_client_credentials.scopes"},
		{"no resource", says("invalid_target"), nil, pre, upstream.ReasonResponse, "set oauth_client_credentials.no_resource"},
		{"another error", says("invalid_request"), nil, pre, upstream.ReasonResponse, "refuses the request"},
		{"an unreadable error", says("canary 1"), nil, pre, upstream.ReasonResponse, "refuses the request"},
		{"trouble", says("temporarily_unavailable"), nil, away, upstream.ReasonUnreachable, "cannot be reached"},
		{"502", answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }), nil, away, upstream.ReasonUnreachable, "cannot be reached"},
		{"429", answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }), nil, away, upstream.ReasonUnreachable, "cannot be reached"},
		{"an endpoint that leads on", answers(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example", http.StatusTemporaryRedirect)
		}), nil, pre, upstream.ReasonResponse, "refuses the request"},
		{"an answer of 257 KiB", answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 257<<10)) }), nil, pre, upstream.ReasonResponse, "longer than"},
		{"tokens of another kind", tokens("token_type", "DPoP"), nil, pre, upstream.ReasonResponse, "bearer"},
		{"no access token", tokens("access_token", ""), nil, pre, upstream.ReasonResponse, "no access token"},
		{"an access token with a line break", tokens("access_token", "a\r\nb"), nil, pre, upstream.ReasonResponse, "no access token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newService(t)
			var b upstreamfake.Behavior
			if tt.behavior != nil {
				tt.behavior(&b)
			}
			w.fake.Set(b)
			if tt.change != nil {
				tt.change(w, w.server.Client)
				w.publish()
			}
			header, _, err := w.service(false)
			wantFault(t, err, tt.kind, tt.reason)
			if f := fault.From(err); header != "" || !strings.Contains(f.Public, tt.says) {
				t.Errorf("says %q, want %q", f.Public, tt.says)
			}
			want := []string{"upstream.credential.failed refused " + tt.reason + " github"}
			if tt.kind == away {
				want = nil
			}
			if got := w.events(); !slices.Equal(got, want) {
				t.Errorf("events: %q", got)
			}
			w.checkSecrecy("canary 1")
		})
	}
}

// A server that is gone leaves no token behind, and one that comes with its uid again asks anew.
func TestServiceGone(t *testing.T) {
	w := newService(t)
	w.wantService(false, 1)
	server := w.view.Load().Server("github")
	w.view.Store(directory.NewView(directory.Content{Servers: []*directory.Server{{UID: "s2", Name: "other"}}}))
	other := *server
	other.UID = "s2"
	if _, _, err := w.up.ClientToken(t.Context(), &other, false); err == nil {
		t.Error("the other server has no secret")
	}
	w.view.Store(directory.NewView(directory.Content{Servers: []*directory.Server{server}}))
	w.wantService(false, 2)
}
