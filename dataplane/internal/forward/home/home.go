// SPDX-License-Identifier: Apache-2.0

package home

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// Lease is how long a home counts without being renewed (M-89).
	Lease = 30 * time.Second
	// renewEvery is how often this node renews its own, and looks whether the others' are still there.
	renewEvery = 10 * time.Second
	// idleAfter is when a home that nobody needs is given up: processes stop then too.
	idleAfter = 10 * time.Minute
	// strangeFor is how long a home elsewhere is remembered that nobody needs.
	strangeFor = time.Minute
	// pauseTime is how long the store is not asked about new homes after it failed.
	pauseTime = time.Second
	// claimTime bounds what a call waits for.
	claimTime = time.Second
	// maxHomes bounds the memory; beyond that calls run where they come.
	maxHomes = 1 << 16
	batch    = 512 // keys in one request to the store
)

// Store is where nodes claim homes. It is safe for concurrent use. Faults are Unavailable when the store is away.
type Store interface {
	// Claim makes node the home of each key that has none, for ttl, and renews it where it is the home. It returns the home of
	// each, in the order of keys.
	Claim(ctx context.Context, keys []string, node string, ttl time.Duration) (homes []string, err error)
	// Release gives up those of the keys that node is the home of.
	Release(ctx context.Context, keys []string, node string) error
}

// Table is what this node knows of homes. It is safe for concurrent use.
type Table struct {
	store Store
	self  string
	log   *slog.Logger

	mu     sync.Mutex
	homes  map[string]*entry
	paused time.Time // until when the store is not asked by calls
	closed bool
}

type entry struct {
	known chan struct{} // closed when node is set
	node  string        // empty: the store did not say
	used  time.Time
}

// New returns a table that knows nothing. It starts nothing: see [Table.Run].
func New(store Store, self string, log *slog.Logger) *Table {
	return &Table{store: store, self: self, log: log, homes: make(map[string]*entry)}
}

// Of returns the node that is the home of a key, empty if it is this one, or nobody knows. Only the first call for a key
// waits, a second at most.
func (t *Table) Of(ctx context.Context, key string) string {
	now := time.Now()
	t.mu.Lock()
	e := t.homes[key]
	if e == nil {
		if t.closed || now.Before(t.paused) || len(t.homes) >= maxHomes {
			t.mu.Unlock()
			return ""
		}
		e = &entry{known: make(chan struct{})}
		t.homes[key] = e
		e.used = now
		t.mu.Unlock()
		t.claim(ctx, key, e)
	} else {
		e.used = now
		t.mu.Unlock()
	}
	select {
	case <-e.known:
	case <-ctx.Done():
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.node == t.self {
		return ""
	}
	return e.node
}

// claim asks the store for a new entry. Detached: others wait for the answer too.
func (t *Table) claim(ctx context.Context, key string, e *entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTime)
	defer cancel()
	homes, err := t.store.Claim(ctx, []string{key}, t.self, Lease)
	t.mu.Lock()
	if err == nil && len(homes) == 1 {
		e.node = homes[0]
	} else {
		delete(t.homes, key)
		t.paused = time.Now().Add(pauseTime)
	}
	late := t.closed && e.node == t.self
	t.mu.Unlock()
	close(e.known)
	if err != nil {
		t.log.DebugContext(ctx, "home not claimed", obs.Fault(err))
	}
	if late {
		_ = t.store.Release(ctx, []string{key}, t.self) // the lease runs out without
	}
}

// Run renews this node's homes until ctx is canceled; then it gives them up and returns nil.
func (t *Table) Run(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.Drain(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			t.renew(ctx)
		}
	}
}

// renew renews what is used here, looks after what is elsewhere, and forgets the rest.
func (t *Table) renew(ctx context.Context) {
	now := time.Now()
	var keep, give []string
	t.mu.Lock()
	for key, e := range t.homes {
		select {
		case <-e.known:
		default:
			continue
		}
		switch idle := now.Sub(e.used); {
		case e.node == t.self && idle < idleAfter, e.node != t.self && idle < strangeFor:
			keep = append(keep, key)
		case e.node == t.self:
			give = append(give, key)
			delete(t.homes, key)
		default:
			delete(t.homes, key)
		}
	}
	t.mu.Unlock()
	for len(keep) > 0 {
		n := min(batch, len(keep))
		homes, err := t.store.Claim(ctx, keep[:n], t.self, Lease)
		if err != nil || len(homes) != n {
			t.log.DebugContext(ctx, "homes not renewed", obs.Fault(err))
			break // they stay as they were: the last that is known
		}
		t.mu.Lock()
		for i, node := range homes {
			if e := t.homes[keep[i]]; e != nil {
				e.node = node
			}
		}
		t.mu.Unlock()
		keep = keep[n:]
	}
	t.release(ctx, give)
}

// Drain gives up all homes of this node and claims none any more (M-95): the next call makes another node the home.
func (t *Table) Drain(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	var mine []string
	for key, e := range t.homes {
		select {
		case <-e.known:
			if e.node == t.self {
				mine = append(mine, key)
				delete(t.homes, key)
			}
		default:
		}
	}
	t.mu.Unlock()
	t.release(ctx, mine)
}

func (t *Table) release(ctx context.Context, keys []string) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	for len(keys) > 0 {
		n := min(batch, len(keys))
		if err := t.store.Release(ctx, keys[:n], t.self); err != nil {
			t.log.DebugContext(ctx, "homes not released", obs.Fault(err))
			return
		}
		keys = keys[n:]
	}
}
