// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/tokens"
)

// JAG-8, row 109: of 20 requests at once with one assertion exactly one is answered with a token, on both databases.
func TestAssertionOnce(t *testing.T) { assertionsParallel(t, newBench(t)) }

func TestIntegrationAssertionOnce(t *testing.T) {
	assertionsParallel(t, newBenchOn(t, pgtest.Start(t).Database(t)))
}

func assertionsParallel(t *testing.T, b *bench) {
	t.Helper()
	b.managed()
	assertion := b.idp.Assertion(nil, good(nil), nil)
	const all = 20
	answers := make([]reply, all)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range all {
		wg.Go(func() {
			<-start
			answers[i] = b.show(assertion)
		})
	}
	close(start)
	wg.Wait()
	accepted := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			accepted++
			continue
		}
		refused(t, a, 400, "invalid_grant")
	}
	if n := count(b.audit(), "idjag.accepted ok"); accepted != 1 || n != 1 {
		t.Errorf("%d of %d are accepted, %d are recorded", accepted, all, n)
	}
	if n := count(b.audit(), "idjag.rejected refused assertion_replayed"); n != all-1 {
		t.Errorf("%d replays are recorded", n)
	}
}

// JAG-8: an assertion is used up until it is over by every clock, and its `jti` is its issuer's alone.
func TestAssertionReplayed(t *testing.T) {
	b := newBench(t)
	b.managed()
	claims := good(map[string]any{"jti": "1"})
	text := b.idp.Assertion(nil, claims, nil)
	if a := b.show(text); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	for _, wait := range []time.Duration{0, 5*time.Minute + 59*time.Second - time.Second} {
		b.Advance(wait)
		refused(t, b.show(text), 400, "invalid_grant")
		if e := b.lastEvent(); e.Reason != grants.ReasonAssertionReplayed {
			t.Errorf("after %s: %s", wait, e.Reason)
		}
	}
	refused(t, b.show(b.idp.Assertion(nil, claims, nil)), 400, "invalid_grant") // another one with its name
	b.Advance(time.Hour)
	refused(t, b.show(text), 400, "invalid_grant")
	if e := b.lastEvent(); e.Reason != "assertion_expired" {
		t.Errorf("at last: %s", e.Reason)
	}
	other := loginfake.New(t)
	other.Now = b.Now
	second := *b.content.Providers[1]
	second.Name, second.Issuer = "corp", other.Issuer
	b.content.Providers[0] = &second
	b.content.Gateways[0].AssertedBy = nil
	b.publish()
	// The same sub under another issuer is somebody else (JAG-12), and nobody whom Penstock knows.
	refused(t, b.show(other.Assertion(nil, good(map[string]any{"jti": "1"}), nil)), 400, "invalid_grant")
	if e := b.lastEvent(); e.Reason != "login_not_allowed" {
		t.Errorf("the subject of another issuer: %s", e.Reason)
	}
	b.content.Users[0].Identities = append(b.content.Users[0].Identities, b.content.Users[0].Identities[0])
	b.content.Users[0].Identities[1].Issuer = other.Issuer
	b.publish()
	if a := b.show(other.Assertion(nil, good(map[string]any{"jti": "1"}), nil)); a.status != http.StatusOK {
		t.Errorf("the same jti of another issuer: %d %s", a.status, a.raw)
	}
}

// An assertion that was used makes no user (JAG-8, JAG-12): the control plane is not even asked.
func TestReplayMakesNobody(t *testing.T) {
	b := newBench(t)
	b.managed()
	b.makes.Store(true)
	text := b.idp.Assertion(nil, good(map[string]any{"sub": "new", "email": "new@example.com", "resource": origin + "/v1/mcp/wide"}), nil)
	if a := b.show(text); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	b.content.Users = b.content.Users[:3]
	b.publish()
	refused(t, b.show(text), 400, "invalid_grant")
	if n := b.asked.Load(); n != 1 {
		t.Errorf("the control plane was asked %d times", n)
	}
}

// Row 124: without the store nothing is accepted, and the assertion is good afterwards.
func TestAssertionStoreAway(t *testing.T) {
	away := new(awayStore)
	b := newBench(t, func(g *grants.Config, _ *tokens.Config) {
		away.OAuth = g.Store
		g.Store = away
	})
	b.managed()
	text := b.idp.Assertion(nil, good(nil), nil)
	away.away = true
	refused(t, b.show(text), 503, "temporarily_unavailable")
	away.away = false
	if a := b.show(text); a.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.status, a.raw)
	}
	b.view.Store(nil)
	refused(t, b.show(b.idp.Assertion(nil, good(nil), nil)), 503, "temporarily_unavailable")
}

