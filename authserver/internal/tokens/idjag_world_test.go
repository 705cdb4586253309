// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/idjag"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	user2      = "0198f0c0-0000-7000-8000-000000000002" // outside of the team, with the account sub-2
	user3      = "0198f0c0-0000-7000-8000-000000000003" // deactivated, with the account sub-3
	userNew    = "0198f0c0-0000-7000-8000-000000000009" // whom LoginUser makes
	claude     = "claude"                               // a public client
	jwtBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	dynamic    = "dcr_somebody"
	otherGiven = "https://idp.example" // the issuer of corp, which asserts nothing
)

// noDestinations is for a login room that nobody logs in with.
type noDestinations struct{}

func (noDestinations) Describe(context.Context, string) (pages.Destination, error) {
	return pages.Destination{}, fault.New(fault.NotFound, "NONE", "There is none.")
}

func (noDestinations) Onward(string) string { return "/" }

// LoginUser is the control plane's: it makes users of a verified address if the bench says so, and links nobody.
func (b *bench) LoginUser(_ context.Context, a directory.Account) (string, uint64, error) {
	b.asked.Add(1)
	if f := b.answer.Load(); f != nil {
		return "", 0, f
	}
	if !b.makes.Load() || a.Email == "" {
		return "", 0, fault.New(fault.Denied, directory.ReasonLoginNotAllowed, "Nobody has the account of "+a.Email+".")
	}
	made := &directory.User{User: compile.User{
		Name: a.Email, UID: userNew, Identities: []compile.Identity{{Issuer: b.idp.Issuer, Subject: a.Subject}},
	}}
	b.content.Users = append(b.content.Users, made)
	b.publish()
	return userNew, 1, nil
}

// rules are those of identity assertions on the parts of the bench.
func (b *bench) rules(l idjag.Limiter) *idjag.Rules {
	b.t.Helper()
	r, err := idjag.New(idjag.Config{
		Issuer: issuer, View: b.view.Load, Providers: b.room, Limiter: l, Now: b.Now,
		Used: func(ctx context.Context, iss, id string) (bool, error) { return b.grants.Asserted(ctx, iss, id) },
	})
	must(b.t, err)
	return r
}

// managed turns the gateways of a bench over to the provider okta: eng takes assertions and nothing else, support is for
// another team, wide for everybody, login takes OAuth alone, and corps assertions of another provider.
func (b *bench) managed() *directory.Trust {
	trust := &directory.Trust{
		MaxLifetime: 10 * time.Minute, Algorithms: []string{"ES256", "RS256", "PS256", "EdDSA"}, PublicClients: []string{claude},
	}
	mcp, eng := []string{"mcp", "mcp:write"}, compile.Visibility{Teams: []string{"eng"}}
	gateway := func(name string, v compile.Visibility, change func(*directory.Gateway)) *directory.Gateway {
		g := &directory.Gateway{UID: "uid-" + name, Name: name, Visibility: v, IDJAG: true, Scopes: mcp}
		if change != nil {
			change(g)
		}
		return g
	}
	everybody := compile.Visibility{Organization: true}
	b.content.Gateways = []*directory.Gateway{
		gateway("eng", eng, func(g *directory.Gateway) { g.UID, g.AssertedBy = gatewayA, []string{"okta"} }),
		gateway("support", compile.Visibility{Teams: []string{"support"}}, func(g *directory.Gateway) { g.UID = gatewayB }),
		gateway("wide", everybody, nil),
		gateway("login", everybody, func(g *directory.Gateway) { g.IDJAG, g.OAuth = false, true }),
		gateway("corps", everybody, func(g *directory.Gateway) { g.AssertedBy = []string{"corp"} }),
		gateway("shut", everybody, func(g *directory.Gateway) { g.Disabled = true }),
	}
	account := func(uid, name, subject string) *directory.User {
		return &directory.User{User: compile.User{Name: name, UID: uid, Identities: []compile.Identity{{Issuer: b.idp.Issuer, Subject: subject}}}}
	}
	gone := account(user3, "u3@example.com", "sub-3")
	gone.Deactivated = true
	b.content.Users = []*directory.User{account(user1, "u1@example.com", "sub-1"), account(user2, "u2@example.com", "sub-2"), gone}
	b.content.Providers = append(b.content.Providers, &directory.Provider{
		UID: "uid-okta", Name: "okta", Issuer: b.idp.Issuer, IDJAG: trust,
	})
	b.content.Clients = append(b.content.Clients, &directory.Client{
		UID: "uid-claude", Name: claude, Method: directory.MethodNone, RedirectURIs: []string{"https://claude.example/cb"},
	})
	b.publish()
	return trust
}

