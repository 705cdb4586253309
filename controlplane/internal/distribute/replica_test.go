// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
)

// elsewhere is a follower of another control plane that enforces the head.
func elsewhere(p *plane, name string, since time.Time) *replicav1.Follower {
	h := p.feed.Head()
	return &replicav1.Follower{
		SpiffeId: workload(name, "eu").URI(), Connected: true, Epoch: h.Epoch, Revision: uint64(h.Revision), DenyRevision: uint64(h.Revision),
		IdleRevision: uint64(h.Revision), SeenTime: timestamppb.New(since), ConnectTime: timestamppb.New(since), Capabilities: []string{"x"},
	}
}

// TestMerge: followers of other control planes count as one's own do, each where its newest stream is.
func TestMerge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), func(c *distribute.Config) { c.Replica = "here" })
		rev := p.write(feedtest.Shop()...)
		startNode(t, p, "own", "eu", nil).at(rev)
		p.wait(rev)
		where := func() map[string]string {
			out := make(map[string]string)
			for _, n := range p.server.Nodes() {
				out[n.Name] = n.Replica
			}
			return out
		}
		check := func(what string, want map[string]string) {
			t.Helper()
			if diff := cmp.Diff(want, where()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		now := time.Now()
		p.server.Merge("a", []*replicav1.Follower{elsewhere(p, "n1", now), elsewhere(p, "n2", now)}, true)
		check("two at a", map[string]string{"own": "here", "n1": "a", "n2": "a"})
		if e := p.server.Enforcement(rev); !e.Enforced || len(e.Enforcing) != 3 {
			t.Errorf("enforced: %+v", e)
		}
		if lacking := p.server.Lacking("x"); len(lacking) != 1 || lacking[0] != "own" {
			t.Errorf("lacking: %v", lacking)
		}

		// It moved to b; what a says of it afterwards is old.
		p.server.Merge("b", []*replicav1.Follower{elsewhere(p, "n1", now.Add(time.Second))}, false)
		p.server.Merge("a", []*replicav1.Follower{elsewhere(p, "n1", now)}, false)
		left := elsewhere(p, "n1", now)
		left.Connected = false
		p.server.Merge("a", []*replicav1.Follower{left}, false)
		check("n1 at b", map[string]string{"own": "here", "n1": "b", "n2": "a"})

		// A whole picture without a node says that it left; one elsewhere is not concerned.
		p.server.Merge("a", nil, true)
		check("nobody at a", map[string]string{"own": "here", "n1": "b", "n2": ""})
		p.server.Forget("b")
		check("b is gone", map[string]string{"own": "here", "n1": "", "n2": ""})
		if e := p.server.Enforcement(rev); !e.Enforced || len(e.Disconnected) != 2 {
			t.Errorf("enforced: %+v", e)
		}

		// A node elsewhere that is behind is waited for until it is told to be there, also through what does not concern it.
		behind := elsewhere(p, "n1", now.Add(2*time.Second))
		next := p.write(feedtest.Gateway("demo", "2"))
		p.server.Merge("b", []*replicav1.Follower{behind}, true)
		waited := make(chan distribute.Enforcement, 1)
		go func() { waited <- p.server.WaitEnforced(t.Context(), next, false) }()
		time.Sleep(time.Minute)
		select {
		case e := <-waited:
			t.Fatalf("it is claimed: %+v", e)
		default:
		}
		p.server.Merge("b", []*replicav1.Follower{elsewhere(p, "n1", now.Add(2*time.Second))}, false)
		if e := <-waited; !e.Enforced {
			t.Errorf("enforced: %+v", e)
		}
		only := p.write(feedtest.Gateway("us-only", "1", "us"))
		time.Sleep(2 * time.Second) // the own node's cursor moves
		if e := p.server.Enforcement(only); !e.Enforced {
			t.Errorf("what concerns another region: %+v", e)
		}

		// The newest stream is elsewhere: the one here ends, and the node, which does not know, comes back as the newest.
		p.server.Merge("a", []*replicav1.Follower{elsewhere(p, "own", time.Now().Add(time.Millisecond))}, false)
		check("own at a", map[string]string{"own": "a", "n1": "b", "n2": ""})
		list, position, _ := p.server.Followers(0)
		if len(list) != 1 || list[0].GetConnected() || position == 0 {
			t.Errorf("the others are told %v", list)
		}
		time.Sleep(30 * time.Second)
		check("own is back", map[string]string{"own": "here", "n1": "b", "n2": ""})
		if list, _, _ = p.server.Followers(position); len(list) != 1 || !list[0].GetConnected() || list[0].GetRevision() != uint64(only) {
			t.Errorf("the others are told %v", list)
		}
	})
}

