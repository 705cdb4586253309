// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// TestReject is failure 5: a node that will not compile a resource says so at once, the rest is enforced, the resource is
// not sent again, and a newer version clears it (D-35, D-38).
func TestReject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		bad := node.Key{Kind: "gateway", Name: "demo"}
		first := p.write(feedtest.Shop()...)
		picky := startNode(t, p, "picky", "eu", nil)
		other := startNode(t, p, "other", "eu", nil)
		picky.at(first)
		other.at(first)
		was := picky.view.have[bad]
		picky.view.lock(func() { picky.view.bad = map[node.Key]string{bad: "UNKNOWN_NAMING"} })
		rev := p.write(feedtest.Gateway("demo", "2"), feedtest.User("bob@example.com", "Bob"))
		p.wait(rev)
		time.Sleep(time.Second)
		want := []distribute.Reject{{Kind: "gateway", Name: "demo", Reason: "UNKNOWN_NAMING", Revision: rev}}
		rejects := func(name string) []distribute.Reject {
			for _, n := range p.server.Nodes() {
				if n.Name == name {
					return n.Rejects
				}
			}
			return nil
		}
		if diff := cmp.Diff(want, rejects("picky")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := rejects("other"); got != nil {
			t.Errorf("the other node rejects %v", got)
		}
		picky.view.lock(func() {
			if picky.view.have[bad] != was {
				t.Error("the previous version was given up")
			}
			if _, ok := picky.view.have[node.Key{Kind: "user", Name: "bob@example.com"}]; !ok {
				t.Error("the rest of the change was held back")
			}
		})
		// Neither time, nor other changes, nor a new stream send it again; the reject is still known.
		time.Sleep(2 * time.Minute)
		p.wait(p.write(feedtest.User("eve@example.com", "Eve")))
		picky.move(p)
		p.wait(p.write(feedtest.User("eve@example.com", "Eva")))
		time.Sleep(time.Second)
		picky.view.lock(func() {
			if n := len(slices.DeleteFunc(slices.Clone(picky.view.touched), func(k node.Key) bool { return k != bad })); n != 1 {
				t.Errorf("the rejected version was sent %d times", n)
			}
			picky.view.bad = nil
		})
		if got := rejects("picky"); len(got) != 1 {
			t.Errorf("after a new stream: %v", got)
		}
		p.wait(p.write(feedtest.Gateway("demo", "3")))
		if got := rejects("picky"); got != nil {
			t.Errorf("the newer version is fine, but %v", got)
		}
		if got := picky.client.Status().Rejects; got != 0 {
			t.Errorf("the node itself counts %d rejects", got)
		}
		equal(t, picky.view, other.view)
	})
}

// TestAtomicReject: in an atomic change all keep their previous versions, removals apply, and the whole is tried again
// when what was rejected changes (D-35).
func TestAtomicReject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		n := startNode(t, p, "n1", "eu", nil)
		n.at(p.write(append(feedtest.Shop(), feedtest.User("bob@example.com", "1"), feedtest.User("gone@example.com", "1"))...))
		gateway, bob := node.Key{Kind: "gateway", Name: "demo"}, node.Key{Kind: "user", Name: "bob@example.com"}
		before := map[node.Key]string{gateway: n.view.have[gateway], bob: n.view.have[bob]}
		n.view.lock(func() { n.view.bad = map[node.Key]string{gateway: "BAD"} })
		rev := p.write(feedtest.Gateway("demo", "2"), feedtest.User("bob@example.com", "2"),
			feedtest.Delete(catalog.KindUser, "gone@example.com"), feedtest.Atomic())
		p.wait(rev)
		n.view.lock(func() {
			if n.view.have[gateway] != before[gateway] || n.view.have[bob] != before[bob] {
				t.Error("a part of the atomic change is enforced")
			}
			if _, ok := n.view.have[node.Key{Kind: "user", Name: "gone@example.com"}]; ok {
				t.Error("the removal was held back")
			}
			n.view.bad = nil
		})
		// An unrelated change changes nothing about it.
		p.wait(p.write(feedtest.User("eve@example.com", "1")))
		n.view.lock(func() {
			if n.view.have[bob] != before[bob] {
				t.Error("a part of the atomic change is enforced after an unrelated change")
			}
		})
		p.wait(p.write(feedtest.Gateway("demo", "3")))
		fresh := startNode(t, p, "n2", "eu", nil)
		p.wait(p.feed.Head().Revision)
		fresh.at(p.feed.Head().Revision)
		equal(t, n.view, fresh.view)
	})
}

