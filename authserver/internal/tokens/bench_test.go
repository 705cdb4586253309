// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/introspect"
	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/login/password"
	"github.com/penstockhq/penstock/authserver/internal/revoke"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/tokens"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	issuer   = "https://auth.example.com"
	origin   = "https://gw.example.com"
	resA     = origin + "/v1/mcp/eng"
	resB     = origin + "/v1/mcp/support"
	gatewayA = "0198f0c0-0000-7000-8000-00000000000a"
	gatewayB = "0198f0c0-0000-7000-8000-00000000000b"
	user1    = "0198f0c0-0000-7000-8000-000000000001"
	secret   = "psc_correct-horse-battery-staple"
	redirURI = "http://127.0.0.1:51004/callback"
	host     = "http://127.0.0.1"

	// The vector of RFC 7636 Appendix B.
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.at.Add(int64(d)) }

// bench is the endpoints on real parts: store, vault, keys, clients.
type bench struct {
	clock
	t        *testing.T
	url      string // of the database
	store    *sqlstore.Store
	vault    *vault.Vault
	keys     *keys.Keys
	grants   *grants.Grants
	endpoint http.Handler
	revoke   http.Handler
	nodes    http.Handler // introspection for a node that holds gateway A
	public   http.Handler // introspection on the public listener
	log      *obstest.Log

	idp    *loginfake.Provider // "okta", which asserts; its people come by LoginUser of the bench
	room   *login.Login
	makes  atomic.Bool // LoginUser makes users
	answer atomic.Pointer[fault.Fault]
	asked  atomic.Int64
	people *clients.Clients
	logger *slog.Logger

	content directory.Content
	view    atomic.Pointer[directory.View]
}

// option changes the settings of a bench.
type option func(*grants.Config, *tokens.Config)

func newBench(t *testing.T, options ...option) *bench {
	t.Helper()
	return newBenchOn(t, "sqlite://"+filepath.Join(t.TempDir(), "auth.db"), options...)
}

func newBenchOn(t *testing.T, database string, options ...option) *bench {
	t.Helper()
	b := &bench{t: t, url: database, log: new(obstest.Log), content: content(), idp: loginfake.New(t)}
	b.at.Store(time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC).UnixNano())
	b.idp.Now = b.Now
	b.publish()
	var err error
	b.store, err = sqlstore.Open(t.Context(), database)
	must(t, err)
	t.Cleanup(func() { _ = b.store.Close() })
	logger := slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))

	keyFile := filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(keyFile))
	kms, err := envelope.OpenKeyFile(keyFile)
	must(t, err)
	b.vault, err = vault.New(vault.Config{Secrets: b.store, KMS: kms, Log: logger, Now: b.Now})
	must(t, err)
	b.keys, err = keys.New(keys.Config{Store: b.store, Vault: b.vault, Retain: 16 * time.Minute, Log: logger, Now: b.Now})
	must(t, err)
	must(t, b.keys.Start(t.Context()))

	many := limit.Rate{PerMinute: 1000, Burst: 1000}
	limiter, err := limit.New(limit.Config{Now: b.Now, Rates: map[string]limit.Rate{limit.ClientFailure: many, limit.AssertionFailure: many}})
	must(t, err)
	b.room, err = login.New(login.Config{
		Issuer: issuer, Store: b.store, View: b.view.Load, Directory: b, Secrets: b.vault, Destinations: noDestinations{}, HTTP: &http.Client{},
		Settle: time.Second, Hash: password.Params{Memory: 64, Passes: 1, Threads: 1}, Log: logger, Now: b.Now,
		LogOut: func(ctx context.Context, user, provider, jti string, end time.Time) error {
			return b.grants.LogOut(ctx, user, provider, jti, end)
		},
		LogOutSession: func(ctx context.Context, provider, session, jti string, end time.Time) error {
			return b.grants.LogOutSession(ctx, provider, session, jti, end)
		},
	})
	must(t, err)
	people, err := clients.New(clients.Config{
		View: b.view.Load, Store: b.store, Limiter: limiter, Issuer: issuer, TokenEndpoint: issuer + "/api/auth/oauth2/token",
		Trust: cimd.Trust{Mode: cimd.Off}, Redirects: redirect.Rules{}, TTL: 30 * 24 * time.Hour, Now: b.Now, Logger: logger,
	})
	must(t, err)

	gc := grants.Config{
		Store: b.store, Access: tokens.Access{View: b.view.Load}, Keys: b.keys, Issuer: issuer, AccessTTL: 15 * time.Minute,
		Skew: time.Minute, RefreshIdle: 30 * 24 * time.Hour, Grace: time.Minute, Now: b.Now,
	}
	tc := tokens.Config{
		Issuer: issuer, Clients: people, Keys: b.keys, View: b.view.Load, Store: b.store, AccessTTL: 15 * time.Minute,
		ClientCredentials: true, Log: logger, Now: b.Now,
	}
	b.people, b.logger = people, logger
	for _, o := range options {
		o(&gc, &tc)
	}
	b.grants, err = grants.New(gc)
	must(t, err)
	tc.Grants = b.grants
	if tc.Assertions == nil {
		tc.Assertions = b.rules(limiter)
	}
	b.endpoint, err = tokens.New(tc)
	must(t, err)
	b.revoke, err = revoke.New(revoke.Config{Grants: b.grants, Clients: people, Log: logger})
	must(t, err)
	b.public, err = introspect.New(introspect.Config{Grants: b.grants, Log: logger})
	must(t, err)
	b.nodes, err = introspect.New(introspect.Config{Grants: b.grants, Log: logger, Node: func(r *http.Request) (introspect.Scope, bool) {
		name := r.Header.Get("X-Test-Node") // in place of a certificate, which is the root's
		return holds(name), name != ""
	}})
	must(t, err)
	return b
}

