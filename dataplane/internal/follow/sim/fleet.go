// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// Config describes a run.
type Config struct {
	// Endpoints are the control planes' node streams, host:port. Required.
	Endpoints []string
	// CACert and CAKey are the files of the authority that the control plane trusts. Required.
	CACert, CAKey string
	// TrustDomain of the SPIFFE IDs. Required.
	TrustDomain string
	// Nodes is how many; 1 to 10,000.
	Nodes int
	// Regions that the nodes are spread over; at least one.
	Regions []string
	// Real is how many of the nodes compile for real, and hold the state; the others share one (see the package).
	Real int
	// ApplyDelay is how much longer each node takes to enforce something.
	ApplyDelay time.Duration
	// Slow is the share of nodes, 0 to 1, that read about 40 KB a second.
	Slow float64
	// Flaps is how many connections break each second, over the whole fleet.
	Flaps float64
	// For is how long the run takes.
	For time.Duration
	// Settle is how long the nodes may take after it to reach one state.
	Settle time.Duration
	// Listen is where a driver on the same machine asks, host:port, see [Live]; empty for nowhere.
	Listen string
	// Log takes the nodes' lines; nil drops them.
	Log *slog.Logger
}

func (c Config) validate() error {
	switch {
	case len(c.Endpoints) == 0 || c.CACert == "" || c.CAKey == "" || c.TrustDomain == "":
		return errors.New("endpoints, authority and trust domain are required")
	case c.Nodes < 1 || c.Nodes > 10_000:
		return errors.New("1 to 10,000 nodes can be simulated")
	case len(c.Regions) == 0:
		return errors.New("a node has a region")
	case c.Slow < 0 || c.Slow > 1 || c.Flaps < 0:
		return errors.New("the share of slow nodes is 0 to 1, flaps are not negative")
	default:
		return nil
	}
}

// Run simulates a fleet until the time is over or ctx ends, then waits for the nodes to agree, and reports. The error
// is a fleet that could not be made; what went wrong in the run stands in the report.
func Run(ctx context.Context, c Config) (r Report, err error) {
	if err := c.validate(); err != nil {
		return Report{}, fmt.Errorf("simulate nodes: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp("", "nodesim-")
	if err != nil {
		return Report{}, fmt.Errorf("simulate nodes: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, err := openAuthority(c.CACert, c.CAKey, dir, c.TrustDomain)
	if err != nil {
		return Report{}, fmt.Errorf("simulate nodes: %w", err)
	}
	shared, err := newPool()
	if err != nil {
		return Report{}, fmt.Errorf("simulate nodes: %w", err)
	}
	members := make([]*member, c.Nodes)
	for n := range members {
		if members[n], err = newMember(c, a, shared, n); err != nil {
			return Report{}, err
		}
	}
	// The nodes outlive ctx: they have to agree after it.
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	answering, err := answer(c.Listen, members)
	if err != nil {
		return Report{}, fmt.Errorf("simulate nodes: %w", err)
	}
	defer func() { err = errors.Join(err, answering()) }()
	for _, m := range members {
		running.Go(func() { _ = m.client.Run(alive) }) // without a folder it cannot fail
	}
	start := time.Now()
	loaded := disturb(ctx, c, members)
	settled := settle(alive, members, c.Settle)
	return report(members, loaded.Sub(start), settled), nil
}

// disturb lets the run happen and returns when the last node had a state, zero if not all got one.
func disturb(ctx context.Context, c Config, members []*member) (loaded time.Time) {
	ctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	flap := time.NewTicker(time.Hour)
	defer flap.Stop()
	if c.Flaps > 0 {
		flap.Reset(time.Duration(float64(time.Second) / c.Flaps))
	}
	for {
		select {
		case <-ctx.Done():
			return loaded
		case now := <-look.C:
			if loaded.IsZero() && allLoaded(members) {
				loaded = now
			}
		case <-flap.C:
			members[rand.IntN(len(members))].flap() //nolint:gosec // chance is no secret
		}
	}
}

func allLoaded(members []*member) bool {
	for _, m := range members {
		if !m.client.Status().Loaded {
			return false
		}
	}
	return true
}

// settle waits until all nodes agree, and reports whether they do.
func settle(ctx context.Context, members []*member, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !agree(members) {
		if ctx.Err() != nil {
			return false
		}
		pause(ctx, 50*time.Millisecond)
	}
	return true
}

// agree reports whether all nodes are at one revision, and those of a region have one digest.
func agree(members []*member) bool {
	first := members[0].status()
	digests := make(map[string]any)
	for _, m := range members {
		s := m.status()
		if !s.Loaded || s.Epoch != first.Epoch || s.Revision != first.Revision {
			return false
		}
		if d, ok := digests[m.region]; ok && d != any(s.Digest) {
			return false
		}
		digests[m.region] = s.Digest
	}
	return true
}
