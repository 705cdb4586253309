// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// A call that is refused after it was approved keeps its approval, and costs no limit: what was approved is used last, and once (G-34).
func TestApprovalIsUsedLast(t *testing.T) {
	away := fault.New(fault.Unavailable, "AWAY", "Away.")
	block := approving()
	block.Name, block.Uid, block.Action, block.Approvers = "no", "uid-no", resourcev1.PolicyAction_POLICY_ACTION_BLOCK, nil
	for _, tc := range []struct {
		name   string
		refuse func(t *testing.T, d *Dispatcher, w *world, c *call.Caller, control *desk)
		mend   func(t *testing.T, d *Dispatcher, w *world, c *call.Caller, control *desk)
		want   string // reason
		spent  bool   // the limit was before
	}{
		{
			name: "limit", want: "RATE_LIMITED", spent: true,
			refuse: func(_ *testing.T, d *Dispatcher, _ *world, _ *call.Caller, _ *desk) {
				d.RateLimits.(once)["ev/echo"] = true
			},
			mend: func(_ *testing.T, d *Dispatcher, _ *world, _ *call.Caller, _ *desk) {
				delete(d.RateLimits.(once), "ev/echo")
			},
		},
		{
			name: "credential", want: "AWAY",
			refuse: func(_ *testing.T, _ *Dispatcher, w *world, _ *call.Caller, _ *desk) { w.missing = away },
			mend:   func(_ *testing.T, _ *Dispatcher, w *world, _ *call.Caller, _ *desk) { w.missing = nil },
		},
		{
			name: "control plane", want: "AWAY",
			refuse: func(_ *testing.T, _ *Dispatcher, _ *world, _ *call.Caller, control *desk) {
				control.claimed = func() error { return away }
			},
			mend: func(_ *testing.T, _ *Dispatcher, _ *world, _ *call.Caller, control *desk) { control.claimed = nil },
		},
		{
			name: "policy", want: "POLICY_BLOCKED",
			refuse: func(t *testing.T, _ *Dispatcher, _ *world, c *call.Caller, _ *desk) {
				c.Again = later{change: func(c *call.Caller) { rule(t, c, block) }}
			},
			mend: func(_ *testing.T, _ *Dispatcher, _ *world, c *call.Caller, _ *desk) { c.Again = nil },
		},
	} {
		for _, users := range [][]string{nil, {byBob}} {
			for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
				who := "caller"
				if users != nil {
					who = "others"
				}
				t.Run(tc.name+"/"+who+"/"+string(v), func(t *testing.T) {
					w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(call.ApprovalApproved)
					d, _ := holding(t, w, control)
					c := caller(ruled(t, compile.Gateway{}, approving(users...)), v)
					c.Principal, c.Client = ada(), call.Client{Session: "s", Capabilities: []byte(forms), Asker: &person{says: "accept"}}
					state, answers := "", ""
					if users == nil && v == wire.V20260728 {
						r, err := d.Call(t.Context(), c, comes(t, `{}`, "", ""), discard)
						if err != nil {
							t.Fatal(err)
						}
						state, answers = stateIn(t, r), yes
					}
					tc.refuse(t, d, w, &c, control)
					r, err := d.Call(t.Context(), c, comes(t, `{}`, state, answers), discard)
					if got := reason(t, r, err); got != tc.want || len(w.calls) != 0 {
						t.Fatalf("got %q, want %q: %s, %d calls", got, tc.want, r.Result, len(w.calls))
					}
					if control.state != call.ApprovalApproved || len(control.used) != 0 {
						t.Errorf("what was approved was used: %v, %v", control.state, control.used)
					}
					if spent := len(d.RateLimits.(once)) != 0; spent != tc.spent {
						t.Errorf("the limit was used up: %t", spent)
					}
					tc.mend(t, d, w, &c, control)
					if r, err = d.Call(t.Context(), c, comes(t, `{}`, state, answers), discard); reason(t, r, err) != "" || len(w.calls) != 1 {
						t.Fatalf("once it can run: %s %v, %d calls", r.Result, err, len(w.calls))
					}
					if used := control.state == call.ApprovalRun; len(d.RateLimits.(once)) != 1 || used != (users != nil) || len(control.used) == 1 != (users == nil) {
						t.Errorf("the limit counts %d, used %v, %v", len(d.RateLimits.(once)), control.state, control.used)
					}
				})
			}
		}
	}
}

// Of two calls that are the same the second finds its approval used when it is about to run: it is held anew, and costs no limit.
func TestApprovalTakenByAnother(t *testing.T) {
	for capabilities, want := range map[string]string{forms: "asked", `{}`: "APPROVAL_REQUIRED"} {
		w, control := &world{}, newDesk(call.ApprovalApproved)
		control.claimed = func() error { control.state = call.ApprovalPending; return nil }
		d, reader := holding(t, w, control)
		c := modern(t, approving(byBob))
		c.Client.Capabilities = []byte(capabilities)
		r, err := d.Call(t.Context(), c, comes(t, `{}`, "", ""), discard)
		got := reason(t, r, err)
		if stateIn(t, r) != "" {
			got = "asked"
		}
		if got != want || counted(t, reader) != "ask held=1" {
			t.Errorf("got %q, want %q: %s", got, want, r.Result)
		}
		idleButCredential(t, d, w)
	}
}

// idleButCredential checks that no limit counts the call, and that the server was not asked.
func idleButCredential(t *testing.T, d *Dispatcher, w *world) {
	t.Helper()
	if len(w.calls) != 0 || len(d.RateLimits.(once)) != 0 {
		t.Errorf("%d calls, the limits count %d", len(w.calls), len(d.RateLimits.(once)))
	}
}

// A control plane that knows no look lets an approved call run at once.
func TestApprovalByOlderControlPlane(t *testing.T) {
	w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(call.ApprovalApproved)
	control.old = true
	d, reader := holding(t, w, control)
	r, err := d.Call(t.Context(), modern(t, approving(byBob)), comes(t, `{}`, "", ""), discard)
	if reason(t, r, err) != "" || len(w.calls) != 1 || len(control.asked) != 1 || counted(t, reader) != "ask approved=1" {
		t.Errorf("%s %v, %d calls, asked %d times", r.Result, err, len(w.calls), len(control.asked))
	}
}
