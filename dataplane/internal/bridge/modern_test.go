// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/verdict"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestModernAtModern: input_required and the retry pass untouched (M-75, M-78).
func TestModernAtModern(t *testing.T) {
	u := &script{version: wire.V20260728, run: func(context.Context, *sent) (string, string, error) { return demandForm, "", nil }}
	b := newBridge(t, u, hold.Limits{})
	o := retry(outbound(wire.V20260728, wire.V20260728, tool), `{"x":{"action":"accept"}}`, "of the upstream")
	reply, err := b.Call(t.Context(), o, nil)
	if err != nil || string(reply.Result) != demandForm {
		t.Errorf("%s %v", reply.Result, err)
	}
	if got := string(u.requests()[0].Params); got != string(o.Params) {
		t.Errorf("sent %s, want %s", got, o.Params)
	}
}

// A state of the upstream that starts as ours do is wrapped, and unwrapped on the way back; one that nobody wrapped is
// refused, whatever the upstream's era (M-75).
func TestUpstreamStateLooksLikeOurs(t *testing.T) {
	const theirs = `"pst1.\u0041theirs"`
	u := &script{version: wire.V20260728}
	u.run = func(context.Context, *sent) (string, string, error) {
		if len(u.requests()) == 1 {
			return `{"resultType":"input_required","requestState":` + theirs + `,"x":1}`, "", nil
		}
		return ok, "", nil
	}
	b := newBridge(t, u, hold.Limits{})
	o := outbound(wire.V20260728, wire.V20260728, tool)
	reply, err := b.Call(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := input(t, reply).RequestState
	if !strings.HasPrefix(wrapped, "pst1.") || strings.Contains(wrapped, "theirs") {
		t.Fatalf("state %s", wrapped)
	}
	if reply, err = b.Call(t.Context(), retry(o, `{"a":{}}`, wrapped), nil); err != nil || string(reply.Result) != ok {
		t.Fatalf("%s %v", reply.Result, err)
	}
	if got := string(u.requests()[1].Params); !strings.Contains(got, `"requestState":`+theirs) || !strings.Contains(got, `"inputResponses":{"a":{}}`) {
		t.Errorf("sent %s", got)
	}
	bob := retry(o, `{"a":{}}`, wrapped)
	bob.Principal.UID = "bob"
	for name, bad := range map[string]*call.Outbound{"forged": retry(o, `{}`, "pst1.theirs"), "another user": bob} {
		if _, err := b.Call(t.Context(), bad, nil); fault.From(err).Reason != ReasonState {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(u.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// A modern upstream may ask only what this request declared, with this server's setting (M-30, M-59).
func TestModernUpstreamAsksTooMuch(t *testing.T) {
	const sample = `{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{}}}}`
	tests := []struct {
		name, method, capabilities, result string
		setting                            func(o *call.Outbound)
	}{
		{"kind not declared", "tools/call", `{"elicitation":{}}`, sample, nil},
		{"kind not allowed to the server", "tools/call", all, sample, func(o *call.Outbound) { o.Server.Questions.Sampling = false }},
		{"page to a client of forms", "tools/call", `{"elicitation":{}}`, `{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url"}}}}`, nil},
		{"another method", "completion/complete", all, sample, nil},
		{"nothing", "tools/call", all, `{"resultType":"input_required"}`, nil},
		{"state of another type", "tools/call", all, `{"resultType":"input_required","requestState":5}`, nil},
		{"questions of another type", "tools/call", all, `{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list","params":[]}}}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: wire.V20260728, run: func(context.Context, *sent) (string, string, error) { return tt.result, "", nil }}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(wire.V20260728, wire.V20260728, tool)
			o.Method, o.Client.Capabilities = tt.method, []byte(tt.capabilities)
			if tt.setting != nil {
				tt.setting(o)
			}
			reply, err := b.Call(t.Context(), o, nil)
			if f := fault.From(err); f == nil || f.Kind != fault.Unavailable || f.Reason != ReasonAsked {
				t.Errorf("%s %v", reply.Result, err)
			}
		})
	}
}

// inputResponses without a state, at an upstream that asked nothing: they are not the upstream's to see.
func TestResponsesToNobody(t *testing.T) {
	u := &script{version: wire.V20251125, run: func(context.Context, *sent) (string, string, error) { return ok, "", nil }}
	b := newBridge(t, u, hold.Limits{})
	o := retry(outbound(wire.V20260728, wire.V20251125, tool), `{"x":{}}`, "")
	if reply, err := b.Call(t.Context(), o, nil); err != nil || string(reply.Result) != ok {
		t.Fatalf("%s %v", reply.Result, err)
	}
	if got := string(u.requests()[0].Params); got != tool {
		t.Errorf("sent %s, want %s", got, tool)
	}
}

const pagesError = `{"code":-32042,"message":"Sign in","data":{"elicitations":[` +
	`{"mode":"url","elicitationId":"e1","url":"https://x/1","message":"First"},{"mode":"url","elicitationId":"e2","url":"https://x/2","message":"Second"}]}}`

// TestPageRequired is the rows -32042 of mcp.md section 4.
func TestPageRequired(t *testing.T) {
	const links = "First: https://x/1\nSecond: https://x/2"
	tests := []struct {
		name, method, capabilities string
		client                     wire.Version
		object, public             string // what comes of it: an error, or a fault with a text
	}{
		{"legacy client with url passes", "tools/call", all, wire.V20251125, pagesError, ""},
		{"legacy client without url", "tools/call", `{"elicitation":{}}`, wire.V20251125, "", links},
		{"legacy client without elicitation", "tools/call", ``, wire.V20251125, "", links},
		{"older client", "tools/call", all, wire.V20250618, "", links},
		{"older client reads a resource", "resources/read", all, wire.V20250618, `{"code":-32603,"message":"First: https://x/1\nSecond: https://x/2"}`, ""},
		{"modern client without url", "tools/call", `{"elicitation":{"form":{}}}`, wire.V20260728, "", links},
		{"modern client, method that may not ask", "completion/complete", all, wire.V20260728, `{"code":-32603,"message":"First: https://x/1\nSecond: https://x/2"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: wire.V20251125, run: func(context.Context, *sent) (string, string, error) { return "", pagesError, nil }}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(tt.client, wire.V20251125, tool)
			o.Method, o.Client.Capabilities = tt.method, raw(tt.capabilities)
			reply, err := b.Call(t.Context(), o, nil)
			if tt.object != "" {
				if err != nil || string(reply.Error) != tt.object {
					t.Errorf("%s %v, want %s", reply.Error, err, tt.object)
				}
			} else if f := fault.From(err); f == nil || f.Kind != fault.Precondition || f.Reason != verdict.ReasonPage || f.Public != tt.public {
				t.Errorf("%s %v", reply.Error, err)
			}
		})
	}
}

// -32042 to a modern client with url: pages as questions, and the retry sends the call anew, without a held call.
func TestPagesAreResent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &script{version: wire.V20251125}
		u.run = func(context.Context, *sent) (string, string, error) {
			if len(u.requests()) <= 2 {
				return "", pagesError, nil
			}
			return ok, "", nil
		}
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20260728, wire.V20251125, tool)
		next := o
		for round := range 2 {
			reply, err := b.Call(t.Context(), next, nil)
			if err != nil {
				t.Fatal(err)
			}
			q := input(t, reply)
			if got, want := string(q.InputRequests["q2"]), `{"method":"elicitation/create","params":{"mode":"url","url":"https://x/2","message":"Second"}}`; got != want || len(q.InputRequests) != 2 || b.held.Len() != 0 {
				t.Fatalf("round %d: %s, %d held", round, got, b.held.Len())
			}
			next = retry(o, `{"q1":{"action":"accept"},"q2":{"action":"accept"}}`, q.RequestState)
			bob := *next
			bob.Principal.UID = "bob"
			if _, err := b.Call(t.Context(), &bob, nil); fault.From(err).Reason != ReasonState {
				t.Errorf("another user: %v", err)
			}
			no := retry(o, `{"q1":{"action":"decline"}}`, q.RequestState)
			if _, err := b.Call(t.Context(), no, nil); fault.From(err).Reason != ReasonDeclined { // EL-8
				t.Errorf("declined: %v", err)
			}
		}
		reply, err := b.Call(t.Context(), next, nil)
		if err != nil || string(reply.Result) != ok {
			t.Fatalf("%s %v", reply.Result, err)
		}
		for i, s := range u.requests() {
			if string(s.Params) != tool {
				t.Errorf("request %d was %s", i, s.Params)
			}
		}
		time.Sleep(stateTime + time.Second)
		if reply, err = b.Call(t.Context(), next, nil); err != nil || !strings.Contains(string(reply.Error), "request_state_expired") {
			t.Errorf("too late: %s %v", reply.Error, err)
		}
	})
}

