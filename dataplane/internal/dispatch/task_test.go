// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/convert"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// withTaskServers is a gateway in front of old, which has tasks of 2025-11-25, and new, which has those of the extension.
func withTaskServers() *view.Snapshot {
	b := view.From(nil)
	b.PutServer("old", &view.Server{Name: "old", Protocol: "2025-11-25", Capabilities: compile.Capabilities{Tools: true, Tasks: true}})
	b.PutServer("new", &view.Server{Name: "new", Protocol: "2026-07-28", Capabilities: compile.Capabilities{
		Tools: true, Extensions: map[string][]byte{compile.ExtensionTasks: []byte(`{}`)},
	}})
	var tools []*view.Tool
	for _, name := range []string{"new", "old"} {
		b.PutConnection("con-"+name, &view.Connection{Name: "con-" + name, UID: "uid-" + name, Server: name})
		tools = append(tools, &view.Tool{
			Exposed: name + "__t", Upstream: "t", Name: name + "/t", Server: name, Connection: "con-" + name,
			Body: plain(`{"name":"t","execution":{"taskSupport":"required"}}`),
		})
	}
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", Extensions: []string{compile.ExtensionTasks}}, Tools: tools})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	return h.Load()
}

// taskIDOf is what the caller knows a task as.
func taskIDOf(d *Dispatcher, c call.Caller, server, id string) string {
	return d.names(&c, c.Snapshot.Server(server), "con-"+server).SealTask(id)
}

// judgedTask is the id of a task that a call has made by the view of the caller.
func judgedTask(d *Dispatcher, c call.Caller, server, id string) string {
	return d.namesOf(&c, c.Snapshot.Server(server), &target{server: server, connection: "con-" + server, tool: &view.Tool{}}).SealTask(id)
}