// TestEnforcementOfMixedChanges: a denial counts as enforced ahead of its revision only if the change is nothing else.
func TestEnforcementOfMixedChanges(t *testing.T) {
	tests := []struct {
		name string
		ops  []feedtest.Op
		soon bool
	}{
		{"deleting", []feedtest.Op{feedtest.Delete(catalog.KindBearerToken, "t1"), feedtest.Deny(catalog.KindBearerToken, "t1")}, true},
		{"disabling", []feedtest.Op{feedtest.Gateway("demo", "2"), feedtest.Deny(catalog.KindGateway, "demo")}, true},
		{"deleting a gateway with its assignments", []feedtest.Op{
			feedtest.Delete(catalog.KindGateway, "demo"), feedtest.Delete(catalog.KindAssignment, "demo/shop/buy"), feedtest.Deny(catalog.KindGateway, "demo"),
		}, true},
		{"deleting and editing another", []feedtest.Op{
			feedtest.Delete(catalog.KindBearerToken, "t1"), feedtest.Deny(catalog.KindBearerToken, "t1"), feedtest.Gateway("demo", "2"),
		}, false},
		{"leaving a team, which may gain others in the same change", []feedtest.Op{
			feedtest.Team("eng", "bob@example.com"), feedtest.Deny(catalog.KindTeamMember, "eng/ada@example.com"),
		}, false},
		{"no denial", []feedtest.Op{feedtest.Gateway("demo", "2")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := startPlane(t, memstore.New(nil), nil)
				n := startNode(t, p, "n1", "eu", nil)
				n.at(p.write(feedtest.Shop()...))
				gate := make(chan struct{})
				n.view.lock(func() { n.view.gate = gate })
				rev := p.write(tt.ops...)
				time.Sleep(time.Second)
				if got := p.server.Enforced(rev); got != tt.soon {
					t.Errorf("enforced while the node still compiles: %t", got)
				}
				if whole := p.server.WaitEnforced(canceled(t), rev, true); whole.Enforced {
					t.Error("everything up to the revision counts as enforced while the node still compiles")
				}
				n.view.lock(func() { n.view.gate = nil })
				close(gate)
				p.wait(rev)
			})
		})
	}
}

// canceled is a context for those who do not wait.
func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestNewestStreamWins is D-40.
func TestNewestStreamWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		p.write(feedtest.Shop()...)
		first, err := raw(t, p, workload("n1", "eu")).Follow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Send(hello(&distributionv1.Hello{Protocol: 1})); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Recv(); err != nil {
			t.Fatal(err)
		}
		// The same name in another region is another node.
		n := startNode(t, p, "n1", "us", nil)
		n.at(p.feed.Head().Revision)
		if got := len(p.server.Nodes()); got != 2 {
			t.Errorf("%d nodes, want 2", got)
		}
		second := startNode(t, p, "n1", "eu", nil)
		second.at(p.feed.Head().Revision)
		start := time.Now()
		if _, err := drain(first); err == nil || time.Since(start) > 0 {
			t.Errorf("the old stream ended with %v after %s", err, time.Since(start))
		}
		if nodes := p.server.Nodes(); len(nodes) != 2 || !nodes[0].Connected || !nodes[1].Connected {
			t.Errorf("%+v", nodes)
		}
	})
}

// TestDispatch: each task to another node, to the next one if a node leaves, to none if there is none.
func TestDispatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		rev := p.write(feedtest.Shop()...)
		task := &distributionv1.Task{Id: "t1", Kind: &distributionv1.Task_Discover{Discover: &distributionv1.DiscoverTask{}}}
		if err := p.server.Dispatch(t.Context(), task); fault.KindOf(err) != fault.Unavailable || fault.From(err).Reason != distribute.ReasonNoNode {
			t.Fatalf("without a node: %v", err)
		}
		got := make(chan string, 16)
		nodes := map[string]*sim{}
		for i := range 3 {
			name := fmt.Sprintf("n%d", i)
			nodes[name] = startNode(t, p, name, "eu", func(_ *sim, c *node.Config) {
				c.Tasks = func(_ context.Context, t *distributionv1.Task) { got <- name + " " + t.GetId() }
			})
			nodes[name].at(rev)
		}
		dispatch := func(within time.Duration) (chan error, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			done := make(chan error, 1)
			go func() { done <- p.server.Dispatch(ctx, task) }()
			return done, cancel
		}
		asked := map[string]int{}
		for range 6 {
			done, cancel := dispatch(time.Second)
			asked[<-got]++
			if err := <-done; err != nil {
				t.Errorf("a task that was given: %v", err)
			}
			cancel()
		}
		if diff := cmp.Diff(map[string]int{"n0 t1": 2, "n1 t1": 2, "n2 t1": 2}, asked); diff != "" {
			t.Errorf("round robin (-want +got):\n%s", diff)
		}
		done, cancel := dispatch(time.Hour)
		defer cancel()
		for range 3 {
			name := (<-got)[:2]
			nodes[name].stop()
		}
		if err := <-done; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("after all nodes left: %v", err)
		}
	})
}

