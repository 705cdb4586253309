// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

func arguments(text string) func(*approval.Request) {
	return func(r *approval.Request) { r.Arguments = []byte(text) }
}

// look only looks.
func look(r *approval.Request) { r.Look = true }

// onBoth runs a test on every database.
func onBoth(t *testing.T, test func(t *testing.T, o *org)) {
	t.Helper()
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) { test(t, newOrg(t, dsn(t))) })
	}
}

// TestLife: an approved call runs once, within its time; then, and after a denial and an expiry, the same call begins anew.
func TestLife(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		first := o.hold("PENDING")
		if again := o.hold("PENDING"); again != first {
			t.Error("the same call is held twice")
		}
		if same := o.hold("PENDING", arguments("{\"b\":2.0,\n\"\\u0061\":1}")); same != first {
			t.Error("the same arguments, spelled otherwise, are held twice")
		}
		o.decide(first, ada, true, "")
		o.hold("PENDING", arguments(`{"a":1,"b":3}`)) // edited
		o.hold("PENDING", func(r *approval.Request) { r.Caller.ClientID = "c2" })
		o.hold("PENDING", func(r *approval.Request) { r.Caller.UID, r.Caller.Name = o.users[eve], eve })
		if looked := o.hold("APPROVED", look); looked != first {
			t.Error("a look found another approval")
		}
		if ran := o.hold("RUN run"); ran != first {
			t.Error("another approval ran")
		}
		second := o.hold("PENDING")
		if second == first {
			t.Error("a call ran and is held as the same")
		}
		o.decide(second, ada, false, "")
		h, err := o.Hold(t.Context(), o.request())
		if err != nil || h.State != approval.Denied || h.Reason != "because" || h.Run {
			t.Errorf("denied: %+v, %v", h, err)
		}
		o.clock.pass(59*time.Minute + 59*time.Second)
		o.hold("DENIED")
		o.clock.pass(time.Second)
		third := o.hold("PENDING")
		o.clock.pass(time.Hour) // nobody decides
		if late := o.hold("EXPIRED"); late != third {
			t.Error("another one expired")
		}
		fourth := o.hold("PENDING")
		o.decide(fourth, ada, true, "")
		o.clock.pass(approval.RunWithin) // nobody runs it
		o.hold("EXPIRED", look)
		fifth := o.hold("PENDING")
		o.decide(fifth, ada, true, "")
		o.clock.pass(approval.RunWithin - time.Second)
		if ran := o.hold("RUN run"); ran != fifth {
			t.Error("another approval ran")
		}
		sixth := o.hold("PENDING")
		o.clock.pass(2 * time.Hour) // so long after its end, it is not told any more
		if o.hold("PENDING") == sixth {
			t.Error("an expired call is held still")
		}
		a, events, err := o.Get(t.Context(), approval.Viewer{Admin: true}, fifth)
		o.must(err)
		var kinds []string
		for _, e := range events {
			kinds = append(kinds, e.Kind+" "+e.Actor+" "+e.How)
		}
		if diff := cmp.Diff([]string{"created n1 ", "approved ada@example.com api", "run n1 "}, kinds); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if a.State != approval.Run || len(a.Arguments) != 0 || a.RunNode != "n1" || a.DecidedBy != ada || a.SHA256 == [32]byte{} || a.Reason != "because" {
			t.Errorf("after its end: %+v", a)
		}
	})
}

// TestPolicyChanged: an approval is of one version of the policy and of one gateway.
func TestPolicyChanged(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		first := o.hold("PENDING")
		o.decide(first, ada, true, "")
		o.update(&catalog.Policy{Meta: resource.Meta{Name: "admins"}, When: "args.a == 1"}, "when")
		second := o.hold("PENDING")
		o.update(&catalog.Policy{Meta: resource.Meta{Name: "admins"}, DisplayName: "x"}, "display_name")
		o.decide(second, ada, true, approval.ReasonOutdated)
		third := o.hold("PENDING")
		o.decide(third, ada, true, "")
		o.remove(catalog.KindGateway, "main")
		_, err := o.Hold(t.Context(), o.request())
		if reasonOf(err) != approval.ReasonUnknownTarget {
			t.Errorf("a deleted gateway: %v", err)
		}
		anew := o.newGateway().Metadata().UID
		if _, err := o.Hold(t.Context(), o.request()); reasonOf(err) != approval.ReasonUnknownTarget {
			t.Errorf("the gateway that was: %v", err)
		}
		fourth := o.hold("PENDING", func(r *approval.Request) { r.GatewayUID = anew })
		o.remove(catalog.KindPolicy, "admins")
		o.decide(fourth, ada, true, approval.ReasonOutdated)
		if _, err := o.Hold(t.Context(), o.request(func(r *approval.Request) { r.GatewayUID = anew })); reasonOf(err) != approval.ReasonUnknownTarget {
			t.Errorf("a deleted policy: %v", err)
		}
	})
}

