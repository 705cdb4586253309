// SPDX-License-Identifier: Apache-2.0

package view

import (
	"strings"
	"testing"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func policyOf(t *testing.T, r *resourcev1.Policy) *Policy {
	t.Helper()
	r.Action = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
	p, err := compile.MakePolicy(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// G-33: a gateway knows which of its tools have policies that must know the context of a call; none has where that is settled.
func TestAsksContext(t *testing.T) {
	const blockIfUntrusted = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED
	tool, other := &Tool{Server: "db", Upstream: "drop"}, &Tool{Server: "db", Upstream: "list"}
	ruleOf := func(r *resourcev1.Policy) *Policy {
		p, err := compile.MakePolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	v := (*View)(nil)
	for i, step := range []struct {
		name                 string
		do                   func(b *Builder)
		tracks, asks, others bool
	}{
		{name: "no policy", do: func(b *Builder) { b.PutGateway(&Gateway{Gateway: compile.Gateway{Name: "eng", UID: "u"}}) }},
		{name: "of another kind", do: func(b *Builder) {
			b.PutPolicy("a", ruleOf(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK}))
		}},
		{name: "for a tool", do: func(b *Builder) {
			b.PutPolicy("b", ruleOf(&resourcev1.Policy{Name: "b", Action: blockIfUntrusted, Tools: []string{"db__drop"}}))
		}, tracks: true, asks: true},
		{name: "by its condition", do: func(b *Builder) {
			b.PutPolicy("a", ruleOf(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: "context.untrusted"}))
		}, tracks: true, asks: true, others: true},
		{name: "never untrusted", do: func(b *Builder) {
			b.PutGateway(&Gateway{Gateway: compile.Gateway{Name: "eng", UID: "u", Contexts: compile.ContextsTrusted}})
		}},
		{name: "tracked again", do: func(b *Builder) { b.PutGateway(&Gateway{Gateway: compile.Gateway{Name: "eng", UID: "u"}}) }, tracks: true, asks: true, others: true},
		{name: "deleted", do: func(b *Builder) { b.PutPolicy("a", nil); b.PutPolicy("b", nil) }},
	} {
		b := From(v)
		step.do(b)
		v = b.Build("e", uint64(i+1))
		g := v.Gateway("eng")
		if g.TracksContexts() != step.tracks || g.AsksContext(tool) != step.asks || g.AsksContext(other) != step.others {
			t.Errorf("%s: %t, %t, %t", step.name, g.TracksContexts(), g.AsksContext(tool), g.AsksContext(other))
		}
	}
}

// TestPoliciesOfGateways: a gateway has the policies that concern it, whichever comes first, and gateways that none of a change
// concerns stay as they are, with what was prepared for them.
func TestPoliciesOfGateways(t *testing.T) {
	names := func(v *View, gateway string) string {
		var out []string
		for _, p := range v.Gateway(gateway).Policies {
			out = append(out, p.Name)
		}
		return strings.Join(out, " ")
	}
	gateway := func(name, env string) *Gateway {
		return &Gateway{Gateway: compile.Gateway{Name: name, UID: "uid-" + name, Labels: map[string]string{"env": env}}}
	}
	steps := []struct {
		name     string
		do       func(b *Builder)
		eng, ops string
		same     string // gateways that are the same as before
	}{
		{name: "policy and gateways at once", do: func(b *Builder) {
			b.PutPolicy("all", policyOf(t, &resourcev1.Policy{Name: "all"}))
			b.PutGateway(gateway("eng", "prod"))
			b.PutGateway(gateway("ops", "dev"))
		}, eng: "all", ops: "all"},
		{name: "policy for one", do: func(b *Builder) {
			b.PutPolicy("eng", policyOf(t, &resourcev1.Policy{Name: "eng", Gateways: []string{"e*"}}))
		}, eng: "all eng", ops: "all", same: "ops"},
		{name: "policy moves to the other", do: func(b *Builder) {
			b.PutPolicy("eng", policyOf(t, &resourcev1.Policy{Name: "eng", Gateways: []string{"o*"}}))
		}, eng: "all", ops: "all eng"},
		{name: "policy by label", do: func(b *Builder) {
			b.PutPolicy("lab", policyOf(t, &resourcev1.Policy{Name: "lab", GatewayLabels: map[string]string{"env": "prod"}}))
		}, eng: "all lab", ops: "all eng", same: "ops"},
		{name: "label moves", do: func(b *Builder) { b.PutGateway(gateway("ops", "prod")) }, eng: "all lab", ops: "all eng lab", same: "eng"},
		{name: "disabled", do: func(b *Builder) {
			b.PutPolicy("lab", policyOf(t, &resourcev1.Policy{Name: "lab", Disabled: true}))
		}, eng: "all", ops: "all eng"},
		{name: "disabled, deleted", do: func(b *Builder) { b.PutPolicy("lab", nil) }, eng: "all", ops: "all eng", same: "eng ops"},
		{name: "deleted", do: func(b *Builder) { b.PutPolicy("all", nil) }, eng: "", ops: "eng"},
	}
	var v *View
	for i, step := range steps {
		before := v
		b := From(v)
		step.do(b)
		v = b.Build("e", uint64(i+1))
		if eng, ops := names(v, "eng"), names(v, "ops"); eng != step.eng || ops != step.ops {
			t.Errorf("%s: eng %q, ops %q; want %q, %q", step.name, eng, ops, step.eng, step.ops)
		}
		for _, name := range []string{"eng", "ops"} {
			if same := before != nil && before.Gateway(name) == v.Gateway(name); same != strings.Contains(step.same, name) {
				t.Errorf("%s: %s is the same: %t", step.name, name, same)
			}
		}
	}
}
