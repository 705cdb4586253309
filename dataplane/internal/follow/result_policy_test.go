// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// Result policies come, change and go. One that this node cannot read keeps its earlier form, in a delta and in a full state; without
// one it blocks what it covers, unless it trusts or is a shadow.
func TestResultPolicies(t *testing.T) {
	holder := view.NewHolder()
	c := New(holder, nil)
	s := newState(t)
	const (
		trusted = resourcev1.ResultMark_RESULT_MARK_TRUSTED
		redact  = resourcev1.ResultMark_RESULT_MARK_REDACT
		block   = resourcev1.ResultMark_RESULT_MARK_BLOCK
	)
	put := func(name string, r *resourcev1.ResultPolicy) node.Key {
		r.Name = name
		return s.put(&distributionv1.Resource{Kind: "result_policy", Name: name, Body: &distributionv1.Resource_ResultPolicy{ResultPolicy: r}})
	}
	s.gateway("eng", func(*resourcev1.Gateway) {})
	check := func(step string, rejects []node.Reject, wantRejects, want string) {
		t.Helper()
		got := ""
		for _, p := range holder.Load().Gateway("eng").ResultPolicies {
			got += fmt.Sprintf("%s %s %q;", p.Name, p.Mark, p.Reason)
		}
		if names := fmt.Sprint(rejectNames(rejects)); got != want || names != wantRejects {
			t.Errorf("%s: %s rejected %s; want %s rejected %s", step, got, names, want, wantRejects)
		}
	}
	const closed = `BLOCK "The policy cannot be evaluated here; ask an administrator to update the node.";`
	k := put("a", &resourcev1.ResultPolicy{Mark: trusted, Reason: "1"})
	check("full", c.Apply(t.Context(), s, nil, false), "[]", `a TRUSTED "1";`)
	put("a", &resourcev1.ResultPolicy{Mark: redact, Redact: []string{"x"}, Reason: "2"})
	check("changed", c.Apply(t.Context(), s, []node.Key{k}, false), "[]", `a REDACT "2";`)
	put("a", &resourcev1.ResultPolicy{Mark: redact, Redact: []string{"("}})
	check("unreadable", c.Apply(t.Context(), s, []node.Key{k}, false), "[result_policy a RESULT_PATTERN_INVALID]", `a REDACT "2";`)
	check("unreadable in a full state", c.Apply(t.Context(), s, nil, false), "[result_policy a RESULT_PATTERN_INVALID]", `a REDACT "2";`)
	delete(s.resources, k)
	check("gone", c.Apply(t.Context(), s, []node.Key{k}, false), "[]", ``)
	put("a", &resourcev1.ResultPolicy{Mark: 99})
	check("new and unreadable", c.Apply(t.Context(), s, []node.Key{k}, false), "[result_policy a UNKNOWN_RESULT_POLICY]", `a `+closed)
	delete(s.resources, k)
	c.Apply(t.Context(), s, []node.Key{k}, false)
	put("a", &resourcev1.ResultPolicy{Mark: trusted, When: "unknown"})
	check("new, unreadable and one that trusts", c.Apply(t.Context(), s, []node.Key{k}, false), "[result_policy a POLICY_CONDITION_INVALID]", ``)
	put("b", &resourcev1.ResultPolicy{Mark: block, When: "unknown"})
	put("c", &resourcev1.ResultPolicy{Mark: block, When: "unknown", Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW})
	fresh := New(holder, nil)
	check("full and unreadable", fresh.Apply(t.Context(), s, nil, false),
		"[result_policy a POLICY_CONDITION_INVALID result_policy b POLICY_CONDITION_INVALID result_policy c POLICY_CONDITION_INVALID]", `b `+closed)
}
