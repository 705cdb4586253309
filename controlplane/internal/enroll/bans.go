// SPDX-License-Identifier: Apache-2.0

package enroll

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// ReasonBanned is the reason of every refusal of a workload that is banned (Denied).
const ReasonBanned = "WORKLOAD_BANNED"

const (
	// lookEvery is how often bans are looked for in the store where nothing tells of them.
	lookEvery = 2 * time.Second
	retryLook = 250 * time.Millisecond
)

// BanStore keeps the bans.
type BanStore interface {
	// BannedWorkloads returns the SPIFFE ids of all banned workloads.
	BannedWorkloads(ctx context.Context) ([]string, error)
	// WatchRevocations sends a hint after a ban was stored, here or at another control plane, until ctx ends.
	WatchRevocations(ctx context.Context) (<-chan struct{}, error)
}

// Bans is the banned workloads as this control plane knows them. It is safe for concurrent use.
type Bans struct {
	store BanStore
	log   *slog.Logger

	mu      sync.Mutex
	banned  map[string]bool               // SPIFFE ids
	streams map[string]map[*banned]func() // what ends the streams of a workload, by SPIFFE id
}

// banned is the key of one stream.
type banned struct{ _ byte }

// NewBans returns an empty set; [Bans.Load] fills it.
func NewBans(store BanStore, log *slog.Logger) *Bans {
	return &Bans{store: store, log: log, banned: make(map[string]bool), streams: make(map[string]map[*banned]func())}
}

// Load reads the bans of the store and ends the streams of who is banned.
func (b *Bans) Load(ctx context.Context) error {
	ids, err := b.store.BannedWorkloads(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if b.banned[id] {
			continue
		}
		b.banned[id] = true
		for _, end := range b.streams[id] {
			end()
		}
	}
	return nil
}

// Run follows the store until ctx ends. While it cannot be read, who is known to be banned stays so.
func (b *Bans) Run(ctx context.Context) error {
	hints, err := b.store.WatchRevocations(ctx)
	if err != nil && ctx.Err() == nil {
		b.log.ErrorContext(ctx, "bans cannot be watched, they are looked for", obs.Fault(err))
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-hints:
			if !open {
				hints = nil // the store is being closed, or was never watched
			}
		case <-timer.C:
		}
		err := b.Load(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			b.log.WarnContext(ctx, "bans cannot be read now", obs.Fault(err))
		}
		if failed = err != nil; failed {
			timer.Reset(retryLook)
		} else {
			timer.Reset(lookEvery)
		}
	}
}

// Refuse returns Denied, WORKLOAD_BANNED, for a workload that is banned.
func (b *Bans) Refuse(w ident.Workload) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.banned[w.URI()] {
		return nil
	}
	return refusal()
}

// List returns the SPIFFE ids of all banned workloads, sorted.
func (b *Bans) List() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.banned))
}

// enter notes a stream, so that a ban calls end; leave forgets it. A workload that is banned already is refused.
func (b *Bans) enter(w ident.Workload, end func()) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, key := w.URI(), new(banned)
	if b.banned[id] {
		return nil, refusal()
	}
	if b.streams[id] == nil {
		b.streams[id] = make(map[*banned]func())
	}
	b.streams[id][key] = end
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.streams[id], key)
		if len(b.streams[id]) == 0 {
			delete(b.streams, id)
		}
	}, nil
}

func refusal() error {
	return fault.New(fault.Denied, ReasonBanned, "this workload is banned")
}
