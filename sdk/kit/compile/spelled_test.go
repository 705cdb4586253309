// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"errors"
	"strings"
	"testing"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestMisspelt: which policies make a call be looked at, and what its caller is told.
func TestMisspelt(t *testing.T) {
	const when = `args.env == "prod"`
	for _, tc := range []struct {
		name   string
		policy *resourcev1.Policy
		result *resourcev1.ResultPolicy
		args   string
		want   bool
	}{
		{name: "no policy", args: `{"Env":"prod"}`},
		{name: "block", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when}, args: `{"Env":"prod"}`, want: true},
		{name: "the same name", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when}, args: `{"env":"prod"}`},
		{name: "allow", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_ALLOW, When: when}, args: `{"Env":"prod"}`, want: true},
		{name: "if untrusted", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED, When: when}, args: `{"e-nv":"prod"}`, want: true},
		{name: "without a condition", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK}, args: `{"Env":"prod"}`},
		{name: "on something else", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `caller.user == "a"`}, args: `{"Env":"prod"}`},
		{name: "of another tool", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when, Tools: []string{"s__other"}}, args: `{"Env":"prod"}`},
		{
			name: "shadow", args: `{"Env":"prod"}`,
			policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW},
		},
		{name: "of results", result: &resourcev1.ResultPolicy{Mark: resourcev1.ResultMark_RESULT_MARK_BLOCK, When: when}, args: `{"ENV":"prod"}`, want: true},
		{
			name: "shadow of results", args: `{"ENV":"prod"}`,
			result: &resourcev1.ResultPolicy{Mark: resourcev1.ResultMark_RESULT_MARK_BLOCK, When: when, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW},
		},
		{name: "that the tool tells apart", policy: &resourcev1.Policy{Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: when}, args: `{"eNV":"prod"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var calls []*Policy
			var results []*ResultPolicy
			if tc.policy != nil {
				p, err := MakePolicy(tc.policy)
				if err != nil {
					t.Fatal(err)
				}
				calls = append(calls, p)
			}
			if tc.result != nil {
				p, err := MakeResultPolicy(tc.result)
				if err != nil {
					t.Fatal(err)
				}
				results = append(results, p)
			}
			schema := func() *inputschema.Schema {
				return SchemaOf([]byte(`{"inputschema":{},"inputSchema":{"properties":{"env":{},"eNV":{}}}}`))
			}
			err := Misspelt(calls, results, "s", "tool", []byte(tc.args), schema)
			if (err != nil) != tc.want {
				t.Fatalf("got %v", err)
			}
			var f *fault.Fault
			if tc.want && (!errors.As(err, &f) || f.Kind != fault.Invalid || f.Reason != ReasonArguments || len(f.Fields) != 1 ||
				!strings.HasSuffix(f.Public, `which a server may take for "env"; write "env".`) || strings.Contains(f.Public, "prod")) {
				t.Errorf("told %#v", f)
			}
		})
	}
}