// TestSilentReplica: while another control plane does not say what its nodes do, nothing is claimed (D-51).
func TestSilentReplica(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &others{silent: []string{"b"}}
		p := startPlane(t, memstore.New(nil), func(c *distribute.Config) { c.Others = o })
		startNode(t, p, "n1", "eu", nil).at(p.write(feedtest.Shop()...))
		rev := p.feed.Head().Revision
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		e := p.server.WaitEnforced(ctx, rev, false)
		if e.Enforced || len(e.Lagging) != 1 || e.Lagging[0] != "controlplane/b" || len(e.Enforcing) != 1 {
			t.Errorf("claimed: %+v", e)
		}
		if p.server.Enforced(rev) {
			t.Error("a status claims it")
		}
		time.AfterFunc(5*time.Second, func() { o.set(func(o *others) { o.silent = nil }) })
		p.wait(rev)
	})
}

// TestSentAway: nodes go elsewhere when their stream is old, and when there are too many; a few at a time, and each is told
// where (D-41).
func TestSentAway(t *testing.T) {
	const count = 40
	tests := []struct {
		name    string
		age     time.Duration
		surplus int
		after   time.Duration
		least   int // nodes that have left by then
		most    int
	}{
		{"before the age", time.Minute, 0, 40 * time.Second, 0, 0},
		{"after it", time.Minute, 0, 80 * time.Second, count, count},
		{"a surplus, paced", time.Hour, 10, 12 * time.Second, 1, 6},
		{"a surplus, in the end", time.Hour, 10, 5 * time.Minute, count, count}, // the stub never says that it is gone
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := memstore.New(nil)
				o := &others{endpoints: []string{"passthrough:///next"}, surplus: tt.surplus}
				old := startPlane(t, store, func(c *distribute.Config) { c.MaxAge, c.Others = tt.age, o })
				next := startPlane(t, store, nil)
				rev := old.write(feedtest.Shop()...)
				for i := range count {
					n := startNode(t, old, fmt.Sprint("n", i), "eu", nil)
					n.at(rev)
					n.mu.Lock()
					n.plane = next
					n.mu.Unlock()
				}
				time.Sleep(tt.after)
				gone := 0
				for _, n := range next.server.Nodes() {
					if n.Connected {
						gone++
					}
				}
				if gone < tt.least || gone > tt.most {
					t.Errorf("%d nodes have left, want %d to %d", gone, tt.least, tt.most)
				}
			})
		})
	}
}

// TestHerd: of many nodes that come at once so many are taken as the rate allows, and all in the end (D-42).
func TestHerd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), func(c *distribute.Config) { c.HelloRate = 10 })
		rev := p.write(feedtest.Shop()...)
		start := time.Now()
		var nodes []*sim
		for i := range 60 {
			nodes = append(nodes, startNode(t, p, fmt.Sprint("n", i), "eu", nil))
		}
		time.Sleep(time.Second)
		taken := 0
		for _, n := range p.server.Nodes() {
			if n.Enforced == rev {
				taken++
			}
		}
		if taken < 10 || taken > 20 {
			t.Errorf("%d nodes were taken in the first second", taken)
		}
		for _, n := range nodes {
			n.at(rev)
		}
		if took := time.Since(start); took < 5*time.Second || took > 30*time.Second {
			t.Errorf("60 nodes at 10 a second took %s", took)
		}
	})
}
