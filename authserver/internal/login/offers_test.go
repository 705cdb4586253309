// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// TestLoginsByAWayThatIsGone: a login counts as long as people can still log in that way, and counts again when they can.
func TestLoginsByAWayThatIsGone(t *testing.T) {
	w := newWorld(t, nil)
	federated := w.browser()
	federated.federate("req1")
	disable := func(off bool) { w.plane.change(func(p *plane) { p.provider.Disabled = off }) }
	disable(true)
	if who := federated.current(); who != "" {
		t.Errorf("%s is logged in by a provider that is disabled", who)
	}
	disable(false)
	if who := federated.current(); who != "alice-uid" {
		t.Errorf("%q is logged in by a provider that is there again", who)
	}
}

// TestLoginsByPassword: they end where passwords are no way to log in any more.
func TestLoginsByPassword(t *testing.T) {
	offered := true
	for range 2 {
		w := newWorld(t, func(c *login.Config) { c.LocalUsers = offered })
		b := w.browser()
		secret := strings.Repeat("s", 43)
		b.cookies["__Host-penstock-login"] = secret
		if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			return tx.PutLogin(ctx, store.Login{
				Hash: sha256.Sum256([]byte(secret)), User: "bob-uid", AuthTime: w.now(), UseTime: w.now(), ExpireTime: w.now().Add(time.Hour),
			})
		}); err != nil {
			t.Fatal(err)
		}
		if who := b.current(); (who == "bob-uid") != offered {
			t.Errorf("with passwords %v: %q is logged in", offered, who)
		}
		offered = false
	}
}
