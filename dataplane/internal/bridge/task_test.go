// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// methods returns what a scripted upstream was asked, in order.
func (u *script) methods() (all []string) {
	for _, s := range u.requests() {
		all = append(all, s.Method)
	}
	return all
}

// legacyTask is a 2025-11-25 server whose tool runs as a task only, and is done at the second look.
func legacyTask(t *testing.T, ask bool) *script {
	t.Helper()
	looks := 0
	u := &script{version: wire.V20251125}
	u.run = func(_ context.Context, s *sent) (string, string, error) {
		switch s.Method {
		case callTool:
			if !strings.Contains(string(s.Params), `"task":{}`) {
				return "", `{"code":-32601,"message":"only as a task"}`, nil
			}
			return `{"task":{"taskId":"t-1","status":"working","pollInterval":100}}`, "", nil
		case "tasks/get":
			if looks++; looks == 1 && ask {
				return `{"taskId":"t-1","status":"input_required","pollInterval":100}`, "", nil
			}
			return `{"taskId":"t-1","status":"completed","statusMessage":"done"}`, "", nil
		case "tasks/result":
			if ask {
				s.ask("5", "elicitation/create", form)
				<-s.got
			}
			return `{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t-1"}}}`, "", nil
		}
		return "", `{"code":-32601,"message":"Method not found"}`, nil
	}
	return u
}

// The row "tasks", modern → legacy and older legacy → legacy: the client sees one long call.
func TestTaskOfLegacyServer(t *testing.T) {
	for _, v := range []wire.Version{wire.V20260728, wire.V20250618} {
		t.Run(string(v), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := legacyTask(t, false)
				b := newBridge(t, u, hold.Limits{})
				o := outbound(v, wire.V20251125, `{"name":"t"}`)
				o.TaskRequired = true
				reply, err := b.Call(t.Context(), o, new(heard).sink)
				if err != nil || strings.Contains(string(reply.Result), "related-task") || !strings.HasPrefix(string(reply.Result), `{"content":[]`) {
					t.Errorf("got %s %s %v", reply.Result, reply.Error, err)
				}
				if got := u.methods(); !slices.Equal(got, []string{callTool, "tasks/get", "tasks/result"}) {
					t.Errorf("asked %q", got)
				}
			})
		})
	}
}

// What such a task asks is put to a modern client in its way: the call is held, and goes on with the answer (4.1).
func TestTaskOfLegacyServerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := legacyTask(t, true)
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20260728, wire.V20251125, `{"name":"t"}`)
		o.TaskRequired = true
		reply, err := b.Call(t.Context(), o, new(heard).sink)
		if err != nil {
			t.Fatal(err)
		}
		q := input(t, reply)
		reply, err = b.Call(t.Context(), retry(o, `{"q1":`+accept+`}`, q.RequestState), new(heard).sink)
		if err != nil || !strings.HasPrefix(string(reply.Result), `{"content":[]`) {
			t.Errorf("got %s %s %v", reply.Result, reply.Error, err)
		}
		if got := u.requests()[2].answers(); !slices.Equal(got, []string{"5 " + accept}) {
			t.Errorf("told %q", got)
		}
	})
}

// The row "tasks", legacy → modern: the extension is declared only after -32021 asked for it; the task is polled, tells
// its status as progress, and asks by tasks/update.
func TestTaskOfModernServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const demand = `{"code":-32021,"message":"tasks","data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}`
		looks := 0
		u := &script{version: wire.V20260728}
		u.run = func(_ context.Context, s *sent) (string, string, error) {
			if !strings.Contains(string(s.Offer), "io.modelcontextprotocol/tasks") {
				return "", demand, nil
			}
			switch s.Method {
			case callTool:
				return `{"resultType":"task","taskId":"t-1","status":"working","pollIntervalMs":100}`, "", nil
			case "tasks/get":
				if looks++; looks == 1 {
					return `{"taskId":"t-1","status":"input_required","statusMessage":"asking","pollIntervalMs":100,"inputRequests":{"n":{"method":"elicitation/create","params":` + form + `}}}`, "", nil
				}
				return `{"taskId":"t-1","status":"completed","result":{"content":[]}}`, "", nil
			case "tasks/update":
				return `{}`, "", nil
			}
			return "", `{"code":-32601,"message":"Method not found"}`, nil
		}
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20251125, wire.V20260728, `{"name":"t"}`)
		o.Client.Asker, o.ProgressToken = &person{answer: says(accept)}, []byte(`7`)
		var told heard
		reply, err := b.Call(t.Context(), o, told.sink)
		if err != nil || string(reply.Result) != `{"content":[]}` {
			t.Errorf("got %s %s %v", reply.Result, reply.Error, err)
		}
		if got := u.methods(); !slices.Equal(got, []string{callTool, callTool, "tasks/get", "tasks/update", "tasks/get"}) {
			t.Errorf("asked %q", got)
		}
		if got := string(u.requests()[3].Params); got != `{"taskId":"t-1","inputResponses":{"n":`+accept+`}}` {
			t.Errorf("updated with %s", got)
		}
		const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1,"message":"asking"}}`
		if got := told.all(); !slices.Equal(got, []string{progress}) {
			t.Errorf("told %q", got)
		}
	})
}

// A gateway that does not let the extension through lets nobody declare it (M-60): the client reads what is missing (M-85).
func TestTasksNotAllowed(t *testing.T) {
	u := &script{version: wire.V20260728, run: func(context.Context, *sent) (string, string, error) {
		return "", `{"code":-32021,"message":"tasks","data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}`, nil
	}}
	b := newBridge(t, u, hold.Limits{})
	o := outbound(wire.V20251125, wire.V20260728, `{"name":"t"}`)
	o.Gateway.Extensions = nil
	if _, err := b.Call(t.Context(), o, func([]byte) error { return nil }); err == nil || len(u.requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(u.requests()))
	}
}
