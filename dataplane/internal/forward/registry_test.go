// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
)

var errAway = errors.New("away")

func (b *board) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *board) drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, name)
}

func (b *board) get(name string) (forward.Node, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.nodes[name]
	return n, ok
}

func (b *board) readSoFar() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads
}

// TestRegistry is M-87 in fake time: the table is in memory, and outlives its store.
func TestRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{}
		self := forward.Node{Name: "self", Address: "127.0.0.1:1", Generation: 3}
		r := forward.NewRegistry(b, self, slog.New(slog.DiscardHandler))
		knows := func(step string, name, address string, live int) {
			t.Helper()
			n, ok := r.Find(t.Context(), name)
			if ok != (address != "") || n.Address != address || r.Live() != live {
				t.Errorf("%s: %s is %+v %v, %d live; want %q, %d", step, name, n, ok, r.Live(), address, live)
			}
		}
		knows("before it runs", "a", "", 1)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- r.Run(ctx) }()
		synctest.Wait()
		if n, _ := b.get("self"); n != self {
			t.Errorf("announced %+v", n)
		}
		time.Sleep(time.Second)
		b.put(forward.Node{Name: "a", Address: "a:1"})
		knows("asked for by a client", "a", "a:1", 2) // not heard of before
		reads := b.readSoFar()
		for range 100 {
			knows("asked for again and again", "nobody", "", 2)
		}
		if n := b.readSoFar() - reads; n != 0 {
			t.Errorf("strangers have the store read %d times within a second", n)
		}
		time.Sleep(time.Second)
		for range 100 {
			knows("a second later", "nobody", "", 2)
		}
		if n := b.readSoFar() - reads; n != 1 {
			t.Errorf("strangers have the store read %d times in a second", n)
		}
		knows("itself", "self", "", 2)

		b.fail(errAway)
		time.Sleep(time.Hour)
		knows("without the store", "a", "a:1", 2)
		b.fail(nil)
		b.drop("a")
		b.drop("self")
		time.Sleep(5 * time.Second)
		if _, ok := b.get("self"); !ok {
			t.Error("the node does not announce itself anew")
		}
		knows("not there any more", "a", "", 1) // it was last seen an hour ago
		b.put(forward.Node{Name: "a", Address: "a:2"})
		time.Sleep(5 * time.Second)
		b.drop("a")
		time.Sleep(10 * time.Second)
		knows("for a lease", "a", "a:2", 1)
		time.Sleep(10 * time.Second)
		knows("after the lease", "a", "", 1)

		r.Drain()
		synctest.Wait()
		if n, _ := b.get("self"); !n.Draining || !r.Self().Draining {
			t.Errorf("draining, but announced %+v", n)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if _, ok := b.get("self"); ok {
			t.Error("a node that stopped is still announced")
		}
	})
}

// The last word to a store that does not answer is not waited for.
func TestRegistryStopsWithoutItsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{err: errAway}
		r := forward.NewRegistry(b, forward.Node{Name: "self"}, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
