// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/tokens"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func body(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }

// TK-19: a client without a person.
func TestClientCredentials(t *testing.T) {
	b := newBench(t)
	ask := func(pairs ...string) reply {
		return b.token(with(url.Values{"grant_type": {"client_credentials"}}, pairs...), basic("robot", secret))
	}
	for _, resource := range []string{"", resA} { // the only gateway that it has needs no name
		a := ask("resource", resource)
		if a.status != http.StatusOK || a.Next != "" || a.Scope != "mcp" || a.Expiry != 900 {
			t.Fatalf("answer is %d %s", a.status, a.raw)
		}
		_, got, raw := claims(t, a.Access)
		if got.Subject != "robot" || got.Client != "robot" || got.Method != "client_credentials" || got.Audience != resA {
			t.Errorf("claims are %+v", got)
		}
		if _, ok := raw["auth_time"]; ok || raw["amr"] != nil {
			t.Error("a client has an authentication of a person")
		}
		if !b.active(a.Access) {
			t.Error("the token is not good")
		}
	}
	refused(t, ask("resource", resB), 400, "invalid_target")
	refused(t, ask("scope", "mcp:write"), 400, "invalid_scope")
	refused(t, ask("scope", "nonsense"), 400, "invalid_scope")
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resA}}
	refused(t, b.token(form, basic("conf", secret)), 400, "unauthorized_client")
	refused(t, b.token(form, basic("robot", "wrong")), 401, "invalid_client")
	off := newBench(t, func(_ *grants.Config, c *tokens.Config) { c.ClientCredentials = false })
	refused(t, off.token(form, basic("robot", secret)), 400, "unsupported_grant_type")
	a := ask()
	for i, c := range b.content.Clients {
		if c.Name == "robot" {
			less := *c
			less.Credentials = &directory.Credentials{Gateways: []string{"support"}, Scopes: []string{"mcp"}}
			b.content.Clients[i] = &less
		}
	}
	b.publish()
	if b.active(a.Access) {
		t.Error("the gateway was taken from the client, and its token is still good")
	}
}

// TK-21, row 103.
func TestRevoke(t *testing.T) {
	b := newBench(t)
	mine, gid := b.login("c1")
	other := b.token(renew("c1", mine.Next)) // the same family
	ask := func(client, token string, pairs ...string) reply {
		return b.send(b.revoke, with(url.Values{"client_id": {client}, "token": {token}}, pairs...))
	}
	for _, token := range []string{mine.Access, other.Next, "unknown", mint("psr_"), mine.Access + "x"} {
		if a := ask("c2", token); a.status != http.StatusOK || a.raw != "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("a foreign token: %d %s", a.status, a.raw)
		}
	}
	if !b.active(mine.Access) || !b.active(other.Access) {
		t.Fatal("another client revoked a token")
	}
	// An access token alone; the hint is wrong on purpose.
	if a := ask("c1", mine.Access, "token_type_hint", "refresh_token"); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if b.active(mine.Access) || !b.active(other.Access) {
		t.Error("not exactly that token was revoked")
	}
	_, got, _ := claims(t, mine.Access)
	b.revoked(store.RevokeToken, got.ID)
	if a := ask("c1", mine.Access); a.status != http.StatusOK {
		t.Errorf("a second time: %d %s", a.status, a.raw)
	}
	// A refresh token, even a superseded one, ends the family.
	if a := ask("c1", mine.Next); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if b.active(other.Access) {
		t.Error("the family's access token is still good")
	}
	refused(t, b.token(renew("c1", other.Next)), 400, "invalid_grant")
	b.revoked(store.RevokeGrant, gid)
	if n := count(b.audit(), "token.revoked ok refresh_token") + count(b.audit(), "token.revoked ok access_token"); n != 2 {
		t.Errorf("%d revocations are recorded", n)
	}
}

