// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/node"
)

// TestSlowApplier: a node that compiles slowly gets one merged delta, not a queue (D-25), and a denial does not wait for
// it (D-30).
func TestSlowApplier(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		n := startNode(t, p, "slow", "eu", nil)
		quick := startNode(t, p, "quick", "eu", nil)
		first := p.write(feedtest.Shop()...)
		n.at(first)
		quick.at(first)
		gate := make(chan struct{})
		n.view.lock(func() { n.view.gate = gate })
		var last catalog.Revision
		for i := range 10_000 {
			last = p.write(feedtest.User(fmt.Sprintf("u%d@example.com", i%50), fmt.Sprint(i)))
		}
		quick.at(last)
		start := time.Now()
		denial := p.write(feedtest.Delete(catalog.KindBearerToken, "t1"), feedtest.Deny(catalog.KindBearerToken, "t1"))
		e := p.wait(denial)
		if took := time.Since(start); took > 0 {
			t.Errorf("the denial took %s behind a burst of 10,000 changes", took)
		}
		if diff := cmp.Diff([]string{"quick", "slow"}, e.Enforcing); diff != "" {
			t.Error(diff)
		}
		n.view.lock(func() {
			if n.view.denied[node.Key{Kind: "bearer_token", Name: "t1"}] != uint64(denial) || n.view.at != uint64(first) {
				t.Errorf("at revision %d with denials %v", n.view.at, n.view.denied)
			}
		})
		time.Sleep(time.Second)
		if e := p.server.Enforcement(last); e.Enforced || !slices.Equal(e.Lagging, []string{"slow"}) {
			t.Errorf("the burst: %+v", e)
		}
		time.Sleep(30 * time.Second) // slow is not silent: the stream lives
		for _, x := range p.server.Nodes() {
			if lag := x.Lag; x.Name == "slow" && (lag < 30*time.Second || !x.Connected) {
				t.Errorf("lag %s, connected %t", lag, x.Connected)
			}
		}
		n.view.lock(func() { n.view.gate = nil })
		close(gate)
		n.at(denial)
		n.view.lock(func() {
			states := 0
			for _, o := range n.view.order {
				if strings.HasPrefix(o, "state") {
					states++
				}
			}
			if states > 6 {
				t.Errorf("%d states applied for a burst that could be merged", states)
			}
		})
		equal(t, n.view, quick.view)
	})
}

// stuck is a connection that gives so many bytes and then no more, until it is freed or closed.
type stuck struct {
	net.Conn
	mu   sync.Mutex
	cond *sync.Cond
	left int
}

func newStuck(c net.Conn, bytes int) *stuck {
	s := &stuck{Conn: c, left: bytes}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stuck) Read(b []byte) (int, error) {
	s.mu.Lock()
	for s.left == 0 {
		s.cond.Wait()
	}
	b = b[:min(len(b), s.left)]
	s.mu.Unlock()
	n, err := s.Conn.Read(b)
	s.mu.Lock()
	s.left -= n
	s.mu.Unlock()
	return n, err
}

func (s *stuck) Close() error {
	s.mu.Lock()
	s.left = 1 << 30
	s.mu.Unlock()
	s.cond.Broadcast()
	return s.Conn.Close()
}

// TestSlowReader: a node that does not read loses its stream after 10 s (D-26) and delays nobody. While it holds the only
// slot for snapshots another new node waits for it (D-42).
func TestSlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), func(c *distribute.Config) { c.MaxSnapshots = 1 })
		old := startNode(t, p, "old", "eu", nil)
		first := p.write(append(feedtest.Shop(), feedtest.Tools("big", 4000)...)...)
		old.at(first)
		healed := false
		start := time.Now()
		slow := startNode(t, p, "slow", "eu", func(s *sim, _ *node.Config) {
			s.wrap = func(c net.Conn) net.Conn {
				if healed {
					return c
				}
				return newStuck(c, 20_000)
			}
		})
		time.Sleep(time.Second)
		fresh := startNode(t, p, "fresh", "eu", nil)
		old.at(p.write(feedtest.Gateway("demo", "2")))
		if took := time.Since(start); took > time.Second {
			t.Errorf("a node that is up to date waited %s for the slow one", took)
		}
		fresh.at(first)
		if took := time.Since(start); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("the slot was free after %s", took)
		}
		slow.mu.Lock()
		healed = true
		slow.mu.Unlock()
		slow.at(first)
		equal(t, slow.view, fresh.view)
	})
}

