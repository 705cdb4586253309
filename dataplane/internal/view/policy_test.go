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
