// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// desk is a control plane with one approval, which has a state. Of a confirmation it lets one call run; of an approved call, too.
type desk struct {
	mu      sync.Mutex
	state   call.ApprovalState
	err     error
	asked   []call.Held
	used    map[string]bool
	old     bool          // it knows no look: what is approved runs
	claimed func() error  // called when a call is to run
	decided chan struct{} // closed by decide
	waiting int           // calls of Wait that have not returned
}

func newDesk(state call.ApprovalState) *desk {
	return &desk{state: state, used: make(map[string]bool), decided: make(chan struct{})}
}

func (w *desk) decide(s call.ApprovalState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	close(w.decided)
}

func (w *desk) Hold(_ context.Context, h call.Held) (call.Approval, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, h)
	if w.err != nil {
		return call.Approval{}, w.err
	}
	if w.claimed != nil && !h.Look {
		if err := w.claimed(); err != nil {
			return call.Approval{}, err
		}
	}
	if h.Confirmation != "" {
		run := !w.used[h.Confirmation]
		w.used[h.Confirmation] = true
		return call.Approval{ID: "a-1", State: call.ApprovalRun, Run: run}, nil
	}
	a := call.Approval{
		ID: "a-1", State: w.state, Expires: time.Date(2026, 11, 30, 14, 0, 0, 0, time.UTC), Approvers: []string{"bob@example.com", "an administrator of the team eng"},
	}
	switch w.state {
	case call.ApprovalApproved:
		if h.Look && !w.old {
			break
		}
		w.state, a.State, a.Run = call.ApprovalRun, call.ApprovalRun, true
	case call.ApprovalDenied:
		a.Reason = "Not on a Friday."
	default:
	}
	return a, nil
}

func (w *desk) Wait(ctx context.Context, _ string) error {
	w.mu.Lock()
	w.waiting++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.waiting--
		w.mu.Unlock()
	}()
	select {
	case <-w.decided:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// person is the client of a legacy session.
type person struct {
	mu       sync.Mutex
	says     string // action; empty for no answer
	err      error
	asked    []string
	takenOff int
}

func (p *person) Ask(ctx context.Context, q call.Question) (call.Answer, error) {
	p.mu.Lock()
	p.asked = append(p.asked, q.Method+" "+string(q.Params))
	says, err := p.says, p.err
	p.mu.Unlock()
	switch {
	case err != nil:
		return call.Answer{}, err
	case says == "":
		<-ctx.Done()
		p.mu.Lock()
		p.takenOff++
		p.mu.Unlock()
		return call.Answer{}, ctx.Err()
	case says == "error":
		return call.Answer{Error: []byte(`{"code":-32603,"message":"no"}`)}, nil
	}
	return call.Answer{Result: []byte(`{"action":"` + says + `"}`)}, nil
}

// approving is a policy on ev/echo; without users the caller approves.
func approving(users ...string) *resourcev1.Policy {
	p := &resourcev1.Policy{
		Name: "ask", Uid: "uid-ask", Tools: []string{"ev__echo"}, Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Reason: "It costs.",
		Approvers: &resourcev1.Approvers{Users: users},
	}
	if len(users) == 0 {
		p.Approvers.Caller = &resourcev1.CallerApprover{}
	}
	return p
}

const (
	forms  = `{"elicitation":{}}`
	byBob  = "bob@example.com"
	result = `{"content":[]}`
)

// holding is a dispatcher whose policies hold calls.
func holding(t *testing.T, w *world, control *desk) (*Dispatcher, *sdkmetric.ManualReader) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	d := newDispatcher(t, w)
	var err error
	if d.decided, err = newDecided(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("")); err != nil {
		t.Fatal(err)
	}
	d.RateLimits, d.Node = once{}, "n1"
	if control != nil {
		d.Approvals = control
	}
	return d, reader
}

// idle checks that neither a limit nor a credential nor a server was asked.
func idle(t *testing.T, d *Dispatcher, w *world) {
	t.Helper()
	if len(w.calls) != 0 || len(w.subjects) != 0 || len(d.RateLimits.(once)) != 0 {
		t.Errorf("a limit, a credential or a server was asked: %d calls", len(w.calls))
	}
}

