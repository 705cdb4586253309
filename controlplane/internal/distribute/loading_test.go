// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
)

// loadingPlane is a control plane that loads its configuration when load is called.
func loadingPlane(t *testing.T, change func(*distribute.Config)) (p *plane, load func()) {
	t.Helper()
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	p = &plane{tb: t, pipe: 64 << 10, store: store, feed: feed.New(feed.Config{Store: store, Log: feedtest.Log()})}
	cfg := distribute.Config{Feed: p.feed, Log: feedtest.Log()}
	if change != nil {
		change(&cfg)
	}
	p.server = distribute.New(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.server.Run(ctx); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	t.Cleanup(func() {
		for _, g := range p.servers {
			g.Stop()
		}
		cancel()
		running.Wait()
	})
	return p, func() {
		running.Go(func() {
			if err := p.feed.Run(ctx); err != nil {
				t.Errorf("feed: %v", err)
			}
		})
	}
}

// TestWaitsForTheConfiguration: nodes that come before the configuration is loaded do not come again for it: after a restart
// each costs one connection, and all of them begin within a moment without being sent away (D-42, D-44).
func TestWaitsForTheConfiguration(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, load := loadingPlane(t, func(c *distribute.Config) { c.HelloRate = 20 })
		var nodes []*sim
		for i := range 60 {
			nodes = append(nodes, startNode(t, p, fmt.Sprintf("n%d", i), "eu", nil))
		}
		time.Sleep(8 * time.Second)
		for _, n := range nodes {
			if s := n.client.Status(); s.Connected {
				t.Fatal("a node is followed before the configuration is loaded")
			}
		}
		load()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for _, n := range nodes {
			n.mu.Lock()
			dialed := len(n.conns)
			n.mu.Unlock()
			if s := n.client.Status(); !s.Connected || s.Revision != uint64(p.feed.Head().Revision) || dialed != 1 {
				t.Errorf("connected %t at revision %d of %d after %d connections", s.Connected, s.Revision, p.feed.Head().Revision, dialed)
			}
		}
	})
}

// TestWaitsNotForLong: what does not get loaded, or is there at another control plane, is looked for elsewhere.
func TestWaitsNotForLong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		least time.Duration
		then  func(*others, *distribute.Server)
	}{
		{"it is not loaded", 10 * time.Second, func(*others, *distribute.Server) {}},
		{"another control plane appears", time.Second, func(o *others, _ *distribute.Server) {
			o.set(func(o *others) { o.endpoints = []string{"other:8082"} })
		}},
		{"it is told to stop", time.Second, func(_ *others, s *distribute.Server) { s.Drain() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				o := &others{}
				p, _ := loadingPlane(t, func(c *distribute.Config) { c.Others = o })
				s, err := raw(t, p, workload("n1", "eu")).Follow(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				go func() {
					time.Sleep(time.Second)
					tt.then(o, p.server)
				}()
				if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
					t.Errorf("got %v, want unavailable", err)
				}
				if took := time.Since(began); took < tt.least || took > tt.least+time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
