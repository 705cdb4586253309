// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// wayEvent is what the audit must have of a call.
type wayEvent struct {
	cell  string // name of the test
	event string
}

// expect notes a call for [ways.audited]. audited is as in [wayRule].
func (w *ways) expect(t *testing.T, e wayEntry, audited string) {
	t.Helper()
	gateway, door := waysPrefixed, "direct"
	if e.bare {
		gateway = waysBare
	}
	if strings.HasPrefix(e.params("{}"), `{"name":"run_tool"`) {
		door = "run_tool"
	}
	connection, _, _ := strings.Cut(e.tool, "/")
	switch {
	case e.never:
		audited = "refused UNKNOWN_TOOL  "
	case e.task:
		if rest, ok := strings.CutPrefix(audited, "ok "); ok {
			audited = "task " + rest
		}
	}
	w.expected = append(w.expected, wayEvent{t.Name(), strings.Join([]string{gateway, door, e.tool, connection, audited}, " ")})
}

// audited checks that the audit has one event for each call since it was asked last, in their order, and the same whatever the entry:
// tool, connection, outcome, reason and policy. The door is how it was reached.
func (w *ways) audited(t *testing.T) {
	t.Helper()
	var events []*adminv1.AuditEvent
	list := func() *adminv1.ListAuditEventsResponse {
		t.Helper()
		got, err := w.env.Admin.Audit.ListAuditEvents(t.Context(), &adminv1.ListAuditEventsRequest{AfterId: &w.seen, Source: "tool_call", PageSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	testenv.Until(t, "the audit to have the calls", func() bool {
		events = list().GetEvents()
		return len(events) >= len(w.expected)
	})
	if len(events) != len(w.expected) {
		t.Errorf("the audit has %d events of %d calls", len(events), len(w.expected))
	}
	for i, want := range w.expected[:min(len(events), len(w.expected))] {
		call := events[i].GetToolCall()
		got := strings.Join([]string{
			call.GetGateway(), call.GetDoor(), call.GetTool(), call.GetConnection(), events[i].GetOutcome(), events[i].GetReason(), call.GetPolicy(), call.GetPolicyAction(),
		}, " ")
		if got != want.event {
			t.Errorf("%s: the audit has %q, want %q", want.cell, got, want.event)
		}
	}
	if len(events) > 0 {
		w.seen = events[len(events)-1].GetId()
	}
	w.expected = nil
}