// TestRefused: calls that cannot be held.
func TestRefused(t *testing.T) {
	o := newOrg(t, engines()["SQLite"](t))
	o.policy("self", resource.Approvers{Caller: &struct{}{}})
	o.create(&catalog.Policy{Meta: resource.Meta{Name: "block"}, Action: resource.PolicyBlock})
	for name, off := range map[string]func(*catalog.Policy){
		"off":    func(p *catalog.Policy) { p.Disabled = true },
		"shadow": func(p *catalog.Policy) { p.Mode = resource.PolicyShadow },
	} {
		p := &catalog.Policy{Meta: resource.Meta{Name: name}, Action: resource.PolicyRequireApproval, Approvers: &resource.Approvers{TeamAdmins: &resource.TeamAdmins{}}}
		off(p)
		o.create(p)
	}
	team := approval.Caller{Kind: "team", UID: "t", Name: "eng"}
	for _, tc := range []struct {
		name, want string
		edit       func(*approval.Request)
	}{
		{"no JSON", approval.ReasonArguments, arguments(`[1]`)},
		{"unknown gateway", approval.ReasonUnknownTarget, func(r *approval.Request) { r.Gateway = "none" }},
		{"gateway made anew", approval.ReasonUnknownTarget, func(r *approval.Request) { r.GatewayUID = "other" }},
		{"unknown tool", approval.ReasonUnknownTarget, func(r *approval.Request) { r.Tool = "demo/none" }},
		{"tool of no gateway", approval.ReasonUnknownTarget, func(r *approval.Request) { r.Tool = "demo/other" }},
		{"unknown policy", approval.ReasonUnknownTarget, func(r *approval.Request) { r.Policy = "none" }},
		{"unknown user", approval.ReasonUnknownTarget, func(r *approval.Request) { r.Caller.Name = "nobody@example.com" }},
		{"user made anew", approval.ReasonUnknownTarget, func(r *approval.Request) { r.Caller.UID = "other" }},
		{"another action", approval.ReasonNotRequired, func(r *approval.Request) { r.Policy = "block" }},
		{"disabled", approval.ReasonNotRequired, func(r *approval.Request) { r.Policy = "off" }},
		{"shadow", approval.ReasonNotRequired, func(r *approval.Request) { r.Policy = "shadow" }},
		{"confirmed where others approve", approval.ReasonNotRequired, func(r *approval.Request) { r.Confirmation = "c" }},
		{"not confirmed", approval.ReasonNotRequired, func(r *approval.Request) { r.Policy = "self" }},
		{"confirmed by a team", approval.ReasonNotAPerson, func(r *approval.Request) { r.Policy, r.Confirmation, r.Caller = "self", "c", team }},
		{"by a team, not confirmed", approval.ReasonNotAPerson, func(r *approval.Request) { r.Policy, r.Caller = "self", team }},
	} {
		if _, err := o.Hold(t.Context(), o.request(tc.edit)); reasonOf(err) != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	o.update(&catalog.User{Meta: resource.Meta{Name: cyd}, Deactivated: true}, "deactivated")
	if _, err := o.Hold(t.Context(), o.request()); reasonOf(err) != approval.ReasonUnknownTarget {
		t.Errorf("a deactivated user: %v", err)
	}
	if list, _, err := o.List(t.Context(), approval.Viewer{Admin: true}, approval.Query{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("what was refused is held: %v, %v", list, err)
	}
}

// TestConfirmation: a confirmation lets one call run, whatever is sent with it again.
func TestConfirmation(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		o.policy("self", resource.Approvers{Caller: &struct{}{}})
		confirmed := func(c string) func(*approval.Request) {
			return func(r *approval.Request) { r.Policy, r.Confirmation = "self", c }
		}
		first := o.hold("RUN run", confirmed("c1"))
		if again := o.hold("RUN", confirmed("c1")); again != first {
			t.Error("another approval")
		}
		o.hold("RUN", confirmed("c1"), arguments(`{"a":2}`))
		o.hold("RUN", confirmed("c1"), func(r *approval.Request) { r.Caller.UID, r.Caller.Name = o.users[eve], eve })
		o.hold("RUN run", confirmed("c2"))
		o.decide(first, root, true, approval.ReasonNotFound)
		o.clock.pass(24 * time.Hour)
		o.must(o.store.Maintain(t.Context()))
		o.hold("RUN", confirmed("c1"))
	})
}

