// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Others approve: what a client gets that cannot be asked, by what has become of the call (G-34).
func TestApproversDecide(t *testing.T) {
	const required = `The policy "ask" holds this call until it is approved by bob@example.com or an administrator of the team eng (approval a-1, until 2026-11-30T14:00:00Z). Call the tool again with the same arguments once it is approved. Reason of the policy: It costs.`
	for _, tc := range []struct {
		name      string
		state     call.ApprovalState
		err       error
		want      string // reason; empty if the call runs
		text      string
		retryable bool
		counts    string
	}{
		{name: "pending", state: call.ApprovalPending, want: "APPROVAL_REQUIRED", text: required, retryable: true, counts: "ask held=1"},
		{name: "approved", state: call.ApprovalApproved, counts: "ask approved=1"},
		{name: "denied", state: call.ApprovalDenied, want: "APPROVAL_DENIED", text: `The policy "ask" holds this call, and its approval was denied: Not on a Friday. Reason of the policy: It costs.`, counts: "ask denied=1"},
		{name: "expired", state: call.ApprovalExpired, want: "APPROVAL_EXPIRED", counts: "ask denied=1"},
		{name: "run before", state: call.ApprovalRun, want: "APPROVAL_USED", counts: "ask denied=1"},
		{name: "no state", want: "APPROVAL_REQUIRED", retryable: true},
		{name: "control plane away", err: fault.New(fault.Unavailable, "APPROVALS_UNAVAILABLE", "Away."), want: "APPROVALS_UNAVAILABLE", text: "Away.", retryable: true},
		{name: "nobody could", err: fault.New(fault.Precondition, "APPROVAL_IMPOSSIBLE", "No admins."), want: "APPROVAL_IMPOSSIBLE", text: "No admins."},
	} {
		for _, v := range []wire.Version{wire.V20250618, wire.V20251125, wire.V20260728} {
			for _, kind := range []ident.Kind{ident.KindUser, ident.KindTeam, ident.KindOrganization, ident.KindServiceAccount} {
				t.Run(tc.name+"/"+string(v)+"/"+string(kind), func(t *testing.T) {
					w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(tc.state)
					control.err = tc.err
					d, reader := holding(t, w, control)
					c := caller(ruled(t, compile.Gateway{}, approving(byBob)), v)
					c.Principal.Kind = kind
					r, err := d.Call(t.Context(), c, comes(t, `{}`, "", ""), discard)
					if err != nil {
						t.Fatal(err)
					}
					if got := counted(t, reader); got != tc.counts {
						t.Errorf("counted %q, want %q", got, tc.counts)
					}
					if tc.want == "" {
						if string(r.Result) != result || len(w.calls) != 1 || control.asked[0].Confirmation != "" {
							t.Errorf("%s, %d calls", r.Result, len(w.calls))
						}
						return
					}
					idle(t, d, w)
					got := problem(t, r)
					if got.Type != tc.want || tc.text != "" && got.Text != tc.text || got.Retryable != tc.retryable {
						t.Errorf("got %+v", got)
					}
					var e struct {
						StructuredContent struct {
							Error struct {
								Approval   string
								ExpireTime string `json:"expire_time"`
							} `json:"penstock_error"`
						}
					}
					if err := json.Unmarshal(r.Result, &e); err != nil {
						t.Fatal(err)
					}
					if is := e.StructuredContent.Error; (is.Approval == "a-1" && is.ExpireTime == "2026-11-30T14:00:00Z") != (tc.state == call.ApprovalPending) {
						t.Errorf("approval %+v", is)
					}
				})
			}
		}
	}
}

