// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/node"
)

// bubble runs a test on fake time.
func bubble(t *testing.T, fn func(*testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func TestSnapshotThenDeltas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		first := p.write(feedtest.Shop()...)
		n := startNode(t, p, "n1", "eu", nil)
		n.at(first)
		want := []string{
			"assignment demo/shop/buy", "bearer_token t1", "connection shop-main", "gateway demo", "server shop", "team eng",
			"tool shop/buy", "user ada@example.com",
		}
		if diff := cmp.Diff(want, n.view.names()); diff != "" {
			t.Fatalf("snapshot (-want +got):\n%s", diff)
		}
		p.wait(p.write(feedtest.Assign("demo", "shop/sell", "shop-main")))
		rev := p.write(feedtest.Delete(catalog.KindAssignment, "demo/shop/buy"), feedtest.Deny(catalog.KindAssignment, "demo/shop/buy"))
		n.at(rev)
		n.view.lock(func() {
			if diff := cmp.Diff(map[node.Key]string{{Kind: "tool", Name: "shop/sell"}: `{"name":"sell"}`}, n.view.bodies); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
			if n.view.full != 1 || len(n.view.denied) != 0 {
				t.Errorf("%d full states, denials left over: %v", n.view.full, n.view.denied)
			}
		})
		s := n.client.Status()
		if !s.Connected || !s.Loaded || s.Stale || s.Skew || s.Revision != uint64(rev) || s.DenyRevision != uint64(rev) {
			t.Errorf("status %+v", s)
		}
	})
}

// TestPropagation: the first change after quiet goes at once, a burst is gathered, nothing waits for long (D-27).
func TestPropagation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		n := startNode(t, p, "n1", "eu", nil)
		n.at(p.write(feedtest.Shop()...))
		time.Sleep(time.Second)
		start := time.Now()
		n.at(p.write(feedtest.Gateway("demo", "leading edge")))
		if took := time.Since(start); took > 0 {
			t.Errorf("the first change took %s", took)
		}
		before := len(n.view.order)
		start = time.Now()
		var last catalog.Revision
		for i := range 300 {
			last = p.write(feedtest.User("u@example.com", fmt.Sprint(i)))
			time.Sleep(time.Millisecond)
		}
		written := time.Now()
		n.at(last)
		if took := time.Since(written); took > 20*time.Millisecond {
			t.Errorf("the last change of the burst took %s", took)
		}
		if states := len(n.view.order) - before; states > 40 || states < 10 {
			t.Errorf("%d deltas for a burst of 300 changes in %s", states, written.Sub(start))
		}
		// What may narrow rights is not gathered (D-31).
		p.write(feedtest.User("v@example.com", "1"))
		start = time.Now()
		n.at(p.write(feedtest.Gateway("demo", "narrower")))
		if took := time.Since(start); took > 0 {
			t.Errorf("an edit of a gateway took %s", took)
		}
	})
}

// TestResume is D-20: what a node that comes back receives.
func TestResume(t *testing.T) {
	tests := []struct {
		name    string
		missed  func(p *plane) catalog.Revision // while the node is away, at the new control plane
		full    int                             // full states the node has applied in the end
		touched []string
	}{
		{"nothing changed: nothing is sent", func(p *plane) catalog.Revision { return p.feed.Head().Revision }, 1, nil},
		{"a change", func(p *plane) catalog.Revision { return p.write(feedtest.Gateway("demo", "2")) }, 1, []string{"gateway demo"}},
		{"changes outside the scope", func(p *plane) catalog.Revision {
			return p.write(feedtest.Gateway("us", "1", "us"), feedtest.Deny(catalog.KindGateway, "us"))
		}, 1, nil},
		{"an unassigned tool", func(p *plane) catalog.Revision {
			return p.write(feedtest.Delete(catalog.KindAssignment, "demo/shop/buy"), feedtest.Deny(catalog.KindAssignment, "demo/shop/buy"))
		}, 1, []string{"assignment demo/shop/buy", "connection shop-main", "server shop", "tool shop/buy"}},
	}
	for _, restart := range []bool{true, false} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, restart %t", tt.name, restart), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					store := memstore.New(nil)
					p := startPlane(t, store, nil)
					first := p.write(feedtest.Shop()...)
					n := startNode(t, p, "n1", "eu", nil)
					n.at(first)
					n.move(nil)
					var rev catalog.Revision
					if restart {
						// The changes come between the end of the old control plane and the start of the new one.
						rev = tt.missed(p)
						p.stop()
						p = startPlane(t, store, nil)
					} else {
						rev = tt.missed(p)
					}
					n.move(p)
					n.at(rev)
					p.wait(rev)
					n.view.lock(func() {
						var touched []string
						for _, k := range n.view.touched {
							touched = append(touched, k.Kind+" "+k.Name)
						}
						slices.Sort(touched)
						if diff := cmp.Diff(tt.touched, touched); diff != "" {
							t.Errorf("sent (-want +got):\n%s", diff)
						}
						if n.view.full != tt.full {
							t.Errorf("%d full states, want %d", n.view.full, tt.full)
						}
					})
				})
			})
		}
	}
}

