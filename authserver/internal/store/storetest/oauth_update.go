// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// everything makes one change of each kind of log and row.
func everything(ctx context.Context, tx store.OAuthTx) error {
	_, err := tx.CreateClient(ctx, client("c1"))
	return errors.Join(err, tx.PutGrant(ctx, grant("g1")), tx.PutCode(ctx, code("k1")),
		tx.Revoke(ctx, store.Revocation{Kind: store.RevokeGrant, Key: hash("g1"), ExpireTime: at(1)}),
		tx.Record(ctx, store.Event{Action: "a", Result: "ok"}))
}

// nothing checks that no trace is left of everything, and that the store still works.
func nothing(t *testing.T, s store.Store) {
	t.Helper()
	_, err := s.Client(t.Context(), "c1")
	wantMissing(t, err)
	_, err = s.Grant(t.Context(), "g1")
	wantMissing(t, err)
	_, err = s.Code(t.Context(), hash("k1"))
	wantMissing(t, err)
	if n := len(got[[]store.Revocation](t)(s.Outbox(t.Context(), 10))); n != 0 {
		t.Errorf("%d revocations are left", n)
	}
	if n := len(chain(t, s)); n != 0 {
		t.Errorf("%d audit records are left", n)
	}
	update(t, s, everything)
	if n := len(chain(t, s)); n != 1 {
		t.Errorf("%d audit records after an update, want 1", n)
	}
}

func rollback(t *testing.T, s store.Store) {
	own := errors.New("own")
	runs := 0
	err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		runs++
		return errors.Join(everything(ctx, tx), own)
	})
	if !errors.Is(err, own) || runs != 1 {
		t.Errorf("the update returned %v after %d runs", err, runs)
	}
	nothing(t, s)
}

func panics(t *testing.T, s store.Store) {
	func() {
		defer func() {
			if r := recover(); r != "own" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			must(t, everything(ctx, tx))
			panic("own")
		})
	}()
	nothing(t, s)
}

func nested(t *testing.T, s store.Store) {
	var inner error
	update(t, s, func(ctx context.Context, _ store.OAuthTx) error {
		inner = s.Update(ctx, everything)
		return nil
	})
	if inner == nil {
		t.Error("an update within an update was run")
	}
	nothing(t, s)
}

// takePart has more updates at once than there are connections, each of which reads through the store as well.
func takePart(t *testing.T, s store.Store) {
	seen := parallel(t, s, 30, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		id := fmt.Sprint("g", i)
		if err := tx.PutGrant(ctx, grant(id)); err != nil {
			return false, err
		}
		g, err := s.Grant(ctx, id)
		if err != nil {
			return false, err
		}
		_, err = s.SecretKeyIDs(ctx)
		return g.ID == id, err
	})
	if seen != 30 {
		t.Errorf("%d updates saw what they wrote, want 30", seen)
	}
}

// stable is the race between a code exchange, which goes by a consent, and its withdrawal, which revokes what rests on it.
func stable(t *testing.T, s store.Store) {
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutConsent(ctx, store.Consent{User: "u1", Client: "c1", RedirectHost: "https://client.example", Gateway: "g1"})
	})
	withdrawn := make(chan error, 1)
	var early atomic.Bool
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		if _, err := tx.Consent(ctx, "u1", "c1", "https://client.example", "g1"); err != nil {
			return err
		}
		go func() {
			withdrawn <- s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
				if err := tx.DeleteConsents(ctx, "u1", "c1", "g1"); err != nil {
					return err
				}
				list, err := tx.Grants(ctx, "u1", at(0))
				for _, g := range list {
					_, revokeErr := tx.RevokeGrant(ctx, g.ID, at(0))
					err = errors.Join(err, revokeErr)
				}
				return err
			})
		}()
		select {
		case err := <-withdrawn:
			early.Store(true)
			withdrawn <- err
		case <-time.After(200 * time.Millisecond): // it waits, as it should
		}
		return tx.PutGrant(ctx, grant("new"))
	})
	must(t, <-withdrawn)
	if early.Load() {
		t.Error("a consent was withdrawn while an update went by it")
	}
	if g := got[store.Grant](t)(s.Grant(t.Context(), "new")); g.RevokeTime.IsZero() {
		t.Error("a grant outlived the consent it rests on")
	}
}

func deadlock(t *testing.T, s store.Store) {
	login := func(name string) store.Login {
		return store.Login{Hash: hash(name), User: "u1", AuthTime: at(0), UseTime: at(0), ExpireTime: at(9)}
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.PutLogin(ctx, login("a")), tx.PutLogin(ctx, login("b")))
	})
	names := []string{"a", "b"}
	arrived := []chan struct{}{make(chan struct{}, 100), make(chan struct{}, 100)} // room for every run
	parallel(t, s, 2, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		if err := tx.TouchLogin(ctx, hash(names[i]), at(1+i)); err != nil {
			return false, err
		}
		arrived[i] <- struct{}{}
		select {
		case <-arrived[1-i]:
		case <-time.After(200 * time.Millisecond): // where updates are one after the other, the other one cannot arrive
		}
		return true, tx.TouchLogin(ctx, hash(names[1-i]), at(3+i))
	})
	for i, name := range names { // both rows bear the later of their touches
		want := at(3 + (1 - i))
		if l := got[store.Login](t)(s.Login(t.Context(), hash(name))); !l.UseTime.Equal(want) {
			t.Errorf("login %s was used at %v, want %v", name, l.UseTime, want)
		}
	}
}

func canceledUpdate(t *testing.T, s store.Store) {
	for _, when := range []string{"before", "within", "at the end"} {
		ctx, cancel := context.WithCancel(t.Context())
		if when == "before" {
			cancel()
		}
		err := s.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
			if when == "within" {
				cancel()
			}
			if err := everything(ctx, tx); err != nil {
				return err
			}
			cancel()
			return nil
		})
		cancel()
		if kind := fault.KindOf(err); kind != fault.Canceled {
			t.Errorf("canceled %s: kind is %v, want canceled (%v)", when, kind, err)
		}
	}
	nothing(t, s)
}
