// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
	"github.com/penstockhq/penstock/sdk/node"
)

const agentSecret = "canary-secret-of-the-agent"

// asserting has a provider make identity assertions for whoever shows Penstock's client and an ID token.
func asserting(p *loginfake.Provider, idToken string) {
	p.Set(loginfake.Behavior{Token: func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.ParseForm() != nil || id != "penstock" || secret != "canary-secret-at-the-provider" || r.PostForm.Get("subject_token") != idToken {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f := r.PostForm
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{ // the test sees what is not whole
			"issued_token_type": f.Get("requested_token_type"), "token_type": "N_A", "expires_in": 300,
			"access_token": p.Assertion(nil, map[string]any{
				"aud": f.Get("audience"), "resource": f.Get("resource"), "client_id": "agent", "jti": rand.Text(), "scope": f.Get("scope"),
			}, nil),
		})
	}})
}

// managed is a town whose gateway eng takes identity assertions of a provider from the client agent. Its gateways are described at an
// origin, as nodes do.
func managed(t *testing.T, idp *loginfake.Provider) (w *town, gateway string) {
	t.Helper()
	var issuer string
	nodes := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-protected-resource/v1/mcp/eng" {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"resource": "http://" + r.Host + "/v1/mcp/eng", "authorization_servers": []string{issuer}})
	}))
	t.Cleanup(nodes.Close)
	w = newTownWith(t, func(c *Config) { c.Gateways.URL, c.Egress.AllowLoopback = nodes.URL, true }, func(s state) {
		put := func(r *distributionv1.Resource) { s[node.Key{Kind: r.GetKind(), Name: r.GetName()}] = r }
		sum := sha256.Sum256([]byte(agentSecret))
		put(&distributionv1.Resource{Kind: "identity_provider", Name: "okta", Body: &distributionv1.Resource_IdentityProvider{IdentityProvider: &resourcev1.IdentityProvider{
			Name: "okta", Uid: "uid-okta", Issuer: idp.Issuer, ClientId: "penstock", IdJag: &resourcev1.IdJagTrust{MaxLifetime: durationpb.New(5 * time.Minute)},
		}}})
		put(&distributionv1.Resource{Kind: "oauth_client", Name: "agent", Body: &distributionv1.Resource_OauthClient{OauthClient: &resourcev1.OAuthClient{
			Name: "agent", Uid: "uid-agent", Authentication: resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET, SecretSha256: [][]byte{sum[:]},
		}}})
		put(&distributionv1.Resource{Kind: "user", Name: "bob@example.com", Body: &distributionv1.Resource_User{User: &resourcev1.User{
			Name: "bob@example.com", Uid: "uid-bob", Deactivated: true, Identities: []*resourcev1.Identity{{Issuer: idp.Issuer, Subject: "sub-9"}},
		}}})
		s.Get("user", "ada@example.com").GetUser().Identities = []*resourcev1.Identity{{Issuer: idp.Issuer, Subject: idp.Subject}}
		s.Get("gateway", "eng").GetGateway().Authentication = &resourcev1.Authentication{IdJag: &resourcev1.IdJagAuthentication{}}
	})
	issuer = w.issuer
	return w, nodes.URL + "/v1/mcp/eng"
}

// oneLogin is what one login left.
type oneLogin struct {
	value   obs.Secret
	refused int
}

func (l *oneLogin) Token(context.Context, string, *directory.Provider, directory.Subject) (exchange.Token, error) {
	return exchange.Token{Value: l.value}, nil
}

func (l *oneLogin) Refused(context.Context, string, *directory.Provider, directory.Subject, obs.Secret) error {
	l.refused++
	return nil
}

func (l *oneLogin) StepUp(context.Context, string, *directory.Provider, exchange.StepUp) error {
	return nil
}

