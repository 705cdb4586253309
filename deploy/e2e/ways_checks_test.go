// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// wayAnswer is what became of a call.
type wayAnswer struct {
	toolResult

	raw       string   // the response with the tool's result
	delivered string   // all that the client was sent
	ran       []string // arguments of the calls that servers got
}

// call makes a call of the tool of an entry. audited is what the audit must have of it.
func (w *ways) call(t *testing.T, e wayEntry, c talk, arguments, audited string) (a wayAnswer) {
	t.Helper()
	w.calls.take()
	w.delivered.Reset()
	a.raw = c.ask(t, "tools/call", e.params(arguments))
	w.expect(t, e, audited)
	if e.then != nil {
		a.raw = e.then(t, c, a.raw)
	}
	if err := json.Unmarshal([]byte(a.raw), &a.toolResult); err != nil {
		t.Fatalf("answer %q: %v", a.raw, err)
	}
	a.delivered, a.ran = w.delivered.String(), w.calls.take()
	return a
}

// runs checks that a call ran once, with these arguments unless they are empty. A name of no tool never does.
func (a *wayAnswer) runs(t *testing.T, e wayEntry, arguments string) {
	t.Helper()
	switch {
	case e.never:
		a.noTool(t)
	case len(a.ran) != 1 || a.Error.Code != 0 || a.Result.IsError:
		t.Errorf("%d calls %v, %s", len(a.ran), a.ran, a.raw)
	case arguments != "" && a.ran[0] != arguments:
		t.Errorf("the server got %s, want %s", a.ran[0], arguments)
	}
}

// stops checks that a call did not run, and what the caller is told.
func (a *wayAnswer) stops(t *testing.T, e wayEntry, words string) {
	t.Helper()
	switch {
	case e.never:
		a.noTool(t)
	case len(a.ran) > 0:
		t.Errorf("ran %v: %s", a.ran, a.raw)
	default:
		a.says(t, words)
	}
}

func (a *wayAnswer) says(t *testing.T, words string) {
	t.Helper()
	if a.Error.Code != 0 || !a.Result.IsError || !strings.Contains(a.text(), words) {
		t.Errorf("answered %s, want a result with %q", a.raw, words)
	}
}

func (a *wayAnswer) noTool(t *testing.T) {
	t.Helper()
	if len(a.ran) > 0 || a.Error.Code == 0 && !a.Result.IsError {
		t.Errorf("a name of no tool ran %v: %s", a.ran, a.raw)
	}
}

// cell is one cell of the table: a call that runs, and one that is stopped.
func (w *ways) cell(t *testing.T, r wayRule, e wayEntry, c talk) {
	t.Helper()
	a := w.call(t, e, c, r.runs.arguments, r.audited[0])
	a.runs(t, e, r.fixed)
	if r.stopped == (wayCall{}) {
		return
	}
	if r.stopped.who != r.runs.who {
		c = e.open(t, w, w.token(t, e, r.stopped.who))
	}
	a = w.call(t, e, c, r.stopped.arguments, r.audited[1])
	a.stops(t, e, r.words)
}

// trial checks that the policies' test decides the two calls of a rule as a node does, as far as policies do.
func (w *ways) trial(t *testing.T, r wayRule) {
	t.Helper()
	for arguments, runs := range map[string]bool{r.runs.arguments: true, r.stopped.arguments: false} {
		if arguments == "" {
			continue
		}
		res, err := w.env.Admin.Policies.TestPolicies(t.Context(), &adminv1.TestPoliciesRequest{Cases: []*adminv1.PolicyCase{
			{Gateway: waysPrefixed, Tool: "up/act", Args: arguments},
		}})
		if err != nil {
			t.Fatal(err)
		}
		got := res.GetResults()[0]
		if runs != (got.GetAction() == resourcev1.PolicyAction_POLICY_ACTION_ALLOW) || got.GetRefusal() != "" && !strings.Contains(got.GetRefusal(), r.words) {
			t.Errorf("%s is tried as %v", arguments, got)
		}
	}
}

