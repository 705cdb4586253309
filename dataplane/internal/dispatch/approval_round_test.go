// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// An approved call whose server asks its client something: the retry is part of what was approved, and good for one call (M-75, G-34).
func TestApprovedCallAsks(t *testing.T) {
	const arguments, answers, invalid = `{"a":1}`, `{"name":{"action":"accept","content":{"name":"Ada"}}}`, "REQUEST_STATE_INVALID"
	block := approving()
	block.Name, block.Uid, block.Action, block.Approvers = "no", "uid-no", resourcev1.PolicyAction_POLICY_ACTION_BLOCK, nil
	other := approving()
	other.Uid = "uid-other"
	for _, tc := range []struct {
		name      string
		asks      string // members of the server's question
		change    func(t *testing.T, d *Dispatcher, c *call.Caller)
		arguments string
		after     time.Duration
		twice     bool
		limited   bool   // it comes once while a limit is used up
		want      string // reason; empty if the server gets the retry
		params    string // that it gets beside name, arguments and _meta
	}{
		{name: "with a state", asks: `"requestState":"s-1"`, params: `,"requestState":"s-1","inputResponses":` + answers},
		{name: "with a state of its own in our form", asks: `"requestState":"pst1.x"`, params: `,"requestState":"pst1.x","inputResponses":` + answers},
		{name: "without a state", asks: `"inputRequests":{"name":{"method":"elicitation/create","params":{}}}`, params: `,"inputResponses":` + answers},
		{name: "twice", asks: `"requestState":"s-1"`, twice: true, want: invalid},
		{name: "refused by a limit before", asks: `"requestState":"s-1"`, limited: true, params: `,"requestState":"s-1","inputResponses":` + answers},
		{name: "at another node", asks: `"requestState":"s-1"`, change: func(_ *testing.T, d *Dispatcher, _ *call.Caller) { d.Node = "n2" }, want: invalid},
		{name: "another person", asks: `"requestState":"s-1"`, change: func(_ *testing.T, _ *Dispatcher, c *call.Caller) { c.Principal.UID = "uid-bob" }, want: invalid},
		{name: "edited arguments", asks: `"requestState":"s-1"`, arguments: `{"a":2}`, want: invalid},
		{name: "too late", asks: `"requestState":"s-1"`, after: 10 * time.Minute, want: invalid},
		{name: "blocked meanwhile", asks: `"requestState":"s-1"`, change: func(t *testing.T, _ *Dispatcher, c *call.Caller) { rule(t, c, approving(), block) }, want: "POLICY_BLOCKED"},
		{name: "another policy asks", asks: `"requestState":"s-1"`, change: func(t *testing.T, _ *Dispatcher, c *call.Caller) { rule(t, c, other) }, want: invalid},
		{name: "the policy is gone", asks: `"requestState":"s-1"`, change: func(t *testing.T, _ *Dispatcher, c *call.Caller) { rule(t, c) }, params: `,"requestState":"s-1","inputResponses":` + answers},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, control := &world{reply: call.Reply{Result: []byte(`{"resultType":"input_required",` + tc.asks + `}`)}}, newDesk(call.ApprovalApproved)
				d, _ := holding(t, w, control)
				d.RateLimits = nil
				c := modern(t, approving(byBob))
				first, err := d.Call(t.Context(), c, comes(t, arguments, "", ""), discard)
				state := stateIn(t, first)
				if err != nil || !strings.HasPrefix(state, `"pst1.approval!`) || d.RunBy("uid-eng", []byte(state)) != "n1" || len(w.calls) != 1 {
					t.Fatalf("%s %v", first.Result, err)
				}
				if strings.Contains(tc.asks, "inputRequests") && !strings.Contains(string(first.Result), tc.asks) {
					t.Errorf("the question became %s", first.Result)
				}
				time.Sleep(tc.after)
				if tc.change != nil {
					tc.change(t, d, &c)
				}
				if tc.arguments == "" {
					tc.arguments = arguments
				}
				w.reply.Result = []byte(result)
				k := comes(t, tc.arguments, state, answers)
				if tc.twice {
					if r, err := d.Call(t.Context(), c, k, discard); err != nil || string(r.Result) != result {
						t.Fatalf("%s %v", r.Result, err)
					}
				}
				if tc.limited {
					d.RateLimits = once{"ev/echo": true}
					if r, err := d.Call(t.Context(), c, k, discard); reason(t, r, err) != "RATE_LIMITED" {
						t.Fatalf("%s %v", r.Result, err)
					}
					d.RateLimits = nil
				}
				ran := len(w.calls)
				r, err := d.Call(t.Context(), c, k, discard)
				if got := reason(t, r, err); got != tc.want || len(control.asked) != 2 { // a look, and what let it run
					t.Fatalf("got %q, want %q: %s, the control plane was asked %d times", got, tc.want, r.Result, len(control.asked))
				}
				if tc.want != "" {
					if len(w.calls) != ran {
						t.Error("the server was asked")
					}
					return
				}
				if want := `{"name":"echo","arguments":` + arguments + `,"_meta":{"n":1}` + tc.params + `}`; string(w.calls[1].Params) != want {
					t.Errorf("the server got %s\nwant %s", w.calls[1].Params, want)
				}
				if string(w.calls[1].State) != string(wire.Get(w.calls[1].Params, "requestState")) || string(w.calls[1].Responses) != answers {
					t.Errorf("state %s, responses %s", w.calls[1].State, w.calls[1].Responses)
				}
			})
		})
	}
}

