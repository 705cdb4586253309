// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/tokens"
)

// TK-7, TK-11: a refresh a second after the issue gives a new pair; the grant stays the same.
func TestRefresh(t *testing.T) {
	b := newBench(t)
	first, gid := b.login("c1")
	b.Advance(time.Second)
	second := b.token(renew("c1", first.Next, "resource", resA))
	if second.status != http.StatusOK || second.Next == "" || second.Next == first.Next || second.Expiry != 900 {
		t.Fatalf("answer is %d %s", second.status, second.raw)
	}
	_, was, _ := claims(t, first.Access)
	_, is, _ := claims(t, second.Access)
	if is.Grant != gid || is.ID == was.ID || is.Scope != was.Scope || is.AuthTime != was.AuthTime || is.Audience != resA {
		t.Errorf("claims are %+v, were %+v", is, was)
	}
	if !b.active(first.Access) || !b.active(second.Access) {
		t.Error("an access token is not good")
	}
	if !slices.Contains(b.audit(), "token.refreshed ok") {
		t.Errorf("audit is %q", b.audit())
	}
}

// The rows of auth.md §5 and §16 about refresh tokens, with the exact answer. After each refusal the family is untouched.
func TestRefreshAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		form   []string
		wait   time.Duration
		dir    func(*directory.Content)
		over   bool // the family cannot be used afterwards either
		status int
		want   string
		scope  string
	}{
		{name: "TK-12 without scope", status: 200, scope: "mcp mcp:write"},
		{name: "TK-12 narrower", form: []string{"scope", "mcp"}, status: 200, scope: "mcp"},
		{name: "TK-12 the same twice", form: []string{"scope", "mcp  mcp"}, status: 200, scope: "mcp"},
		{name: "97 wider", form: []string{"scope", "mcp mcp:admin"}, status: 400, want: "invalid_scope"},
		{name: "scope with a quote", form: []string{"scope", `mcp"`}, status: 400, want: "invalid_scope"},
		{name: "TK-13 alias", form: []string{"resource", resA + "/"}, status: 200, scope: "mcp mcp:write"},
		{name: "TK-13 another resource", form: []string{"resource", resB}, status: 400, want: "invalid_target"},
		{name: "TK-13 unknown resource", form: []string{"resource", "https://evil.example"}, status: 400, want: "invalid_target"},
		{name: "no token", form: []string{"refresh_token", ""}, status: 400, want: "invalid_request"},
		{name: "token of no form", form: []string{"refresh_token", "x"}, status: 400, want: "invalid_grant"},
		{name: "unknown token", form: []string{"refresh_token", mint("psr_")}, status: 400, want: "invalid_grant"},
		{name: "94 of another client", form: []string{"client_id", "c2"}, status: 400, want: "invalid_grant"},
		{name: "idle for 30 d", wait: 30 * 24 * time.Hour, over: true, status: 400, want: "invalid_grant"},
		{name: "idle for a second less", wait: 30*24*time.Hour - time.Second, status: 200, scope: "mcp mcp:write"},
		{name: "98 user disabled", dir: func(c *directory.Content) {
			u := *c.Users[0]
			u.Deactivated = true
			c.Users = []*directory.User{&u}
		}, status: 400, want: "invalid_grant"},
		{name: "98 left the team", dir: func(c *directory.Content) { c.Teams = nil }, status: 400, want: "invalid_grant"},
		{name: "98 client blocked", dir: func(c *directory.Content) {
			one := *c.Clients[0]
			one.Disabled = true
			c.Clients = append([]*directory.Client{&one}, c.Clients[1:]...)
		}, status: 400, want: "invalid_grant"},
		{name: "client gone", dir: func(c *directory.Content) { c.Clients = c.Clients[1:] }, status: 401, want: "invalid_client"},
		{name: "gateway gone", dir: func(c *directory.Content) { c.Gateways = c.Gateways[1:] }, status: 400, want: "invalid_grant"},
		{name: "provider disabled", dir: func(c *directory.Content) { c.Providers = nil }, status: 400, want: "invalid_grant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			first, _ := b.login("c1")
			before := b.content
			b.Advance(tc.wait)
			if tc.dir != nil {
				tc.dir(&b.content)
				b.publish()
			}
			a := b.token(renew("c1", first.Next, tc.form...))
			if tc.status == http.StatusOK {
				if a.status != http.StatusOK || a.Scope != tc.scope {
					t.Fatalf("answer is %d %s, want scope %q", a.status, a.raw, tc.scope)
				}
				if _, got, _ := claims(t, a.Access); got.Scope != tc.scope {
					t.Errorf("scope of the token is %q", got.Scope)
				}
				if full := b.token(renew("c1", a.Next)); full.Scope != "mcp mcp:write" {
					t.Errorf("the refresh token lost scopes: %d %s", full.status, full.raw)
				}
				return
			}
			refused(t, a, tc.status, tc.want)
			b.content = before
			b.publish()
			if again := b.token(renew("c1", first.Next)); (again.status == http.StatusOK) == tc.over {
				t.Errorf("the family afterwards: %d %s", again.status, again.raw)
			}
		})
	}
}