// M-55: the ids of tasks that clients see are the node's, the same in every message, and lead back to the server.
func TestTaskIDs(t *testing.T) {
	tests := []struct {
		name, server, method, params string
		version                      wire.Version
		result, sent, got            string // "@" stands for the id that the client knows
	}{
		{
			"created, 2025-11-25", "old", "tools/call", `{"name":"old__t","task":{"ttl":1}}`, wire.V20251125,
			`{"task":{"taskId":"t-1","status":"working","n":9007199254740993}}`, `{"name":"t","task":{"ttl":1}}`,
			`{"task":{"taskId":"@","status":"working","n":9007199254740993}}`,
		},
		{
			"created, extension", "new", "tools/call", `{"name":"new__t"}`, wire.V20260728,
			`{"resultType":"task","taskId":"t-1","status":"working"}`, `{"name":"t"}`,
			`{"resultType":"task","taskId":"@","status":"working"}`,
		},
		{
			"no task, 2025-11-25", "old", "tools/call", `{"name":"old__t"}`, wire.V20251125,
			`{"content":[],"taskId":"ticket-1","task":{"taskId":"ticket-2"}}`, `{"name":"t"}`, `{"content":[],"taskId":"ticket-1","task":{"taskId":"ticket-2"}}`,
		},
		{
			"no task, 2025-06-18", "old", "tools/call", `{"name":"old__t"}`, wire.V20250618,
			`{"task":{"taskId":"ticket-2"}}`, `{"name":"t"}`, `{"task":{"taskId":"ticket-2"}}`,
		},
		{
			"no task, extension", "new", "tools/call", `{"name":"new__t"}`, wire.V20260728,
			`{"resultType":"complete","content":[],"taskId":"ticket-1","task":{"taskId":"ticket-2"}}`, `{"name":"t"}`,
			`{"resultType":"complete","content":[],"taskId":"ticket-1","task":{"taskId":"ticket-2"}}`,
		},
		{
			"the result of a task, with a member of its own", "old", "tasks/result", `{"taskId":"@"}`, wire.V20251125,
			`{"content":[],"taskId":"ticket-1"}`, `{"taskId":"t-1"}`, `{"content":[],"taskId":"ticket-1"}`,
		},
		{
			"looked at", "old", "tasks/get", `{ "taskId":"@" }`, wire.V20251125,
			`{"taskId":"t-1","status":"completed"}`, `{ "taskId":"t-1" }`, `{"taskId":"@","status":"completed"}`,
		},
		{
			"its result", "old", "tasks/result", `{"taskId":"@"}`, wire.V20251125,
			`{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t-1"},"k":1}}`, `{"taskId":"t-1"}`,
			`{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"@"},"k":1}}`,
		},
		{"updated", "new", "tasks/update", `{"taskId":"@","inputResponses":{}}`, wire.V20260728, `{}`, `{"taskId":"t-1","inputResponses":{}}`, `{}`},
		{"cancelled", "new", "tasks/cancel", `{"taskId":"@"}`, wire.V20260728, `{"taskId":"t-1"}`, `{"taskId":"t-1"}`, `{"taskId":"@"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(tt.result)}}
			d, c := newDispatcher(t, w), caller(withTaskServers(), tt.version)
			c.Client.Capabilities = []byte(`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`)
			id := taskIDOf(d, c, tt.server, "t-1")
			reply, err := d.Call(t.Context(), c, request(t, tt.method, strings.ReplaceAll(tt.params, "@", id)), discard)
			if diff := cmp.Diff(strings.ReplaceAll(tt.got, "@", id), string(reply.Result)); err != nil || diff != "" {
				t.Fatalf("%v (-want +got):\n%s", err, diff)
			}
			if sent := w.calls[0]; string(sent.Params) != tt.sent || sent.Server.Name != tt.server || sent.Connection.Name != "con-"+tt.server {
				t.Errorf("sent %s to %s", sent.Params, sent.Server.Name)
			}
		})
	}
}

// M-26, M-30: a kind of result that the client did not ask for is the server's failure, which the model reads where a tool
// was called, and does not call again: it may have run.
func TestResultTypes(t *testing.T) {
	const declared = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	tests := []struct {
		name, method, params, capabilities, result string
		ok                                         bool
	}{
		{"complete", "tools/call", `{"name":"new__t"}`, `{}`, `{"resultType":"complete"}`, true},
		{"none", "tools/call", `{"name":"new__t"}`, `{}`, `{}`, true},
		{"question", "tools/call", `{"name":"new__t"}`, `{}`, `{"resultType":"input_required","requestState":"x"}`, true},
		{"question where there are none", "tasks/get", `{"taskId":"@"}`, declared, `{"resultType":"input_required","requestState":"x"}`, false},
		{"task", "tools/call", `{"name":"new__t"}`, declared, `{"resultType":"task","taskId":"t"}`, true},
		{"task, not declared", "tools/call", `{"name":"new__t"}`, `{}`, `{"resultType":"task","taskId":"t"}`, false},
		{"task, of another method", "tasks/cancel", `{"taskId":"@"}`, declared, `{"resultType":"task","taskId":"t"}`, false},
		{"unknown", "tools/call", `{"name":"new__t"}`, `{}`, `{"resultType":"x"}`, false},
		{"no text", "tools/call", `{"name":"new__t"}`, `{}`, `{"resultType":1}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(tt.result)}}
			d, c := newDispatcher(t, w), caller(withTaskServers(), wire.V20260728)
			c.Client.Capabilities = []byte(tt.capabilities)
			params := strings.ReplaceAll(tt.params, "@", taskIDOf(d, c, "new", "t"))
			reply, err := d.Call(t.Context(), c, request(t, tt.method, params), discard)
			switch refusal := string(reply.Result); {
			case tt.ok && (err != nil || reply.IsError):
				t.Errorf("%s, %v", refusal, err)
			case tt.ok:
			case tt.method != "tools/call" && fault.From(err).Reason != convert.ReasonResultType,
				tt.method == "tools/call" && (err != nil || !reply.IsError || !strings.Contains(refusal, `"type":"UPSTREAM_RESULT_TYPE","server":"new","retryable":false`)):
				t.Errorf("%s, %v", refusal, err)
			}
		})
	}
}