// Both ways: what one Penstock gets of an identity provider for its user is redeemed at another Penstock, for a token of the same
// person there (auth.md §6a, §6b).
func TestIdentityAssertionsBothWays(t *testing.T) {
	idp := loginfake.New(t)
	other, gateway := managed(t, idp)
	idToken := "canary-id-token-of-ada"
	asserting(idp, idToken)

	log := new(obstest.Log)
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	other.must(err)
	t.Cleanup(func() { _ = db.Close() })
	keyset := filepath.Join(t.TempDir(), "keys.json")
	other.must(envelope.CreateKeyFile(keyset))
	keys, err := envelope.OpenKeyFile(keyset)
	other.must(err)
	v, err := vault.New(vault.Config{Secrets: db, KMS: keys, Log: logger})
	other.must(err)
	put := func(owner, secret string) string {
		version, err := v.Put(t.Context(), owner, vault.Secret{ClientSecret: obs.Secret(secret)})
		other.must(err)
		return version
	}
	login := &oneLogin{value: obs.Secret(idToken)}
	server := &directory.Server{UID: "s1", Name: "partner", URL: gateway, Made: "m1", Exchange: &directory.Exchange{
		Provider: "okta", Grant: directory.GrantIDJAG, Subject: directory.SubjectIDToken, Issuer: other.issuer, Scopes: []string{"mcp"},
		ClientID: "agent", SecretVersion: put("s1", agentSecret), TokenEndpoint: other.issuer + tokenTo,
	}}
	view := directory.NewView(directory.Content{
		Users:   []*directory.User{{User: compile.User{UID: "ada-here", Name: "ada@here.example"}}},
		Servers: []*directory.Server{server}, Providers: []*directory.Provider{{
			UID: "p1", Name: "okta", Issuer: idp.Issuer, ClientID: "penstock", SecretVersion: put("p1", "canary-secret-at-the-provider"), Kept: &directory.Kept{},
		}},
	})
	x, err := exchange.New(exchange.Config{
		View: func() *directory.View { return view }, Subjects: login, Vault: v, Audit: db, Egress: egress.Policy{AllowLoopback: true}, Log: logger,
	})
	other.must(err)

	got, until, err := x.Resolve(t.Context(), server, "ada-here", "", "", false)
	other.must(err)
	access := strings.TrimPrefix(got.Headers["Authorization"].Reveal(), "Bearer ")
	if left := time.Until(until); left > 14*time.Minute || left < 13*time.Minute {
		t.Errorf("it may be kept for %s", left)
	}
	a := other.asRole(ident.RoleNode, "/api/auth/oauth2/introspect", "application/x-www-form-urlencoded", url.Values{"token": {access}}.Encode())
	var claims struct {
		Active   bool   `json:"active"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Client   string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	other.must(json.Unmarshal([]byte(a.body), &claims))
	if !claims.Active || claims.Subject != "uid-ada" || claims.Audience != gateway || claims.Client != "agent" || claims.Scope != "mcp" {
		t.Errorf("the other Penstock says of the token: %s", a.body)
	}

	// A token for the wrong person, client or time is none there, however it was come by: the answers of the real thing.
	for _, tt := range []struct {
		name    string
		change  func()
		reason  string
		refused int // subject tokens that were
	}{
		{"somebody who is deactivated there", func() { idp.Subject = "sub-9" }, exchange.ReasonDead, 1},
		{"a secret that was replaced", func() { server.Exchange.SecretVersion = put("s1", "old") }, "UPSTREAM_CLIENT_REFUSED", 0},
		{"a scope that the gateway does not have", func() { server.Exchange.Scopes = []string{"files"} }, exchange.ReasonDead, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was, subject := *server.Exchange, idp.Subject
			defer func() { *server.Exchange, idp.Subject = was, subject }()
			idp.Lock()
			tt.change()
			idp.Unlock()
			login.refused = 0
			server.Made += "."
			_, _, err := x.Resolve(t.Context(), server, "ada-here", "", "", false)
			if f := fault.From(err); f == nil || f.Kind != fault.Precondition || f.Reason != tt.reason || login.refused != tt.refused {
				t.Errorf("got %v, and %d refused; want %s, %d", err, login.refused, tt.reason, tt.refused)
			}
		})
	}
	for place, text := range map[string]string{"log here": log.String(), "log there": other.log.String()} {
		for _, s := range []string{idToken, access, agentSecret, "canary-secret-at-the-provider"} {
			if strings.Contains(text, s) {
				t.Errorf("the %s has %q", place, s)
			}
		}
	}
	if actions := other.actions(); !slices.Contains(actions, "idjag.accepted") || !slices.Contains(actions, "idjag.rejected") {
		t.Errorf("the other Penstock's audit: %v", actions)
	}
}

// actions are the audit actions of a town.
func (w *town) actions() (list []string) {
	w.t.Helper()
	records, err := w.db.Audit(w.t.Context(), 0, 1000)
	w.must(err)
	for _, r := range records {
		list = append(list, r.Event.Action)
	}
	return list
}