// JAG-15, TK-4: what the token and the grant say, and that they end with what they rest on.
func TestAssertionGrant(t *testing.T) {
	b := newBench(t)
	trust := b.managed()
	login := b.Now().Add(-time.Hour)
	text := b.idp.Assertion(nil, good(map[string]any{
		"auth_time": login.Unix(), "amr": []string{"mfa"}, "sid": "session-1", "acr": "high", "scope": "mcp mcp:write",
	}), nil)
	a := b.show(text, "resource", resA)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	_, c, _ := claims(t, a.Access)
	now := b.Now().Unix()
	want := grants.Claims{
		Issuer: issuer, Subject: user1, Audience: resA, Client: "conf", Expires: now + 900, Issued: now, ID: c.ID, Scope: "mcp mcp:write",
		Method: "id_jag", Grant: c.Grant, AuthTime: login.Unix(), AMR: []string{"mfa"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	g, err := b.store.Grant(t.Context(), c.Grant)
	must(t, err)
	if diff := cmp.Diff(store.Subject{Issuer: b.idp.Issuer, Subject: "sub-1", Session: "session-1"}, g.Origin); diff != "" || g.Provider != "okta" {
		t.Errorf("grant of %s: %s", g.Provider, diff)
	}
	eng, okta := b.content.Gateways[0], b.content.Providers[1]
	for name, off := range map[string]func(on bool){
		"gateway without assertions": func(on bool) { eng.IDJAG = on },
		"another provider's":         func(on bool) { eng.AssertedBy = map[bool][]string{true: {"okta"}, false: {"corp"}}[on] },
		"provider without trust":     func(on bool) { okta.IDJAG = map[bool]*directory.Trust{true: trust}[on] },
		"provider disabled":          func(on bool) { okta.Disabled = !on },
		"user deactivated":           func(on bool) { b.content.Users[0].Deactivated = !on },
	} {
		off(false)
		b.publish()
		if b.active(a.Access) {
			t.Errorf("%s: the token is good", name)
		}
		off(true)
		b.publish()
		if !b.active(a.Access) {
			t.Errorf("%s: the token is not good again", name)
		}
	}
	must(t, b.grants.RevokeUser(t.Context(), user1))
	if b.active(a.Access) {
		t.Error("the token outlives what the user had")
	}
	b.revoked(store.RevokeGrant, c.Grant)
	// What OAuth gave is no concern of assertions: the gateway takes none of it.
	other, _ := b.code("c1")
	refused(t, b.token(redeem("c1", other)), 400, "invalid_grant")
	b.silent(t, text, a.Access, "sub-1", "session-1")
}

// silent fails the test if the log, or an audit event, has what nobody may read there (JAG-19, AU-4).
func (b *bench) silent(t *testing.T, secrets ...string) {
	t.Helper()
	records, err := b.store.Audit(t.Context(), 0, 1000)
	must(t, err)
	all := b.log.String()
	for _, r := range records {
		all += string(r.JSON)
	}
	for _, s := range secrets {
		if strings.Contains(all, s) {
			t.Errorf("%.20s… is in the log or in an event", s)
		}
	}
	for _, want := range []string{`"sub_hash":"` + store.Digest("sub-1"), `"decision":"accepted"`, `"client_id":"conf"`} {
		if !strings.Contains(all, want) {
			t.Errorf("neither log nor events have %s", want)
		}
	}
}

// JAG-20: wrong signatures slow their address down, which then costs the provider nothing, and many assertions their client.
func TestAssertionLimits(t *testing.T) {
	b := newBench(t)
	b.managed()
	limiter, err := limit.New(limit.Config{Now: b.Now, Rates: map[string]limit.Rate{limit.Assertion: {PerMinute: 60, Burst: 20}}})
	must(t, err)
	e, err := tokens.New(tokens.Config{
		Issuer: issuer, Grants: b.grants, Clients: b.people, Keys: b.keys, View: b.view.Load, Store: b.store, AccessTTL: 15 * time.Minute,
		Assertions: b.rules(limiter), Log: b.logger, Now: b.Now,
	})
	must(t, err)
	b.endpoint = e
	from := func(address string) func(string) reply {
		return func(assertion string) reply {
			return b.token(with(map[string][]string{"grant_type": {jwtBearer}}, "assertion", assertion), basic("conf", secret), func(r *http.Request) {
				*r = *r.WithContext(reqctx.With(r.Context(), reqctx.Info{IP: netip.MustParseAddr(address)}))
			})
		}
	}
	here, there := from("192.0.2.1"), from("192.0.2.2")
	wrong := func() string { return b.idp.Assertion(nil, good(nil), loginfake.Foreign) }
	for range 10 {
		refused(t, here(wrong()), 400, "invalid_grant")
	}
	refused(t, here(wrong()), 429, "too_many_requests")
	before := b.idp.Requests
	a := here(b.idp.Assertion(nil, good(nil), nil))
	refused(t, a, 429, "too_many_requests")
	if a.header.Get("Retry-After") == "" || b.idp.Requests != before {
		t.Errorf("Retry-After is %q, %d requests to the provider", a.header.Get("Retry-After"), b.idp.Requests-before)
	}
	for range 8 { // with the twelve before them, all that the client has
		if a := there(b.idp.Assertion(nil, good(nil), nil)); a.status != http.StatusOK {
			t.Fatalf("another address: %d %s", a.status, a.raw)
		}
	}
	refused(t, there(b.idp.Assertion(nil, good(nil), nil)), 429, "too_many_requests")
	b.Advance(time.Second)
	if a := there(b.idp.Assertion(nil, good(nil), nil)); a.status != http.StatusOK {
		t.Errorf("a second later: %d %s", a.status, a.raw)
	}
}
