// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// askJTIs: to ask is not to use, and what a transaction has just used is used for it.
func askJTIs(t *testing.T, s store.Store) {
	used := func(issuer, jti string) bool { return got[bool](t)(s.JTIUsed(t.Context(), issuer, jti)) }
	for range 2 {
		if used("i", "1") {
			t.Error("what was only asked about is used")
		}
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		if fresh, err := tx.UseJTI(ctx, "i", "1", at(5)); err != nil || !fresh {
			return fmt.Errorf("use a jti: %v, %w", fresh, err)
		}
		if seen, err := tx.JTIUsed(ctx, "i", "1"); err != nil || !seen {
			return fmt.Errorf("ask about a jti: %v, %w", seen, err)
		}
		return nil
	})
	if !used("i", "1") || used("i1", "") || used("i", "2") || used("", "i1") || used("i", "\x00\xff") {
		t.Error("the wrong ones are used")
	}
}

func passwordUsers(t *testing.T, s store.Store) {
	for i, user := range []string{"u3", "u1", "u2", "u4"} {
		p := store.Password{User: user, Encoded: "$argon2id$x", UpdateTime: at(i)}
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutPassword(ctx, p) })
	}
	for _, c := range []struct {
		before, limit int
		after         string
		want          []string
	}{
		{9, 9, "", []string{"u1", "u2", "u3", "u4"}},
		{9, 2, "", []string{"u1", "u2"}},
		{9, 2, "u2", []string{"u3", "u4"}},
		{3, 9, "", []string{"u1", "u2", "u3"}},
		{9, 9, "u4", nil},
		{0, 9, "", nil},
	} {
		if list := got[[]string](t)(s.PasswordUsers(t.Context(), at(c.before), c.after, c.limit)); !slices.Equal(list, c.want) {
			t.Errorf("%+v: got %v", c, list)
		}
	}
}

func deleteCodes(t *testing.T, s store.Store) {
	make3 := func(name, user, client string) store.Code {
		c := code(name)
		c.Grant.ID, c.Grant.User, c.Grant.Client, c.Grant.Gateway = "of "+name, user, client, "g"
		return c
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		for _, c := range []store.Code{
			make3("1", "u1", "c1"), make3("2", "u1", "c2"), make3("3", "u2", "c1"), make3("used", "u1", "c1"),
		} {
			if err := tx.PutCode(ctx, c); err != nil {
				return err
			}
		}
		_, err := tx.RedeemCode(ctx, hash("used"), at(0))
		return err
	})
	there := func(want ...string) {
		t.Helper()
		for _, name := range []string{"1", "2", "3", "used"} {
			_, err := s.Code(t.Context(), hash(name))
			if slices.Contains(want, name) {
				must(t, err)
			} else {
				wantMissing(t, err)
			}
		}
	}
	for _, c := range []struct {
		client, gateway string
		left            []string
	}{
		{"c1", "other", []string{"1", "2", "3", "used"}},
		{"c1\x00", "\xff", []string{"1", "2", "3", "used"}},
		{"c1", "g", []string{"2", "3", "used"}},
		{"", "", []string{"3", "used"}},
	} {
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
			return tx.DeleteCodes(ctx, "u1", c.client, c.gateway)
		})
		there(c.left...)
	}
}

// concurrentDeleteCodes: whoever takes all of a user away deletes the codes and then lists the grants. Whichever of the two
// comes first, no grant is missed.
func concurrentDeleteCodes(t *testing.T, s store.Store) {
	for i := range 20 {
		name := fmt.Sprint("race ", i)
		c := code(name)
		c.Grant.ID, c.Grant.User = name, name
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutCode(ctx, c) })
		var both sync.WaitGroup
		var redeemed bool
		var list []store.Grant
		both.Go(func() {
			if err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) (err error) {
				redeemed, err = tx.RedeemCode(ctx, hash(name), at(0))
				return err
			}); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) (err error) {
				if err = tx.DeleteCodes(ctx, name, "", ""); err != nil {
					return err
				}
				list, err = tx.Grants(ctx, name, at(0).Add(-time.Hour))
				return err
			}); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if redeemed != (len(list) == 1) {
			t.Fatalf("redeemed %v, and %d grants are seen", redeemed, len(list))
		}
	}
}

func dropUnusedClients(t *testing.T, s store.Store) {
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		for i, id := range []string{"c3", "c1", "c2", "used", "late"} {
			c := client(id)
			c.Fingerprint, c.CreateTime, c.UseTime = hash(id), at(i), time.Time{}
			if id == "used" {
				c.CreateTime, c.UseTime = at(0), at(1)
			}
			if _, err := tx.CreateClient(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		most, want int
		left       []string
	}{
		{2, 2, []string{"c2", "used", "late"}},
		{2, 1, []string{"used", "late"}},
		{2, 0, []string{"used", "late"}},
	} {
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
			n, err := tx.DropUnusedClients(ctx, at(4), c.most)
			if n != c.want {
				t.Errorf("%d were dropped, want %d", n, c.want)
			}
			return err
		})
		for _, id := range []string{"c1", "c2", "c3", "used", "late"} {
			_, err := s.Client(t.Context(), id)
			if slices.Contains(c.left, id) {
				must(t, err)
			} else {
				wantMissing(t, err)
			}
		}
	}
}
