// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// rule is a policy that blocks.
func rule(name, when string) *resourcev1.Policy {
	return &resourcev1.Policy{Name: name, When: when, Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK}
}

func policyRows() []row {
	mask := &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}
	return []row{
		{"GetPolicy", notFound, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.GetPolicy(ctx, &adminv1.GetPolicyRequest{Name: "no-writes"})
			return err
		}},
		{"ListPolicies", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.ListPolicies(ctx, &adminv1.ListPoliciesRequest{})
			return err
		}},
		{"CreatePolicy", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: rule("new", ""), ValidateOnly: true})
			return err
		}},
		{"UpdatePolicy", notFound, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.UpdatePolicy(ctx, &adminv1.UpdatePolicyRequest{Policy: &resourcev1.Policy{Name: "no-writes", DisplayName: "x"}, UpdateMask: mask, ValidateOnly: true})
			return err
		}},
		{"DeletePolicy", notFound, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: "no-writes", ValidateOnly: true})
			return err
		}},
		{"TestPolicies", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.TestPolicies(ctx, &adminv1.TestPoliciesRequest{Cases: []*adminv1.PolicyCase{{Gateway: "robots", Tool: "everything/echo"}}})
			return err
		}},
	}
}

// TestTestPolicies: a made-up call is decided as nodes decide it, and compared with what is expected.
func TestTestPolicies(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, editorUser), t.Context()
	if _, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: "no-writes"}); err != nil {
		t.Fatal(err)
	}
	listed := rule("eng", "")
	listed.Gateways, listed.Action = []string{"other-*"}, resourcev1.PolicyAction_POLICY_ACTION_BLOCK
	shadow := rule("shadow", `args.env > 1`)
	shadow.Mode = resourcev1.PolicyMode_POLICY_MODE_SHADOW
	context := rule("web", "")
	context.Action, context.Tools = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED, []string{"everything__*"}
	off := rule("off", "")
	off.Disabled = true
	for _, p := range []*resourcev1.Policy{
		rule("prod", `args.env == "prod" && !("sre" in caller.teams)`), rule("night", `request.time.getHours() < 6 && request.headers["x-ticket"] != "T"`), listed, shadow, context, off,
	} {
		if _, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: p}); err != nil {
			t.Fatal(err)
		}
	}
	facts := rule("facts", `caller.claims.tenant == "acme" && tool.labels.tier == "1" && request.region == "eu"`)
	if _, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: facts}); err != nil {
		t.Fatal(err)
	}
	noon := timestamppb.New(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	const blocks, allows = resourcev1.PolicyAction_POLICY_ACTION_BLOCK, resourcev1.PolicyAction_POLICY_ACTION_ALLOW
	for _, tc := range []struct {
		c    *adminv1.PolicyCase
		want string
	}{
		{&adminv1.PolicyCase{Name: "prod", Args: `{"env":"prod"}`, ExpectAction: blocks, ExpectPolicy: "prod"}, "BLOCK prod true [shadow] [shadow]"},
		{&adminv1.PolicyCase{Name: "another action", Args: `{"env":"prod"}`, ExpectAction: allows}, "BLOCK prod false [shadow] [shadow]"},
		{&adminv1.PolicyCase{Name: "another policy", Args: `{"env":"prod"}`, ExpectAction: blocks, ExpectPolicy: "night"}, "BLOCK prod false [shadow] [shadow]"},
		{&adminv1.PolicyCase{Name: "sre", Args: `{"env":"prod"}`, Caller: &adminv1.PolicyCaller{Teams: []string{"sre"}}, ExpectAction: allows}, "ALLOW  true [shadow] [shadow]"},
		{&adminv1.PolicyCase{Name: "no arguments"}, "ALLOW  true [] []"},
		{&adminv1.PolicyCase{Name: "no object", Args: `[]`, ExpectPolicy: "prod"}, "BLOCK prod true [shadow] [prod shadow]"},
		{&adminv1.PolicyCase{Name: "untrusted", Untrusted: true, ExpectAction: blocks}, "BLOCK web true [] []"},
		{&adminv1.PolicyCase{Name: "night", Time: timestamppb.New(noon.AsTime().Add(-8 * time.Hour)), Headers: map[string]string{"x-ticket": "U"}}, "BLOCK night true [] []"},
		{&adminv1.PolicyCase{Name: "facts", Claims: `{"tenant":"acme"}`, ToolLabels: map[string]string{"tier": "1"}, Region: "eu"}, "BLOCK facts true [] []"},
		{&adminv1.PolicyCase{Name: "another tenant", Claims: `{"tenant":"other"}`, ToolLabels: map[string]string{"tier": "1"}, Region: "eu"}, "ALLOW  true [] []"},
		{&adminv1.PolicyCase{Name: "another region", Claims: `{"tenant":"acme"}`, ToolLabels: map[string]string{"tier": "1"}, Region: "us"}, "ALLOW  true [] []"},
		{&adminv1.PolicyCase{Name: "labels as stored", Claims: `{"tenant":"acme"}`, Region: "eu"}, "ALLOW  true [] []"},
		{&adminv1.PolicyCase{Name: "night with a ticket", Time: timestamppb.New(noon.AsTime().Add(-8 * time.Hour)), Headers: map[string]string{"x-ticket": "T"}}, "ALLOW  true [] []"},
	} {
		tc.c.Gateway, tc.c.Tool = "robots", "everything/echo"
		if tc.c.Time == nil {
			tc.c.Time = noon
		}
		res, err := c.Policies.TestPolicies(ctx, &adminv1.TestPoliciesRequest{Cases: []*adminv1.PolicyCase{tc.c}})
		if err != nil {
			t.Fatal(err)
		}
		r := res.GetResults()[0]
		got := fmt.Sprint(strings.TrimPrefix(r.GetAction().String(), "POLICY_ACTION_"), " ", r.GetPolicy(), " ", r.GetPassed(), " ", r.GetShadows(), " ", r.GetFailed())
		if got != tc.want || r.GetName() != tc.c.GetName() {
			t.Errorf("%s: got %s, want %s", tc.c.GetName(), got, tc.want)
		}
	}
	for _, missing := range []*adminv1.PolicyCase{{Gateway: "none", Tool: "everything/echo"}, {Gateway: "robots", Tool: "everything/none"}} {
		if _, err := c.Policies.TestPolicies(ctx, &adminv1.TestPoliciesRequest{Cases: []*adminv1.PolicyCase{missing}}); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%v: %v", missing, err)
		}
	}
}