// TestDrain: nodes are asked to leave and go elsewhere without an error in between (D-41).
func TestDrain(t *testing.T) {
	for _, window := range []time.Duration{0, 20 * time.Second} {
		t.Run(window.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := memstore.New(nil)
				old := startPlane(t, store, func(c *distribute.Config) {
					c.DrainWindow, c.Others = window, &others{endpoints: []string{"passthrough:///plane"}}
				})
				next := startPlane(t, store, nil)
				rev := old.write(feedtest.Shop()...)
				var nodes []*sim
				for i := range 20 {
					n := startNode(t, old, fmt.Sprint("n", i), "eu", nil)
					n.at(rev)
					nodes = append(nodes, n)
				}
				for _, n := range nodes {
					n.mu.Lock()
					n.plane = next // where the next dial goes
					n.mu.Unlock()
				}
				start := time.Now()
				old.server.Drain()
				if _, err := raw(t, old, workload("late", "eu")).Follow(t.Context()); err != nil {
					t.Fatal(err)
				}
				connected := func() int {
					count := 0
					for _, n := range next.server.Nodes() {
						if n.Connected && n.Enforced == rev {
							count++
						}
					}
					return count
				}
				time.Sleep(window / 2)
				if half := connected(); window > 0 && (half < 3 || half > 17) {
					t.Errorf("half way %d of 20 nodes have left: not spread", half)
				}
				time.Sleep(window/2 + time.Second)
				if got := connected(); got != 20 {
					t.Errorf("%d of 20 nodes are at the next control plane after %s", got, time.Since(start))
				}
				for _, n := range nodes {
					if n.view.full != 1 {
						t.Errorf("%s took %d full states", n.who.Name, n.view.full)
					}
				}
				for _, n := range old.server.Nodes() {
					if n.Connected {
						t.Errorf("%s is still connected to the control plane that stops", n.Name)
					}
				}
			})
		})
	}
}

// TestNodesAfterRestart: nodes of before are listed as disconnected, with what they enforced (D-51, D-52).
func TestNodesAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(nil)
		keep := func(c *distribute.Config) { c.Notes = store }
		p := startPlane(t, store, keep)
		n := startNode(t, p, "n1", "eu", nil)
		rev := p.write(feedtest.Shop()...)
		n.at(rev)
		p.wait(rev)
		time.Sleep(10 * time.Second)
		n.move(nil)
		p.stop()
		p = startPlane(t, store, keep)
		time.Sleep(time.Second)
		nodes := p.server.Nodes()
		if len(nodes) != 1 || nodes[0].Connected || nodes[0].Name != "n1" || nodes[0].Enforced != rev || nodes[0].Build != "test" {
			t.Errorf("%+v", nodes)
		}
		if e := p.server.Enforcement(rev); !slices.Equal(e.Disconnected, []string{"n1"}) || e.Enforced {
			t.Errorf("%+v", e)
		}
		n.move(p)
		p.wait(rev)
		n.stop()
		p.stop()
		time.Sleep(8 * 24 * time.Hour)
		p = startPlane(t, store, keep)
		if nodes := p.server.Nodes(); len(nodes) != 0 {
			t.Errorf("a week later: %+v", nodes)
		}
	})
}

// TestMetrics reads the instruments of D-53.
func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		p := startPlane(t, memstore.New(nil), func(c *distribute.Config) { c.Meter = metric.NewMeterProvider(metric.WithReader(reader)) })
		first := p.write(feedtest.Shop()...)
		n := startNode(t, p, "n1", "eu", func(s *sim, _ *node.Config) {
			s.view.bad = map[node.Key]string{{Kind: "user", Name: "bad@example.com"}: "BAD"}
		})
		n.at(first)
		rev := p.write(feedtest.User("bad@example.com", "1"), feedtest.Delete(catalog.KindBearerToken, "t1"), feedtest.Deny(catalog.KindBearerToken, "t1"))
		p.wait(rev)
		time.Sleep(6 * time.Second)
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, scope := range data.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, x := range d.DataPoints {
						got[m.Name+label(x)] += float64(x.Value)
					}
				case metricdata.Gauge[int64]:
					got[m.Name] = float64(d.DataPoints[0].Value)
				case metricdata.Gauge[float64]:
					got[m.Name] = d.DataPoints[0].Value
				}
			}
		}
		for name, want := range map[string]float64{
			"penstock_distribute_streams": 1, "penstock_distribute_enforced_revision": float64(rev), "penstock_distribute_rejects_total": 1,
			"penstock_distribute_ack_lag_seconds": 0, "penstock_distribute_snapshots_total empty": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %g, want %g", name, got[name], want)
			}
		}
		for _, lane := range []string{"snapshots", "deltas", "denials", "heartbeats", "blobs"} {
			if got["penstock_distribute_sent_bytes_total "+lane] == 0 {
				t.Errorf("no bytes in lane %s: %v", lane, got)
			}
		}
	})
}

// label returns the values of a point's attributes, each after a space.
func label(p metricdata.DataPoint[int64]) string {
	text := ""
	for _, kv := range p.Attributes.ToSlice() {
		text += " " + kv.Value.AsString()
	}
	return text
}
