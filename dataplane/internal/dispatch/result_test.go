// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"encoding/base64"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	markTrusted   = resourcev1.ResultMark_RESULT_MARK_TRUSTED
	markUntrusted = resourcev1.ResultMark_RESULT_MARK_UNTRUSTED
	markRedact    = resourcev1.ResultMark_RESULT_MARK_REDACT
	markBlock     = resourcev1.ResultMark_RESULT_MARK_BLOCK
	shadowMode    = resourcev1.PolicyMode_POLICY_MODE_SHADOW
)

// screened is a gateway in front of old, with tasks of 2025-11-25 and resources, and new, with those of the extension, under rules.
func screened(t testing.TB, rules ...*resourcev1.ResultPolicy) *view.Snapshot {
	t.Helper()
	b := view.From(nil)
	b.PutServer("old", &view.Server{Name: "old", Protocol: "2025-11-25", Capabilities: compile.Capabilities{
		Tools: true, Tasks: true, Resources: true, Extensions: map[string][]byte{"com.example/tickets": []byte(`{}`)},
	}})
	b.PutServer("new", &view.Server{Name: "new", Protocol: "2026-07-28", Capabilities: compile.Capabilities{
		Tools: true, Extensions: map[string][]byte{compile.ExtensionTasks: []byte(`{}`)},
	}})
	g := &view.Gateway{Gateway: compile.Gateway{
		Name: "eng", UID: "uid-eng", Extensions: []string{compile.ExtensionTasks},
		Features: []compile.Feature{{Server: "old", Connection: "con-old", Resources: true}},
	}}
	for _, name := range []string{"new", "old"} {
		b.PutConnection("con-"+name, &view.Connection{Name: "con-" + name, UID: "uid-" + name, Server: name})
		for _, tool := range []string{"plain", "task"} {
			definition := `{"name":"` + tool + `"}`
			if tool == "task" {
				definition = `{"name":"task","execution":{"taskSupport":"optional"}}`
			}
			g.Tools = append(g.Tools, &view.Tool{
				Exposed: name + "__" + tool, Upstream: tool, Name: name + "/" + tool, Server: name, Connection: "con-" + name, Body: plain(definition),
			})
		}
	}
	for _, r := range rules {
		if r.GetMark() == markRedact && r.GetRedact() == nil {
			r.Redact = []string{"sk-[a-z0-9]+"}
		}
		p, err := compile.MakeResultPolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		b.PutResultPolicy(r.GetName(), p)
	}
	b.PutGateway(g)
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	return h.Load()
}

// shape is one form in which what a server says reaches a client; "sk-1" is the secret in it, "@" the client's id of a task.
type shape struct {
	name, method, params string
	version              wire.Version
	result, failure      string // of the server: one of the two
	redacted             string // what the client gets where it is redacted
	blocked              string // beginning of what it gets where it is blocked; a result with isError if it begins so
}

const (
	blockedTool  = `{"content":[{"type":"text","text":"The policy \"p\" withholds this result: Ask SRE."}],"isError":true`
	blockedOther = `{"code":40301,"message":"The policy \"p\" withholds this result: Ask SRE.","data":{"reason":"RESULT_BLOCKED"}}`
)