// TestTestPoliciesByNames: names that a server may take for those that policies read are refused as a node refuses them (G-31), and
// fixed arguments are what a node makes of them.
func TestTestPoliciesByNames(t *testing.T) {
	w := newWorld(t)
	c, root, ctx := w.client(t, editorUser), w.client(t, adminUser), t.Context()
	if _, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: "no-writes"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: rule("prod", `args.env == "prod"`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.ResultPolicies.CreateResultPolicy(ctx, &adminv1.CreateResultPolicyRequest{ResultPolicy: &resourcev1.ResultPolicy{
		Name: "secret", Mark: resourcev1.ResultMark_RESULT_MARK_BLOCK, When: `args.items.exists(i, i.key == "secret")`,
	}}); err != nil {
		t.Fatal(err)
	}
	const refusal = "The names of the arguments leave open what is meant, and nothing was run: "
	for _, tc := range []struct{ args, want, refusal string }{
		{`{"env":"prod"}`, "BLOCK prod", ""},
		{`{"env":"dev"}`, "ALLOW ", ""},
		{`{"Env":"prod"}`, "BLOCK ", refusal + `$: it has "Env", which a server may take for "env"; write "env".`},
		{`{"env":"dev","ENV":"dev"}`, "BLOCK ", refusal + `$: it has "ENV", which a server may take for "env"; write "env".`},
		{`{"items":[{"Key":"a"}]}`, "BLOCK ", refusal + `$.items[0]: it has "Key", which a server may take for "key"; write "key".`},
		{`{"env":"dev","env":"dev"}`, "BLOCK prod", ""},
	} {
		res, err := c.Policies.TestPolicies(ctx, &adminv1.TestPoliciesRequest{Cases: []*adminv1.PolicyCase{{
			Gateway: "robots", Tool: "everything/echo", Args: tc.args, ExpectAction: resourcev1.PolicyAction_POLICY_ACTION_BLOCK,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		r := res.GetResults()[0]
		got := strings.TrimPrefix(r.GetAction().String(), "POLICY_ACTION_") + " " + r.GetPolicy()
		if got != tc.want || r.GetRefusal() != tc.refusal || r.GetPassed() != strings.HasPrefix(got, "BLOCK") {
			t.Errorf("%s: %s %t %q, want %s %q", tc.args, got, r.GetPassed(), r.GetRefusal(), tc.want, tc.refusal)
		}
	}
}

// TestPolicies: policies are written, listed, changed, exported, pruned and rolled back as every resource is.
func TestPolicies(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, editorUser), t.Context()
	names := func(filter string) (out []string) {
		t.Helper()
		for p, err := range c.Policies.All(ctx, &adminv1.ListPoliciesRequest{Filter: filter, PageSize: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p.GetName())
		}
		return out
	}
	created, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: &resourcev1.Policy{
		Name: "prod", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.env == "prod"`, Labels: map[string]string{"team": "sre"},
		Tools: []string{"b__*", "a__*"}, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW, Reason: "No.",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if p := created.GetPolicy(); p.GetUid() == "" || p.GetEtag() == "" || !slices.Equal(p.GetTools(), []string{"a__*", "b__*"}) || p.GetWhen() != `args.env == "prod"` {
		t.Errorf("created %v", p)
	}
	if got := names(""); !slices.Equal(got, []string{"no-writes", "prod"}) {
		t.Errorf("listed %v", got)
	}
	if got := names(`labels.team = "sre"`); !slices.Equal(got, []string{"prod"}) {
		t.Errorf("filtered %v", got)
	}
	if got := names(`mode = "POLICY_MODE_SHADOW"`); !slices.Equal(got, []string{"prod"}) {
		t.Errorf("filtered by mode %v", got)
	}
	stale := &resourcev1.Policy{Name: "prod", Etag: "old", Disabled: true}
	if _, err := c.Policies.UpdatePolicy(ctx, &adminv1.UpdatePolicyRequest{Policy: stale}); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("a stale etag: %v", err)
	}
	before := created.GetRevision()
	stale.Etag = created.GetPolicy().GetEtag()
	updated, err := c.Policies.UpdatePolicy(ctx, &adminv1.UpdatePolicyRequest{Policy: stale})
	if err != nil || !updated.GetPolicy().GetDisabled() || updated.GetPolicy().GetWhen() == "" || updated.GetRevision() <= before {
		t.Errorf("updated %v, %v", updated, err)
	}
	root := w.client(t, adminUser)
	exported, err := root.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := manifest.Marshal(exported.GetResources())
	if err != nil || !strings.Contains(string(text), "kind: Policy\nname: prod\n") || !strings.Contains(string(text), "action: BLOCK\n") {
		t.Errorf("exported %s, %v", text, err)
	}
	var rest []*adminv1.ManifestResource
	for _, r := range exported.GetResources() {
		if r.GetPolicy().GetName() != "prod" {
			rest = append(rest, r)
		}
	}
	pruned, err := root.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: rest, Prune: true, ValidateOnly: true})
	if err != nil || !slices.ContainsFunc(pruned.GetResources(), func(r *adminv1.AppliedResource) bool {
		return r.GetKind() == "Policy" && r.GetName() == "prod" && r.GetAction() == "deleted"
	}) {
		t.Errorf("pruned %v, %v", pruned, err)
	}
	if _, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: "prod"}); err != nil {
		t.Fatal(err)
	}
	if got := names(""); !slices.Equal(got, []string{"no-writes"}) {
		t.Errorf("after the deletion %v", got)
	}
	if _, err := root.Configuration.Rollback(ctx, &adminv1.RollbackRequest{Revision: before}); err != nil {
		t.Fatal(err)
	}
	back, err := c.Policies.GetPolicy(ctx, &adminv1.GetPolicyRequest{Name: "prod"})
	if err != nil || back.GetPolicy().GetDisabled() || back.GetPolicy().GetMode() != resourcev1.PolicyMode_POLICY_MODE_SHADOW {
		t.Errorf("after the rollback %v, %v", back, err)
	}
}