// An upstream that sends the person to pages for ever is stopped after 16 rounds.
func TestPagesWithoutEnd(t *testing.T) {
	u := &script{version: wire.V20251125, run: func(context.Context, *sent) (string, string, error) { return "", pagesError, nil }}
	b := newBridge(t, u, hold.Limits{})
	o := outbound(wire.V20260728, wire.V20251125, tool)
	next := o
	for round := 0; ; round++ {
		reply, err := b.Call(t.Context(), next, nil)
		if err != nil {
			if f := fault.From(err); f.Reason != ReasonRounds || round != 16 {
				t.Errorf("round %d: %v", round, err)
			}
			return
		}
		next = retry(o, `{"q1":{"action":"accept"}}`, input(t, reply).RequestState)
	}
}

// TestUpstreamErrors is M-46 and M-47: what an upstream's error is to a client.
func TestUpstreamErrors(t *testing.T) {
	const gone, badURI = `{"code":-32002,"message":"gone","data":{"uri":"a:1"}}`, `{"code":-32602,"message":"gone","data":{"uri":"a:1"}}`
	const required = `{"code":-32021,"message":"need","data":{"requiredCapabilities":{"sampling":{"tools":{}}}}}`
	internal := func(code int) string {
		return fmt.Sprintf(`{"code":-32603,"message":"m","data":{"upstream_code":%d}}`, code)
	}
	coded := func(code int) string { return fmt.Sprintf(`{"code":%d,"message":"m","data":{"x":1}}`, code) }
	legacy, modern := wire.V20251125, wire.V20260728
	tests := []struct {
		name, method     string
		client, upstream wire.Version
		object, want     string
		kind             fault.Kind // instead of want
		reason, public   string
	}{
		{"-32002 of a legacy upstream to a modern client", "resources/read", modern, legacy, gone, "", fault.NotFound, verdict.ReasonResource, "gone"},
		{"-32602 with the URI, of a modern upstream to a legacy client", "resources/read", legacy, modern, badURI, "", fault.NotFound, verdict.ReasonResource, "gone"},
		{"-32602 with another URI", "resources/read", legacy, modern, `{"code":-32602,"message":"m","data":{"uri":"b:2"}}`, `{"code":-32602,"message":"m","data":{"uri":"b:2"}}`, 0, "", ""},
		{"-32602 without a URI", "resources/read", legacy, modern, coded(-32602), coded(-32602), 0, "", ""},
		{"-32002 between legacy sides", "resources/read", legacy, legacy, gone, gone, 0, "", ""},
		{"-32602 between modern sides", "resources/read", modern, modern, badURI, badURI, 0, "", ""},
		{"-32002 of another method", "tools/call", modern, legacy, gone, gone, 0, "", ""},
		{"-32021 to a modern client", "tools/call", modern, modern, required, "", fault.MissingCapability, verdict.ReasonCapability, "need"},
		{"-32021 to a legacy client, tools/call", "tools/call", legacy, modern, required, "", fault.Precondition, verdict.ReasonCapability, "The server needs a client capability that is not there: sampling."},
		{"-32021 to a legacy client, other", "prompts/get", legacy, modern, required, `{"code":-32603,"message":"The server needs a client capability that is not there: sampling."}`, 0, "", ""},
		{"-32021 without a list", "tools/call", modern, modern, coded(-32021), internal(-32021), 0, "", ""},
		{"-32020", "tools/call", modern, modern, coded(-32020), internal(-32020), 0, "", ""},
		{"-32022", "tools/call", legacy, modern, coded(-32022), internal(-32022), 0, "", ""},
		{"-32042 of a modern upstream", "tools/call", legacy, modern, coded(-32042), internal(-32042), 0, "", ""},
		{"-32099", "tools/call", legacy, legacy, coded(-32099), internal(-32099), 0, "", ""},
		{"-32100 passes", "tools/call", legacy, modern, coded(-32100), coded(-32100), 0, "", ""},
		{"-32019 passes", "tools/call", legacy, legacy, coded(-32019), coded(-32019), 0, "", ""},
		{"-32601 passes", "tools/call", modern, legacy, coded(-32601), coded(-32601), 0, "", ""},
		{"own numbers of the upstream pass", "tools/call", modern, modern, coded(17), coded(17), 0, "", ""},
		{"malformed", "tools/call", legacy, legacy, `"x"`, `{"code":-32603,"message":"The server answered with a malformed error"}`, 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: tt.upstream, run: func(context.Context, *sent) (string, string, error) { return "", tt.object, nil }}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(tt.client, tt.upstream, `{"uri":"a:1"}`)
			o.Method = tt.method
			reply, err := b.Call(t.Context(), o, nil)
			if tt.want != "" {
				if diff := cmp.Diff(tt.want, string(reply.Error)); err != nil || diff != "" {
					t.Errorf("%v %s", err, diff)
				}
				return
			}
			f := fault.From(err)
			if f == nil || f.Kind != tt.kind || f.Reason != tt.reason || f.Public != tt.public {
				t.Fatalf("%s %v", reply.Error, err)
			}
			if want := []fault.Field{{Path: "sampling", Problem: `{"tools":{}}`}}; f.Kind == fault.MissingCapability && !cmp.Equal(f.Fields, want) {
				t.Errorf("fields %v", f.Fields)
			}
		})
	}
}

// -32020: the call did not run; with the schema as it is now it is sent once more (M-47).
func TestHeaderMismatch(t *testing.T) {
	u := &script{version: wire.V20260728}
	u.run = func(_ context.Context, s *sent) (string, string, error) {
		if string(s.Schema) == `{"new":1}` {
			return ok, "", nil
		}
		return "", `{"code":-32020,"message":"header"}`, nil
	}
	b := newBridge(t, u, hold.Limits{})
	o := outbound(wire.V20260728, wire.V20260728, tool)
	o.Schema = []byte(`{"old":1}`)
	for _, tt := range []struct{ schema, want string }{{`{"new":1}`, ok}, {`{"other":1}`, ""}, {`{"old":1}`, ""}} {
		b.cfg.Schema = func(context.Context, *call.Outbound) ([]byte, error) { return []byte(tt.schema), nil }
		if reply, err := b.Call(t.Context(), o, nil); err != nil || string(reply.Result) != tt.want {
			t.Errorf("%s: %s %s %v", tt.schema, reply.Result, reply.Error, err)
		}
	}
	if n := len(u.requests()); n != 5 {
		t.Errorf("%d requests, want 5: an unchanged schema is not tried", n)
	}
}
