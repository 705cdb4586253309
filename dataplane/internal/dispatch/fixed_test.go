// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// pushing is a snapshot of a gateway that loads tools when needed, with a tool that is shown without its fixed arguments.
func pushing(t *testing.T, rules ...*resourcev1.Policy) *view.Snapshot {
	t.Helper()
	const shown = `{"name":"push","inputSchema":{"properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false}}`
	const whole = `{"name":"push","inputSchema":{"properties":{"text":{"type":"string"},"env":{"type":"string","x-mcp-header":"Env"}},"required":["text","env"],"additionalProperties":false}}`
	tool := &view.Tool{
		Exposed: "ev__push", Upstream: "push", Name: "ev/push", Server: "ev", Connection: "shared", Body: plain(shown), Accepted: plain(whole),
		Fixed: []compile.FixedArgument{{Name: "env", Value: []byte(`"dev"`)}},
	}
	b := view.From(snapshot(tool).View)
	b.PutServer("ev", &view.Server{Name: "ev", NeedsSecret: true, Protocol: string(wire.Latest)})
	for _, r := range rules {
		p, err := compile.MakePolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		b.PutPolicy(r.GetName(), p)
	}
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", LoadToolsWhenNeeded: true}, Tools: []*view.Tool{tool}})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 2))
	return h.Load()
}

// TestFixedArguments: whatever the caller sends, directly or behind run_tool, policies and the server get what the assignment fixes; the
// server's headers are made of it too (M-63), and nothing is shown of it.
func TestFixedArguments(t *testing.T) {
	rules := []*resourcev1.Policy{
		{Name: "no-prod", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.env != "dev"`},
		{Name: "no-secret", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.text == "secret"`},
	}
	for _, tc := range []struct{ name, arguments, want, refused string }{
		{"none sent", `{"text":"a"}`, `{"text":"a","env":"dev"}`, ""},
		{"sent", `{"env":"prod","text":"a"}`, `{"text":"a","env":"dev"}`, ""},
		{"sent twice, escaped", `{"\u0065nv":"prod","text":"a","env":"prod"}`, `{"text":"a","env":"dev"}`, ""},
		{"sent in another letter case", `{"Env":"prod","text":"a","e_nv":"prod"}`, `{"text":"a","env":"dev"}`, ""},
		{"a policy on another argument", `{"text":"secret","env":"prod"}`, "", `The policy \"no-secret\" refuses this call.`},
	} {
		for entry, params := range map[string]string{
			"direct": `{"name":"ev__push","arguments":%s}`, "run_tool": `{"name":"run_tool","arguments":{"tool_name":"push","arguments":%s}}`,
		} {
			t.Run(tc.name+", "+entry, func(t *testing.T) {
				w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
				d := searching(t, w)
				reply, err := d.Call(t.Context(), caller(pushing(t, rules...), wire.Latest), request(t, "tools/call", fmt.Sprintf(params, tc.arguments)), discard)
				if err != nil {
					t.Fatal(err)
				}
				if tc.refused != "" {
					if len(w.calls) > 0 || !strings.Contains(string(reply.Result), tc.refused) {
						t.Errorf("%d calls, %s", len(w.calls), reply.Result)
					}
					return
				}
				if len(w.calls) != 1 {
					t.Fatalf("%d calls: %s", len(w.calls), reply.Result)
				}
				o := w.calls[0]
				if got := string(wire.Get(o.Params, "arguments")); got != tc.want || !strings.Contains(string(o.Schema), "x-mcp-header") {
					t.Errorf("the server gets %s with the schema %s, want %s", o.Params, o.Schema, tc.want)
				}
				if got := string(wire.Get(o.Params, "name")); got != `"push"` {
					t.Errorf("the server is asked for %s", got)
				}
			})
		}
	}
	d, w := searching(t, &world{}), &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
	c := caller(pushing(t), wire.Latest)
	for _, params := range []string{
		`{"name":"search_tools","arguments":{"query":"push"}}`, `{"name":"search_tools","arguments":{"query":"push","detail":"schema"}}`,
		`{"name":"run_tool","arguments":{"tool_name":"push","arguments":{"env":"prod"}}}`,
	} {
		reply, err := d.Call(t.Context(), c, request(t, "tools/call", params), discard)
		if err != nil || strings.Contains(string(reply.Result), "env") || !strings.Contains(string(reply.Result), "text") {
			t.Errorf("%s: %s, %v", params, reply.Result, err)
		}
	}
	d = newDispatcher(t, w)
	reply, err := d.Call(t.Context(), c, request(t, "tools/call", `{"name":"ev__push"}`), discard)
	if err != nil || len(w.calls) != 1 || string(wire.Get(w.calls[0].Params, "arguments")) != `{"env":"dev"}` {
		t.Errorf("without arguments: %s, %v, %+v", reply.Result, err, w.calls)
	}
	page, err := d.List(t.Context(), c, "tools/list", nil)
	if err != nil || strings.Contains(string(page.Result), "env") {
		t.Errorf("listed %s, %v", page.Result, err)
	}
}
