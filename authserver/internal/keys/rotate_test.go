// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// KM-1, KM-6: the life of keys by the clock.
func TestRotationByAge(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	first := sign(t, k)
	published := kids(t, k)
	b.advance(90*day - time.Second)
	must(t, k.Start(t.Context()))
	if kidOf(t, sign(t, k)) != kidOf(t, first) {
		t.Fatal("rotated before its time")
	}
	b.advance(time.Second)
	must(t, k.Start(t.Context()))
	second := sign(t, k)
	if kidOf(t, second) == kidOf(t, first) || !slices.Contains(published, kidOf(t, second)) {
		t.Fatal("the active key is not the one that was next")
	}
	b.expect(1, 1, 1, 0)
	for _, token := range []string{first, second} {
		if _, err := k.Verify(token, typ); err != nil {
			t.Error(err)
		}
	}
	b.advance(retain)
	must(t, k.Start(t.Context()))
	if !slices.Contains(kids(t, k), kidOf(t, first)) {
		t.Error("the retired key is gone before its last token")
	}
	b.advance(time.Minute)
	must(t, k.Start(t.Context()))
	b.expect(1, 1, 0, 0)
	if _, err := k.Verify(first, typ); fault.From(err).Reason != keys.ReasonUnverified {
		t.Errorf("a token of a key that is gone: %v", err)
	}
	events, err := b.store.Audit(t.Context(), 0, 100)
	must(t, err)
	rotated := 0
	for _, e := range events {
		if e.Event.Action == "key.rotated" && e.Event.Target == kidOf(t, second) && e.Event.Reason == "age" {
			rotated++
		}
	}
	if rotated != 1 {
		t.Errorf("the rotation is recorded %d times", rotated)
	}
}

// KM-1: nobody can make a key sign that is not published for an hour.
func TestRotate(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	before := kidOf(t, sign(t, k))
	b.advance(time.Hour - time.Minute)
	if err := k.Rotate(t.Context()); fault.From(err).Reason != keys.ReasonTooNew || fault.From(err).Retry != time.Minute {
		t.Fatalf("after 59 minutes: %v", err)
	}
	b.advance(time.Minute)
	must(t, k.Rotate(t.Context()))
	if kidOf(t, sign(t, k)) == before {
		t.Error("not rotated")
	}
	b.expect(1, 1, 1, 0)
}

// KM-1: a next key that had to be made late waits for its hour, and the active one signs on.
func TestRotationWaitsForNext(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	first := kidOf(t, sign(t, k))
	b.advance(90*day - time.Minute)
	for _, kid := range kids(t, k) {
		if kid != first {
			must(t, k.Revoke(t.Context(), kid))
		}
	}
	b.advance(time.Hour - time.Second)
	must(t, k.Start(t.Context()))
	if kidOf(t, sign(t, k)) != first {
		t.Error("a key signs that is not published for an hour")
	}
	b.advance(time.Second)
	must(t, k.Start(t.Context()))
	if kidOf(t, sign(t, k)) == first {
		t.Error("not rotated")
	}
}

// KM-3.
func TestRevoke(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	token := sign(t, k)
	kid := kidOf(t, token)
	must(t, k.Revoke(t.Context(), kid))
	b.expect(1, 1, 0, 1)
	if _, err := k.Verify(token, typ); err == nil {
		t.Error("its token still verifies")
	}
	if slices.Contains(kids(t, k), kid) {
		t.Error("it is still published")
	}
	if _, err := k.Verify(sign(t, k), typ); err != nil {
		t.Error(err)
	}
	out, err := b.store.Outbox(t.Context(), 10)
	must(t, err)
	if len(out) != 1 || out[0].Kind != store.RevokeKey || out[0].Key != sha256.Sum256([]byte(kid)) || out[0].ExpireTime.Before(b.now().Add(retain)) {
		t.Errorf("outbox is %+v", out)
	}
	for _, one := range []string{kid, "nothing"} {
		if err := k.Revoke(t.Context(), one); fault.From(err).Reason != keys.ReasonMissing {
			t.Errorf("%s: %v", one, err)
		}
	}
	// The next one can be revoked, too: another is made.
	for _, one := range kids(t, k) {
		if one != kidOf(t, sign(t, k)) {
			must(t, k.Revoke(t.Context(), one))
		}
	}
	b.expect(1, 1, 0, 2)
	b.advance(time.Hour)
	must(t, k.Start(t.Context()))
	b.expect(1, 1, 0, 0)
}