// TestApprovers: who is named, and that a call which nobody can approve is not held.
func TestApprovers(t *testing.T) {
	o := newOrg(t, engines()["SQLite"](t))
	o.policy("people", resource.Approvers{Users: []string{ada, cyd}})
	o.policy("ops", resource.Approvers{TeamAdmins: &resource.TeamAdmins{Teams: []string{"ops", "eng"}}})
	by := func(policy, kind, uid, name string) func(*approval.Request) {
		return func(r *approval.Request) {
			r.Policy, r.Caller = policy, approval.Caller{Kind: kind, UID: uid, Name: name}
		}
	}
	eng, err := o.catalog.Get(t.Context(), catalog.Caller{System: true}, catalog.KindTeam, "eng")
	o.must(err)
	user := func(policy, name string) func(*approval.Request) { return by(policy, "user", o.users[name], name) }
	const organization = "an administrator of the organisation"
	for _, tc := range []struct {
		name string
		edit func(*approval.Request)
		want []string
	}{
		{"the caller's team", user("admins", cyd), []string{"an administrator of the team eng"}},
		{"admin of the own team", user("admins", ada), []string{organization}},
		{"in no team", user("admins", eve), []string{organization}},
		{"a team", by("admins", "team", eng.Metadata().UID, "eng"), []string{"an administrator of the team eng"}},
		{"the organisation", by("admins", "organization", "", ""), []string{organization}},
		{"a service account", by("admins", "service_account", "", "ci"), []string{organization}},
		{"users, but not the caller", user("people", cyd), []string{ada}},
		{"users", user("people", eve), []string{ada, cyd}},
		{"teams, but for who is the only admin", user("ops", bob), []string{"an administrator of the team eng"}},
		{"teams", user("ops", cyd), []string{"an administrator of the team ops", "an administrator of the team eng"}},
	} {
		h, err := o.Hold(t.Context(), o.request(tc.edit))
		o.must(err)
		slices.Sort(h.Call.Approvers)
		slices.Sort(tc.want)
		if diff := cmp.Diff(tc.want, h.Call.Approvers); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	_, err = o.Hold(t.Context(), o.request(user("admins", root)))
	if reasonOf(err) != approval.ReasonNobody {
		t.Errorf("the only ADMIN, in no team: %v", err)
	}
}

// TestRunRace: of many calls at two control planes exactly one runs, approval for approval.
func TestRunRace(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		services := []*approval.Service{o.Service}
		if o.store.Shared() {
			_, other := o.replica(false)
			services = append(services, other)
		}
		for range 5 {
			id := o.hold("PENDING")
			o.decide(id, ada, true, "")
			answers := race(t, services, func(s *approval.Service) string {
				h, err := s.Hold(t.Context(), o.request())
				if err != nil {
					return err.Error()
				}
				if h.Run && h.ID != id {
					return "another approval ran"
				}
				return answer(h)
			})
			if answers["RUN run"] != 1 || answers["RUN run"]+answers["PENDING"] != racers {
				t.Fatalf("answers: %v", answers)
			}
			o.decide(o.hold("PENDING"), ada, true, "") // the next round begins with no approval
			o.hold("RUN run")
		}
	})
}

// TestHoldRace: many that hold the same call at the same moment hold it once; of many that send one confirmation one runs.
func TestHoldRace(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		o.policy("self", resource.Approvers{Caller: &struct{}{}})
		services := []*approval.Service{o.Service}
		if o.store.Shared() {
			_, other := o.replica(false)
			services = append(services, other)
		}
		ids := race(t, services, func(s *approval.Service) string {
			h, err := s.Hold(t.Context(), o.request())
			if err != nil {
				return err.Error()
			}
			return h.ID + " " + answer(h)
		})
		if len(ids) != 1 {
			t.Errorf("held as %v", ids)
		}
		answers := race(t, services, func(s *approval.Service) string {
			h, err := s.Hold(t.Context(), o.request(func(r *approval.Request) { r.Policy, r.Confirmation = "self", "c" }))
			if err != nil {
				return err.Error()
			}
			return answer(h)
		})
		if diff := cmp.Diff(map[string]int{"RUN run": 1, "RUN": racers - 1}, answers); diff != "" {
			t.Errorf("confirmed (-want +got):\n%s", diff)
		}
	})
}

const racers = 24

// race does the same many times at once and counts the answers.
func race(t *testing.T, services []*approval.Service, do func(*approval.Service) string) map[string]int {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	out := make(map[string]int)
	begin := make(chan struct{})
	for i := range racers {
		all.Go(func() {
			<-begin
			got := do(services[i%len(services)])
			mu.Lock()
			defer mu.Unlock()
			out[got]++
		})
	}
	close(begin)
	all.Wait()
	return out
}
