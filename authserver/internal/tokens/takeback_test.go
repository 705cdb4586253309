// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// TestCodesAreTakenBack: a code that was issued before somebody took everything back makes no grant afterwards, not for a
// trusted client either, whose grants rest on no consent.
func TestCodesAreTakenBack(t *testing.T) {
	b := newBench(t)
	code, _ := b.code("trusted")
	other, _ := b.code("c1")
	must(t, b.grants.RevokeConsent(t.Context(), user1, "trusted", gatewayA))
	refused(t, b.token(redeem("trusted", code)), 400, "invalid_grant")
	must(t, b.grants.RevokeUser(t.Context(), user1))
	refused(t, b.token(redeem("c1", other)), 400, "invalid_grant")
	if again, _ := b.login("c1"); !b.active(again.Access) {
		t.Error("a new login is refused")
	}
}

// TestLogOut is SF-2: what rests on logins with the provider ends, the rest goes on, and the same token ends nothing again.
func TestLogOut(t *testing.T) {
	b := newBench(t)
	code, gid := b.code("c1", func(c *store.Code) { c.Grant.Provider = "corp" })
	theirs := b.token(redeem("c1", code))
	ownCode, _ := b.code("c1", func(c *store.Code) { c.Grant.Provider = "" })
	own := b.token(redeem("c1", ownCode))
	hash := func(name string) store.Hash { return sha256.Sum256([]byte(name)) }
	put := func(name, provider string) {
		must(t, b.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			return tx.PutLogin(ctx, store.Login{Hash: hash(name), User: user1, Provider: provider, AuthTime: b.Now(), UseTime: b.Now(), ExpireTime: b.Now().Add(time.Hour)})
		}))
	}
	there := func(name string) bool {
		_, err := b.store.Login(t.Context(), hash(name))
		return err == nil
	}
	put("theirs", "corp")
	put("own", "")
	end := b.Now().Add(12 * time.Minute).UTC().Truncate(time.Microsecond)
	must(t, b.grants.LogOut(t.Context(), user1, "corp", "j1", end))
	if b.active(theirs.Access) || !b.active(own.Access) || there("theirs") || !there("own") {
		t.Errorf("tokens: %t %t, logins: %t %t", b.active(theirs.Access), b.active(own.Access), there("theirs"), there("own"))
	}
	refused(t, b.token(renew("c1", theirs.Next)), 400, "invalid_grant")
	list, err := b.store.Outbox(t.Context(), 10)
	must(t, err)
	if !slices.ContainsFunc(list, func(r store.Revocation) bool {
		return r.Kind == store.RevokeGrant && r.Key == sha256.Sum256([]byte(gid))
	}) {
		t.Errorf("nodes hear nothing of the grant: %+v", list)
	}
	put("again", "corp")
	must(t, b.grants.LogOut(t.Context(), user1, "corp", "j1", end))
	if !there("again") {
		t.Error("a token that was used ends a login again")
	}
	must(t, b.grants.LogOut(t.Context(), user1, "corp", "j2", end))
	if there("again") {
		t.Error("another token ends nothing")
	}
	if b.grants.LogOut(t.Context(), "", "corp", "j3", end) == nil || b.grants.LogOut(t.Context(), user1, "", "j3", end) == nil {
		t.Error("nobody is logged out")
	}
}

// TestLogOutSession: a token that names a session at the provider ends what came from that one, whoever's it is, once.
func TestLogOutSession(t *testing.T) {
	b := newBench(t)
	of := func(session string) func(*store.Code) {
		return func(c *store.Code) { c.Grant.Provider, c.Grant.Session = "corp", session }
	}
	code, _ := b.code("c1", of("s1"))
	one := b.token(redeem("c1", code))
	code, _ = b.code("c1", of("s2"))
	two := b.token(redeem("c1", code))
	waiting, _ := b.code("c1", of("s1"))
	hash := func(name string) store.Hash { return sha256.Sum256([]byte(name)) }
	put := func(name, session string) {
		must(t, b.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			return tx.PutLogin(ctx, store.Login{Hash: hash(name), User: user1, Provider: "corp", Session: session, AuthTime: b.Now(), UseTime: b.Now(), ExpireTime: b.Now().Add(time.Hour)})
		}))
	}
	there := func(name string) bool {
		_, err := b.store.Login(t.Context(), hash(name))
		return err == nil
	}
	put("one", "s1")
	put("two", "s2")
	end := b.Now().Add(12 * time.Minute).UTC().Truncate(time.Microsecond)
	must(t, b.grants.LogOutSession(t.Context(), "corp", "s1", "j1", end))
	if b.active(one.Access) || !b.active(two.Access) || there("one") || !there("two") {
		t.Errorf("tokens: %t %t, logins: %t %t", b.active(one.Access), b.active(two.Access), there("one"), there("two"))
	}
	refused(t, b.token(renew("c1", one.Next)), 400, "invalid_grant")
	refused(t, b.token(redeem("c1", waiting)), 400, "invalid_grant")
	put("again", "s1")
	must(t, b.grants.LogOutSession(t.Context(), "corp", "s1", "j1", end))
	if !there("again") {
		t.Error("a token that was used ends a login again")
	}
	must(t, b.grants.LogOutSession(t.Context(), "corp", "s1", "j2", end))
	if there("again") {
		t.Error("another token ends nothing")
	}
	if b.grants.LogOutSession(t.Context(), "", "s1", "j3", end) == nil || b.grants.LogOutSession(t.Context(), "corp", "", "j3", end) == nil {
		t.Error("no session is ended")
	}
}