// Several processes that find no key make one, not one each.
func TestFirstKeyOfSeveral(t *testing.T) { firstOfSeveral(t, newBench(t, sqlite(t))) }

func TestIntegrationFirstKeyOfSeveralPostgres(t *testing.T) {
	firstOfSeveral(t, newBench(t, pgtest.Start(t).Database(t)))
}

func firstOfSeveral(t *testing.T, b *bench) {
	t.Helper()
	var all []*keys.Keys
	for range 8 {
		all = append(all, b.process())
	}
	together(all, func(k *keys.Keys) { start(t, k) })
	b.expect(1, 1, 0, 0)
	kid := kidOf(t, sign(t, all[0]))
	for _, k := range all {
		if kidOf(t, sign(t, k)) != kid {
			t.Error("two processes sign with different keys")
		}
	}
	// Nor does the time of a rotation make more than one.
	b.advance(90 * day)
	together(all, func(k *keys.Keys) { start(t, k) })
	b.expect(1, 1, 1, 0)
}

func start(t *testing.T, k *keys.Keys) {
	if err := k.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

func together(all []*keys.Keys, do func(*keys.Keys)) {
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for _, k := range all {
		wg.Go(func() {
			<-begin
			do(k)
		})
	}
	close(begin)
	wg.Wait()
}

// KM-1: under load, while keys rotate again and again, nothing that one process signs is refused by another that has not
// yet read the change, nor by a node that has kept the key set for an hour.
func TestRotationUnderLoad(t *testing.T) {
	b := newBench(t, sqlite(t))
	signer, other := b.started(), b.started()
	var cached atomic.Pointer[[]string]
	list := kids(t, signer)
	cached.Store(&list)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var signed, failed atomic.Int64
	var hour sync.RWMutex // no step takes longer than an hour
	step := func() error {
		hour.RLock()
		defer hour.RUnlock()
		node := *cached.Load()
		token, err := signer.Sign(t.Context(), typ, map[string]any{"sub": "u1"})
		if err != nil {
			return err
		}
		if _, err := other.Verify(token, typ); err != nil {
			return err
		}
		parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err == nil && !slices.Contains(node, parsed.Signatures[0].Header.KeyID) {
			err = errors.New("the node does not know the key")
		}
		return err
	}
	beat := make(chan struct{}, 1) // a sign of each step, lost while nobody waits
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := step(); err != nil {
					failed.Add(1)
				}
				signed.Add(1)
				select {
				case beat <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 10 {
		for range 20 { // some are signed in each phase
			<-beat
		}
		hour.Lock()
		b.advance(time.Hour)
		list := kids(t, signer) // a node reads the key set at the latest now
		cached.Store(&list)
		hour.Unlock()
		must(t, signer.Rotate(t.Context())) // before the other process knows
		for range 20 {
			<-beat
		}
		must(t, other.Start(t.Context()))
	}
	close(stop)
	wg.Wait()
	if failed.Load() != 0 || signed.Load() < 100 {
		t.Errorf("%d of %d failed", failed.Load(), signed.Load())
	}
}

// Run takes up what another process changed within two seconds, and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, sqlite(t))
		k, other := b.started(), b.started()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		synctest.Wait()
		b.advance(time.Hour)
		must(t, other.Rotate(t.Context()))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if kidOf(t, sign(t, k)) != kidOf(t, sign(t, other)) {
			t.Error("the change of another process is not known")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		must(t, b.store.Close())
	})
}