// holds is a node with one gateway.
type holds string

func (h holds) Holds(gateway string) bool { return string(h) == gateway }

func content() directory.Content {
	sum := sha256.Sum256([]byte(secret))
	mcp := []string{"mcp", "mcp:write"}
	client := func(name string, change func(*directory.Client)) *directory.Client {
		c := &directory.Client{UID: "uid-" + name, Name: name, Method: directory.MethodNone, RedirectURIs: []string{"http://127.0.0.1/callback"}}
		if change != nil {
			change(c)
		}
		return c
	}
	return directory.Content{
		Origin: origin,
		Users: []*directory.User{
			{User: compile.User{Name: "u1@example.com", UID: user1}},
		},
		Teams: []*compile.Team{
			{Name: "eng", UID: "t-eng", Members: map[string]struct{}{"u1@example.com": {}}},
		},
		Gateways: []*directory.Gateway{
			{UID: gatewayA, Name: "eng", Visibility: compile.Visibility{Teams: []string{"eng"}}, OAuth: true, Scopes: mcp},
			{UID: gatewayB, Name: "support", Visibility: compile.Visibility{Teams: []string{"support"}}, OAuth: true, Scopes: mcp},
		},
		Providers: []*directory.Provider{{UID: "p", Name: "corp", Issuer: "https://idp.example"}},
		Clients: []*directory.Client{
			client("c1", nil), client("c2", nil),
			client("trusted", func(c *directory.Client) { c.Trusted = true }),
			client("conf", func(c *directory.Client) {
				c.Method, c.SecretSHA256 = directory.MethodClientSecret, [][32]byte{sum}
			}),
			client("robot", func(c *directory.Client) {
				c.Method, c.SecretSHA256, c.RedirectURIs = directory.MethodClientSecret, [][32]byte{sum}, nil
				c.Credentials = &directory.Credentials{Gateways: []string{"eng"}, Scopes: []string{"mcp"}}
			}),
		},
	}
}

// publish makes a new view of the content.
func (b *bench) publish() { b.view.Store(directory.NewView(b.content)) }

// grantFor is a grant of u1 to a client at gateway A.
func (b *bench) grantFor(client string) store.Grant {
	now := b.Now()
	return store.Grant{
		ID: uuid.NewString(), User: user1, Client: client, RedirectHost: host, Gateway: gatewayA, Resource: resA,
		Scopes: []string{"mcp", "mcp:write"}, AMR: []string{"pwd", "mfa"}, Provider: "corp", AuthTime: now.Add(-time.Minute),
		CreateTime: now, ExpireTime: now.Add(90 * 24 * time.Hour),
	}
}

