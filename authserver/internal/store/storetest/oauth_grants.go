// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

func redeem(name string, minute int) func(context.Context, store.OAuthTx) (bool, error) {
	return func(ctx context.Context, tx store.OAuthTx) (bool, error) {
		return tx.RedeemCode(ctx, hash(name), at(minute))
	}
}

func codes(t *testing.T, s store.Store) {
	want := code("k1")
	want.Grant.Origin = store.Subject{Issuer: "https://idp.example", Subject: "a|b"}
	put := func(ctx context.Context, tx store.OAuthTx) error { return tx.PutCode(ctx, want) }
	update(t, s, put)
	wantExists(t, s, put)
	same(t, got[store.Code](t)(s.Code(t.Context(), hash("k1"))), want)
	_, err := s.Grant(t.Context(), want.Grant.ID)
	wantMissing(t, err)

	told(t, s, true, redeem("k1", 0))
	told(t, s, false, redeem("k1", 0))
	told(t, s, false, redeem("unknown", 0))
	made := want.Grant
	made.UseTime = at(0)
	same(t, got[store.Grant](t)(s.Grant(t.Context(), want.Grant.ID)), made)
	want.RedeemTime = at(0)
	same(t, got[store.Code](t)(s.Code(t.Context(), hash("k1"))), want)

	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutCode(ctx, code("late")) })
	told(t, s, false, redeem("late", 1))
	_, err = s.Grant(t.Context(), "grant of late")
	wantMissing(t, err)

	// A grant that is there already belongs to somebody: the code stays as it is.
	thief := code("thief")
	thief.Grant.ID = want.Grant.ID
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutCode(ctx, thief) })
	wantExists(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.RedeemCode(ctx, hash("thief"), at(0))
		return err
	})
	same(t, got[store.Code](t)(s.Code(t.Context(), hash("thief"))), thief)
	_, err = s.Code(t.Context(), hash("unknown"))
	wantMissing(t, err)
}

func concurrentCodes(t *testing.T, s store.Store) {
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutCode(ctx, code("k1")) })
	redeemed := parallel(t, s, 50, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		did, err := redeem("k1", 0)(ctx, tx)
		if err != nil || !did {
			return false, err
		}
		return true, tx.PutRefreshToken(ctx, token(fmt.Sprint("t", i), "grant of k1", 0))
	})
	if redeemed != 1 {
		t.Errorf("%d redemptions of one code, want 1", redeemed)
	}
	if list := got[[]store.Grant](t)(s.Grants(t.Context(), "u1", at(0))); len(list) != 1 {
		t.Errorf("%d grants, want 1", len(list))
	}
}

func revoke(id string, minute int) func(context.Context, store.OAuthTx) (bool, error) {
	return func(ctx context.Context, tx store.OAuthTx) (bool, error) { return tx.RevokeGrant(ctx, id, at(minute)) }
}

func grants(t *testing.T, s store.Store) {
	first, second, over, service := grant("g1"), grant("g2"), grant("g3"), grant("g4")
	second.CreateTime, over.ExpireTime = at(1), at(50)
	service.User, service.AMR, service.Provider = "", nil, ""
	second.RedirectHost, second.Origin = "", store.Subject{Issuer: "https://idp.example", Subject: "a|b", Session: "s1"}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
		for _, g := range []store.Grant{first, second, over, service} {
			err = errors.Join(err, tx.PutGrant(ctx, g))
		}
		return err
	})
	wantExists(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutGrant(ctx, first) })
	list := func(minute int) []store.Grant { return got[[]store.Grant](t)(s.Grants(t.Context(), "u1", at(minute))) }
	same(t, list(49), []store.Grant{second, first, over})
	same(t, list(50), []store.Grant{second, first})
	same(t, got[store.Grant](t)(s.Grant(t.Context(), "g4")), service)

	told(t, s, true, revoke("g1", 10))
	told(t, s, false, revoke("g1", 11))
	told(t, s, false, revoke("unknown", 11))
	first.RevokeTime = at(10)
	same(t, got[store.Grant](t)(s.Grant(t.Context(), "g1")), first)
	same(t, list(50), []store.Grant{second})
}

func concurrentRevocations(t *testing.T, s store.Store) {
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutGrant(ctx, grant("g1")) })
	if n := parallel(t, s, 10, func(ctx context.Context, tx store.OAuthTx, _ int) (bool, error) {
		return tx.RevokeGrant(ctx, "g1", at(1))
	}); n != 1 {
		t.Errorf("%d revocations of one grant, want 1", n)
	}
}

