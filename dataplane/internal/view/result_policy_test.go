// SPDX-License-Identifier: Apache-2.0

package view

import (
	"strings"
	"testing"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// TestResultPoliciesOfGateways: a gateway has the result policies that concern it, the strictest first, and a gateway that none of a
// change concerns stays as it is.
func TestResultPoliciesOfGateways(t *testing.T) {
	made := func(r *resourcev1.ResultPolicy) *ResultPolicy {
		t.Helper()
		p, err := compile.MakeResultPolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const (
		trusted   = resourcev1.ResultMark_RESULT_MARK_TRUSTED
		untrusted = resourcev1.ResultMark_RESULT_MARK_UNTRUSTED
		block     = resourcev1.ResultMark_RESULT_MARK_BLOCK
	)
	gateway := func(name string) *Gateway { return &Gateway{Gateway: compile.Gateway{Name: name, UID: "uid-" + name}} }
	var v *View
	for i, step := range []struct {
		name     string
		do       func(b *Builder)
		eng, ops string
		same     string // gateways that are the same as before
	}{
		{name: "policy and gateways at once", do: func(b *Builder) {
			b.PutResultPolicy("all", made(&resourcev1.ResultPolicy{Name: "all", Mark: trusted}))
			b.PutGateway(gateway("eng"))
			b.PutGateway(gateway("ops"))
		}, eng: "all", ops: "all"},
		{name: "policy for one", do: func(b *Builder) {
			b.PutResultPolicy("eng", made(&resourcev1.ResultPolicy{Name: "eng", Mark: block, Gateways: []string{"e*"}}))
		}, eng: "eng all", ops: "all", same: "ops"},
		{name: "it becomes another", do: func(b *Builder) {
			b.PutResultPolicy("all", made(&resourcev1.ResultPolicy{Name: "all", Mark: untrusted, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW}))
		}, eng: "eng all", ops: "all"},
		{name: "a policy on calls of the same name", do: func(b *Builder) {
			b.PutPolicy("all", policyOf(t, &resourcev1.Policy{Name: "all", Gateways: []string{"ops"}}))
		}, eng: "eng all", ops: "all", same: "eng"},
		{name: "disabled", do: func(b *Builder) {
			b.PutResultPolicy("eng", made(&resourcev1.ResultPolicy{Name: "eng", Mark: block, Disabled: true}))
		}, eng: "all", ops: "all", same: "ops"},
		{name: "deleted", do: func(b *Builder) { b.PutResultPolicy("all", nil) }},
	} {
		before := v
		b := From(v)
		step.do(b)
		v = b.Build("e", uint64(i+1))
		for name, want := range map[string]string{"eng": step.eng, "ops": step.ops} {
			var got []string
			for _, p := range v.Gateway(name).ResultPolicies {
				got = append(got, p.Name)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %s has %q, want %q", step.name, name, got, want)
			}
			if same := before != nil && before.Gateway(name) == v.Gateway(name); same != strings.Contains(step.same, name) {
				t.Errorf("%s: %s is the same: %t", step.name, name, same)
			}
		}
	}
}