func shapes() []shape {
	blob := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	call := func(name, result, redacted string) shape {
		return shape{name: name, method: "tools/call", params: `{"name":"old__plain"}`, version: wire.V20251125, result: result, redacted: redacted, blocked: blockedTool}
	}
	modern := func(s shape) shape {
		s.name, s.version, s.params = s.name+", modern", wire.V20260728, strings.ReplaceAll(s.params, "old__", "new__")
		return s
	}
	text := call("text", `{"content":[{"type":"text","text":"key sk-1!"}]}`, `{"content":[{"type":"text","text":"key [redacted]!"}]}`)
	failed := shape{
		name: "error", method: "tools/call", params: `{"name":"old__plain"}`, version: wire.V20251125,
		failure: `{"code":-32000,"message":"no sk-1","data":{"k":"sk-1"}}`, redacted: `{"code":-32000,"message":"no [redacted]","data":{"k":"[redacted]"}}`, blocked: blockedTool,
	}
	return []shape{
		text, modern(text), failed, modern(failed),
		call("isError", `{"content":[{"type":"text","text":"sk-1"}],"isError":true}`, `{"content":[{"type":"text","text":"[redacted]"}],"isError":true}`),
		call("structured", `{"content":[],"structuredContent":{"a":{"sk-1":["sk-1"]}}}`, `{"content":[],"structuredContent":{"a":{"[redacted] 1":["[redacted]"]}}}`),
		call("embedded", `{"content":[{"type":"resource","resource":{"uri":"file:///a","text":"sk-1"}}]}`, `{"content":[{"type":"resource","resource":{"uri":"file:///a","text":"[redacted]"}}]}`),
		call("blob", `{"content":[{"type":"resource","resource":{"uri":"file:///a","blob":"`+blob("sk-1")+`"}}]}`, `{"content":[{"type":"resource","resource":{"uri":"file:///a","blob":"`+blob("[redacted]")+`"}}]}`),
		call("link", `{"content":[{"type":"resource_link","uri":"file:///sk-1","name":"sk-1"}]}`, `{"content":[{"type":"resource_link","uri":"file:///redacted","name":"[redacted]"}]}`),
		call("_meta", `{"content":[],"_meta":{"x":"sk-1"}}`, `{"content":[],"_meta":{"x":"[redacted]"}}`),
		{
			name: "question, modern", method: "tools/call", params: `{"name":"new__plain"}`, version: wire.V20260728,
			result:   `{"resultType":"input_required","requestState":"s","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"sk-1"}}}}`,
			redacted: `{"resultType":"input_required","requestState":"s","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"[redacted]"}}}}`,
			blocked:  blockedTool,
		},
		{
			name: "task made", method: "tools/call", params: `{"name":"old__task","task":{}}`, version: wire.V20251125,
			result: `{"task":{"taskId":"t-1","statusMessage":"sk-1"}}`, redacted: `{"task":{"taskId":"@","statusMessage":"[redacted]"}}`, blocked: blockedTool,
		},
		{
			name: "task looked at", method: "tasks/get", params: `{"taskId":"@"}`, version: wire.V20251125,
			result: `{"taskId":"t-1","statusMessage":"sk-1"}`, redacted: `{"taskId":"@","statusMessage":"[redacted]"}`, blocked: blockedOther,
		},
		{
			name: "its result", method: "tasks/result", params: `{"taskId":"@"}`, version: wire.V20251125,
			result: `{"content":[{"type":"text","text":"sk-1"}]}`, redacted: `{"content":[{"type":"text","text":"[redacted]"}]}`, blocked: blockedTool,
		},
		{
			name: "task, modern", method: "tasks/get", params: `{"taskId":"@"}`, version: wire.V20260728,
			result:   `{"taskId":"t-1","status":"completed","result":{"content":[{"type":"text","text":"sk-1"}]}}`,
			redacted: `{"taskId":"@","status":"completed","result":{"content":[{"type":"text","text":"[redacted]"}]}}`, blocked: blockedOther,
		},
		{
			name: "resource", method: "resources/read", params: `{"uri":"file:///a"}`, version: wire.V20251125,
			result: `{"contents":[{"uri":"file:///a","text":"sk-1"}]}`, redacted: `{"contents":[{"uri":"file:///a","text":"[redacted]"}]}`, blocked: blockedOther,
		},
		{
			name: "error of a resource", method: "resources/read", params: `{"uri":"file:///a"}`, version: wire.V20251125,
			failure: `{"code":-32000,"message":"sk-1"}`, redacted: `{"code":-32000,"message":"[redacted]"}`, blocked: blockedOther,
		},
	}
}

