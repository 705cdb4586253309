// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// chain reads the whole audit chain and verifies it.
func chain(t *testing.T, s store.OAuth) []store.AuditRecord {
	t.Helper()
	var (
		all  []store.AuditRecord
		last store.AuditRecord
	)
	for {
		page := got[[]store.AuditRecord](t)(s.Audit(t.Context(), last.Seq, 7))
		if len(page) == 0 {
			return all
		}
		if len(page) > 7 {
			t.Fatalf("a page of %d, limit 7", len(page))
		}
		var err error
		last, err = store.VerifyAudit(last, page)
		must(t, err)
		all = append(all, page...)
	}
}

func audit(t *testing.T, s store.Store) {
	full := store.Event{
		Time: at(0), ActorType: "user", Actor: "u1", Client: "c1", Action: "token.issued", Target: "g1", Result: "ok", Reason: "R", IP: "192.0.2.1",
		UserAgent: "a <b> & \x00 “c”\u2028", RequestID: "3f9c", Grant: "00ff",
	}
	exact := store.Event{Time: at(0).Add(7 * time.Nanosecond).In(time.FixedZone("east", 3600)), Action: "b", Result: "refused"}
	before := time.Now().Add(-time.Second)
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.Record(ctx, full), tx.Record(ctx, exact))
	})
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.Record(ctx, store.Event{Action: "c", Result: "ok"})
	})
	update(t, s, func(context.Context, store.OAuthTx) error { return nil }) // records nothing
	all := chain(t, s)
	if len(all) != 3 {
		t.Fatalf("%d records, want 3", len(all))
	}
	same(t, all[0].Event, full)
	same(t, all[1].Event, store.Event{Time: at(0), Action: "b", Result: "refused"})
	if now := all[2].Event.Time; now.Before(before) || now.After(time.Now()) || now.Location() != time.UTC || now.Nanosecond()%1000 != 0 {
		t.Errorf("the time was filled in as %v", now)
	}
	if all[0].Seq != 1 || all[0].Previous != (store.Hash{}) {
		t.Errorf("the chain begins with %+v", all[0])
	}
	// A record that lost its neighbour does not pass for the chain.
	if _, err := store.VerifyAudit(store.AuditRecord{}, all[1:]); err == nil {
		t.Error("a chain without its first record verifies")
	}
}

func concurrentAudit(t *testing.T, s store.Store) {
	const writers, each = 8, 15
	giveUp := errors.New("give up")
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
					for range 1 + i%3 {
						if err := tx.Record(ctx, store.Event{Action: fmt.Sprint(w), Target: fmt.Sprint(i), Result: "ok"}); err != nil {
							return err
						}
					}
					if i%4 == 3 { // leaves no gap
						return giveUp
					}
					return tx.Revoke(ctx, store.Revocation{Kind: store.RevokeToken, Key: hash(fmt.Sprint(w, i)), ExpireTime: at(1)})
				})
				if err != nil && !errors.Is(err, giveUp) {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	events, changes := 0, 0
	for i := range each {
		if i%4 != 3 {
			events += writers * (1 + i%3)
			changes += writers
		}
	}
	all := chain(t, s)
	if len(all) != events {
		t.Errorf("%d records, want %d", len(all), events)
	}
	for i := 1; i < len(all); i++ { // what one writer did stays in its order
		if a, b := all[i-1].Event, all[i].Event; a.Action == b.Action && a.Target > b.Target && len(a.Target) == len(b.Target) {
			t.Errorf("writer %s recorded %s after %s", a.Action, b.Target, a.Target)
		}
	}
	if n := len(got[[]store.Revocation](t)(s.Outbox(t.Context(), 1000))); n != changes {
		t.Errorf("%d revocations, want %d", n, changes)
	}
}