// code stores a consent and a code as the consent page does.
func (b *bench) code(client string, change ...func(*store.Code)) (code, gid string) {
	b.t.Helper()
	text, hash := ident.MintSecret(grants.CodePrefix)
	c := store.Code{
		Hash: hash, RedirectURI: redirURI, Challenge: challenge, Grant: b.grantFor(client), ExpireTime: b.Now().Add(time.Minute),
	}
	for _, f := range change {
		f(&c)
	}
	b.update(func(ctx context.Context, tx store.OAuthTx) error {
		if client != "trusted" {
			consent := store.Consent{
				User: c.Grant.User, Client: client, RedirectHost: c.Grant.RedirectHost, Gateway: c.Grant.Gateway, Scopes: c.Grant.Scopes,
				ClientName: client, CreateTime: b.Now(), UpdateTime: b.Now(),
			}
			if err := tx.PutConsent(ctx, consent); err != nil {
				return err
			}
		}
		return tx.PutCode(ctx, c)
	})
	return text, c.Grant.ID
}

func (b *bench) update(fn func(context.Context, store.OAuthTx) error) {
	b.t.Helper()
	must(b.t, b.store.Update(b.t.Context(), fn))
}

// reply is an answer of an endpoint.
type reply struct {
	status int
	header http.Header
	raw    string
	Code   string `json:"error"`
	Text   string `json:"error_description"`
	Access string `json:"access_token"`
	Type   string `json:"token_type"`
	Expiry int    `json:"expires_in"`
	Next   string `json:"refresh_token"`
	Scope  string `json:"scope"`
}

// send posts a form to a handler.
func (b *bench) send(h http.Handler, form url.Values, change ...func(*http.Request)) reply {
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := reply{status: w.Code, header: w.Header(), raw: w.Body.String()}
	if a.raw != "" {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			b.t.Errorf("the answer is no JSON: %s", a.raw)
		}
	}
	return a
}

func (b *bench) token(form url.Values, change ...func(*http.Request)) reply {
	return b.send(b.endpoint, form, change...)
}

// redeem is the form that redeems a code; pairs change it, an empty value removes a parameter.
func redeem(client, code string, pairs ...string) url.Values {
	return with(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirURI},
	}, pairs...)
}

func renew(client, token string, pairs ...string) url.Values {
	return with(url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {token}}, pairs...)
}

func with(form url.Values, pairs ...string) url.Values {
	for pair := range slices.Chunk(pairs, 2) {
		if name, value := pair[0], pair[1]; value == "" {
			form.Del(name)
		} else {
			form.Set(name, value)
		}
	}
	return form
}

// login returns the tokens of a new grant.
func (b *bench) login(client string) (reply, string) {
	b.t.Helper()
	code, gid := b.code(client)
	a := b.token(redeem(client, code))
	if a.status != http.StatusOK {
		b.t.Fatalf("redeeming a good code: %d %s", a.status, a.raw)
	}
	return a, gid
}

func (b *bench) active(token string) bool {
	b.t.Helper()
	a := b.send(b.nodes, url.Values{"token": {token}}, asNode(gatewayA))
	if a.status != http.StatusOK {
		b.t.Fatalf("introspection: %d %s", a.status, a.raw)
	}
	return strings.HasPrefix(a.raw, `{"active":true,`)
}

func asNode(gateway string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("X-Test-Node", gateway) }
}

func basic(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(password)) }
}

// refused checks an error answer of the token endpoint to the byte, but for the description.
func refused(t *testing.T, a reply, status int, code string) {
	t.Helper()
	if a.status != status || a.Code != code {
		t.Fatalf("answer is %d %s, want %d %s", a.status, a.raw, status, code)
	}
	if a.Text == "" || strings.ContainsAny(a.Text, "\"\\\r\n") {
		t.Errorf("description is %q", a.Text)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	if a.Access != "" || a.Next != "" {
		t.Error("a refusal holds tokens")
	}
}

// claims returns header and claims of a token without verifying it.
func claims(t *testing.T, token string) (header map[string]any, body grants.Claims, raw map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token has %d parts", len(parts))
	}
	for i, into := range []any{&header, &body} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		must(t, err)
		must(t, json.Unmarshal(text, into))
		if i == 1 {
			must(t, json.Unmarshal(text, &raw))
		}
	}
	return header, body, raw
}

// audit returns the actions and results so far, "action result reason".
func (b *bench) audit() []string {
	b.t.Helper()
	records, err := b.store.Audit(b.t.Context(), 0, 1000)
	must(b.t, err)
	var list []string
	for _, r := range records {
		list = append(list, strings.TrimSpace(r.Event.Action+" "+r.Event.Result+" "+r.Event.Reason))
	}
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