// TestResultPolicies: every form in which a result reaches a client meets every mark (G-33): it goes unchanged where it is trusted, the
// hook hears of it first where it is not, and nothing of it is left where it is redacted or blocked.
func TestResultPolicies(t *testing.T) {
	for _, s := range shapes() {
		server := "old"
		if s.version == wire.V20260728 {
			server = "new"
		}
		for _, tc := range []struct {
			name    string
			rules   []*resourcev1.ResultPolicy
			want    string // "as it is", "redacted", "blocked"
			counted string
		}{
			{"none", nil, "as it is", ""},
			{"of another server", []*resourcev1.ResultPolicy{{Name: "p", Mark: markBlock, Servers: []string{"web"}}}, "as it is", ""},
			{"trusted", []*resourcev1.ResultPolicy{{Name: "p", Mark: markTrusted, Servers: []string{server}}}, "as it is", "p trusted=1"},
			{"untrusted", []*resourcev1.ResultPolicy{{Name: "p", Mark: markUntrusted, Servers: []string{server}}}, "as it is", " marked_untrusted=1, p untrusted=1"},
			{"redact", []*resourcev1.ResultPolicy{{Name: "p", Mark: markRedact, Servers: []string{server}}}, "redacted", "p redact=1"},
			{"redact, untrusted", []*resourcev1.ResultPolicy{{Name: "p", Mark: markRedact}, {Name: "q", Mark: markUntrusted}}, "redacted", " marked_untrusted=1, p redact=1, q untrusted=1"},
			{"redact by two", []*resourcev1.ResultPolicy{{Name: "p", Mark: markRedact, Redact: []string{"sk"}}, {Name: "q", Mark: markRedact, Redact: []string{"k-[0-9]"}}}, "redacted", "p redact=1, q redact=1"},
			{"block", []*resourcev1.ResultPolicy{{Name: "p", Mark: markBlock, Reason: "Ask SRE.", Servers: []string{server}}, {Name: "q", Mark: markRedact}}, "blocked", "p block=1"},
			{"failing", []*resourcev1.ResultPolicy{{Name: "p", Mark: markBlock, Reason: "Ask SRE.", When: `caller.teams[7] == "x" || gateway.name < gateway.labels["x"] || dyn(1) < "x"`}}, "blocked", "p block=1, p error=1"},
			{"shadows", []*resourcev1.ResultPolicy{{Name: "p", Mark: markBlock, Mode: shadowMode}, {Name: "q", Mark: markRedact, Mode: shadowMode}, {Name: "r", Mark: markUntrusted, Mode: shadowMode}}, "as it is", "p would_block=1, q would_redact=1, r would_mark=1"},
		} {
			t.Run(s.name+"/"+tc.name, func(t *testing.T) {
				w := &world{reply: call.Reply{Result: []byte(s.result), Version: s.version}, during: func(*call.Outbound, func([]byte) error) {}}
				if s.failure != "" {
					w.reply = call.Reply{Error: []byte(s.failure), Version: s.version}
				}
				d, c := newDispatcher(t, w), caller(screened(t, tc.rules...), s.version)
				reader := sdkmetric.NewManualReader()
				var err error
				if d.decided, err = newDecided(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("")); err != nil {
					t.Fatal(err)
				}
				c.Client.Capabilities = []byte(`{"extensions":{"io.modelcontextprotocol/tasks":{}}}`)
				id := taskIDOf(d, c, server, "t-1")
				reply, err := d.Call(t.Context(), c, request(t, s.method, strings.ReplaceAll(s.params, "@", id)), discard)
				if err != nil {
					t.Fatal(err)
				}
				got := string(reply.Result) + string(reply.Error)
				want := strings.ReplaceAll(s.result+s.failure, `"t-1"`, `"`+id+`"`)
				switch tc.want {
				case "redacted":
					want = strings.ReplaceAll(s.redacted, "@", id)
				case "blocked":
					if want = s.blocked; want == blockedTool && !reply.IsError {
						t.Error("no isError")
					}
					if strings.HasPrefix(got, want) {
						want = got
					}
				}
				if got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if tc.want != "as it is" && strings.Contains(got, "sk-") || strings.Contains(w.log.String(), "sk-") {
					t.Errorf("leaks: %s, log %s", got, w.log.String())
				}
				if n := counted(t, reader); n != tc.counted {
					t.Errorf("counted %q, want %q", n, tc.counted)
				}
				if len(w.calls) != 1 {
					t.Errorf("%d calls", len(w.calls))
				}
			})
		}
	}
}

