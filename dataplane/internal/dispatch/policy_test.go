// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// ruled is snapshot with policies, and the gateway's defaults.
func ruled(t *testing.T, g compile.Gateway, policies ...*resourcev1.Policy) *view.Snapshot {
	t.Helper()
	b := view.From(snapshot(echo()).View)
	for _, r := range policies {
		p, err := compile.MakePolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		b.PutPolicy(r.GetName(), p)
	}
	g.Name, g.UID = "eng", "uid-eng"
	b.PutGateway(&view.Gateway{Gateway: g, Tools: []*view.Tool{echo()}})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 2))
	return h.Load()
}

// TestPolicies: a refused call is a result with isError, the policy's name and reason and nothing of the arguments, and neither a limit
// nor a credential nor a server is asked (G-30, G-35, G-36).
func TestPolicies(t *testing.T) {
	const (
		allow     = resourcev1.PolicyAction_POLICY_ACTION_ALLOW
		block     = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
		untrusted = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED
		approve   = resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL
		shadow    = resourcev1.PolicyMode_POLICY_MODE_SHADOW
	)
	type rules = []*resourcev1.Policy
	for _, tc := range []struct {
		name    string
		g       compile.Gateway
		rules   rules
		want    string // text of the refusal; empty if the call runs
		counted string
		logged  string
	}{
		{name: "none"},
		{name: "allow list", g: compile.Gateway{BlockUnmatched: true}, want: "This gateway refuses calls that no policy allows.", counted: " block=1"},
		{name: "allowed", g: compile.Gateway{BlockUnmatched: true}, rules: rules{{Name: "a", Action: allow}}, counted: "a allow=1"},
		{
			name: "blocked", rules: rules{{Name: "no-big", Action: block, When: "args.n == 9007199254740993", Reason: "Ask SRE."}},
			want: `The policy \"no-big\" refuses this call: Ask SRE.`, counted: "no-big block=1",
		},
		{name: "neighbour of the number", rules: rules{{Name: "no-big", Action: block, When: "args.n == 9007199254740992"}}},
		{name: "without a reason", rules: rules{{Name: "a", Action: block}}, want: `The policy \"a\" refuses this call.`, counted: "a block=1"},
		{name: "of another tool", rules: rules{{Name: "a", Action: block, Tools: []string{"ev__other"}}}},
		{name: "of this tool, by the server's name of it", rules: rules{{Name: "a", Action: block, Tools: []string{"ev__ec*"}}}, want: `The policy \"a\" refuses this call.`, counted: "a block=1"},
		{name: "of another gateway", rules: rules{{Name: "a", Action: block, Gateways: []string{"ops"}}}},
		{name: "untrusted", rules: rules{{Name: "a", Action: untrusted}}, want: `The policy \"a\" refuses this call.`, counted: "a block=1"},
		{name: "never untrusted", g: compile.Gateway{Contexts: compile.ContextsTrusted}, rules: rules{{Name: "a", Action: untrusted}}},
		{name: "approval", rules: rules{{Name: "a", Action: approve, Approvers: &resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}}}, want: `The policy \"a\" asks for an approval, and this node cannot hold calls.`},
		{name: "shadow", rules: rules{{Name: "a", Action: block, Mode: shadow}, {Name: "b", Action: allow, Mode: shadow}}, counted: "a would_block=1, b would_allow=1"},
		{
			name: "failing", rules: rules{{Name: "a", Action: block, When: `args.n < "x"`}}, want: `The policy \"a\" refuses this call.`,
			counted: "a block=1, a error=1", logged: "policy cannot be evaluated",
		},
		{name: "failing shadow", rules: rules{{Name: "a", Action: block, When: `args.n < "x"`, Mode: shadow}}, counted: "a error=1, a would_block=1", logged: "policy cannot be evaluated"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
			reader := sdkmetric.NewManualReader()
			d := newDispatcher(t, w)
			var err error
			if d.decided, err = newDecided(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("")); err != nil {
				t.Fatal(err)
			}
			d.RateLimits = once{}
			r, err := d.Call(t.Context(), caller(ruled(t, tc.g, tc.rules...), wire.V20251125), toolCall(t, "ev__echo"), func([]byte) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if got := counted(t, reader); got != tc.counted {
				t.Errorf("counted %q, want %q", got, tc.counted)
			}
			if log := w.log.String(); tc.logged == "" && log != "" || !strings.Contains(log, tc.logged) || strings.Contains(log, "9007199254740993") {
				t.Errorf("log: %s", log)
			}
			if tc.want == "" {
				if r.IsError || len(w.calls) != 1 {
					t.Errorf("refused: %s", r.Result)
				}
				return
			}
			want := `{"content":[{"type":"text","text":"` + tc.want + `"}],"isError":true,"structuredContent":{"penstock_error":{"type":"POLICY_BLOCKED","server":"ev","retryable":false}}}`
			if string(r.Result) != want || !r.IsError {
				t.Errorf("got  %s\nwant %s", r.Result, want)
			}
			if len(w.calls) != 0 || len(w.subjects) != 0 || len(d.RateLimits.(once)) != 0 {
				t.Error("a limit, a credential or a server was asked")
			}
		})
	}
}

