// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// TestExplainDoubt: where a call without a session counts as untrusted now, because nobody can tell, that is said and decided by; but not
// where the question or the gateway says what the context is, nor where no policy has to know.
func TestExplainDoubt(t *testing.T) {
	const untrusted, block = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED, resourcev1.PolicyAction_POLICY_ACTION_BLOCK
	yes, no := true, false
	for _, tc := range []struct {
		name    string
		doubt   string
		g       compile.Gateway
		policy  *resourcev1.Policy
		said    *bool
		says    string
		refused bool
	}{
		{name: "in doubt", doubt: "it is empty", policy: &resourcev1.Policy{Action: untrusted}, says: "A caller without a session counts as untrusted now: it is empty.", refused: true},
		{name: "not in doubt", policy: &resourcev1.Policy{Action: untrusted}},
		{name: "said to be trusted", doubt: "it is empty", policy: &resourcev1.Policy{Action: untrusted}, said: &no},
		{name: "said to be untrusted", doubt: "it is empty", policy: &resourcev1.Policy{Action: untrusted}, said: &yes, refused: true},
		{name: "never untrusted", doubt: "it is empty", g: compile.Gateway{Contexts: compile.ContextsTrusted}, policy: &resourcev1.Policy{Action: untrusted}},
		{name: "nobody asks", doubt: "it is empty", policy: &resourcev1.Policy{Action: block, When: `args.n == 2`}},
		{name: "of another tool", doubt: "it is empty", policy: &resourcev1.Policy{Action: untrusted, Tools: []string{"ev__other"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDispatcher(t, &world{})
			contexts := &contexts{doubt: tc.doubt}
			d.Contexts = contexts
			tc.policy.Name = "p"
			dry := &call.Dry{Untrusted: tc.said}
			d.Explain(t.Context(), caller(ruled(t, tc.g, tc.policy), wire.Latest), toolCall(t, "ev__echo"), dry)
			says, refused := "", false
			for _, s := range dry.Steps {
				if s.Name == call.StepContext {
					says = s.Says
				}
				refused = refused || s.Name == call.StepPolicies && s.Err != nil
			}
			if says != tc.says || refused != tc.refused || len(contexts.asked) > 0 {
				t.Errorf("says %q, refused %t, asked %v", says, refused, contexts.asked)
			}
		})
	}
}