// M-46, M-55, RS-21: a task of somebody else, of another era or gateway, and one that never was, are the same answer.
func TestForeignTasks(t *testing.T) {
	w := &world{}
	d, c := newDispatcher(t, w), caller(withTaskServers(), wire.V20251125)
	other, modern := c, c
	other.Principal.UID += "-other"
	modern.Version = wire.V20260728
	for name, id := range map[string]string{
		"another principal's": taskIDOf(d, other, "old", "t"),
		"the other era's":     taskIDOf(d, modern, "new", "t"),
		"another gateway's":   "uid-else" + strings.TrimPrefix(taskIDOf(d, c, "old", "t"), "uid-eng"),
		"no tool's":           d.names(&c, c.Snapshot.Server("old"), "con-gone").SealTask("t"),
		"the server's own":    "t",
		"empty":               "",
		"nothing inside":      "uid-eng!",
		"cut":                 taskIDOf(d, c, "old", "t")[:20],
	} {
		_, err := d.Call(t.Context(), c, request(t, "tasks/get", `{"taskId":`+string(wire.Quote(id))+`}`), discard)
		if f := fault.From(err); f.Kind != fault.Invalid || f.Reason != ReasonUnknownTask || f.Public != "Unknown task" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(w.calls) > 0 {
		t.Error("an upstream was asked")
	}
}

// Notifications, questions and answers name tasks as their reader does.
func TestTasksInMessages(t *testing.T) {
	w := &world{}
	d, c := newDispatcher(t, w), caller(withTaskServers(), wire.V20251125)
	c.Client.Session = "s"
	id := taskIDOf(d, c, "old", "t-1")
	related := func(id string) string {
		return `{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"` + id + `"}}}`
	}
	asked := ""
	c.Client.Asker = answering(func(params []byte) []byte {
		asked = string(params)
		return []byte(related(id))
	})
	w.during = func(o *call.Outbound, sink func([]byte) error) {
		_ = sink([]byte(`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t-1"}}`))
		_ = sink([]byte(`{"jsonrpc":"2.0","method":"notifications/message","params":` + related("t-1") + `}`))
		answer, err := o.Client.Asker.Ask(t.Context(), call.Question{Method: "elicitation/create", Params: []byte(related("t-1"))})
		if err != nil || string(answer.Result) != related("t-1") {
			t.Errorf("the answer is %s %v", answer.Result, err)
		}
	}
	w.reply.Result = []byte(`{}`)
	var heard []string
	if _, err := d.Call(t.Context(), c, request(t, "tools/call", `{"name":"old__t"}`), func(m []byte) error {
		heard = append(heard, string(m))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"` + id + `"}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":` + related(id) + `}`,
	}
	if !slices.Equal(heard, want) || asked != related(id) {
		t.Errorf("heard %q, asked %s", heard, asked)
	}
}

// A question outside of calls names the task of the server that asks, whichever of the gateway's it is.
func TestTasksInQuestionsOfSessions(t *testing.T) {
	b := view.From(nil)
	var tools []*view.Tool
	for _, name := range []string{"one", "two"} {
		b.PutServer(name, &view.Server{Name: name, Protocol: "2025-11-25", Capabilities: compile.Capabilities{Tools: true, Tasks: true}})
		b.PutConnection("con-"+name, &view.Connection{Name: "con-" + name, UID: "uid-" + name, Server: name})
		tools = append(tools, &view.Tool{Exposed: name, Name: name + "/t", Server: name, Connection: "con-" + name, Body: plain(`{"name":"t"}`)})
	}
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "uid-eng"}, Tools: tools})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	w := &world{}
	d, c := newDispatcher(t, w), caller(h.Load(), wire.V20251125)
	c.Client.Session = "s"
	asked := ""
	c.Client.Asker = answering(func(params []byte) []byte { asked = string(params); return []byte(`{}`) })
	defer d.Attach(c, func([]byte) {})()
	related := func(id string) string {
		return `{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"` + id + `"}}}`
	}
	for connection, want := range map[string]string{
		"con-one": taskIDOf(d, c, "one", "t-1"), "con-two": taskIDOf(d, c, "two", "t-1"), "con-gone": "t-1",
	} {
		q := call.Question{Method: "roots/list", Params: []byte(related("t-1")), Connection: connection}
		if _, err := w.client.Asker.Ask(t.Context(), q); err != nil || asked != related(want) {
			t.Errorf("%s asked %s, %v, want %s", connection, asked, err, related(want))
		}
	}
}

// M-29: tasks can be subscribed to by the ids that the client knows.
func TestWatchTasks(t *testing.T) {
	w := &world{}
	d, c := newDispatcher(t, w), caller(withTaskServers(), wire.V20260728)
	id := taskIDOf(d, c, "new", "t-1")
	got, err := d.Subscribe(c, call.Subscription{TaskIDs: []string{"t-1", id}})
	if err != nil || !slices.Equal(got.TaskIDs, []string{id}) {
		t.Fatalf("honoured %q, %v", got.TaskIDs, err)
	}
	heard := make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Watch(ctx, c, got, func(m []byte) { heard <- string(m) })
	}()
	await(t, w.watches)
	w.watch["new[]"]([]byte(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t-1"}}`))
	if message := await(t, heard); !strings.Contains(message, `"taskId":"`+id+`"`) {
		t.Errorf("heard %s", message)
	}
	cancel()
	<-ended
}

// Section 4: a tool that runs as a task only is one long call for clients that know no such tasks.
func TestTaskRequired(t *testing.T) {
	for _, tt := range []struct {
		version wire.Version
		tool    string
		want    bool
	}{
		{wire.V20260728, "old__t", true},
		{wire.V20250618, "old__t", true},
		{wire.V20251125, "old__t", false},
		{wire.V20260728, "new__t", false},
		{wire.V20251125, "new__t", false},
	} {
		w := &world{reply: call.Reply{Result: []byte(`{}`)}}
		if _, err := newDispatcher(t, w).Call(t.Context(), caller(withTaskServers(), tt.version), request(t, "tools/call", `{"name":"`+tt.tool+`"}`), discard); err != nil {
			t.Fatal(err)
		}
		if got := w.calls[0].TaskRequired; got != tt.want {
			t.Errorf("%s of %s: required %t, want %t", tt.tool, tt.version, got, tt.want)
		}
	}
}

// answering is a client that answers every question.
type answering func(params []byte) []byte

// Ask implements call.Asker.
func (a answering) Ask(_ context.Context, q call.Question) (call.Answer, error) {
	return call.Answer{Result: a(q.Params)}, nil
}