// TestEndUser: what a user had is ended once for each time of being deactivated, and what came since stays.
func TestEndUser(t *testing.T) {
	b := newBench(t)
	at := b.Now()
	first, _ := b.login("c1")
	must(t, b.grants.EndUser(t.Context(), user1, at))
	if b.active(first.Access) {
		t.Error("a token of before is good")
	}
	b.Advance(2 * time.Second)
	second, _ := b.login("c1")
	for _, again := range []time.Time{at, at.Add(-time.Hour)} {
		must(t, b.grants.EndUser(t.Context(), user1, again))
	}
	if !b.active(second.Access) {
		t.Error("what came since is gone, for an end that was done")
	}
	must(t, b.grants.EndUser(t.Context(), user1, at.Add(time.Second)))
	if b.active(second.Access) {
		t.Error("the user was deactivated once more, and a token is good")
	}
	third, _ := b.login("c1")
	must(t, b.grants.EndUser(t.Context(), user1, time.Time{}))
	if b.active(third.Access) {
		t.Error("an end without a time ends nothing")
	}
}

// TestTakeBackOfAUser: the entry for the user takes nothing away that she gets in the same second, and what had been issued
// in it, or is being signed, goes with its grant.
func TestTakeBackOfAUser(t *testing.T) {
	b := newBench(t)
	b.Advance(500 * time.Millisecond)
	_, gid := b.login("c1")
	must(t, b.grants.RevokeUser(t.Context(), user1))
	b.Advance(100 * time.Millisecond)
	again, _ := b.login("c1")
	_, body, _ := claims(t, again.Access)
	second := time.Unix(body.Issued, 0) // as nodes read it

	list, err := b.store.Outbox(t.Context(), 10)
	must(t, err)
	var subject, grant bool
	for _, r := range list {
		switch {
		case r.Kind == store.RevokeSubject && r.Key == sha256.Sum256([]byte(user1)):
			subject = true
			if !second.After(r.IssuedBefore) {
				t.Errorf("a token of %v counts as issued before %v", second, r.IssuedBefore)
			}
			if second.Add(-time.Second).After(r.IssuedBefore) {
				t.Errorf("a token of the second before counts as issued after %v", r.IssuedBefore)
			}
		case r.Kind == store.RevokeGrant && r.Key == sha256.Sum256([]byte(gid)):
			grant = true
		}
	}
	if !subject || !grant {
		t.Errorf("nodes are told %+v", list)
	}
}

// TestInspectWritesNothing: nodes ask about a revoked token by reading alone.
func TestInspectWritesNothing(t *testing.T) {
	b := newBench(t)
	a, _ := b.login("c1")
	_, body, _ := claims(t, a.Access)
	if !b.active(a.Access) {
		t.Fatal("the token is not good")
	}
	b.update(func(ctx context.Context, tx store.OAuthTx) error {
		fresh, err := tx.UseJTI(ctx, "penstock:revoked-access-tokens", body.ID, b.Now().Add(time.Hour))
		if !fresh {
			t.Error("asking about a token used its jti")
		}
		return err
	})
	if b.active(a.Access) {
		t.Error("a revoked token is good")
	}
}

// TestRefusalsNameTheClient: an auditor sees who it was that failed to authenticate, by HTTP Basic too (AU-2).
func TestRefusalsNameTheClient(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"conf", "nobody", "https%3A%2F%2Fc.example%2Fc.json", "bad%00id"} {
		b.token(with(renew("", "psr_x"), "client_id", ""), func(r *http.Request) { r.SetBasicAuth(name, "wrong") })
	}
	records, err := b.store.Audit(t.Context(), 0, 10)
	must(t, err)
	var got []string
	for _, r := range records {
		if r.Event.Action == "token.refreshed" {
			got = append(got, r.Event.Client)
		}
	}
	if want := []string{"conf", "nobody", "https://c.example/c.json", ""}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}