// A client of a session is asked whether to wait, and waited for meanwhile: whichever ends first.
func TestWaitingInSession(t *testing.T) {
	for _, tc := range []struct {
		name    string
		says    string // of the person; empty for nothing
		err     error
		decide  call.ApprovalState
		after   time.Duration // of the decision; 0 for none
		cancel  time.Duration // of the call by its client; 0 for never
		want    string        // reason; "run", "canceled"
		took    time.Duration
		asked   int // questions
		offered int // that were taken back
	}{
		{name: "approved meanwhile", decide: call.ApprovalApproved, after: time.Minute, want: "run", took: time.Minute, asked: 1, offered: 1},
		{name: "denied meanwhile", decide: call.ApprovalDenied, after: time.Minute, want: "APPROVAL_DENIED", took: time.Minute, asked: 1, offered: 1},
		{name: "expired meanwhile", decide: call.ApprovalExpired, after: time.Minute, want: "APPROVAL_EXPIRED", took: time.Minute, asked: 1, offered: 1},
		{name: "does not want to wait", says: "decline", want: "APPROVAL_REQUIRED", asked: 1},
		{name: "wants to wait, approved soon", says: "accept", decide: call.ApprovalApproved, after: 20 * time.Second, want: "run", took: 20 * time.Second, asked: 1},
		{name: "wants to wait, approved in the third round", says: "accept", decide: call.ApprovalApproved, after: time.Minute, want: "run", took: time.Minute, asked: 3},
		{name: "wants to wait, nobody decides", says: "accept", want: "APPROVAL_REQUIRED", took: 75 * time.Second, asked: 3},
		{name: "says nothing, nobody decides", want: "APPROVAL_REQUIRED", took: 10 * time.Minute, asked: 1, offered: 1},
		{name: "cannot be reached", err: errors.New("gone"), want: "APPROVAL_REQUIRED", asked: 1},
		{name: "gives the call up", cancel: time.Minute, want: "canceled", took: time.Minute, asked: 1, offered: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, control, who := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(call.ApprovalPending), &person{says: tc.says, err: tc.err}
				d, reader := holding(t, w, control)
				c := caller(ruled(t, compile.Gateway{}, approving(byBob)), wire.V20251125)
				c.Client = call.Client{Session: "s", Capabilities: []byte(forms), Asker: who}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.after > 0 {
					time.AfterFunc(tc.after, func() { control.decide(tc.decide) })
				}
				if tc.cancel > 0 {
					time.AfterFunc(tc.cancel, cancel)
				}
				start := time.Now()
				r, err := d.Call(ctx, c, toolCall(t, "ev__echo"), discard)
				got := "run"
				if err != nil {
					got = fault.KindOf(err).String()
				} else if r.IsError {
					got = problem(t, r).Type
				}
				if got != tc.want || time.Since(start) != tc.took {
					t.Errorf("%s after %s, want %s after %s: %s %v", got, time.Since(start), tc.want, tc.took, r.Result, err)
				}
				if len(who.asked) != tc.asked || who.takenOff != tc.offered || control.waiting != 0 {
					t.Errorf("asked %q, %d taken back, %d waiting", who.asked, who.takenOff, control.waiting)
				}
				want := `elicitation/create {"message":"A call of the tool \"echo\" of \"ev\" through the gateway \"eng\" (policy \"ask\": It costs.) waits for an approval by bob@example.com or an administrator of the team eng (approval a-1, until 2026-11-30T14:00:00Z). Accept to try again once it is approved. Arguments: {\"n\":9007199254740993}",`
				for _, q := range who.asked {
					if !strings.HasPrefix(q, want) {
						t.Errorf("asked %s\nwant  %s", q, want)
					}
				}
				if tc.want != "run" {
					idle(t, d, w)
				} else if len(w.calls) != 1 || string(w.calls[0].Params) != `{"arguments":{"n":9007199254740993}, "name":"echo"}` {
					t.Errorf("%d calls", len(w.calls))
				}
				if c := counted(t, reader); !strings.Contains(c, "ask held=1") {
					t.Errorf("counted %s", c)
				}
			})
		})
	}
}

// A client without a session comes back: the node waits for a while, and asks three times.
func TestWaitingStateless(t *testing.T) {
	for _, tc := range []struct {
		name    string
		answers string // of each round; empty for none
		decide  call.ApprovalState
		after   time.Duration // since the first call; 0 for never
		pause   time.Duration // of the person before each answer
		want    string
		rounds  int // questions
		took    time.Duration
	}{
		{name: "approved before the answer", answers: yes, decide: call.ApprovalApproved, after: time.Minute, pause: 2 * time.Minute, want: "run", rounds: 1, took: 2 * time.Minute},
		{name: "approved after the answer", answers: yes, decide: call.ApprovalApproved, after: 15 * time.Second, pause: 10 * time.Second, want: "run", rounds: 1, took: 15 * time.Second},
		{name: "denied after the answer", answers: yes, decide: call.ApprovalDenied, after: 15 * time.Second, pause: 10 * time.Second, want: "APPROVAL_DENIED", rounds: 1, took: 15 * time.Second},
		{name: "approved in the second round", answers: yes, decide: call.ApprovalApproved, after: 50 * time.Second, pause: 10 * time.Second, want: "run", rounds: 2, took: 50 * time.Second},
		{name: "nobody decides", answers: yes, want: "APPROVAL_REQUIRED", rounds: 3, took: 75 * time.Second},
		{name: "does not want to wait", answers: no, want: "APPROVAL_REQUIRED", rounds: 1},
		{name: "does not want to wait, though approved", answers: no, decide: call.ApprovalApproved, after: time.Second, pause: time.Minute, want: "APPROVAL_REQUIRED", rounds: 1, took: time.Minute},
		{name: "comes without an answer", want: "APPROVAL_REQUIRED", rounds: 3},
		{name: "comes without an answer, approved", decide: call.ApprovalApproved, after: time.Second, pause: time.Minute, want: "run", rounds: 1, took: time.Minute},
		{name: "too late", answers: yes, pause: 10 * time.Minute, want: "REQUEST_STATE_INVALID", rounds: 1, took: 10 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(call.ApprovalPending)
				d, _ := holding(t, w, control)
				c, start, state, rounds := modern(t, approving(byBob)), time.Now(), "", 0
				if tc.after > 0 {
					time.AfterFunc(tc.after, func() { control.decide(tc.decide) })
				}
				for answers := ""; ; answers = tc.answers {
					r, err := d.Call(t.Context(), c, comes(t, `{"a":1}`, state, answers), discard)
					if err == nil {
						state = stateIn(t, r)
					}
					if err == nil && state != "" {
						rounds++
						idle(t, d, w)
						time.Sleep(tc.pause)
						continue
					}
					got := "run"
					if err != nil {
						got = fault.From(err).Reason
					} else if r.IsError {
						got = problem(t, r).Type
					}
					if got != tc.want || rounds != tc.rounds || time.Since(start) != tc.took || (len(w.calls) == 1) != (tc.want == "run") {
						t.Errorf("%s after %d questions and %s, want %s after %d and %s: %s", got, rounds, time.Since(start), tc.want, tc.rounds, tc.took, r.Result)
					}
					return
				}
			})
		})
	}
}

