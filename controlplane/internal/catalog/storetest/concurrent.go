// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// pause waits a random while inside a transaction, so that transactions end in another order than they began.
func pause(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(rand.N(most)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

const (
	writers         = 8
	writesPerWriter = 25
	longestPause    = 8 * time.Millisecond
)

// checkCommitOrder is the hazard of distribution.md, section 3: writers wait a random while inside their transactions,
// and a follower reads "greater than the last one I saw" all the time. It must see every write exactly once, in order,
// without gaps. A log whose numbers are given out before the commit (an identity column, a sequence) fails it: a slow
// transaction holds number n while n+1 is committed and read.
func checkCommitOrder(tb testing.TB, s catalog.Store) {
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	var group, follower sync.WaitGroup
	written := make(chan struct{})
	seen := make(map[string]int)
	follower.Go(func() { follow(ctx, tb, s, written, seen) })
	for w := range writers {
		group.Go(func() {
			for i := range writesPerWriter {
				name := fmt.Sprintf("w%d-%d", w, i)
				if err := slowWrite(ctx, s, name); err != nil {
					tb.Errorf("Write: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	close(written)
	follower.Wait()
	for w := range writers {
		for i := range writesPerWriter {
			if name := fmt.Sprintf("w%d-%d", w, i); seen[name] != 1 {
				tb.Errorf("the follower saw the write of %s %d times; want once", name, seen[name])
				return
			}
		}
	}
}

func slowWrite(ctx context.Context, s catalog.Store, name string) error {
	_, _, err := s.Write(ctx, actor, func(tx catalog.Tx) error {
		if err := tx.Put(ctx, record("server", name, "x")); err != nil {
			return err
		}
		pause(ctx, longestPause)
		return nil
	})
	return err
}

// follow reads the log until it has caught up with all that was written.
func follow(ctx context.Context, tb testing.TB, s catalog.Store, written <-chan struct{}, seen map[string]int) {
	var last catalog.Revision
	for ctx.Err() == nil {
		var complete bool
		select {
		case <-written:
			complete = true
		default:
		}
		page, err := s.Changes(ctx, last, 100)
		if err != nil {
			tb.Errorf("Changes: %v", err)
			return
		}
		for _, c := range page {
			if c.Revision != last+1 {
				tb.Errorf("revision %d follows %d", c.Revision, last)
			}
			last = c.Revision
			for _, op := range c.Ops {
				seen[op.Name]++
			}
		}
		if complete && len(page) == 0 {
			return
		}
	}
}

// checkLostUpdate counts in one record from many goroutines. Each pair either runs as if one after the other or one of
// it fails with Conflict and is tried again; no increment is lost (D-2).
func checkLostUpdate(tb testing.TB, s catalog.Store) {
	const each = 15
	put(tb, s, &catalog.Record{Key: key("server", "counter"), Body: []byte("0")})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range each {
				if err := increment(tb.Context(), s); err != nil {
					tb.Errorf("Write: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	equal(tb, "counter", string(get(tb, s, key("server", "counter")).Body), fmt.Sprint(4*each))
}

func increment(ctx context.Context, s catalog.Store) error {
	for {
		_, _, err := s.Write(ctx, actor, func(tx catalog.Tx) error {
			rec, err := tx.Get(ctx, key("server", "counter"))
			if err != nil {
				return err
			}
			var n int
			if err := json.Unmarshal(rec.Body, &n); err != nil {
				return err
			}
			pause(ctx, 3*time.Millisecond)
			return tx.Put(ctx, &catalog.Record{Key: rec.Key, Body: fmt.Append(nil, n+1)})
		})
		if err == nil || fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
}

// checkReferences lets one transaction delete what another one refers to. The first looks for referents, the second for
// the record it needs; whichever comes second must notice (D-2).
func checkReferences(tb testing.TB, s catalog.Store) {
	for round := range 20 {
		name := fmt.Sprintf("s%d", round)
		put(tb, s, record("server", name, "x"))
		var group sync.WaitGroup
		var linked, deleted error
		group.Go(func() { linked = link(tb.Context(), s, name) })
		group.Go(func() { deleted = unlinkedDelete(tb.Context(), s, name) })
		group.Wait()
		if (linked == nil) == (deleted == nil) {
			tb.Errorf("round %d: linking %v, deleting %v; want exactly one to succeed", round, linked, deleted)
		}
	}
}

func link(ctx context.Context, s catalog.Store, server string) error {
	_, _, err := s.Write(ctx, actor, func(tx catalog.Tx) error {
		rec, err := tx.Get(ctx, key("server", server))
		if err != nil {
			return err
		}
		if rec == nil {
			return errOwn
		}
		pause(ctx, 2*time.Millisecond)
		return tx.Put(ctx, record("connection", server+"/c", "x"))
	})
	return err
}

func unlinkedDelete(ctx context.Context, s catalog.Store, server string) error {
	_, _, err := s.Write(ctx, actor, func(tx catalog.Tx) error {
		used, err := tx.ListPrefix(ctx, "connection", server+"/")
		if err != nil {
			return err
		}
		if len(used) > 0 {
			return errOwn
		}
		pause(ctx, 2*time.Millisecond)
		return tx.Delete(ctx, key("server", server))
	})
	return err
}

// checkOneOwner lets records of one kind claim the same thing at the same moment, as users do with an account: each
// looks through the whole kind for an owner, and then claims it, in a record that was there before or in a new one. No
// row is common to them; one at most may have it (D-2).
func checkOneOwner(tb testing.TB, s catalog.Store) {
	const rounds, claimants = 20, 3
	for i := range claimants {
		put(tb, s, record("user", fmt.Sprintf("old%d", i), "nothing"))
	}
	for round := range rounds {
		thing := fmt.Sprintf("thing %d", round)
		var group sync.WaitGroup
		var won atomic.Int32
		for i := range 2 * claimants {
			name := fmt.Sprintf("old%d", i)
			if i >= claimants {
				name = fmt.Sprintf("new%d-%d", round, i)
			}
			group.Go(func() {
				switch err := claim(tb.Context(), s, name, thing); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, errOwn) && fault.KindOf(err) != fault.Conflict:
					tb.Errorf("Write: %v", err)
				}
			})
		}
		group.Wait()
		equal(tb, "owners of "+thing, won.Load(), int32(1))
	}
}

func claim(ctx context.Context, s catalog.Store, name, thing string) error {
	_, _, err := s.Write(ctx, actor, func(tx catalog.Tx) error {
		all, err := tx.ListPrefix(ctx, "user", "")
		if err != nil {
			return err
		}
		for _, rec := range all {
			if bytes.Equal(rec.Body, body(thing)) {
				return errOwn
			}
		}
		pause(ctx, 2*time.Millisecond)
		return tx.Put(ctx, record("user", name, thing))
	})
	return err
}