// held is a cell of a rule that holds calls for bob: nothing runs until he approves, then the same call runs once.
func (w *ways) held(t *testing.T, r wayRule, e wayEntry, c talk) {
	t.Helper()
	r.stopped.arguments = fmt.Sprintf(`{"label":"prod","items":[%q]}`, e.name) // two calls with the same have one approval
	w.cell(t, r, e, c)
	if e.never {
		if waiting := w.waiting(t); len(waiting) > 0 {
			t.Errorf("a name of no tool is held: %v", waiting)
		}
		return
	}
	waiting := w.waiting(t)
	if len(waiting) != 1 || waiting[0].GetTool() != e.tool || waiting[0].GetArguments() != r.stopped.arguments || waiting[0].GetPolicy() != "ways" {
		t.Fatalf("held: %v", waiting)
	}
	id := waiting[0].GetId()
	a := w.call(t, e, c, r.stopped.arguments, r.audited[1])
	a.stops(t, e, id)
	w.decide(t, id, true)
	a = w.call(t, e, c, r.stopped.arguments, "ok  ways REQUIRE_APPROVAL")
	a.runs(t, e, r.stopped.arguments)
	a = w.call(t, e, c, r.stopped.arguments, r.audited[1])
	a.stops(t, e, r.words)
	if waiting = w.waiting(t); len(waiting) != 1 || waiting[0].GetId() == id {
		t.Fatalf("held once more: %v", waiting)
	}
	w.decide(t, waiting[0].GetId(), false)
	a = w.call(t, e, c, r.stopped.arguments, "refused APPROVAL_DENIED ways REQUIRE_APPROVAL")
	a.stops(t, e, "was denied")
}

// waiting returns the approvals that wait for bob.
func (w *ways) waiting(t *testing.T) []*adminv1.Approval {
	t.Helper()
	list, err := w.bob.Approvals.ListApprovals(t.Context(), &adminv1.ListApprovalsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return list.GetApprovals()
}

func (w *ways) decide(t *testing.T, id string, approve bool) {
	t.Helper()
	if _, err := w.bob.Approvals.DecideApproval(t.Context(), &adminv1.DecideApprovalRequest{Id: id, Approve: approve}); err != nil {
		t.Fatal(err)
	}
}

// withheld is a cell of a rule about results: the tool runs, and what is stopped is the delivery of what it says.
func (w *ways) withheld(t *testing.T, r wayRule, e wayEntry, c talk) {
	t.Helper()
	if r.runs != (wayCall{}) {
		a := w.call(t, e, c, r.runs.arguments, r.audited[0])
		a.runs(t, e, "")
		if !e.never && !strings.Contains(a.delivered, ` dev`) {
			t.Errorf("delivered %s", a.delivered)
		}
	}
	a := w.call(t, e, c, r.stopped.arguments, r.audited[1])
	if strings.Contains(a.delivered, r.secret) {
		t.Errorf("delivered %s", a.delivered)
	}
	switch {
	case e.never:
		a.noTool(t)
	case r.words == "":
		if a.runs(t, e, ""); !strings.Contains(a.delivered, ` [redacted]`) {
			t.Errorf("delivered %s", a.delivered)
		}
	case len(a.ran) != 1:
		t.Errorf("ran %v", a.ran)
	default:
		a.says(t, r.words)
	}
}

// reads is a cell of a rule about untrusted contexts: the call runs before the context has seen what is not trusted, and not after.
func (w *ways) reads(t *testing.T, r wayRule, e wayEntry, c talk) {
	t.Helper()
	a := w.call(t, e, c, r.stopped.arguments, r.audited[0])
	a.runs(t, e, "")
	if e.never {
		return
	}
	other := e
	other.params, other.tool, other.then, other.task = byName("up__news"), "up/news", nil, false
	if e.bare {
		other.params = byName("news")
	}
	a = w.call(t, other, c, `{}`, r.audited[0])
	a.runs(t, e, "")
	a = w.call(t, e, c, r.stopped.arguments, r.audited[1])
	a.stops(t, e, r.words)
}

// before is about tasks that were made before their results were blocked: nothing of those is delivered when they are asked for, also
// where a task does not say whether the policy means it.
func (w *ways) before(t *testing.T) {
	for _, mark := range []string{"BLOCK", "BLOCK\nwhen: 'args.label == \"hush-4711\"'", "BLOCK\ntools: [up__work, jobs__slow_compute]"} {
		w.blockedSince(t, wayRule{mark: mark})
	}
}

func (w *ways) blockedSince(t *testing.T, blocked wayRule) {
	t.Helper()
	defer w.end()
	w.set(t, wayRule{})
	later := map[string]func() string{}
	for _, e := range wayEntries() {
		if !e.task {
			continue
		}
		c, then := e.open(t, w, w.token(t, e, "ada")), e.then
		e.then = nil
		called := w.call(t, e, c, `{"label":"hush-4711"}`, auditedOK)
		later[e.name] = func() string { return then(t, c, called.raw) }
	}
	w.set(t, blocked)
	for name, ask := range later {
		w.delivered.Reset()
		if ask(); strings.Contains(w.delivered.String(), "hush-") || !strings.Contains(w.delivered.String(), "withholds this result") {
			t.Errorf("%s, %s: delivered %s", blocked.mark, name, w.delivered.String())
		}
	}
	w.audited(t)
	w.unset(t, blocked)
}
