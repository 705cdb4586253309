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

// reading is a snapshot of a gateway that loads tools when needed, with a tool whose server tells "key" from "Key", and policies.
func reading(t *testing.T, policies ...*resourcev1.Policy) *view.Snapshot {
	t.Helper()
	tool := echo()
	tool.Body = plain(`{"name":"echo","inputSchema":{"type":"object","properties":{"env":{"type":"string"},"key":{},"Key":{}}}}`)
	b := view.From(ruled(t, compile.Gateway{}, policies...).View)
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", LoadToolsWhenNeeded: true}, Tools: []*view.Tool{tool}})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 3))
	return h.Load()
}

// TestArgumentNames: an argument that a server may take for one that a policy reads is refused as a result, before policies are asked
// and anybody is (G-31), whatever the call comes through; and Explain says the same.
func TestArgumentNames(t *testing.T) {
	const block, approve, shadow = resourcev1.PolicyAction_POLICY_ACTION_BLOCK, resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, resourcev1.PolicyMode_POLICY_MODE_SHADOW
	env := &resourcev1.Policy{Name: "no-prod", Action: block, When: `args.env == "prod"`}
	ask := &resourcev1.Policy{Name: "ask", Action: approve, When: `args.env == "prod"`, Approvers: &resourcev1.Approvers{Users: []string{"bob"}}}
	for _, tc := range []struct {
		name      string
		policy    *resourcev1.Policy
		arguments string
		problem   string // with its path; empty if the call runs
	}{
		{"as it is read", env, `{"env":"dev"}`, ""},
		{"another letter case", env, `{"Env":"prod"}`, `$: it has \"Env\", which a server may take for \"env\"; write \"env\"`},
		{"both", env, `{"env":"dev","ENV":"prod"}`, `$: it has \"ENV\", which a server may take for \"env\"; write \"env\"`},
		{"elsewhere", env, `{"vars":{"ENV":"prod"}}`, ""},
		{
			"below", &resourcev1.Policy{Name: "no-prod", Action: block, When: `args.items.exists(i, i.user_id == "0")`}, `{"items":[{"user_id":"1"},{"userId":"0"}]}`,
			`$.items[1]: it has \"userId\", which a server may take for \"user_id\"; write \"user_id\"`,
		},
		{"that the server tells apart", &resourcev1.Policy{Name: "no-prod", Action: block, When: `args.key == "prod"`}, `{"Key":"prod"}`, ""},
		{"that is read too", &resourcev1.Policy{Name: "no-prod", Action: block, When: `args.env == "prod" || args.Env == "prod"`}, `{"Env":"dev"}`, ""},
		{"of a policy that holds", ask, `{"Env":"prod"}`, `$: it has \"Env\", which a server may take for \"env\"; write \"env\"`},
		{"of a shadow", &resourcev1.Policy{Name: "no-prod", Action: block, When: `args.env == "prod"`, Mode: shadow}, `{"Env":"prod"}`, ""},
		{"of another tool", &resourcev1.Policy{Name: "no-prod", Action: block, When: `args.env == "prod"`, Tools: []string{"ev__other"}}, `{"Env":"prod"}`, ""},
		{"of none that reads arguments", &resourcev1.Policy{Name: "no-prod", Action: block, When: `caller.user == "x"`}, `{"Env":"prod"}`, ""},
	} {
		for entry, params := range map[string]string{
			"direct": `{"name":"ev__echo","arguments":%s}`, "run_tool": `{"name":"run_tool","arguments":{"tool_name":"echo","arguments":%s}}`,
			"tool_args": `{"name":"run_tool","arguments":{"tool_name":"echo","tool_args":%s}}`,
		} {
			t.Run(tc.name+", "+entry, func(t *testing.T) {
				w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
				d := searching(t, w)
				d.RateLimits = once{}
				c, k := caller(reading(t, tc.policy), wire.Latest), request(t, "tools/call", fmt.Sprintf(params, tc.arguments))
				reply, err := d.Call(t.Context(), c, k, discard)
				if err != nil {
					t.Fatal(err)
				}
				dry := &call.Dry{}
				d.Explain(t.Context(), c, k, dry)
				explained := ""
				for _, s := range dry.Steps {
					if s.Name == call.StepNames && s.Err != nil {
						explained = s.Err.Error()
					}
				}
				if tc.problem == "" {
					if len(w.calls) != 1 || reply.IsError || explained != "" {
						t.Errorf("%d calls, %s, explained as %q", len(w.calls), reply.Result, explained)
					}
					return
				}
				path, text, _ := strings.Cut(tc.problem, ": ")
				want := `{"content":[{"type":"text","text":"The names of the arguments leave open what is meant, and nothing was run: ` + tc.problem +
					`."}],"isError":true,"structuredContent":{"penstock_error":{"type":"TOOL_ARGUMENTS_INVALID","server":"ev","problems":[{"path":"` + path +
					`","problem":"` + text + `"}],"retryable":false}}}`
				if string(reply.Result) != want || !reply.IsError || len(w.calls) > 0 || len(d.RateLimits.(once)) > 0 {
					t.Errorf("%d calls\ngot  %s\nwant %s", len(w.calls), reply.Result, want)
				}
				if !strings.Contains(explained, strings.ReplaceAll(tc.problem, `\"`, `"`)) {
					t.Errorf("explained as %q", explained)
				}
			})
		}
	}
}

// What is not known of a call that is not made is said, and nothing is said where no policy reads arguments.
func TestArgumentNamesUnknown(t *testing.T) {
	d := searching(t, &world{})
	for when, want := range map[string]string{`args.env == "prod"`: "No arguments were given, so that their names were not compared with those that policies read.", `caller.user == "x"`: ""} {
		s := reading(t, &resourcev1.Policy{Name: "no-prod", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when})
		dry := &call.Dry{ArgumentsUnknown: true}
		d.Explain(t.Context(), caller(s, wire.Latest), request(t, "tools/call", `{"name":"ev__echo"}`), dry)
		got := ""
		for _, step := range dry.Steps {
			if step.Name == call.StepNames {
				got = step.Unknown
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
}

// A call whose names are in order costs no allocation for that, with policies that read arguments and without.
func TestArgumentNamesAllocate(t *testing.T) {
	for _, when := range []string{`args.env == "prod"`, `caller.user == "x"`} {
		c := caller(reading(t, &resourcev1.Policy{Name: "no-prod", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when}), wire.Latest)
		k := request(t, "tools/call", `{"name":"ev__echo","arguments":{"env":"dev","items":[{"a":"b"}]}}`)
		to := &target{tool: c.Gateway.Tools[0]}
		if n := testing.AllocsPerRun(100, func() {
			if err := spelled(&c, &k, to, nil); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", when, n)
		}
	}
}
