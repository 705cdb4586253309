// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	allow     = resourcev1.PolicyAction_POLICY_ACTION_ALLOW
	block     = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
	untrusted = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED
	approve   = resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL
	shadow    = resourcev1.PolicyMode_POLICY_MODE_SHADOW
)

func policy(t testing.TB, r *resourcev1.Policy) *compile.Policy {
	t.Helper()
	p, err := compile.MakePolicy(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type watcher struct{ would, failed []string }

func (w *watcher) Would(p *compile.Policy) { w.would = append(w.would, p.Name) }

func (w *watcher) Failed(p *compile.Policy, err error) {
	if !errors.Is(err, condition.ErrFailed) {
		panic(err)
	}
	w.failed = append(w.failed, p.Name)
}

// G-30, G-31: the strictest that matches decides; the default only where none does; a condition that fails matches unless it allows.
func TestDecide(t *testing.T) {
	type rules = []*resourcev1.Policy
	for _, tc := range []struct {
		name      string
		rules     rules
		blocks    bool // the default of the gateway
		untrusted bool
		want      string // action, policy, shadows that matched, those that failed
	}{
		{name: "none", want: "ALLOW - [] []"},
		{name: "none, on an allow list", blocks: true, want: "BLOCK - [] []"},
		{name: "allow overrides the default", rules: rules{{Name: "a", Action: allow}}, blocks: true, want: "ALLOW a [] []"},
		{name: "allow never overrides block", rules: rules{{Name: "a", Action: allow}, {Name: "b", Action: block}}, want: "BLOCK b [] []"},
		{name: "block before approval", rules: rules{{Name: "a", Action: approve}, {Name: "b", Action: block}}, want: "BLOCK b [] []"},
		{name: "approval before untrusted", rules: rules{{Name: "a", Action: untrusted}, {Name: "b", Action: approve}}, untrusted: true, want: "REQUIRE_APPROVAL b [] []"},
		{name: "untrusted before allow", rules: rules{{Name: "a", Action: allow}, {Name: "b", Action: untrusted}}, untrusted: true, want: "BLOCK b [] []"},
		{name: "in a trusted context it does not match", rules: rules{{Name: "a", Action: allow}, {Name: "b", Action: untrusted}}, want: "ALLOW a [] []"},
		{name: "nor does it allow", rules: rules{{Name: "b", Action: untrusted}}, blocks: true, want: "BLOCK - [] []"},
		{name: "of equals the first by name", rules: rules{{Name: "b", Action: block}, {Name: "a", Action: block}}, want: "BLOCK a [] []"},
		{name: "condition", rules: rules{{Name: "a", Action: block, When: `args.env == "prod"`}}, want: "BLOCK a [] []"},
		{name: "condition that is false", rules: rules{{Name: "a", Action: block, When: `args.env == "dev"`}}, want: "ALLOW - [] []"},
		{name: "failing block", rules: rules{{Name: "a", Action: block, When: `args.env > 1`}}, want: "BLOCK a [] [a]"},
		{name: "failing approval", rules: rules{{Name: "a", Action: approve, When: `args.env > 1`}}, want: "REQUIRE_APPROVAL a [] [a]"},
		{name: "failing untrusted", rules: rules{{Name: "a", Action: untrusted, When: `args.env > 1`}}, untrusted: true, want: "BLOCK a [] [a]"},
		{name: "failing allow", rules: rules{{Name: "a", Action: allow, When: `args.env > 1`}}, blocks: true, want: "BLOCK - [] [a]"},
		{name: "shadow", rules: rules{{Name: "a", Action: block, Mode: shadow}}, want: "ALLOW - [a] []"},
		{name: "all shadows", rules: rules{{Name: "a", Action: approve, Mode: shadow}, {Name: "b", Action: block, Mode: shadow}}, want: "ALLOW - [b a] []"},
		{name: "shadow beside one that decides", rules: rules{{Name: "a", Action: allow}, {Name: "b", Action: block, Mode: shadow}}, blocks: true, want: "ALLOW a [b] []"},
		{name: "shadow that allows", rules: rules{{Name: "a", Action: allow, Mode: shadow}}, blocks: true, want: "BLOCK - [a] []"},
		{name: "another tool", rules: rules{{Name: "a", Action: block, Tools: []string{"db__drop*"}}}, want: "ALLOW - [] []"},
		{name: "this tool", rules: rules{{Name: "a", Action: block, Tools: []string{"db__drop*", "*__query"}}}, want: "BLOCK a [] []"},
		{name: "another server", rules: rules{{Name: "a", Action: block, Servers: []string{"web"}}}, want: "ALLOW - [] []"},
		{name: "this server, another tool", rules: rules{{Name: "a", Action: block, Servers: []string{"db"}, Tools: []string{"*__drop"}}}, want: "ALLOW - [] []"},
		{name: "this server", rules: rules{{Name: "a", Action: block, Servers: []string{"db", "web"}}}, want: "BLOCK a [] []"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var list []*compile.Policy
			for _, r := range tc.rules {
				if r.Action == approve {
					r.Approvers = &resourcev1.Approvers{Users: []string{"bob@example.com"}}
				}
				list = append(list, policy(t, r))
			}
			slices.SortFunc(list, compile.ComparePolicies)
			var w watcher
			d := compile.Decide(list, &condition.Facts{Server: "db", Tool: "query", Arguments: []byte(`{"env":"prod"}`), Untrusted: tc.untrusted}, tc.blocks, &w)
			by := "-"
			if d.Policy != nil {
				by = d.Policy.Name
			}
			if got := fmt.Sprint(d.Action, " ", by, " ", w.would, " ", w.failed); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPolicyOn(t *testing.T) {
	g := &compile.Gateway{Name: "eng-prod", Labels: map[string]string{"env": "prod", "tier": ""}}
	for _, tc := range []struct {
		name string
		r    *resourcev1.Policy
		want bool
	}{
		{"all", &resourcev1.Policy{}, true},
		{"disabled", &resourcev1.Policy{Disabled: true}, false},
		{"pattern", &resourcev1.Policy{Gateways: []string{"ops", "eng-*"}}, true},
		{"other pattern", &resourcev1.Policy{Gateways: []string{"ops", "*-dev"}}, false},
		{"label", &resourcev1.Policy{GatewayLabels: map[string]string{"env": "prod"}}, true},
		{"other value", &resourcev1.Policy{GatewayLabels: map[string]string{"env": "dev"}}, false},
		{"empty value is not a missing label", &resourcev1.Policy{GatewayLabels: map[string]string{"tier": "", "team": ""}}, false},
		{"pattern and label", &resourcev1.Policy{Gateways: []string{"ops"}, GatewayLabels: map[string]string{"env": "prod"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.r.Action = block
			if got := policy(t, tc.r).On(g); got != tc.want {
				t.Errorf("On = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestMakePolicyRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, reason, text string
		r                  *resourcev1.Policy
	}{
		{"no action", "UNKNOWN_POLICY", "update the node", &resourcev1.Policy{}},
		{"newer action", "UNKNOWN_POLICY", "update the node", &resourcev1.Policy{Action: 99}},
		{"newer mode", "UNKNOWN_POLICY", "update the node", &resourcev1.Policy{Action: block, Mode: 99}},
		{"no approvers", "UNKNOWN_POLICY", "update the node", &resourcev1.Policy{Action: approve}},
		{"newer approvers", "UNKNOWN_POLICY", "update the node", &resourcev1.Policy{Action: approve, Approvers: &resourcev1.Approvers{}}},
		{"condition", condition.ReasonCondition, "line 2, column 1:", &resourcev1.Policy{Action: block, When: "true &&\nfoo"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := compile.MakePolicy(tc.r)
			if f := fault.From(err); err == nil || f.Kind != fault.Invalid || f.Reason != tc.reason || !strings.Contains(f.Public, tc.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Who approves, as far as a node has to know: the caller, or others (G-34).
func TestApprovers(t *testing.T) {
	for _, tc := range []struct {
		r      *resourcev1.Approvers
		caller bool
	}{
		{&resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}, true},
		{&resourcev1.Approvers{TeamAdmins: &resourcev1.TeamAdmins{}}, false},
		{&resourcev1.Approvers{TeamAdmins: &resourcev1.TeamAdmins{Teams: []string{"eng"}}}, false},
		{&resourcev1.Approvers{Users: []string{"bob@example.com"}}, false},
	} {
		if got := policy(t, &resourcev1.Policy{Action: approve, Approvers: tc.r}).Approvers.Caller; got != tc.caller {
			t.Errorf("%v: the caller approves is %t", tc.r, got)
		}
	}
}

// A policy that a node cannot read and has no earlier form of blocks what it covers; one that allows is left out.
func TestClosed(t *testing.T) {
	if compile.Closed(&resourcev1.Policy{Action: allow, When: "foo"}) != nil {
		t.Error("a policy that allows does without its condition")
	}
	p := compile.Closed(&resourcev1.Policy{Name: "a", Action: untrusted, Mode: 99, When: "foo", Tools: []string{"db__*"}, Gateways: []string{"eng"}})
	var w watcher
	d := compile.Decide([]*compile.Policy{p}, &condition.Facts{Server: "db", Tool: "query"}, false, &w)
	if d.Action != compile.ActionBlock || d.Policy != p || p.Covers("web", "get") || p.On(&compile.Gateway{Name: "ops"}) {
		t.Errorf("got %v", d)
	}
}

func TestPolicyNames(t *testing.T) {
	if p := policy(t, &resourcev1.Policy{Action: block, When: `args.a == 1`}); !p.Names("args") || p.Names("caller.user") {
		t.Error("a condition on args names args alone")
	}
	if policy(t, &resourcev1.Policy{Action: block}).Names("args") {
		t.Error("no condition names args")
	}
}

func TestGatewayDefaults(t *testing.T) {
	for _, tc := range []struct {
		name     string
		r        *resourcev1.Gateway
		blocks   bool
		contexts compile.Contexts
		reason   string
	}{
		{name: "nothing said", r: &resourcev1.Gateway{}},
		{name: "said", r: &resourcev1.Gateway{DefaultAction: resourcev1.DefaultAction_DEFAULT_ACTION_BLOCK, UntrustedContext: resourcev1.UntrustedContext_UNTRUSTED_CONTEXT_NEVER}, blocks: true, contexts: compile.ContextsTrusted},
		{name: "the other way", r: &resourcev1.Gateway{DefaultAction: resourcev1.DefaultAction_DEFAULT_ACTION_ALLOW, UntrustedContext: resourcev1.UntrustedContext_UNTRUSTED_CONTEXT_ALWAYS_UNTRUSTED}, contexts: compile.ContextsUntrusted},
		{name: "tracked", r: &resourcev1.Gateway{UntrustedContext: resourcev1.UntrustedContext_UNTRUSTED_CONTEXT_TRACK}},
		{name: "newer context", r: &resourcev1.Gateway{UntrustedContext: 99}, contexts: compile.ContextsUntrusted},
		{name: "newer action", r: &resourcev1.Gateway{DefaultAction: 99}, reason: "UNKNOWN_DEFAULT_ACTION"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.r.Visibility = &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{}}
			g, err := compile.MakeGateway(tc.r)
			if tc.reason != "" {
				if err == nil || fault.From(err).Reason != tc.reason {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || g.BlockUnmatched != tc.blocks || g.Contexts != tc.contexts {
				t.Errorf("blocks %t, contexts %d, %v", g.BlockUnmatched, g.Contexts, err)
			}
		})
	}
}

// G-33: only policies that have to know the context of a call ask for it.
func TestAsksContext(t *testing.T) {
	for _, tc := range []struct {
		name                    string
		r                       *resourcev1.Policy
		tracked, always, trusts bool
	}{
		{name: "action", r: &resourcev1.Policy{Action: untrusted}, tracked: true},
		{name: "another action", r: &resourcev1.Policy{Action: block}},
		{name: "untrusted", r: &resourcev1.Policy{Action: block, When: "context.untrusted"}, tracked: true},
		{name: "sources", r: &resourcev1.Policy{Action: allow, When: `"web" in context.sources`}, tracked: true, always: true},
		{name: "shadow", r: &resourcev1.Policy{Action: untrusted, Mode: shadow}, tracked: true},
		{name: "something else", r: &resourcev1.Policy{Action: block, When: `args.context == "a"`}},
	} {
		p := policy(t, tc.r)
		got := [3]bool{p.AsksContext(compile.ContextsTracked), p.AsksContext(compile.ContextsUntrusted), p.AsksContext(compile.ContextsTrusted)}
		if want := [3]bool{tc.tracked, tc.always, tc.trusts}; got != want {
			t.Errorf("%s: tracked, always, never: %v, want %v", tc.name, got, want)
		}
	}
}

// BenchmarkDecide is P-10: 50 policies on the gateway, of which three match; arguments are decoded once.
func BenchmarkDecide(b *testing.B) {
	var list []*compile.Policy
	for i := range 50 {
		r := &resourcev1.Policy{Name: fmt.Sprintf("p%02d", i), Action: allow, When: fmt.Sprintf(`args.environment == "env-%d" && !("sre" in caller.teams)`, i)}
		if i < 3 {
			r.When, r.Mode = `args.environment == "prod" && !("sre" in caller.teams)`, resourcev1.PolicyMode(i%2+1)
		}
		list = append(list, policy(b, r))
	}
	slices.SortFunc(list, func(a, b *compile.Policy) int { return -compile.ComparePolicies(a, b) }) // those that match come last
	args := []byte(`{"environment":"prod","query":"SELECT 1","limit":10}`)
	b.ReportAllocs()
	for b.Loop() {
		d := compile.Decide(list, &condition.Facts{Server: "db", Tool: "query", Arguments: args, Teams: []string{"eng"}}, false, &watcher{})
		if d.Policy == nil {
			b.Fatal("none matched")
		}
	}
}

// tracer is a watcher that is told of every policy.
type tracer struct {
	watcher

	looks []string
}

func (t *tracer) Looked(l compile.Look) {
	t.looks = append(t.looks, fmt.Sprintf("%s covers=%t counts=%t matches=%t failed=%t", l.Policy.Name, l.Covers, l.Counts, l.Matches, l.Err != nil))
}

// TestTrace: a tracer hears of every policy, and changes nothing of what is decided and told besides.
func TestTrace(t *testing.T) {
	list := []*compile.Policy{
		policy(t, &resourcev1.Policy{Name: "other", Action: block, Tools: []string{"other__*"}}), policy(t, &resourcev1.Policy{Name: "prod", Action: block, When: `args.env == "prod"`}),
		policy(t, &resourcev1.Policy{Name: "ask", Action: approve, Approvers: &resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}, When: `args.env > 1`}), policy(t, &resourcev1.Policy{Name: "open", Action: allow}),
		policy(t, &resourcev1.Policy{Name: "tried", Action: block, Mode: shadow}),
	}
	slices.SortFunc(list, compile.ComparePolicies)
	for args, want := range map[string][]string{
		`{"env":"prod"}`: {
			"other covers=false counts=false matches=false failed=false", "prod covers=true counts=true matches=true failed=false",
			"ask covers=true counts=false matches=true failed=true", "open covers=true counts=false matches=true failed=false", "tried covers=true counts=true matches=true failed=false",
		},
		`{"env":1}`: {
			"other covers=false counts=false matches=false failed=false", "prod covers=true counts=true matches=false failed=false",
			"ask covers=true counts=true matches=false failed=false", "open covers=true counts=true matches=true failed=false", "tried covers=true counts=true matches=true failed=false",
		},
	} {
		facts := func() *condition.Facts {
			return &condition.Facts{Server: "db", Tool: "query", Arguments: []byte(args)}
		}
		var plain watcher
		var traced tracer
		a, b := compile.Decide(list, facts(), false, &plain), compile.Decide(list, facts(), false, &traced)
		if a != b || fmt.Sprint(plain) != fmt.Sprint(traced.watcher) {
			t.Errorf("%s: %v %v, traced %v %v", args, a, plain, b, traced.watcher)
		}
		if !slices.Equal(traced.looks, want) {
			t.Errorf("%s: got %q", args, traced.looks)
		}
	}
}
