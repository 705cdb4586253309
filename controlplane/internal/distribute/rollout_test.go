// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/node"
)

// rolling is a fleet on a store that keeps rollouts.
type rolling struct {
	*plane

	rollouts record.Rollouts
	nodes    []*sim
}

const fleetSize = 20

func roll(t *testing.T, store catalog.Store, timeout time.Duration) *rolling {
	t.Helper()
	rollouts, ok := store.(record.Rollouts)
	if !ok {
		t.Fatalf("a %T keeps no rollouts", store)
	}
	r := &rolling{rollouts: rollouts}
	r.plane = startPlane(t, store, func(c *distribute.Config) { c.Rollouts, c.StageTimeout = rollouts, timeout })
	r.write(feedtest.Shop()...)
	for i := range fleetSize {
		r.nodes = append(r.nodes, startNode(t, r.plane, fmt.Sprintf("n%02d", i), "eu", nil))
	}
	return r
}

// stores are what a rollout is kept in.
func stores() map[string]func(*testing.T) catalog.Store {
	database := func(t *testing.T, dsn string) catalog.Store {
		t.Helper()
		s, err := sqlstore.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	return map[string]func(*testing.T) catalog.Store{
		"memory": func(t *testing.T) catalog.Store {
			t.Helper()
			s := memstore.New(nil)
			t.Cleanup(s.Wait)
			return s
		},
		"SQLite": func(t *testing.T) catalog.Store {
			t.Helper()
			return database(t, "sqlite://"+filepath.Join(t.TempDir(), "controlplane.db"))
		},
		"PostgreSQL": func(t *testing.T) catalog.Store { t.Helper(); return database(t, pgtest.New(t)) },
	}
}

// change writes in one atomic change, as Apply does.
func (r *rolling) change(staged bool, ops ...feedtest.Op) catalog.Revision {
	r.tb.Helper()
	rev, _, err := r.store.Write(r.tb.Context(), "user:test", func(tx catalog.Tx) error {
		tx.SetAtomic()
		if staged {
			tx.SetStaged()
		}
		return feedtest.Do(r.tb.Context(), tx, ops...)
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	feedtest.AwaitHead(r.tb, r.feed, rev)
	return rev
}

// stage waits until the rollout is at a stage.
func (r *rolling) stage(want record.Stage) record.Rollout {
	r.tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		now, err := r.rollouts.Rollout(r.tb.Context())
		if err != nil {
			r.tb.Fatal(err)
		}
		if now.Stage == want {
			return now
		}
		select {
		case <-tick.C:
		case <-late:
			r.tb.Fatalf("the rollout is %+v; want the stage %s", now, want)
		}
	}
}

// reached returns the nodes that ever were given a resource's new state.
func (r *rolling) reached(k node.Key) (names []string) {
	for _, n := range r.nodes {
		n.view.lock(func() {
			if slices.Contains(n.view.touched, k) {
				names = append(names, n.who.Name)
			}
		})
	}
	return names
}

// Failure 10 of distribution.md: a change that the canary rejects reaches one node of 20; what comes after it is held back
// for the others, denials are not; a rollback heals them all, and the others never see what was wrong.
func TestPoisonReachesOneNode(t *testing.T) {
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			r := roll(t, open(t), 0)
			base := r.write(feedtest.Gateway("other", "fine"))
			r.wait(base)
			poison := node.Key{Kind: "gateway", Name: "poison"}
			for _, n := range r.nodes {
				n.view.lock(func() { n.view.bad = map[node.Key]string{poison: "NO_COMPILE"} })
			}
			rev := r.change(true, feedtest.Gateway("poison", "bad"))
			now := r.stage(record.StageStopped)
			if now.Revision != rev || now.Base != base || len(now.Nodes) != 1 || now.Reason == "" {
				t.Errorf("the rollout is %+v", now)
			}
			if got := r.reached(poison); len(got) != 1 {
				t.Errorf("the change reached %v; want one node", got)
			}
			// Later changes wait, denials do not.
			held := r.change(false, feedtest.Gateway("later", "x"), feedtest.Deny(catalog.KindGateway, "other"), feedtest.Delete(catalog.KindGateway, "other"))
			key := node.Key{Kind: "gateway", Name: "other"}
			for _, n := range r.nodes {
				n.view.await(t, "the denial", func() bool { return n.view.denied[key] == uint64(held) || n.view.at >= uint64(held) })
			}
			if got := r.reached(node.Key{Kind: "gateway", Name: "later"}); len(got) > 1 {
				t.Errorf("a later change reached %v", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if e := r.server.WaitEnforced(ctx, rev, false); e.Enforced || len(e.Lagging) != fleetSize-1 {
				t.Errorf("WaitEnforced claims %+v; want %d laggards", e, fleetSize-1)
			}
			// A node that comes now without a state gets that of before.
			fresh := startNode(t, r.plane, "zz", "eu", nil)
			fresh.at(base)
			if slices.Contains(fresh.view.names(), "gateway poison") {
				t.Error("a new node has the change")
			}
			back, _, err := r.store.Write(t.Context(), "user:test", func(tx catalog.Tx) error {
				tx.SetAtomic()
				tx.SetRollback(base)
				return feedtest.Do(t.Context(), tx, feedtest.Delete(catalog.KindGateway, "poison"), feedtest.Delete(catalog.KindGateway, "later"),
					feedtest.Gateway("other", "fine"))
			})
			if err != nil {
				t.Fatal(err)
			}
			feedtest.AwaitHead(t, r.feed, back)
			r.wait(back)
			r.nodes[0].at(back)
			for _, n := range append(r.nodes[1:], fresh) {
				n.at(back)
				equal(t, r.nodes[0].view, n.view)
			}
			if got := r.reached(poison); len(got) != 1 {
				t.Errorf("after the rollback the change has reached %v; want one node", got)
			}
			if now := r.stage(record.StageAll); now.Ended != back {
				t.Errorf("the rollout is %+v", now)
			}
			r.wait(r.change(false, feedtest.Gateway("after", "y"))) // and all goes on
		})
	}
}

// A change that is fine goes to one node, to a tenth, to all.
func TestStagedRollout(t *testing.T) {
	r := roll(t, memstore.New(nil), 0)
	r.wait(r.write(feedtest.Gateway("other", "fine")))
	gate := make(chan struct{})
	for _, n := range r.nodes {
		n.view.lock(func() { n.view.gate = gate })
	}
	rev := r.change(true, feedtest.Gateway("new", "good"))
	one := r.stage(record.StageOne)
	if one.Revision != rev {
		t.Fatalf("the rollout is %+v", one)
	}
	if _, _, err := r.store.Write(t.Context(), "user:test", func(tx catalog.Tx) error {
		tx.SetStaged()
		return feedtest.Do(t.Context(), tx, feedtest.Gateway("second", "x"))
	}); err == nil {
		t.Error("a second rollout begins while the first one runs")
	}
	close(gate)
	if tenth := r.stage(record.StageTenth); len(tenth.Nodes) != 2 {
		t.Errorf("the second stage is %+v; want two nodes", tenth)
	}
	r.stage(record.StageAll)
	r.wait(rev)
}

// A node that takes too long stops the rollout; promoting it brings it to all.
func TestRolloutStopsOnSilence(t *testing.T) {
	r := roll(t, memstore.New(nil), 300*time.Millisecond)
	r.wait(r.write(feedtest.Gateway("other", "fine")))
	gate := make(chan struct{})
	for _, n := range r.nodes {
		n.view.lock(func() { n.view.gate = gate })
	}
	rev := r.change(true, feedtest.Gateway("new", "good"))
	now := r.stage(record.StageStopped)
	close(gate)
	c := catalog.New(catalog.Config{Store: r.store, Rollouts: r.rollouts})
	system := catalog.Caller{System: true}
	if err := c.Promote(t.Context(), system, rev+1); err == nil {
		t.Error("another revision is promoted")
	}
	if err := c.Promote(t.Context(), system, now.Revision); err != nil {
		t.Fatal(err)
	}
	r.wait(rev)
}
