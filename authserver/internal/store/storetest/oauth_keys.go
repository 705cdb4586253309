// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

func signingKey(id string, state store.SigningKeyState, minute int) store.SigningKey {
	return store.SigningKey{
		ID: id, Public: []byte(`{"kty":"EC"}`), KeyID: "local/1", Sealed: []byte("\x00\xffsealed"), State: state,
		CreateTime: at(minute), StateTime: at(minute),
	}
}

func signingKeys(t *testing.T, s store.Store) {
	list := func() []store.SigningKey { return got[[]store.SigningKey](t)(s.SigningKeys(t.Context())) }
	if n := list(); n != nil {
		t.Errorf("an empty store has the keys %v", n)
	}
	older, newer := signingKey("kid1", store.KeyActive, 0), signingKey("kid2", store.KeyNext, 10)
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.CreateSigningKey(ctx, older), tx.CreateSigningKey(ctx, newer))
	})
	wantExists(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.CreateSigningKey(ctx, older) })
	same(t, list(), []store.SigningKey{newer, older})

	set := func(id string, from, to store.SigningKeyState) func(context.Context, store.OAuthTx) (bool, error) {
		return func(ctx context.Context, tx store.OAuthTx) (bool, error) {
			return tx.SetSigningKeyState(ctx, id, from, to, at(20))
		}
	}
	told(t, s, true, set("kid1", store.KeyActive, store.KeyRetired))
	told(t, s, false, set("kid1", store.KeyActive, store.KeyRetired))
	told(t, s, false, set("unknown", store.KeyActive, store.KeyRetired))
	older.State, older.StateTime = store.KeyRetired, at(20)
	same(t, list(), []store.SigningKey{newer, older})
	told(t, s, true, set("kid1", store.KeyRetired, store.KeyRevoked))

	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteSigningKey(ctx, "kid1") })
	same(t, list(), []store.SigningKey{newer})
}

// sealedRows is SE-3: what a key of the vault sealed is known, and is replaced once.
func sealedRows(t *testing.T, s store.Store) {
	put(t, s, secret("c1", "v_1"))
	older, newer := signingKey("kid1", store.KeyRetired, 0), signingKey("kid2", store.KeyActive, 10)
	older.KeyID, newer.KeyID = "local/2", "local/3"
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.CreateSigningKey(ctx, older), tx.CreateSigningKey(ctx, newer))
	})
	same(t, got[[]string](t)(s.SecretKeyIDs(t.Context())), []string{"local/1", "local/2", "local/3"})
	want := store.SealedRow{Table: "signing_keys", Row: "kid1", Column: "sealed", KeyID: "local/2", Sealed: older.Sealed}
	same(t, got[[]store.SealedRow](t)(s.SealedRows(t.Context(), "local/3")), []store.SealedRow{want})
	if n := len(got[[]store.SealedRow](t)(s.SealedRows(t.Context(), "local/9"))); n != 2 {
		t.Errorf("%d rows are under another key than one that sealed none, want 2", n)
	}

	want.KeyID, want.Sealed = "local/3", []byte("anew\x00\xff")
	for i, did := range []bool{true, false} { // the second comes too late
		if done := got[bool](t)(s.ResealRow(t.Context(), want, "local/2")); done != did {
			t.Errorf("reseal %d is %v, want %v", i+1, done, did)
		}
	}
	older.KeyID, older.Sealed = want.KeyID, want.Sealed // and nothing else is
	same(t, got[[]store.SigningKey](t)(s.SigningKeys(t.Context())), []store.SigningKey{newer, older})
	same(t, got[[]string](t)(s.SecretKeyIDs(t.Context())), []string{"local/1", "local/3"})
	want.Row = "unknown"
	if got[bool](t)(s.ResealRow(t.Context(), want, "local/3")) {
		t.Error("a key that is not there is sealed anew")
	}
	want.Table = "secrets"
	if _, err := s.ResealRow(t.Context(), want, "local/3"); err == nil {
		t.Error("a table without such rows is taken")
	}
}