// TestNarrowPipes is failure 6: whatever is sent both ways through the narrowest pipe, both sides make progress.
func TestNarrowPipes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		p.pipe = 64
		n := startNode(t, p, "n1", "eu", func(s *sim, _ *node.Config) {
			s.view.bad = map[node.Key]string{}
			for i := range 500 {
				s.view.bad[node.Key{Kind: "user", Name: fmt.Sprintf("u%d@example.com", i)}] = strings.Repeat("LONG_REASON", 10)
			}
		})
		n.at(p.write(feedtest.Shop()...))
		var last catalog.Revision
		for i := range 500 {
			last = p.write(feedtest.User(fmt.Sprintf("u%d@example.com", i), strings.Repeat("x", 1000)),
				feedtest.Deny(catalog.KindUser, fmt.Sprintf("u%d@example.com", i)))
		}
		n.at(last)
		time.Sleep(time.Second)
		p.wait(last)
		if got := len(p.server.Nodes()[0].Rejects); got != 500 {
			t.Errorf("%d rejects arrived, want 500", got)
		}
	})
}

// TestManyNodesThroughChange: random changes, random flaps, restarts of the control plane; in the end every node has
// what a new one gets.
func TestManyNodesThroughChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2)) // a test that can be repeated
		store := memstore.New(nil)
		p := startPlane(t, store, nil)
		first := p.write(append(feedtest.Shop(), feedtest.Tools("g", 40)...)...)
		var nodes []*sim
		for i := range 12 {
			nodes = append(nodes, startNode(t, p, fmt.Sprintf("n%d", i), []string{"eu", "us"}[i%2], nil))
		}
		for _, n := range nodes {
			n.at(first)
		}
		last := first
		for i := range 300 {
			tool := fmt.Sprintf("g-server/tool-%d", rnd.IntN(40))
			switch rnd.IntN(6) {
			case 0:
				last = p.write(feedtest.Assign("demo", tool, "g-conn"))
			case 1:
				last = p.write(feedtest.Gateway("demo", fmt.Sprint(i), [][]string{nil, {"eu"}, {"us"}}[rnd.IntN(3)]...))
			case 2:
				last = p.write(feedtest.Tool("g-server", fmt.Sprintf("tool-%d", rnd.IntN(40)), fmt.Sprint("body ", i)))
			case 3:
				last = p.write(feedtest.User(fmt.Sprintf("u%d@example.com", rnd.IntN(20)), fmt.Sprint(i)))
			case 4:
				nodes[rnd.IntN(len(nodes))].move(p) // breaks the connection
			case 5:
				if rnd.IntN(10) > 0 {
					time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
					continue
				}
				p.stop()
				p = startPlane(t, store, nil)
				for _, n := range nodes {
					n.move(p)
				}
			}
		}
		for i, n := range nodes {
			n.at(last)
			fresh := startNode(t, p, fmt.Sprint("fresh", i), n.who.Region, nil)
			fresh.at(last)
			equal(t, n.view, fresh.view)
			fresh.stop()
		}
	})
}

// TestFlapping is failure 7: connections that break again and again leave nothing behind; goleak sees the rest.
func TestFlapping(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		n := startNode(t, p, "n1", "eu", nil)
		n.at(p.write(feedtest.Shop()...))
		for i := range 50 {
			n.move(p)
			n.at(p.write(feedtest.Gateway("demo", fmt.Sprint(i))))
		}
		nodes := p.server.Nodes()
		if len(nodes) != 1 || !nodes[0].Connected {
			t.Errorf("%+v", nodes)
		}
		if n.view.full != 1 {
			t.Errorf("%d full states", n.view.full)
		}
	})
}
