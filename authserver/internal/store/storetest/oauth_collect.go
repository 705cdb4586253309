// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

func collected(t *testing.T, s store.Store, minute int) (n int) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
		n, err = tx.Collect(ctx, at(minute))
		return err
	})
	return n
}

// collectOAuth collects at minute 200 what fill stored: what is over for an hour goes.
func collectOAuth(t *testing.T, s store.Store) {
	fill(t, s)
	if n := collected(t, s, 160); n != 1 { // the client; everything else is over for an hour only after this minute
		t.Errorf("%d rows were collected at minute 160, want 1", n)
	}
	// ticket, login, code, expired grant and its token, token of a live grant, revoked grant and its token, jti, revocation
	if n := collected(t, s, 200); n != 10 {
		t.Errorf("%d rows were collected, want 10", n)
	}
	if n := collected(t, s, 200); n != 0 {
		t.Errorf("%d rows were collected again", n)
	}
	onlyLater(t, s)
	must(t, got1(s.Grant(t.Context(), "live100")))
	told(t, s, true, useJTI("i", "100", 900))
	told(t, s, false, useJTI("i", "200", 900))
	if n := len(got[[]store.Revocation](t)(s.Outbox(t.Context(), 10))); n != 1 {
		t.Errorf("%d revocations are left, want 1", n)
	}
	if n := len(chain(t, s)); n != 2 {
		t.Errorf("%d audit records are left, want 2", n)
	}
}

// fill stores two of each kind, which end at minute 100 and at minute 200.
func fill(t *testing.T, s store.OAuth) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
		for _, end := range []int{100, 200} {
			name := fmt.Sprint(end)
			c, k, g, live := client("c"+name), code(name), grant("g"+name), grant("live"+name)
			c.ExpireTime, k.ExpireTime, g.ExpireTime = at(end), at(end), at(end)
			own, dying := token("t"+name, "g"+name, 0), token("u"+name, "live"+name, 0)
			dying.ExpireTime = at(end)
			_, clientErr := tx.CreateClient(ctx, c)
			_, jtiErr := tx.UseJTI(ctx, "i", name, at(end))
			err = errors.Join(err, clientErr, jtiErr,
				tx.PutTicket(ctx, store.Ticket{Kind: "k", Hash: hash(name), ExpireTime: at(end)}),
				tx.PutLogin(ctx, store.Login{Hash: hash(name), User: "u1", ExpireTime: at(end)}),
				tx.PutCode(ctx, k), tx.PutGrant(ctx, g), tx.PutRefreshToken(ctx, own), tx.PutGrant(ctx, live), tx.PutRefreshToken(ctx, dying),
				tx.Revoke(ctx, store.Revocation{Kind: store.RevokeToken, Key: hash(name), ExpireTime: at(end)}),
				tx.PutGrant(ctx, grant("revoked"+name)), tx.PutRefreshToken(ctx, token("v"+name, "revoked"+name, 0)),
				tx.Record(ctx, store.Event{Action: "a", Result: "ok"}))
			_, revokeErr := tx.RevokeGrant(ctx, "revoked"+name, at(end))
			err = errors.Join(err, revokeErr)
		}
		return err
	})
}

// onlyLater checks that of each kind the one that ends at minute 100 is gone and the other one is there.
func onlyLater(t *testing.T, s store.OAuth) {
	t.Helper()
	ctx := t.Context()
	for name, read := range map[string]func(end string) error{
		"client":                 func(end string) error { _, err := s.Client(ctx, "c"+end); return err },
		"ticket":                 func(end string) error { _, err := s.Ticket(ctx, "k", hash(end)); return err },
		"login":                  func(end string) error { _, err := s.Login(ctx, hash(end)); return err },
		"code":                   func(end string) error { _, err := s.Code(ctx, hash(end)); return err },
		"grant":                  func(end string) error { _, err := s.Grant(ctx, "g"+end); return err },
		"token of the grant":     func(end string) error { _, _, err := s.RefreshToken(ctx, hash("t"+end)); return err },
		"token of a live grant":  func(end string) error { _, _, err := s.RefreshToken(ctx, hash("u"+end)); return err },
		"revoked grant":          func(end string) error { _, err := s.Grant(ctx, "revoked"+end); return err },
		"token of a revoked one": func(end string) error { _, _, err := s.RefreshToken(ctx, hash("v"+end)); return err },
	} {
		if err := read("100"); !errors.Is(err, store.RowMissing()) {
			t.Errorf("the %s that is over is still there (%v)", name, err)
		}
		if err := read("200"); err != nil {
			t.Errorf("the %s that is not yet over for an hour: %v", name, err)
		}
	}
}

func got1[T any](_ T, err error) error { return err }

func collectBatches(t *testing.T, s store.Store) {
	const rows = 2300
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		for i := range rows {
			if _, err := tx.UseJTI(ctx, "i", fmt.Sprint(i), at(0)); err != nil {
				return err
			}
		}
		return nil
	})
	total := 0
	for {
		n := collected(t, s, 1000)
		if n > 1000 {
			t.Fatalf("a batch of %d", n)
		}
		if total += n; n == 0 {
			break
		}
	}
	if total != rows {
		t.Errorf("%d rows were collected, want %d", total, rows)
	}
}
