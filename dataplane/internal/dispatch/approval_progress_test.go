// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// told is what a client hears of a call, and when.
type told struct {
	start time.Time
	over  bool // the call was answered
	at    []time.Duration
	list  []progress
	t     *testing.T
}

// progress is the params of a notice.
type progress struct {
	ProgressToken json.RawMessage
	Progress      float64
	Total         *float64
	Message       string
}

func (n *told) sink(message []byte) error {
	var m struct {
		Method string
		Params progress
	}
	if err := json.Unmarshal(message, &m); err != nil || m.Method != "notifications/progress" || n.over {
		n.t.Errorf("told %s, %v, after the answer: %t", message, err, n.over)
	}
	n.at, n.list = append(n.at, time.Since(n.start)), append(n.list, m.Params)
	return nil
}

// M-50, G-34: a client that wants progress hears every 15 s that the call waits for a person, in greater and greater numbers, and nothing once
// it is answered.
func TestProgressWhileWaiting(t *testing.T) {
	const queued = "The call waits for an approval by bob@example.com or an administrator of the team eng (approval a-1, until 2026-11-30T14:00:00Z)."
	for _, tc := range []struct {
		name    string
		version wire.Version
		users   []string
		door    bool // through run_tool
		token   string
		after   time.Duration // of the decision, or of the answer of the person
		want    int           // notices of the wait
		text    string
	}{
		{name: "session, others", version: wire.V20251125, users: []string{byBob}, token: `"t"`, after: 70 * time.Second, want: 4, text: queued},
		{name: "session, others, 2025-06-18", version: wire.V20250618, users: []string{byBob}, token: `7`, after: 20 * time.Second, want: 1, text: queued},
		{name: "session, run_tool", version: wire.V20251125, users: []string{byBob}, door: true, token: `"t"`, after: 50 * time.Second, want: 3, text: queued},
		{name: "session, the caller", version: wire.V20251125, token: `"t"`, after: 50 * time.Second, want: 3, text: "The call waits for you to confirm it in this client, until 2000-01-01T00:10:00Z."},
		{name: "no session", version: wire.V20260728, users: []string{byBob}, token: `"t"`, after: 20 * time.Second, want: 1, text: queued},
		{name: "no session, run_tool", version: wire.V20260728, users: []string{byBob}, door: true, token: `"t"`, after: 20 * time.Second, want: 1, text: queued},
		{name: "decided soon", version: wire.V20251125, users: []string{byBob}, token: `"t"`, after: 10 * time.Second},
		{name: "no token", version: wire.V20251125, users: []string{byBob}, after: 70 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, control := &world{reply: call.Reply{Result: []byte(result)}}, newDesk(call.ApprovalPending)
				server := []string{"0", "0.000001", "0.01", "0.5", "1"} // the first two are not above what was told
				w.during = func(o *call.Outbound, sink func([]byte) error) {
					for _, p := range server {
						if len(o.ProgressToken) > 0 {
							_ = sink([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + tc.token + `,"progress":` + p + `}}`))
						}
					}
				}
				d := searching(t, w)
				d.Approvals, d.Node = control, "n1"
				c := caller(ruled(t, compile.Gateway{LoadToolsWhenNeeded: tc.door}, approving(tc.users...)), tc.version)
				c.Principal, c.Client = ada(), call.Client{Session: "s", Capabilities: []byte(forms), Asker: slow{tc.after}}
				if tc.users != nil {
					c.Client.Asker = &person{}
					time.AfterFunc(tc.after, func() { control.decide(call.ApprovalApproved) })
				}
				params := `{"name":"ev__echo","arguments":{"a":1}`
				if tc.door {
					params = `{"name":"run_tool","arguments":{"tool_name":"echo","arguments":{"a":1}}`
				}
				send := func(more string, sink func([]byte) error) call.Reply {
					k := request(t, "tools/call", params+more+`}`)
					if tc.token != "" {
						k.ProgressToken = []byte(tc.token)
					}
					r, err := d.Call(t.Context(), c, k, sink)
					if err != nil {
						t.Fatal(err)
					}
					return r
				}
				n := &told{start: time.Now(), t: t}
				r := call.Reply{}
				if tc.version == wire.V20260728 {
					r = send("", n.sink)
					r = send(`,"requestState":`+stateIn(t, r)+`,"inputResponses":`+yes, n.sink)
				} else {
					r = send("", n.sink)
				}
				n.over = true
				time.Sleep(time.Minute)
				if string(r.Result) != result || len(w.calls) != 1 {
					t.Fatalf("%s, %d calls", r.Result, len(w.calls))
				}
				want := tc.want
				switch {
				case tc.want > 0:
					want += len(server) - 2
				case tc.token != "":
					want = len(server)
				}
				if len(n.list) != want {
					t.Fatalf("%d notices, want %d: %+v", len(n.list), want, n.list)
				}
				above := -1.0
				for i, p := range n.list {
					if p.Progress <= above || p.Total != nil || string(p.ProgressToken) != tc.token {
						t.Errorf("after %v: %+v", above, p)
					}
					above = p.Progress
					if i < tc.want && (p.Message != tc.text || n.at[i] != time.Duration(i+1)*progressEvery) {
						t.Errorf("after %s: %+v", n.at[i], p)
					}
				}
			})
		})
	}
}

// A client that is gone is told nothing more, and the call ends with it.
func TestProgressToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, control := &world{}, newDesk(call.ApprovalPending)
		d, _ := holding(t, w, control)
		c := caller(ruled(t, compile.Gateway{}, approving(byBob)), wire.V20251125)
		c.Client = call.Client{Session: "s", Capabilities: []byte(forms), Asker: &person{}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(50*time.Second, cancel)
		k, notices := toolCall(t, "ev__echo"), 0
		k.ProgressToken = []byte(`1`)
		_, err := d.Call(ctx, c, k, func([]byte) error { notices++; return errors.New("gone") })
		if fault.KindOf(err) != fault.Canceled || notices != 1 {
			t.Errorf("%v after %d notices", err, notices)
		}
	})
}

// Who approves reads well, be it one or several: any of them can.
func TestByWhom(t *testing.T) {
	for want, approvers := range map[string][]string{
		"one of its approvers": nil,
		"ada@example.com":      {"ada@example.com"},
		"ada@example.com or an administrator of the team eng": {"ada@example.com", "an administrator of the team eng"},
		"ada@example.com, bob@example.com or one of 3 more":   {"ada@example.com", "bob@example.com", "one of 3 more"},
	} {
		if got := by(&call.Approval{Approvers: approvers}); got != want {
			t.Errorf("by %q: %s", approvers, got)
		}
	}
}

// slow is a person who confirms after a while.
type slow struct{ after time.Duration }

// Ask implements call.Asker.
func (s slow) Ask(context.Context, call.Question) (call.Answer, error) {
	<-time.After(s.after)
	return call.Answer{Result: []byte(`{"action":"accept"}`)}, nil
}
