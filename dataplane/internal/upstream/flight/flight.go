// SPDX-License-Identifier: Apache-2.0

// Package flight lets one of several callers do what all of them need, such as
// opening a session. It differs from the usual single flight in whose context
// counts: the work runs on one caller's goroutine under that caller's context,
// and when that caller gives up, another one takes over instead of all failing.
//
// Called by upstream. It must never know what is being done.
package flight

import (
	"context"
	"sync"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Flight is one thing that must not be done twice at a time. The zero value is
// ready.
type Flight struct {
	mu   sync.Mutex
	turn *turn
}

// turn is one doing, with everybody who waits for it.
type turn struct {
	done    chan struct{} // closed when err is the outcome for all
	baton   chan struct{} // holds one value while nobody does it and somebody should
	waiting int           // guarded by Flight.mu
	err     error
}

// Do runs f, or waits while another caller runs it and returns the outcome of
// that. If that caller was cancelled (a fault of Kind Canceled) or panicked, one
// of those who wait runs f instead, and the others go on waiting. A cancelled
// wait returns ctx.Err().
func (g *Flight) Do(ctx context.Context, f func() error) error {
	g.mu.Lock()
	t := g.turn
	if t == nil {
		t = &turn{done: make(chan struct{}), baton: make(chan struct{}, 1)}
		g.turn = t
		g.mu.Unlock()
		return g.lead(t, f)
	}
	t.waiting++
	g.mu.Unlock()
	select {
	case <-t.done:
		return t.err
	case <-t.baton:
		g.mu.Lock()
		t.waiting--
		g.mu.Unlock()
		return g.lead(t, f)
	case <-ctx.Done():
		g.leave(t)
		return ctx.Err()
	}
}

func (g *Flight) lead(t *turn, f func() error) error {
	err := context.Canceled // for a panic
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if err != nil && fault.KindOf(err) == fault.Canceled && t.waiting > 0 {
			t.baton <- struct{}{}
			return
		}
		g.turn, t.err = nil, err
		close(t.done)
	}()
	err = f()
	return err
}

// leave takes a cancelled caller out. If the baton was meant for it and nobody
// else waits, the turn is over.
func (g *Flight) leave(t *turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.waiting--
	if t.waiting > 0 {
		return
	}
	select {
	case <-t.baton:
		g.turn, t.err = nil, context.Canceled
		close(t.done)
	default:
	}
}