// TK-6: the absolute end of a grant.
func TestRefreshAbsoluteEnd(t *testing.T) {
	b := newBench(t)
	a, _ := b.login("c1")
	for range 4 {
		b.Advance(20 * 24 * time.Hour)
		if a = b.token(renew("c1", a.Next)); a.status != http.StatusOK {
			t.Fatalf("within 90 days: %d %s", a.status, a.raw)
		}
	}
	token, grant, err := b.store.RefreshToken(t.Context(), sha256.Sum256([]byte(a.Next)))
	must(t, err)
	if !token.ExpireTime.Equal(grant.ExpireTime) {
		t.Errorf("the token ends %s, its grant %s", token.ExpireTime, grant.ExpireTime)
	}
	b.Advance(10 * 24 * time.Hour)
	refused(t, b.token(renew("c1", a.Next)), 400, "invalid_grant")
}

// TK-14: the consent is gone; without one, a client that an administrator trusts goes on.
func TestRefreshConsent(t *testing.T) {
	b := newBench(t)
	first, _ := b.login("c1")
	b.update(func(ctx context.Context, tx store.OAuthTx) error {
		return tx.DeleteConsents(ctx, user1, "c1", gatewayA)
	})
	refused(t, b.token(renew("c1", first.Next)), 400, "invalid_grant")
	trusted, _ := b.login("trusted")
	if a := b.token(renew("trusted", trusted.Next)); a.status != http.StatusOK {
		t.Errorf("trusted client: %d %s", a.status, a.raw)
	}
}

// TK-9, row 95: within the grace the same successor, again and again, also after that one was used.
func TestRefreshGrace(t *testing.T) {
	b := newBench(t)
	first, gid := b.login("c1")
	second := b.token(renew("c1", first.Next))
	third := b.token(renew("c1", second.Next))
	for _, wait := range []time.Duration{0, 59 * time.Second, time.Second} { // 60 s in all
		b.Advance(wait)
		if a := b.token(renew("c1", first.Next)); a.status != http.StatusOK || a.Next != second.Next {
			t.Fatalf("first token again: %d %s", a.status, a.raw)
		}
		if a := b.token(renew("c1", second.Next)); a.status != http.StatusOK || a.Next != third.Next {
			t.Fatalf("second token again: %d %s", a.status, a.raw)
		}
	}
	// TK-8: a moment later it is reuse, and the family ends.
	b.Advance(time.Second)
	refused(t, b.token(renew("c1", first.Next)), 400, "invalid_grant")
	refused(t, b.token(renew("c1", third.Next)), 400, "invalid_grant")
	if b.active(third.Access) {
		t.Error("an access token outlived its family")
	}
	b.revoked(store.RevokeGrant, gid)
	if n := count(b.audit(), "refresh.reuse_detected refused refresh_reused"); n != 1 {
		t.Errorf("reuse is recorded %d times", n)
	}
	if n := count(b.audit(), "token.refreshed refused refresh_reused"); n != 0 {
		t.Error("the reuse is recorded twice")
	}
}