// TestResumeBeyondTheRing: what the ring does not hold is a snapshot, and the old view serves until it is there (D-21).
func TestResumeBeyondTheRing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(nil)
		p := startPlane(t, store, nil)
		first := p.write(feedtest.Shop()...)
		n := startNode(t, p, "n1", "eu", nil)
		n.at(first)
		n.move(nil)
		p.stop()
		for i := range 700 { // more than one page of history, all older than an hour
			feedtest.Write(t, store, feedtest.User("u@example.com", fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Hour)
		rev := feedtest.Write(t, store, feedtest.Delete(catalog.KindBearerToken, "t1"))
		p = startPlane(t, store, nil)
		n.move(p)
		n.at(rev)
		n.view.lock(func() {
			if n.view.full != 2 || len(n.view.touched) != 0 {
				t.Errorf("%d full states, touched %v", n.view.full, n.view.touched)
			}
		})
		if slices.Contains(n.view.names(), "bearer_token t1") {
			t.Error("the deleted token is still there")
		}
	})
}

// TestOutOfScope: changes outside a node's scope only move its cursor, at most once a second (D-28).
func TestOutOfScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		first := p.write(feedtest.Shop()...)
		n := startNode(t, p, "n1", "eu", nil)
		n.at(first)
		time.Sleep(2 * time.Second)
		var last catalog.Revision
		for i := range 100 {
			last = p.write(feedtest.Gateway("us", fmt.Sprint(i), "us"))
			if e := p.server.Enforcement(last); !e.Enforced {
				t.Fatalf("a change that concerns nobody is not enforced: %+v", e)
			}
			time.Sleep(25 * time.Millisecond)
		}
		n.at(last)
		n.view.lock(func() {
			if states := len(n.view.order) - 1; states > 5 || len(n.view.touched) > 0 {
				t.Errorf("%d messages in 2.5 s, touched %v", states, n.view.touched)
			}
		})
		// The cursors are equal: the next delta continues.
		n.at(p.write(feedtest.Gateway("demo", "2")))
		n.view.lock(func() {
			if n.view.full != 1 {
				t.Errorf("%d full states", n.view.full)
			}
		})
	})
}

// TestWaitEnforcedEndsWithItsContext: the laggards are told, which is no error.
func TestWaitEnforcedEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		rev := p.write(feedtest.Shop()...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e := p.server.WaitEnforced(ctx, rev, false); e.Enforced || e.Enforcing != nil || e.Lagging != nil || e.Disconnected != nil {
			t.Errorf("without a node: %+v", e)
		}
		if p.server.Enforced(rev) {
			t.Error("enforced without a node")
		}
		n := startNode(t, p, "n1", "eu", nil)
		n.at(rev)
		p.wait(rev)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e := p.server.WaitEnforced(ctx, rev+1, false); e.Enforced || !slices.Equal(e.Lagging, []string{"n1"}) {
			t.Errorf("a revision that does not exist yet: %+v", e)
		}
		n.stop()
		time.Sleep(time.Second)
		if e := p.server.Enforcement(rev); e.Enforced || !slices.Equal(e.Disconnected, []string{"n1"}) {
			t.Errorf("after it left (D-52): %+v", e)
		}
	})
}
