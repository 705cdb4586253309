// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// Lease is how long an address counts without being renewed (M-89).
	Lease = 15 * time.Second
	// renewEvery is how often a node renews its own and reads the others'.
	renewEvery = 5 * time.Second
	// lookEvery bounds how often somebody who asks for an unknown node has the store read.
	lookEvery = time.Second
	// withdrawTime bounds the last word to the store.
	withdrawTime = time.Second
)

// Registry is the table of the region's nodes, in memory: looking into it waits for nobody, and it outlives its store
// (M-87). It is safe for concurrent use.
type Registry struct {
	store Store
	log   *slog.Logger

	self     Node // but for Draining
	draining atomic.Bool
	wake     chan struct{}

	table atomic.Pointer[table]

	mu     sync.Mutex // held by the one who reads the store
	looked time.Time
}

// table is what is known; it is never changed.
type table struct {
	nodes map[string]known
	live  int // in the store when it was read last, this node included
}

type known struct {
	Node
	seen time.Time // in the store
}

// NewRegistry returns a registry that knows this node alone. It starts nothing: see [Registry.Run].
func NewRegistry(store Store, self Node, log *slog.Logger) *Registry {
	r := &Registry{store: store, self: self, log: log, wake: make(chan struct{}, 1)}
	r.table.Store(&table{live: 1})
	return r
}

// Run keeps this node's address in the store and the others' here, until ctx is canceled; then it takes its own back and
// returns nil.
func (r *Registry) Run(ctx context.Context) error {
	healthy := true
	for {
		err := r.turn(ctx)
		if ok := err == nil; ok != healthy && ctx.Err() == nil {
			healthy = ok
			if ok {
				r.log.InfoContext(ctx, "node registry is back")
			} else {
				r.log.WarnContext(ctx, "node registry unavailable", obs.Fault(err))
			}
		}
		wait := time.NewTimer(renewEvery - rand.N(renewEvery/10)) //nolint:gosec // spreads load, keeps no secret
		select {
		case <-ctx.Done():
			wait.Stop()
			return r.withdraw(ctx)
		case <-r.wake:
			wait.Stop()
		case <-wait.C:
		}
	}
}

func (r *Registry) turn(ctx context.Context) error {
	self := r.self
	self.Draining = r.draining.Load()
	if err := r.store.Announce(ctx, self, Lease); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.look(ctx)
}

// withdraw is the node's last word. That the store does not hear it is no harm: the lease runs out.
func (r *Registry) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	if err := r.store.Withdraw(ctx, r.self); err != nil {
		r.log.DebugContext(ctx, "node address not withdrawn", obs.Fault(err))
	}
	return nil
}

// Drain tells the others that this node shuts down, as soon as the store can be reached.
func (r *Registry) Drain() {
	r.draining.Store(true)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// look reads the store. The caller holds mu. A node that is not there any more stays known for one lease, in which a store
// that has lost everything hears of it anew.
func (r *Registry) look(ctx context.Context) error {
	found, err := r.store.Nodes(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	r.looked = now
	old := r.table.Load().nodes
	next := &table{nodes: make(map[string]known, len(found)), live: 1}
	for _, n := range found {
		if n.Name == r.self.Name || n.Address == "" {
			continue
		}
		next.live++
		next.nodes[n.Name] = known{n, now}
	}
	for name, k := range old {
		if _, there := next.nodes[name]; !there && now.Sub(k.seen) < Lease {
			next.nodes[name] = k
		}
	}
	r.table.Store(next)
	return nil
}

// Find returns another node by name. For one that is not known yet it has the store read, at most once a second: a node may
// have given its name to a client before this one has heard of it.
func (r *Registry) Find(ctx context.Context, name string) (Node, bool) {
	if k, ok := r.table.Load().nodes[name]; ok {
		return k.Node, true
	}
	if name == r.self.Name || !r.mu.TryLock() {
		return Node{}, false
	}
	defer r.mu.Unlock()
	if time.Since(r.looked) < lookEvery {
		return Node{}, false
	}
	r.looked = time.Now()
	if err := r.look(ctx); err != nil {
		if fault.KindOf(err) != fault.Canceled {
			r.log.DebugContext(ctx, "node registry unavailable", obs.Fault(err))
		}
		return Node{}, false
	}
	k, ok := r.table.Load().nodes[name]
	return k.Node, ok
}

// Self is this node.
func (r *Registry) Self() Node {
	n := r.self
	n.Draining = r.draining.Load()
	return n
}

// Live is how many nodes the region had when the store was read last, this one included: 1 or more.
func (r *Registry) Live() int { return r.table.Load().live }

// Others returns the other nodes that are known, in any order.
func (r *Registry) Others() []Node {
	nodes := r.table.Load().nodes
	out := make([]Node, 0, len(nodes))
	for k := range maps.Values(nodes) {
		out = append(out, k.Node)
	}
	return out
}