// later is a caller about whom something has changed when it is asked about again.
type later struct {
	change func(c *call.Caller)
	err    error
}

func (l later) Again(c call.Caller) (call.Caller, error) {
	if l.change != nil {
		l.change(&c)
	}
	return c, l.err
}

// What was approved is decided about again before it runs.
func TestDecidedAgain(t *testing.T) {
	rules := func(policies ...*resourcev1.Policy) func(*call.Caller) {
		return func(c *call.Caller) { rule(t, c, policies...) }
	}
	of := func(action resourcev1.PolicyAction, uid string) *resourcev1.Policy {
		p := approving()
		if p.Name, p.Uid, p.Action = "b", uid, action; action != resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL {
			p.Approvers = nil
		}
		return p
	}
	renamed := approving()
	renamed.Reason = "It still costs."
	for _, tc := range []struct {
		name  string
		later later
		want  string // reason; empty if the call runs
	}{
		{"nothing changed", later{}, ""},
		{"the policy is gone", later{change: rules()}, ""},
		{"its words changed", later{change: rules(renamed)}, ""},
		{"it blocks", later{change: rules(approving(), of(resourcev1.PolicyAction_POLICY_ACTION_BLOCK, "x"))}, "POLICY_BLOCKED"},
		{"the context is untrusted", later{change: rules(of(resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED, "x"))}, "POLICY_BLOCKED"},
		{"another policy asks", later{change: rules(of(resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, "x"))}, "POLICY_BLOCKED"},
		{"others approve", later{change: rules(approving(byBob))}, "POLICY_BLOCKED"},
		{"the caller is out", later{err: fault.New(fault.Denied, "GATEWAY_ACCESS_DENIED", "You may not use this gateway")}, "GATEWAY_ACCESS_DENIED"},
		{"the tool is gone", later{change: func(c *call.Caller) { c.Snapshot = snapshot(); c.Gateway = c.Snapshot.Gateway("eng") }}, "UNKNOWN_TOOL"},
		{"the tool changed", later{change: func(c *call.Caller) { c.Gateway.Tools[0].Held = true }}, "TOOL_CHANGE_PENDING"},
		{"the name is another tool's", later{change: func(c *call.Caller) { rule(t, c, approving()); c.Gateway.Tools[0].Name = "ev/other" }}, "POLICY_BLOCKED"},
		{"the connection is denied", later{change: func(c *call.Caller) { denied(t, c, "connection", "shared") }}, "CONNECTION_MISSING"},
		{"the server is denied", later{change: func(c *call.Caller) { denied(t, c, "server", "ev") }}, "UNKNOWN_TOOL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(0)
			d, _ := holding(t, w, control)
			c := caller(ruled(t, compile.Gateway{}, approving()), wire.V20251125)
			c.Client = call.Client{Session: "s", Capabilities: []byte(forms), Asker: &person{says: "accept"}}
			c.Again = tc.later
			r, err := d.Call(t.Context(), c, toolCall(t, "ev__echo"), discard)
			got := ""
			if err != nil {
				got = fault.From(err).Reason
			} else if r.IsError {
				got = problem(t, r).Type
			}
			if got != tc.want || (len(w.calls) == 1) != (tc.want == "") {
				t.Errorf("%q, want %q: %s", got, tc.want, r.Result)
			}
		})
	}
}

// denied takes something away from the caller's snapshot.
func denied(t *testing.T, c *call.Caller, kind, name string) {
	t.Helper()
	h := view.NewHolder()
	h.Publish(c.Snapshot.View)
	h.Deny(9, []view.Key{{Kind: kind, Name: name}})
	c.Snapshot = h.Load()
	c.Gateway = c.Snapshot.Gateway("eng")
}