func concurrentKeys(t *testing.T, s store.Store) {
	made := parallel(t, s, 8, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		keys, err := tx.SigningKeys(ctx)
		if err != nil || len(keys) > 0 {
			return false, err
		}
		return true, tx.CreateSigningKey(ctx, signingKey(fmt.Sprint("kid", i), store.KeyActive, i))
	})
	if n := len(got[[]store.SigningKey](t)(s.SigningKeys(t.Context()))); made != 1 || n != 1 {
		t.Errorf("%d processes made a key, %d are stored, want 1", made, n)
	}
}

func useJTI(issuer, jti string, minute int) func(context.Context, store.OAuthTx) (bool, error) {
	return func(ctx context.Context, tx store.OAuthTx) (bool, error) {
		return tx.UseJTI(ctx, issuer, jti, at(minute))
	}
}

func jtis(t *testing.T, s store.Store) {
	told(t, s, true, useJTI("https://a.example", "1", 5))
	told(t, s, false, useJTI("https://a.example", "1", 500))
	told(t, s, true, useJTI("https://a.example", "2", 5))
	told(t, s, true, useJTI("https://b.example", "1", 5))
	told(t, s, true, useJTI("https://b.example1", "", 5)) // the border between the two cannot be moved
	long := strings.Repeat("\x00\xff", 5000)
	told(t, s, true, useJTI(long, long, 5))
	told(t, s, false, useJTI(long, long, 5))

	collected := func(minute int) {
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
			_, err := tx.Collect(ctx, at(minute))
			return err
		})
	}
	collected(5)
	told(t, s, false, useJTI("https://a.example", "1", 500))
	collected(500)
	told(t, s, true, useJTI("https://a.example", "1", 900))
	told(t, s, false, useJTI("https://a.example", "1", 900))
}

func concurrentJTIs(t *testing.T, s store.Store) {
	if n := parallel(t, s, 20, func(ctx context.Context, tx store.OAuthTx, _ int) (bool, error) {
		return tx.UseJTI(ctx, "https://a.example", "1", at(5))
	}); n != 1 {
		t.Errorf("%d uses of one jti were new, want 1", n)
	}
}

func outbox(t *testing.T, s store.Store) {
	want := []store.Revocation{
		{Kind: store.RevokeGrant, Key: hash("g1"), ExpireTime: at(15)},
		{Kind: store.RevokeToken, Key: hash("j1"), ExpireTime: at(16)},
		{Kind: store.RevokeSubject, Key: hash("u1"), ExpireTime: at(17), IssuedBefore: at(2)},
		{Kind: store.RevokeKey, Key: hash("kid1"), ExpireTime: at(18)},
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.Revoke(ctx, want[0]), tx.Revoke(ctx, want[1]))
	})
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.Revoke(ctx, want[2]) })
	list := func(limit int) []store.Revocation {
		t.Helper()
		found := got[[]store.Revocation](t)(s.Outbox(t.Context(), limit))
		for i := 1; i < len(found); i++ {
			if found[i].ID <= found[i-1].ID {
				t.Errorf("id %d follows id %d", found[i].ID, found[i-1].ID)
			}
		}
		return found
	}
	bare := func(l []store.Revocation) []store.Revocation {
		l = append([]store.Revocation(nil), l...)
		for i := range l {
			l[i].ID = 0
		}
		return l
	}
	all := list(10)
	same(t, bare(all), want[:3])
	same(t, list(2), all[:2])
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.DeleteOutbox(ctx, []int64{all[0].ID, all[2].ID, 4711})
	})
	same(t, list(10), all[1:2])
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteOutbox(ctx, []int64{all[1].ID}) })
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.Revoke(ctx, want[3]) })
	last := list(10)
	same(t, bare(last), want[3:])
	if last[0].ID <= all[2].ID { // an acknowledgement of the old one may still be under way
		t.Errorf("id %d was given again after %d", last[0].ID, all[2].ID)
	}
}