// counted renders the counter of decisions.
func counted(t *testing.T, reader *sdkmetric.ManualReader) string {
	t.Helper()
	var m metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, scope := range m.ScopeMetrics {
		for _, one := range scope.Metrics {
			if one.Name != obs.MetricPolicyDecisions {
				continue
			}
			for _, p := range one.Data.(metricdata.Sum[int64]).DataPoints {
				name, _ := p.Attributes.Value("policy")
				outcome, _ := p.Attributes.Value("outcome")
				out = append(out, name.AsString()+" "+outcome.AsString()+"="+strconv.FormatInt(p.Value, 10))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Other methods are no tool calls: policies say nothing of them.
func TestPoliciesAreForTools(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{"completion":{"values":[]}}`)}}
	d := newDispatcher(t, w)
	s := ruled(t, compile.Gateway{BlockUnmatched: true})
	if _, err := d.allowed(t.Context(), &call.Caller{Snapshot: s, Gateway: s.Gateway("eng")}, &call.Call{}, &target{what: "prompt"}, nil); err != nil {
		t.Error(err)
	}
}

// G-24: whatever way a call comes, the same policy sees the same tool and the same arguments.
func TestPoliciesBehindRunTool(t *testing.T) {
	s := ruled(t, compile.Gateway{LoadToolsWhenNeeded: true}, &resourcev1.Policy{
		Name: "no-prod", Tools: []string{"ev__echo"}, When: `args.env == "prod" || args.list.exists(e, e == "prod")`,
		Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK,
	})
	for _, way := range []string{
		`{"name":"ev__echo","arguments":%s}`,
		`{"name":"run_tool","arguments":{"tool_name":"ev__echo","arguments":%s}}`,
		`{"name":"run_tool","arguments":{"tool_args":%s,"tool_name":"ev__echo"}}`,
		`{"name":"run_tool","arguments":{"tool_name":"echo","arguments":%s}}`,
	} {
		for arguments, blocked := range map[string]bool{
			`{"env":"prod"}`: true, `{"env":"dev"}`: false, `{"list":["a","prod"]}`: true, `{}`: false, `{"n":1}`: false,
		} {
			for _, v := range []wire.Version{wire.V20250326, wire.V20251125, wire.V20260728} {
				w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
				r, err := searching(t, w).Call(t.Context(), caller(s, v), request(t, "tools/call", fmt.Sprintf(way, arguments)), discard)
				if err != nil {
					t.Fatal(err)
				}
				if r.IsError != blocked || len(w.calls) == 1 == blocked || blocked != strings.Contains(string(r.Result), `The policy \"no-prod\" refuses this call.`) {
					t.Errorf("%s, %s in %s: %s, %d calls", v, arguments, way, r.Result, len(w.calls))
				}
			}
		}
	}
}

// TestForeseenRefusal: search_tools says that policies refuse a tool to its caller in the words of the refusal, and counts no decision.
func TestForeseenRefusal(t *testing.T) {
	for _, tc := range []struct{ name, when, want string }{
		{"for the caller", `caller.user == "ada"`, `The policy \"a\" refuses this call: Ask SRE.`},
		{"for another", `caller.user == "bob"`, ""},
		{"on arguments", `args.message == "x"`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := ruled(t, compile.Gateway{LoadToolsWhenNeeded: true}, &resourcev1.Policy{
				Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: tc.when, Reason: "Ask SRE.",
			})
			reader := sdkmetric.NewManualReader()
			d := searching(t, &world{})
			var err error
			if d.decided, err = newDecided(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("")); err != nil {
				t.Fatal(err)
			}
			reply, err := d.Call(t.Context(), caller(s, wire.V20250326), request(t, "tools/call", `{"name":"search_tools","arguments":{"query":"echo"}}`), discard)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := wire.DecodeString(wire.Get(reply.Result[len(`{"content":[`):len(reply.Result)-len(`]}`)], "text"))
			if want := `"available":false,"unavailable_reason":"` + tc.want + `"`; tc.want != "" && !strings.Contains(text, want) || tc.want == "" && !strings.Contains(text, `"available":true`) {
				t.Errorf("got %s, want %s", text, want)
			}
			var counted metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &counted); err != nil || len(counted.ScopeMetrics) > 0 {
				t.Errorf("counted %v, %v", counted, err)
			}
		})
	}
}