func TestRevokeRefusals(t *testing.T) {
	b := newBench(t)
	good := url.Values{"client_id": {"c1"}, "token": {"x"}}
	refused(t, b.send(b.revoke, url.Values{"client_id": {"c1"}}), 400, "invalid_request")
	refused(t, b.send(b.revoke, url.Values{"token": {"x"}, "client_id": {"nobody"}}), 401, "invalid_client")
	refused(t, b.send(b.revoke, url.Values{"token": {"x", "y"}, "client_id": {"c1"}}), 400, "invalid_request")
	refused(t, b.send(b.revoke, good, func(r *http.Request) { r.URL.RawQuery = "token=x" }), 400, "invalid_request")
	refused(t, b.send(b.revoke, good, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }), 400, "invalid_request")
	a := b.send(b.revoke, good, func(r *http.Request) { r.Method = http.MethodGet })
	refused(t, a, 405, "invalid_request")
	if a.header.Get("Allow") != "POST" {
		t.Errorf("Allow is %q", a.header.Get("Allow"))
	}
	a = b.send(b.revoke, url.Values{"token": {"x"}}, basic("conf", "wrong"))
	refused(t, a, 401, "invalid_client")
	if a.header.Get("WWW-Authenticate") == "" {
		t.Error("no challenge")
	}
}

// TK-22, row 104.
func TestIntrospect(t *testing.T) {
	b := newBench(t)
	a, gid := b.login("c1")
	form := url.Values{"token": {a.Access}}
	refused(t, b.send(b.public, form, asNode(gatewayA)), 401, "invalid_client")
	refused(t, b.send(b.nodes, form), 401, "invalid_client")
	got := b.send(b.nodes, form, asNode(gatewayA))
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("answer is %d %s", got.status, got.raw)
	}
	_, c, _ := claims(t, a.Access)
	var members map[string]any
	must(t, json.Unmarshal([]byte(got.raw), &members))
	want := map[string]any{
		"active": true, "token_type": "Bearer", "iss": issuer, "sub": user1, "aud": resA, "client_id": "c1", "scope": "mcp mcp:write",
		"exp": float64(c.Expires), "iat": float64(c.Issued), "jti": c.ID, "pst_method": "oauth", "gid": gid,
		"auth_time": float64(c.AuthTime), "amr": []any{"pwd", "mfa"},
	}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Error(diff)
	}
	inactive := func(name, token, node string) {
		t.Helper()
		if x := b.send(b.nodes, url.Values{"token": {token}}, asNode(node)); x.status != 200 || x.raw != `{"active":false}` {
			t.Errorf("%s: %d %s", name, x.status, x.raw)
		}
	}
	inactive("104 node without the gateway", a.Access, gatewayB)
	inactive("refresh token", a.Next, gatewayA)
	inactive("nonsense", "nonsense", gatewayA)
	inactive("changed signature", a.Access[:len(a.Access)-4]+"AAAA", gatewayA)
	other, err := b.keys.Sign(t.Context(), "JWT", c)
	must(t, err)
	inactive("other typ", other, gatewayA)
	foreign := c
	foreign.Issuer = "https://other.example"
	other, err = b.keys.Sign(t.Context(), "at+jwt", foreign)
	must(t, err)
	inactive("other issuer", other, gatewayA)
	foreign = c
	foreign.Audience = resB
	other, err = b.keys.Sign(t.Context(), "at+jwt", foreign)
	must(t, err)
	inactive("other audience than the grant's", other, gatewayA)

	before := b.content
	b.content.Teams = nil
	b.publish()
	inactive("user left the team", a.Access, gatewayA)
	b.content = before
	b.publish()
	if !b.active(a.Access) {
		t.Error("the token is not good again")
	}
	b.Advance(15 * time.Minute)
	inactive("expired", a.Access, gatewayA)
	refused(t, b.send(b.nodes, url.Values{}, asNode(gatewayA)), 400, "invalid_request")
	refused(t, b.send(b.nodes, form, asNode(gatewayA), func(r *http.Request) { r.Method = http.MethodGet }), 405, "invalid_request")
}

