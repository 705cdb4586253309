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

// Policies come, change and go. One that this node cannot read keeps its earlier form, in a delta and in a full state; without one it
// blocks what it covers, unless it allows: no restriction is dropped.
func TestPolicies(t *testing.T) {
	holder := view.NewHolder()
	c := New(holder, nil)
	s := newState(t)
	policy := func(name, when string, action resourcev1.PolicyAction) node.Key {
		return s.put(&distributionv1.Resource{Kind: "policy", Name: name, Body: &distributionv1.Resource_Policy{
			Policy: &resourcev1.Policy{Name: name, Action: action, When: when, Reason: when},
		}})
	}
	const allow, block = resourcev1.PolicyAction_POLICY_ACTION_ALLOW, resourcev1.PolicyAction_POLICY_ACTION_BLOCK
	s.gateway("eng", func(*resourcev1.Gateway) {})
	k := policy("a", "1 == 1", allow)
	check := func(step string, rejects []node.Reject, wantRejects, want string) {
		t.Helper()
		got := ""
		for _, p := range holder.Load().Gateway("eng").Policies {
			got += fmt.Sprintf("%s %s %q;", p.Name, p.Action, p.Reason)
		}
		if names := fmt.Sprint(rejectNames(rejects)); got != want || names != wantRejects {
			t.Errorf("%s: %s rejected %s; want %s rejected %s", step, got, names, want, wantRejects)
		}
	}
	const closed = `BLOCK "The policy cannot be evaluated here; ask an administrator to update the node.";`
	check("full", c.Apply(t.Context(), s, nil, false), "[]", `a ALLOW "1 == 1";`)
	policy("a", "2 == 2", block)
	check("changed", c.Apply(t.Context(), s, []node.Key{k}, false), "[]", `a BLOCK "2 == 2";`)
	policy("a", "unknown", block)
	check("unreadable", c.Apply(t.Context(), s, []node.Key{k}, false), "[policy a POLICY_CONDITION_INVALID]", `a BLOCK "2 == 2";`)
	check("unreadable in a full state", c.Apply(t.Context(), s, nil, false), "[policy a POLICY_CONDITION_INVALID]", `a BLOCK "2 == 2";`)
	delete(s.resources, k)
	check("gone", c.Apply(t.Context(), s, []node.Key{k}, false), "[]", ``)
	policy("a", "unknown", 99)
	check("new and unreadable", c.Apply(t.Context(), s, []node.Key{k}, false), "[policy a UNKNOWN_POLICY]", `a `+closed)
	policy("a", "unknown", allow)
	delete(s.resources, k)
	c.Apply(t.Context(), s, []node.Key{k}, false)
	policy("a", "unknown", allow)
	check("new, unreadable and one that allows", c.Apply(t.Context(), s, []node.Key{k}, false), "[policy a POLICY_CONDITION_INVALID]", ``)
	policy("b", "unknown", block)
	fresh := New(holder, nil)
	check("full and unreadable", fresh.Apply(t.Context(), s, nil, false), "[policy a POLICY_CONDITION_INVALID policy b POLICY_CONDITION_INVALID]", `b `+closed)
}