// family stores a grant with its first token.
func family(t *testing.T, s store.Store, grantID, first string) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.PutGrant(ctx, grant(grantID)), tx.PutRefreshToken(ctx, token(first, grantID, 0)))
	})
}

func rotate(parent string, next store.RefreshToken) func(context.Context, store.OAuthTx) (bool, error) {
	return func(ctx context.Context, tx store.OAuthTx) (bool, error) {
		return tx.RotateRefreshToken(ctx, hash(parent), next, []byte("sealed "+parent))
	}
}

func wantToken(t *testing.T, s store.Store, name string, want store.RefreshToken, of store.Grant) {
	t.Helper()
	n, g, err := s.RefreshToken(t.Context(), hash(name))
	must(t, err)
	same(t, n, want)
	same(t, g, of)
}

func refresh(t *testing.T, s store.Store) {
	family(t, s, "g1", "t1")
	family(t, s, "g2", "other")
	g, t1, t2 := grant("g1"), token("t1", "g1", 0), token("t2", "g1", 10)
	wantToken(t, s, "t1", t1, g)
	wantExists(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutRefreshToken(ctx, token("second", "g1", 0))
	})

	told(t, s, true, rotate("t1", t2))
	told(t, s, false, rotate("t1", token("t3", "g1", 11)))
	told(t, s, false, rotate("unknown", token("t3", "g1", 11)))
	told(t, s, false, rotate("t2", token("t3", "g2", 11))) // of another family
	g.UseTime, t1.RotateTime, t1.Successor = at(10), at(10), []byte("sealed t1")
	wantToken(t, s, "t1", t1, g)
	wantToken(t, s, "t2", t2, g)
	_, _, err := s.RefreshToken(t.Context(), hash("t3"))
	wantMissing(t, err)
	wantToken(t, s, "other", token("other", "g2", 0), grant("g2"))

	told(t, s, true, rotate("t2", token("t3", "g1", 12)))
	g.UseTime = at(12)
	wantToken(t, s, "t3", token("t3", "g1", 12), g)
	// Without a time the parent would stay live.
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.RotateRefreshToken(ctx, hash("t3"), store.RefreshToken{Hash: hash("t4"), Grant: "g1"}, nil)
		return err
	}); err == nil {
		t.Error("a token without a create time was stored")
	}
}

func refreshRevoked(t *testing.T, s store.Store) {
	family(t, s, "g1", "t1")
	told(t, s, true, revoke("g1", 5))
	told(t, s, false, rotate("t1", token("t2", "g1", 6)))
	g := grant("g1")
	g.RevokeTime = at(5)
	wantToken(t, s, "t1", token("t1", "g1", 0), g)
	_, _, err := s.RefreshToken(t.Context(), hash("t2"))
	wantMissing(t, err)
}

// concurrentRefreshes does what a token endpoint does (TK-9), half of the time without reading first. More than once: what
// happens within the first one is luck.
func concurrentRefreshes(t *testing.T, s store.Store) {
	for round := range 5 {
		refreshTogether(t, s, fmt.Sprint("g", round))
	}
}

func refreshTogether(t *testing.T, s store.Store, of string) {
	t.Helper()
	parent := "first of " + of
	family(t, s, of, parent)
	const callers = 10
	seen := make([]string, callers)
	next := func(i int) string { return fmt.Sprint("next ", i, " of ", of) }
	won := parallel(t, s, callers, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		if i%2 == 0 {
			if _, _, err := tx.RefreshToken(ctx, hash(parent)); err != nil {
				return false, err
			}
		}
		did, err := tx.RotateRefreshToken(ctx, hash(parent), token(next(i), of, 1), []byte(next(i)))
		if err != nil || did {
			seen[i] = next(i)
			return did, err
		}
		p, _, err := tx.RefreshToken(ctx, hash(parent))
		seen[i] = string(p.Successor)
		return false, err
	})
	if won != 1 {
		t.Errorf("%d rotations of one token, want 1", won)
	}
	live := 0
	for i := range callers {
		if seen[i] != seen[0] || seen[i] == "" {
			t.Errorf("caller %d got %q, caller 0 got %q", i, seen[i], seen[0])
		}
		n, _, err := s.RefreshToken(t.Context(), hash(next(i)))
		switch {
		case err == nil && n.RotateTime.IsZero():
			live++
		case !errors.Is(err, store.RowMissing()):
			t.Errorf("token %d: %+v, %v", i, n, err)
		}
	}
	if live != 1 {
		t.Errorf("%d live tokens in the family, want 1", live)
	}
}
