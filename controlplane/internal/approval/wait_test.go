// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// runs runs a service until the test ends.
func runs(t *testing.T, s *approval.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// waits waits at services and returns where the state comes.
func waits(t *testing.T, id string, services ...*approval.Service) <-chan string {
	t.Helper()
	out := make(chan string, len(services))
	for _, s := range services {
		began := make(chan struct{})
		go func() {
			close(began)
			state, err := s.Wait(t.Context(), id)
			if err != nil {
				out <- err.Error()
				return
			}
			out <- string(state)
		}()
		<-began
	}
	return out
}

func receive(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("waited in vain")
		return ""
	}
}

// TestWait: who waits learns of a decision, at whichever control plane it is made.
func TestWait(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		services := []*approval.Service{o.Service, o.Service}
		if o.store.Shared() {
			_, other := o.replica(false)
			services = append(services, other, other)
		}
		for _, s := range services[1:] {
			if s != o.Service || len(services) == 2 {
				runs(t, s)
				break
			}
		}
		for _, tc := range []struct {
			want    string
			approve bool
		}{{"APPROVED", true}, {"DENIED", false}} {
			id := o.hold("PENDING", arguments(`{"x":"`+tc.want+`"}`))
			states := waits(t, id, services...)
			o.decide(id, ada, tc.approve, "")
			for range services {
				if got := receive(t, states); got != tc.want {
					t.Errorf("waited for %s, got %s", tc.want, got)
				}
			}
			if got := receive(t, waits(t, id, o.Service)); got != tc.want {
				t.Errorf("after the decision: %s", got)
			}
		}
	})
}

// TestWaitEndsWithTheControlPlane: who waits at one that stops is told how it stands.
func TestWaitEndsWithTheControlPlane(t *testing.T) {
	o := newOrg(t, engines()["SQLite"](t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	states := waits(t, o.hold("PENDING"), o.Service)
	cancel()
	o.must(<-done)
	if got := receive(t, states); got != "PENDING" {
		t.Errorf("told %s", got)
	}
}

// TestWaitRefused: what there is not, and a wait that its caller ends; and an approval that is due is not waited for.
func TestWaitRefused(t *testing.T) {
	o := newOrg(t, engines()["SQLite"](t))
	if _, err := o.Wait(t.Context(), "none"); reasonOf(err) != approval.ReasonNotFound {
		t.Errorf("nothing to wait for: %v", err)
	}
	id := o.hold("PENDING")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Wait(ctx, id); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
	o.clock.pass(time.Hour)
	if state, err := o.Wait(t.Context(), id); err != nil || state != approval.Expired {
		t.Errorf("due: %s, %v", state, err)
	}
}

// TestExpireDue: expiry comes by itself, once, in each state that waits, and takes the arguments along.
func TestExpireDue(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		pending, approved := o.hold("PENDING", arguments(`{"x":1}`)), o.hold("PENDING", arguments(`{"x":2}`))
		denied := o.hold("PENDING", arguments(`{"x":3}`))
		o.decide(approved, ada, true, "")
		o.decide(denied, ada, false, "")
		o.must(o.ExpireDue(t.Context()))
		check := func(id string, want approval.State, events int) {
			t.Helper()
			a, list, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id)
			o.must(err)
			if a.State != want || len(list) != events || (len(a.Arguments) > 0) != a.Ends.IsZero() {
				t.Errorf("%s with %q and events %v, want %s", a.State, a.Arguments, list, want)
			}
		}
		check(pending, approval.Pending, 1)
		check(approved, approval.Approved, 2)
		o.clock.pass(approval.RunWithin)
		o.must(o.ExpireDue(t.Context()))
		check(pending, approval.Pending, 1)
		check(approved, approval.Expired, 3)
		o.clock.pass(time.Hour)
		_, other := o.store, o.Service
		if o.store.Shared() {
			_, other = o.replica(false)
		}
		o.must(other.ExpireDue(t.Context()))
		o.must(o.ExpireDue(t.Context()))
		check(pending, approval.Expired, 2)
		check(denied, approval.Denied, 2)

		o.clock.pass(approval.Keep - time.Hour)
		o.must(o.store.Maintain(t.Context()))
		check(pending, approval.Expired, 2)
		o.clock.pass(time.Hour + time.Second)
		o.must(o.store.Maintain(t.Context()))
		if _, _, err := o.Get(t.Context(), approval.Viewer{Admin: true}, pending); reasonOf(err) != approval.ReasonNotFound {
			t.Errorf("long after its end: %v", err)
		}
	})
}

// TestDecide: who may decide; the first decision counts.
func TestDecide(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		id := o.hold("PENDING")
		o.decide("none", ada, true, approval.ReasonNotFound)
		o.decide(id, cyd, true, approval.ReasonOwnCall)
		o.decide(id, eve, true, approval.ReasonNotApprover)
		o.decide(id, bob, true, approval.ReasonNotApprover) // a member of the team, admin of another one
		o.decide(id, "nobody@example.com", true, approval.ReasonNotApprover)
		o.update(&catalog.User{Meta: meta(ada), Deactivated: true}, "deactivated")
		o.decide(id, ada, true, approval.ReasonNotApprover)
		o.update(&catalog.User{Meta: meta(ada)}, "deactivated")
		_, err := o.Decide(t.Context(), approval.Decision{ID: id, By: ada, Reason: "two\nlines"}, nil)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("a reason of two lines: %v", err)
		}
		o.decide(id, "ADA@example.com", true, "")
		_, err = o.Decide(t.Context(), approval.Decision{ID: id, By: root}, nil)
		if f := fault.From(err); f == nil || f.Reason != approval.ReasonDecided || f.Public != "The call was approved by ada@example.com at 2026-11-30T12:00:00Z." {
			t.Errorf("a second decision: %v", err)
		}
		o.hold("RUN run")
		o.decide(id, root, false, approval.ReasonDecided)
		due := o.hold("PENDING")
		o.clock.pass(time.Hour)
		_, err = o.Decide(t.Context(), approval.Decision{ID: due, By: root, Approve: true}, nil)
		if f := fault.From(err); f == nil || f.Public != "The approval expired at 2026-11-30T13:00:00Z." {
			t.Errorf("a late decision: %v", err)
		}
	})
}

// TestDecideRace: of many that decide at the same moment, at two control planes, one does; what runs is what it decided.
func TestDecideRace(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		services := []*approval.Service{o.Service}
		if o.store.Shared() {
			_, other := o.replica(false)
			services = append(services, other)
		}
		for range 3 {
			id := o.hold("PENDING")
			answers := race(t, services, func(s *approval.Service) string {
				approve := s == o.Service
				a, err := s.Decide(t.Context(), approval.Decision{ID: id, By: ada, Approve: approve, How: approval.HowCLI}, nil)
				if err != nil {
					return reasonOf(err)
				}
				return "decided " + string(a.State)
			})
			if answers[approval.ReasonDecided] != racers-1 || len(answers) != 2 {
				t.Errorf("answers: %v", answers)
			}
			want := "RUN run"
			if answers["decided DENIED"] == 1 {
				want = "DENIED"
			}
			if got := o.hold(want); got != id {
				t.Error("another approval")
			}
			o.clock.pass(2 * time.Hour)
		}
	})
}