// What a person takes back on the page of his grants, and what an administrator takes from a person.
func TestTakeBack(t *testing.T) {
	b := newBench(t)
	one, gid := b.login("c1")
	two, _ := b.login("c1")
	other, _ := b.login("c2")
	if err := b.grants.RevokeGrant(t.Context(), "somebody-else", gid); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another user's grant: %v", err)
	}
	must(t, b.grants.RevokeGrant(t.Context(), user1, gid))
	if b.active(one.Access) || !b.active(two.Access) {
		t.Error("not exactly that grant was revoked")
	}
	must(t, b.grants.RevokeConsent(t.Context(), user1, "c1", gatewayA))
	if b.active(two.Access) || !b.active(other.Access) {
		t.Error("not exactly the grants of that client were revoked")
	}
	refused(t, b.token(renew("c1", two.Next)), 400, "invalid_grant")
	must(t, b.grants.RevokeUser(t.Context(), user1))
	if b.active(other.Access) {
		t.Error("a grant of the user is left")
	}
	refused(t, b.token(renew("c2", other.Next)), 400, "invalid_grant")
	b.revoked(store.RevokeSubject, user1)
	if n := count(b.audit(), "consent.revoked ok"); n != 1 {
		t.Errorf("%d consents are recorded as revoked", n)
	}
}

// TK-23: a wider login leaves the older tokens alone.
func TestStepUp(t *testing.T) {
	b := newBench(t)
	code, _ := b.code("c1", func(c *store.Code) { c.Grant.Scopes = []string{"mcp"} })
	narrow := b.token(redeem("c1", code))
	wide, _ := b.login("c1")
	if narrow.Scope != "mcp" || wide.Scope != "mcp mcp:write" || !b.active(narrow.Access) || !b.active(wide.Access) {
		t.Errorf("narrow %s, wide %s", narrow.raw, wide.raw)
	}
	if a := b.token(renew("c1", narrow.Next)); a.status != http.StatusOK {
		t.Errorf("the older family: %d %s", a.status, a.raw)
	}
}

// Before the directory is there, and while the store is away, nothing is guessed (auth.md §5).
func TestUnavailable(t *testing.T) {
	away := new(awayStore)
	b := newBench(t, func(g *grants.Config, _ *tokens.Config) {
		away.OAuth = g.Store
		g.Store = away
	})
	a, _ := b.login("c1")
	b.view.Store(nil)
	refused(t, b.token(renew("c1", a.Next)), 503, "temporarily_unavailable")
	b.publish()
	away.away = true
	refused(t, b.token(renew("c1", a.Next)), 503, "temporarily_unavailable")
	away.away = false
	if again := b.token(renew("c1", a.Next)); again.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", again.status, again.raw)
	}
}

// awayStore is a store whose database can be away.
type awayStore struct {
	store.OAuth
	away bool
}

func (s *awayStore) Update(ctx context.Context, fn func(context.Context, store.OAuthTx) error) error {
	if s.away {
		return fault.New(fault.Unavailable, store.ReasonUnavailable, "The database is away.")
	}
	return s.OAuth.Update(ctx, fn)
}

func TestNewRefuses(t *testing.T) {
	b := newBench(t)
	good := grants.Config{
		Store: b.store, Access: tokens.Access{View: b.view.Load}, Keys: b.keys, Issuer: issuer, AccessTTL: 15 * time.Minute,
		RefreshIdle: time.Hour, Grace: time.Minute,
	}
	for name, change := range map[string]func(*grants.Config){
		"no store":                     func(c *grants.Config) { c.Store = nil },
		"TK-6 five minutes":            func(c *grants.Config) { c.AccessTTL = 5 * time.Minute },
		"TK-9 grace of six minutes":    func(c *grants.Config) { c.Grace = 6 * time.Minute },
		"negative grace":               func(c *grants.Config) { c.Grace = -1 },
		"refresh shorter than access":  func(c *grants.Config) { c.RefreshIdle = time.Minute },
		"negative skew":                func(c *grants.Config) { c.Skew = -1 },
		"no issuer":                    func(c *grants.Config) { c.Issuer = "" },
		"nobody to ask what is usable": func(c *grants.Config) { c.Access = nil },
	} {
		c := good
		change(&c)
		if _, err := grants.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := grants.New(good); err != nil {
		t.Error(err)
	}
	if _, err := tokens.New(tokens.Config{Issuer: issuer}); err == nil {
		t.Error("an endpoint without parts")
	}
}
