// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

func link(name, user, server string, minute int) store.ConnectLink {
	return store.ConnectLink{
		Hash: hash(name), User: user, Server: server, Client: "https://client.example/c.json", Gateway: "eng",
		CreateTime: at(minute), ExpireTime: at(minute + 10),
	}
}

func connectLinks(t *testing.T, s store.Store) {
	_, err := s.ConnectLink(t.Context(), hash("a"))
	wantMissing(t, err)
	create := func(want bool, l store.ConnectLink) {
		t.Helper()
		told(t, s, want, func(ctx context.Context, tx store.OAuthTx) (bool, error) { return tx.CreateConnectLink(ctx, l, 2) })
	}
	use := func(want bool, name string, minute int) {
		t.Helper()
		told(t, s, want, func(ctx context.Context, tx store.OAuthTx) (bool, error) {
			return tx.UseConnectLink(ctx, hash(name), at(minute))
		})
	}
	create(true, link("a", "u1", "github", 0))
	same(t, got[store.ConnectLink](t)(s.ConnectLink(t.Context(), hash("a"))), link("a", "u1", "github", 0))
	create(true, link("b", "u1", "github", 1))
	create(false, link("c", "u1", "github", 2)) // two are open (EL-11)
	create(true, link("d", "u2", "github", 2))
	create(true, link("e", "u1", "jira", 2))
	wantExists(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateConnectLink(ctx, link("e", "u3", "jira", 2), 2)
		return err
	})
	use(true, "a", 3)
	use(false, "a", 4) // EL-5
	create(true, link("c", "u1", "github", 4))
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.ReopenConnectLink(ctx, hash("a")) })
	use(false, "a", 10) // over
	use(true, "a", 9)
	use(false, "none", 1)
	create(true, link("f", "u1", "github", 11)) // b is over
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		n, err := tx.Collect(ctx, at(10+60+1))
		if n != 1 {
			t.Errorf("%d links collected, want the first alone", n)
		}
		return err
	})
	_, err = s.ConnectLink(t.Context(), hash("a"))
	wantMissing(t, err)
}

func concurrentLinks(t *testing.T, s store.Store) {
	made := parallel(t, s, 20, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		return tx.CreateConnectLink(ctx, link(fmt.Sprint(i), "u1", "github", 0), 5)
	})
	if made != 5 {
		t.Errorf("%d links were made at once, want 5", made)
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateConnectLink(ctx, link("x", "u2", "github", 0), 5)
		return err
	})
	used := parallel(t, s, 10, func(ctx context.Context, tx store.OAuthTx, _ int) (bool, error) {
		return tx.UseConnectLink(ctx, hash("x"), at(1))
	})
	if used != 1 {
		t.Errorf("a link was used %d times", used)
	}
}