// registers stores a client that registered itself.
func (b *bench) registers() {
	b.update(func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateClient(ctx, store.Client{
			ID: dynamic, Metadata: []byte(`{"redirect_uris":["http://127.0.0.1/callback"],"grant_types":["authorization_code","` + jwtBearer + `"]}`),
			CreateTime: b.Now(), ExpireTime: b.Now().Add(time.Hour),
		})
		return err
	})
}

// good is the claims of an assertion of u1 for gateway A and the client conf, but for those that the provider makes.
func good(changes map[string]any) map[string]any {
	c := map[string]any{"aud": issuer, "client_id": "conf", "jti": uuid.NewString(), "resource": resA, "scope": "mcp"}
	maps.Copy(c, changes)
	return c
}

// show redeems an assertion as the client conf.
func (b *bench) show(assertion string, pairs ...string) reply {
	return b.token(with(url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}, pairs...), basic("conf", secret))
}

// lastEvent is the newest audit event.
func (b *bench) lastEvent() store.Event {
	b.t.Helper()
	records, err := b.store.Audit(b.t.Context(), 0, 1000)
	must(b.t, err)
	return records[len(records)-1].Event
}

// row is an assertion, and how it is answered.
type row struct {
	id, name  string
	claims    map[string]any // changes of good ones
	header    map[string]any
	sign      loginfake.Signature
	assertion string   // in place of all that
	form      []string // changes of the form
	as        func(*http.Request)
	change    func(*bench, *directory.Trust)

	status int
	code   string // empty is 200
	reason string // of the audit event
	quiet  bool   // nobody is asked for anything
	scope  string // of a good answer
}

func (r row) run(t *testing.T) {
	t.Helper()
	b := newBench(t)
	trust := b.managed()
	claims := good(r.claims)
	if r.change != nil {
		r.change(b, trust)
		b.publish()
	}
	assertion := r.assertion
	if assertion == "" {
		assertion = b.idp.Assertion(r.header, claims, r.sign)
	}
	form := with(url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}, r.form...)
	if r.as == nil {
		r.as = basic("conf", secret)
	}
	a := b.token(form, r.as)
	if r.code == "" {
		r.accepted(t, b, a)
		return
	}
	refused(t, a, r.status, r.code)
	if r.quiet && b.idp.Requests > 0 {
		t.Errorf("%d requests to the provider", b.idp.Requests)
	}
	if r.status >= 500 || r.code == "invalid_request" {
		return
	}
	if e := b.lastEvent(); e.Action != "idjag.rejected" || e.Result != "refused" || e.Reason != r.reason {
		t.Errorf("recorded: %s %s %s, want the reason %s", e.Action, e.Result, e.Reason, r.reason)
	}
	// JAG-9: what was refused is not used up.
	if id, ok := claims["jti"].(string); ok && len(id) == 36 {
		*trust = directory.Trust{MaxLifetime: 10 * time.Minute, Algorithms: []string{"ES256"}}
		idp := b.content.Providers[1]
		idp.Issuer, idp.Disabled, idp.RequiredClaims = b.idp.Issuer, false, nil
		b.publish()
		if a := b.show(b.idp.Assertion(nil, good(map[string]any{"jti": id}), nil)); a.status != http.StatusOK {
			t.Errorf("JAG-9: a good assertion afterwards: %d %s", a.status, a.raw)
		}
	}
}

// accepted checks a good answer (JAG-15).
func (r row) accepted(t *testing.T, b *bench, a reply) {
	t.Helper()
	if a.status != http.StatusOK || a.Next != "" || a.Type != "Bearer" || a.Expiry != 900 || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("answer is %d %s", a.status, a.raw)
	}
	want := r.scope
	if want == "" {
		want = "mcp"
	}
	if _, c, _ := claims(t, a.Access); a.Scope != want || c.Scope != want || c.Method != "id_jag" || c.Grant == "" || c.Issuer != issuer {
		t.Errorf("scope %q, claims %+v", a.Scope, c)
	}
	if e := b.lastEvent(); e.Action != "token.issued" || e.Reason != "id_jag" || e.ActorType != "user" {
		t.Errorf("recorded: %+v", e)
	}
}