// TK-9: the grace can be off. Another client gets nothing from it, and ends nothing.
func TestRefreshGraceLimits(t *testing.T) {
	b := newBench(t)
	first, _ := b.login("c1")
	second := b.token(renew("c1", first.Next))
	refused(t, b.token(renew("c2", first.Next)), 400, "invalid_grant")
	b.Advance(2 * time.Minute)
	refused(t, b.token(renew("c2", first.Next)), 400, "invalid_grant")
	if a := b.token(renew("c1", second.Next)); a.status != http.StatusOK {
		t.Errorf("another client ended the family: %d %s", a.status, a.raw)
	}
	off := newBench(t, func(g *grants.Config, _ *tokens.Config) { g.Grace = 0 })
	first, _ = off.login("c1")
	second = off.token(renew("c1", first.Next))
	refused(t, off.token(renew("c1", first.Next)), 400, "invalid_grant")
	refused(t, off.token(renew("c1", second.Next)), 400, "invalid_grant")
}

// TK-10: 10 parallel refreshes give 10 × 200 with one and the same successor, the one live token of the family.
func TestRefreshParallel(t *testing.T) { refreshParallel(t, newBench(t)) }

func TestIntegrationRefreshParallelPostgres(t *testing.T) {
	refreshParallel(t, newBenchOn(t, pgtest.Start(t).Database(t)))
}

func refreshParallel(t *testing.T, b *bench) {
	t.Helper()
	first, gid := b.login("c1")
	var next string
	for _, a := range parallel(10, func() reply { return b.token(renew("c1", first.Next)) }) {
		if a.status != http.StatusOK {
			t.Errorf("answer is %d %s", a.status, a.raw)
			continue
		}
		if next == "" {
			next = a.Next
		}
		if a.Next != next || !b.active(a.Access) {
			t.Error("another successor, or an access token that is not good")
		}
	}
	token, grant, err := b.store.RefreshToken(t.Context(), sha256.Sum256([]byte(next)))
	must(t, err)
	if !token.RotateTime.IsZero() || grant.ID != gid {
		t.Error("the successor is not the live token of the family")
	}
	// It is the only child: whoever uses the parent again gets it, and after it is used nothing else is live.
	if a := b.token(renew("c1", next)); a.status != http.StatusOK {
		t.Errorf("the successor: %d %s", a.status, a.raw)
	}
}

// SE-1, TK-9: neither the database nor the log nor the audit holds a token.
func TestNothingLeaks(t *testing.T) {
	b := newBench(t)
	code, _ := b.code("c1")
	first := b.token(redeem("c1", code))
	second := b.token(renew("c1", first.Next))
	refused(t, b.token(renew("c2", second.Next)), 400, "invalid_grant")
	refused(t, b.token(redeem("c1", code)), 400, "invalid_grant")
	path := strings.TrimPrefix(b.url, "sqlite://")
	for _, name := range []string{path, path + "-wal"} {
		raw, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		must(t, err)
		for _, text := range []string{code, first.Next, second.Next, first.Access, second.Access} {
			if bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s holds a token", name)
			}
			if strings.Contains(b.log.String(), text) {
				t.Error("the log holds a token")
			}
		}
	}
}

// revoked checks that the nodes are told.
func (b *bench) revoked(kind store.RevocationKind, key string) {
	b.t.Helper()
	out, err := b.store.Outbox(b.t.Context(), 100)
	must(b.t, err)
	for _, one := range out {
		if one.Kind == kind && one.Key == sha256.Sum256([]byte(key)) {
			// 15 minutes and the clock skew from the revocation on
			if left := one.ExpireTime.Sub(b.Now()); left > 16*time.Minute {
				b.t.Errorf("the entry is kept for %s", left)
			}
			return
		}
	}
	b.t.Errorf("no entry of kind %d in %v", kind, out)
}