// The caller approves: whom a session asks, what it hears, and that the call runs after a yes and never else (G-34).
func TestCallerConfirmsInSession(t *testing.T) {
	const denied = "ask denied=1, ask held=1"
	for _, tc := range []struct {
		name         string
		version      wire.Version
		capabilities string
		kind         ident.Kind
		person       *person
		desk         error
		want         string // reason; empty if the call runs
		text, counts string
	}{
		{name: "yes", person: &person{says: "accept"}, counts: "ask approved=1, ask held=1"},
		{name: "yes, 2025-06-18", version: wire.V20250618, person: &person{says: "accept"}, counts: "ask approved=1, ask held=1"},
		{name: "yes, forms by name", capabilities: `{"elicitation":{"form":{},"url":{}}}`, person: &person{says: "accept"}, counts: "ask approved=1, ask held=1"},
		{name: "no", person: &person{says: "decline"}, want: "APPROVAL_DENIED", text: `The policy "ask" asks to confirm this call, and it was not confirmed. It did not run. Reason of the policy: It costs.`, counts: denied},
		{name: "closed", person: &person{says: "cancel"}, want: "APPROVAL_DENIED", counts: denied},
		{name: "an error", person: &person{says: "error"}, want: "APPROVAL_DENIED", counts: denied},
		{name: "another word", person: &person{says: "maybe"}, want: "APPROVAL_DENIED", counts: denied},
		{name: "no answer", person: &person{}, want: "APPROVAL_DENIED", counts: denied},
		{name: "no stream", person: &person{err: fault.New(fault.Unavailable, "CLIENT_UNREACHABLE", "x")}, want: "APPROVAL_CANNOT_ASK", counts: denied},
		{name: "no capability", capabilities: `{}`, person: &person{says: "accept"}, want: "APPROVAL_CANNOT_ASK", counts: "ask denied=1"},
		{name: "pages only", capabilities: `{"elicitation":{"url":{}}}`, person: &person{says: "accept"}, want: "APPROVAL_CANNOT_ASK", counts: "ask denied=1"},
		{name: "2025-03-26 has no questions", version: wire.V20250326, person: &person{says: "accept"}, want: "APPROVAL_CANNOT_ASK", counts: "ask denied=1"},
		{name: "team token", kind: ident.KindTeam, person: &person{says: "accept"}, want: "APPROVAL_REQUIRES_USER", counts: "ask denied=1"},
		{name: "organisation token", kind: ident.KindOrganization, person: &person{says: "accept"}, want: "APPROVAL_REQUIRES_USER", counts: "ask denied=1"},
		{name: "service account", kind: ident.KindServiceAccount, person: &person{says: "accept"}, want: "APPROVAL_REQUIRES_USER", counts: "ask denied=1"},
		{name: "control plane away", person: &person{says: "accept"}, desk: fault.New(fault.Unavailable, "APPROVALS_UNAVAILABLE", "Away."), want: "APPROVALS_UNAVAILABLE", text: "Away.", counts: "ask held=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(0)
				control.err = tc.desk
				d, reader := holding(t, w, control)
				c := caller(ruled(t, compile.Gateway{}, approving()), wire.V20251125)
				if tc.version != "" {
					c.Version = tc.version
				}
				if tc.kind != "" {
					c.Principal.Kind = tc.kind
				}
				c.Client = call.Client{Session: "s", Capabilities: []byte(forms), Asker: tc.person}
				if tc.capabilities != "" {
					c.Client.Capabilities = []byte(tc.capabilities)
				}
				r, err := d.Call(t.Context(), c, toolCall(t, "ev__echo"), discard)
				if err != nil {
					t.Fatal(err)
				}
				if got := counted(t, reader); got != tc.counts {
					t.Errorf("counted %q, want %q", got, tc.counts)
				}
				for _, q := range tc.person.asked {
					want := `elicitation/create {"message":"Run the tool \"echo\" of \"ev\" through the gateway \"eng\" (policy \"ask\": It costs.)? Arguments: {\"n\":9007199254740993}","requestedSchema":{"type":"object","properties":{}}}`
					if q != want {
						t.Errorf("asked %s\nwant  %s", q, want)
					}
				}
				if tc.want == "" {
					if string(r.Result) != result || len(w.calls) != 1 || len(control.asked) != 1 {
						t.Fatalf("%s, %d calls, %d questions to the control plane", r.Result, len(w.calls), len(control.asked))
					}
					h := control.asked[0]
					if h.Tool != "ev/echo" || h.Policy != "ask" || h.GatewayUID != "uid-eng" || string(h.Arguments) != `{"n":9007199254740993}` || len(h.Confirmation) != 32 || h.Revision != 2 {
						t.Errorf("held %+v", h)
					}
					return
				}
				if idleButCredential(t, d, w); tc.desk == nil {
					idle(t, d, w)
				}
				if c.Version < wire.V20250618 { // has no structured content
					if !r.IsError || !strings.Contains(string(r.Result), "this client cannot ask") {
						t.Errorf("%s", r.Result)
					}
					return
				}
				if got := problem(t, r); got.Type != tc.want || tc.text != "" && got.Text != tc.text || tc.desk == nil && len(control.asked) > 0 {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

// modern is a caller of 2026-07-28 whose client can show forms.
func modern(t *testing.T, policies ...*resourcev1.Policy) call.Caller {
	t.Helper()
	c := caller(ruled(t, compile.Gateway{}, policies...), wire.V20260728)
	c.Principal = ada()
	c.Client.Capabilities = []byte(forms)
	return c
}

// comes is a call of ev__echo that comes back with a state and an answer; "" for none.
func comes(t *testing.T, arguments, state, answers string) call.Call {
	t.Helper()
	params := `{"name":"ev__echo","arguments":` + arguments + `,"_meta":{"n":1}`
	if state != "" {
		params += `,"requestState":` + state
	}
	if answers != "" {
		params += `,"inputResponses":` + answers
	}
	return request(t, "tools/call", params+`}`)
}

const (
	yes = `{"approval":{"action":"accept"}}`
	no  = `{"approval":{"action":"decline"}}`
)

// stateIn returns the raw requestState of a question; it is empty for any other result.
func stateIn(t *testing.T, r call.Reply) string {
	t.Helper()
	if !wire.EqualString(wire.Get(r.Result, "resultType"), "input_required") {
		return ""
	}
	return string(wire.Get(r.Result, "requestState"))
}

// EL-7, G-34: what becomes of a confirmation that a client without a session brings back.
func TestCallerConfirmsStateless(t *testing.T) {
	const arguments, invalid = `{"a":[1,"x"]}`, "REQUEST_STATE_INVALID"
	block := approving()
	block.Name, block.Uid, block.Action, block.Approvers = "no", "uid-no", resourcev1.PolicyAction_POLICY_ACTION_BLOCK, nil
	other := approving()
	other.Uid = "uid-other"
	for _, tc := range []struct {
		name      string
		change    func(t *testing.T, c *call.Caller)
		state     func(string) string
		arguments string
		answers   string
		after     time.Duration
		want      string // reason; "asked" for a question, "run"
	}{
		{name: "yes", answers: yes, want: "run"},
		{name: "yes, other white space", arguments: `{ "a": [1, "x"] }`, answers: yes, want: "run"},
		{name: "no", answers: no, want: "APPROVAL_DENIED"},
		{name: "closed", answers: `{"approval":{"action":"cancel"}}`, want: "APPROVAL_DENIED"},
		{name: "no answer", want: "asked"},
		{name: "an answer to something else", answers: `{"connect":{"action":"accept"}}`, want: "asked"},
		{name: "an answer of no form", answers: `{"approval":7}`, want: "asked"},
		{name: "edited arguments", arguments: `{"a":[1,"y"]}`, answers: yes, want: invalid},
		{name: "further arguments", arguments: `{"a":[1,"x"],"b":1}`, answers: yes, want: invalid},
		{name: "another person", change: func(_ *testing.T, c *call.Caller) { c.Principal.UID = "uid-bob" }, answers: yes, want: invalid},
		{name: "another client", change: func(_ *testing.T, c *call.Caller) { c.Principal.ClientID = "other" }, answers: yes, want: invalid},
		{name: "a bit flipped", state: func(s string) string { return strings.Replace(s, "616461", "606461", 1) }, answers: yes, want: invalid},
		{name: "a state of nobody", state: func(string) string { return `"pst1.x"` }, answers: yes, want: invalid},
		{name: "the server's state", state: func(string) string { return `"x"` }, answers: yes, want: invalid},
		{name: "too late", after: 10 * time.Minute, answers: yes, want: invalid},
		{name: "just in time", after: 10*time.Minute - 2*time.Second, answers: yes, want: "run"},
		{name: "the policy is gone", change: func(t *testing.T, c *call.Caller) { rule(t, c) }, answers: yes, want: "run"},
		{name: "the policy is gone, no", change: func(t *testing.T, c *call.Caller) { rule(t, c) }, answers: no, want: "APPROVAL_DENIED"},
		{name: "blocked meanwhile", change: func(t *testing.T, c *call.Caller) { rule(t, c, approving(), block) }, answers: yes, want: "POLICY_BLOCKED"},
		{name: "another policy asks", change: func(t *testing.T, c *call.Caller) { rule(t, c, other) }, answers: yes, want: "asked"},
		{name: "others approve now", change: func(t *testing.T, c *call.Caller) { rule(t, c, approving(byBob)) }, answers: yes, want: "asked"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(call.ApprovalPending)
				d, _ := holding(t, w, control)
				c := modern(t, approving())
				first, err := d.Call(t.Context(), c, comes(t, arguments, "", ""), discard)
				state := stateIn(t, first)
				if err != nil || state == "" || !strings.Contains(string(first.Result), `"inputRequests":{"approval":{"method":"elicitation/create","params":{"message":"Run the tool \"echo\"`) {
					t.Fatalf("%s %v", first.Result, err)
				}
				idle(t, d, w)
				time.Sleep(tc.after)
				if tc.change != nil {
					tc.change(t, &c)
				}
				if tc.state != nil {
					state = tc.state(state)
				}
				if tc.arguments == "" {
					tc.arguments = arguments
				}
				k := comes(t, tc.arguments, state, tc.answers)
				r, err := d.Call(t.Context(), c, k, discard)
				got := "run"
				switch {
				case err != nil:
					got = fault.From(err).Reason
				case stateIn(t, r) != "":
					got = "asked"
				case r.IsError:
					got = problem(t, r).Type
				}
				if got != tc.want {
					t.Fatalf("got %s, want %s: %s", got, tc.want, r.Result)
				}
				if tc.want != "run" {
					idle(t, d, w)
					return
				}
				if want := `{"name":"echo","arguments":` + tc.arguments + `,"_meta":{"n":1}}`; len(w.calls) != 1 || string(w.calls[0].Params) != want {
					t.Fatalf("the server got %s, want %s", w.calls[0].Params, want)
				}
				if len(c.Gateway.Policies) == 0 {
					return
				}
				d.RateLimits = once{}
				if r, err = d.Call(t.Context(), c, k, discard); err != nil || problem(t, r).Type != "APPROVAL_USED" || len(w.calls) != 1 {
					t.Errorf("sent again: %s %v, %d calls", r.Result, err, len(w.calls))
				}
			})
		})
	}
}

// rule gives the caller's gateway other policies.
func rule(t *testing.T, c *call.Caller, policies ...*resourcev1.Policy) {
	t.Helper()
	c.Snapshot = ruled(t, compile.Gateway{}, policies...)
	c.Gateway = c.Snapshot.Gateway("eng")
}

// A client that answers with nothing is asked three times.
func TestConfirmationIsAskedThreeTimes(t *testing.T) {
	w := &world{}
	d, reader := holding(t, w, newDesk(0))
	c, state := modern(t, approving()), ""
	for i := range 4 {
		r, err := d.Call(t.Context(), c, comes(t, `{}`, state, ""), discard)
		if err != nil {
			t.Fatal(err)
		}
		if state = stateIn(t, r); (state != "") != (i < 3) {
			t.Errorf("round %d: %s", i, r.Result)
		}
	}
	if got := counted(t, reader); got != "ask denied=1, ask held=1" {
		t.Errorf("counted %s", got)
	}
	idle(t, d, w)
}