// TestResultPoliciesSelect: which results of a server a policy is for where the result does not say of which tool it is, and what of the
// call its condition knows.
func TestResultPoliciesSelect(t *testing.T) {
	type rule = resourcev1.ResultPolicy
	const (
		plainTool = `tools/call {"name":"old__plain","arguments":{"n":1}}`
		taskTool  = `tools/call {"name":"old__task","arguments":{"n":1}}`
		task      = `tasks/result {"taskId":"@"}`
		late      = `tasks/result {"taskId":"^"}` // of a call that the policy has not judged
		resource  = `resources/read {"uri":"file:///a"}`
	)
	for _, tc := range []struct {
		name string
		rule *rule
		hits string // which of the five it is for
	}{
		{"redact one tool", &rule{Mark: markRedact, Tools: []string{"old__plain"}}, "plain resource"},
		{"redact one tool that may be a task", &rule{Mark: markRedact, Tools: []string{"old__task"}}, "tool task late resource"},
		{"redact all tools", &rule{Mark: markRedact, Tools: []string{"old__*"}}, "plain tool task late resource"},
		{"redact by arguments", &rule{Mark: markRedact, When: "args.n == 2"}, "task late resource"},
		{"redact by arguments that match", &rule{Mark: markRedact, When: "args.n == 1"}, "plain tool task late resource"},
		{"redact by annotations", &rule{Mark: markRedact, When: "tool.annotations.readOnlyHint == true"}, "task late resource"},
		{"redact by server", &rule{Mark: markRedact, When: `tool.server == "new"`}, ""},
		{"block one tool", &rule{Mark: markBlock, Tools: []string{"old__plain"}}, "plain"},
		{"block the tool that may be a task", &rule{Mark: markBlock, Tools: []string{"old__task"}}, "tool task late"},
		{"block all tools", &rule{Mark: markBlock, Tools: []string{"old__*"}}, "plain tool task late"},
		{"block the server", &rule{Mark: markBlock, Servers: []string{"old"}}, "plain tool task late resource"},
		{"block by arguments", &rule{Mark: markBlock, When: "args.n == 1"}, "plain tool late"},
		{"block by name", &rule{Mark: markBlock, When: `tool.name == "plain"`}, "plain late"},
		{"block other tools", &rule{Mark: markBlock, Tools: []string{"new__*"}}, ""},
		{"block other gateways", &rule{Mark: markBlock, Gateways: []string{"ops"}}, ""},
		{"disabled", &rule{Mark: markBlock, Disabled: true}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.rule.Name = "p"
			s := screened(t, tc.rule)
			var hits []string
			for name, what := range map[string]string{"plain": plainTool, "tool": taskTool, "task": task, "late": late, "resource": resource} {
				w := &world{reply: call.Reply{Result: []byte(`{"content":[{"type":"text","text":"sk-1"}]}`)}}
				d, c := newDispatcher(t, w), caller(s, wire.V20251125)
				method, params, _ := strings.Cut(what, " ")
				reply, err := d.Call(t.Context(), c, request(t, method, strings.NewReplacer(
					"@", judgedTask(d, c, "old", "t"), "^", taskIDOf(d, c, "old", "t")).Replace(params)), discard)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(reply.Result), "sk-1") {
					hits = append(hits, name)
				}
			}
			for _, name := range []string{"plain", "tool", "task", "late", "resource"} {
				is := strings.Contains(strings.Join(hits, " "), name)
				if want := strings.Contains(" "+tc.hits+" ", " "+name+" "); is != want {
					t.Errorf("%s: %t, want %t", name, is, want)
				}
			}
		})
	}
}

// TestFaultsOfResults: faults that repeat what the server said meet the same policies; the node's own words stay.
func TestFaultsOfResults(t *testing.T) {
	page := fault.New(fault.Precondition, "PAGE_REQUIRED", "Open sk-1")
	gone := fault.New(fault.NotFound, "RESOURCE_NOT_FOUND", "sk-1").At("sk-1", "sk-1")
	down := fault.New(fault.Unavailable, "UPSTREAM_UNAVAILABLE", "The server is down.")
	for _, tc := range []struct {
		name, method, params string
		mark                 resourcev1.ResultMark
		err                  error
		want                 string // text of the answer or of the fault
	}{
		{"page, redact", "tools/call", `{"name":"old__plain"}`, markRedact, page, "Open [redacted]"},
		{"page, block", "tools/call", `{"name":"old__plain"}`, markBlock, page, "withholds this result"},
		{"page, trusted", "tools/call", `{"name":"old__plain"}`, markTrusted, page, "Open sk-1"},
		{"no resource, redact", "resources/read", `{"uri":"file:///a"}`, markRedact, gone, "[redacted]"},
		{"no resource, block", "resources/read", `{"uri":"file:///a"}`, markBlock, gone, "withholds this result"},
		{"down, block", "tools/call", `{"name":"old__plain"}`, markBlock, down, "The server is down."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{err: tc.err, during: func(*call.Outbound, func([]byte) error) {}}
			c := caller(screened(t, &resourcev1.ResultPolicy{Name: "p", Mark: tc.mark}), wire.V20251125)
			reply, err := newDispatcher(t, w).Call(t.Context(), c, request(t, tc.method, tc.params), discard)
			got := string(reply.Result) + string(reply.Error)
			if err != nil {
				f := fault.From(err)
				got = f.Public
				for _, field := range f.Fields {
					got += field.Problem
				}
			}
			if !strings.Contains(got, tc.want) || strings.Contains(got, "sk-") != strings.Contains(tc.want, "sk-") {
				t.Errorf("got %s", got)
			}
		})
	}
}