// reason says how a call ended: it is empty for a result without isError.
func reason(t *testing.T, r call.Reply, err error) string {
	t.Helper()
	if err != nil {
		return fault.From(err).Reason
	}
	if r.IsError {
		return problem(t, r).Type
	}
	return ""
}

// The server asks again and again: each round has a state of its own.
func TestApprovedCallAsksAgain(t *testing.T) {
	w := &world{}
	d, _ := holding(t, w, newDesk(call.ApprovalApproved))
	d.RateLimits = nil
	c, state := modern(t, approving(byBob)), ""
	for i := range 5 {
		w.reply.Result = fmt.Appendf(nil, `{"resultType":"input_required","requestState":"s-%d"}`, i)
		r, err := d.Call(t.Context(), c, comes(t, `{}`, state, ""), discard)
		if err != nil {
			t.Fatal(err)
		}
		next := stateIn(t, r)
		if next == "" || next == state || i > 0 && string(w.calls[i].State) != fmt.Sprintf(`"s-%d"`, i-1) {
			t.Fatalf("round %d: %s, the server got %s", i, r.Result, w.calls[i].State)
		}
		state = next
	}
}

// The credential turns out to be dead after the approval: who connects the server need not have the call approved again.
func TestApprovedCallIsConnected(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(result)}, missing: fault.New(fault.Precondition, "CREDENTIAL_DEAD", "It is so.")}
	d, _ := holding(t, w, newDesk(0))
	d.RateLimits, d.Links = nil, &links{}
	s := atCall(false, own())
	tool := s.Gateway("eng").Tools[0]
	p, err := compile.MakePolicy(approving())
	if err != nil {
		t.Fatal(err)
	}
	s.Gateway("eng").Policies = []*compile.Policy{p}
	c := caller(s, wire.V20260728)
	c.Principal, c.Client.Capabilities, tool.Server, tool.Upstream = ada(), []byte(`{"elicitation":{"form":{},"url":{}}}`), "gh", "echo"
	*p = compile.Policy{Name: p.Name, UID: p.UID, Action: p.Action, Approvers: p.Approvers} // of every tool
	send := func(state, answers string) (call.Reply, error) {
		return d.Call(t.Context(), c, request(t, "tools/call", `{"name":"gh__star"`+state+answers+`}`), discard)
	}
	r, err := send("", "")
	if err != nil {
		t.Fatal(err)
	}
	confirmed := stateIn(t, r)
	r, err = send(`,"requestState":`+confirmed, `,"inputResponses":`+yes)
	connect := stateIn(t, r)
	if err != nil || !strings.Contains(string(r.Result), firstLink) || connect == "" {
		t.Fatalf("%s %v", r.Result, err)
	}
	w.missing = nil
	back := `,"inputResponses":{"connect":{"action":"accept"}}`
	if r, err = send(`,"requestState":`+connect, back); err != nil || string(r.Result) != result || len(w.calls) != 1 {
		t.Fatalf("%s %v", r.Result, err)
	}
	if string(w.calls[0].Params) != `{"name":"echo"}` && string(w.calls[0].Params) != `{"name":"star"}` {
		t.Errorf("the server got %s", w.calls[0].Params)
	}
	if r, err = send(`,"requestState":`+connect, back); reason(t, r, err) != "APPROVAL_USED" || len(w.calls) != 1 {
		t.Errorf("sent again: %s %v", r.Result, err)
	}
}

// Nobody is asked about a call that cannot run.
func TestNobodyIsAskedInVain(t *testing.T) {
	for name, want := range map[string]string{"bare": "CREDENTIAL_MISSING", "gone": "CONNECTION_MISSING"} {
		w, control := &world{}, newDesk(call.ApprovalPending)
		d, _ := holding(t, w, control)
		c := modern(t, approving(byBob))
		c.Gateway.Tools[0].Connection = name
		r, err := d.Call(t.Context(), c, comes(t, `{}`, "", ""), discard)
		if got := reason(t, r, err); got != want || len(control.asked) != 0 {
			t.Errorf("%s: %s, the control plane was asked %d times", name, r.Result, len(control.asked))
		}
	}
}

// G-24: a run_tool is held as the call that it stands for, and comes back as one.
func TestApprovalBehindRunTool(t *testing.T) {
	for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
		w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(0)
		d := searching(t, w)
		d.Approvals, d.Node = control, "n1"
		c := caller(ruled(t, compile.Gateway{LoadToolsWhenNeeded: true}, approving()), v)
		c.Client.Capabilities = []byte(forms)
		if v != wire.V20260728 {
			c.Client.Asker, c.Client.Session = &person{says: "accept"}, "s"
		}
		const run = `{"name":"run_tool","arguments":{"tool_name":"echo","arguments":{"a":1}}`
		r, err := d.Call(t.Context(), c, request(t, "tools/call", run+`}`), discard)
		if v == wire.V20260728 {
			state := stateIn(t, r)
			if err != nil || state == "" || len(w.calls) != 0 {
				t.Fatalf("%s %v", r.Result, err)
			}
			r, err = d.Call(t.Context(), c, request(t, "tools/call", run+`,"requestState":`+state+`,"inputResponses":`+yes+`}`), discard)
		}
		if err != nil || string(r.Result) != result || len(w.calls) != 1 || len(control.asked) != 1 || string(control.asked[0].Arguments) != `{"a":1}` {
			t.Errorf("%s: %s %v, asked %+v", v, r.Result, err, control.asked)
		}
	}
}
