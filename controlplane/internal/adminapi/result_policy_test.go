// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// resultRule is a result policy that blocks.
func resultRule(name string) *resourcev1.ResultPolicy {
	return &resourcev1.ResultPolicy{Name: name, Mark: resourcev1.ResultMark_RESULT_MARK_BLOCK}
}

func resultPolicyRows() []row {
	mask := &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}
	return []row{
		{"GetResultPolicy", notFound, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.ResultPolicies.GetResultPolicy(ctx, &adminv1.GetResultPolicyRequest{Name: "no-results"})
			return err
		}},
		{"ListResultPolicies", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.ResultPolicies.ListResultPolicies(ctx, &adminv1.ListResultPoliciesRequest{})
			return err
		}},
		{"CreateResultPolicy", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.ResultPolicies.CreateResultPolicy(ctx, &adminv1.CreateResultPolicyRequest{ResultPolicy: resultRule("new"), ValidateOnly: true})
			return err
		}},
		{"UpdateResultPolicy", notFound, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.ResultPolicies.UpdateResultPolicy(ctx, &adminv1.UpdateResultPolicyRequest{
				ResultPolicy: &resourcev1.ResultPolicy{Name: "no-results", DisplayName: "x"}, UpdateMask: mask, ValidateOnly: true,
			})
			return err
		}},
		{"DeleteResultPolicy", notFound, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.ResultPolicies.DeleteResultPolicy(ctx, &adminv1.DeleteResultPolicyRequest{Name: "no-results", ValidateOnly: true})
			return err
		}},
	}
}

// TestResultPolicies: result policies are written, listed, changed, exported, pruned and rolled back as every resource is.
func TestResultPolicies(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, editorUser), t.Context()
	names := func(filter string) (out []string) {
		t.Helper()
		for p, err := range c.ResultPolicies.All(ctx, &adminv1.ListResultPoliciesRequest{Filter: filter, PageSize: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p.GetName())
		}
		return out
	}
	patterns := []string{"sk-[a-z]+", "AKIA[0-9A-Z]{16}"} // in the order of whoever wrote them
	created, err := c.ResultPolicies.CreateResultPolicy(ctx, &adminv1.CreateResultPolicyRequest{ResultPolicy: &resourcev1.ResultPolicy{
		Name: "keys", Mark: resourcev1.ResultMark_RESULT_MARK_REDACT, Redact: patterns, When: `args.env == "prod"`,
		Labels: map[string]string{"team": "sre"}, Tools: []string{"b__*", "a__*"}, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if p := created.GetResultPolicy(); p.GetUid() == "" || p.GetEtag() == "" || !slices.Equal(p.GetTools(), []string{"a__*", "b__*"}) || !slices.Equal(p.GetRedact(), patterns) {
		t.Errorf("created %v", p)
	}
	for filter, want := range map[string][]string{
		"": {"keys", "no-results"}, `labels.team = "sre"`: {"keys"}, `mark = "RESULT_MARK_BLOCK"`: {"no-results"},
	} {
		if got := names(filter); !slices.Equal(got, want) {
			t.Errorf("filtered by %q: %v", filter, got)
		}
	}
	bad := &resourcev1.ResultPolicy{Name: "keys", Redact: []string{"a[b"}}
	if _, err := c.ResultPolicies.UpdateResultPolicy(ctx, &adminv1.UpdateResultPolicyRequest{ResultPolicy: bad}); connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "column 2") {
		t.Errorf("a pattern that is none: %v", err)
	}
	stale := &resourcev1.ResultPolicy{Name: "keys", Etag: "old", Disabled: true}
	if _, err := c.ResultPolicies.UpdateResultPolicy(ctx, &adminv1.UpdateResultPolicyRequest{ResultPolicy: stale}); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("a stale etag: %v", err)
	}
	before := created.GetRevision()
	stale.Etag = created.GetResultPolicy().GetEtag()
	updated, err := c.ResultPolicies.UpdateResultPolicy(ctx, &adminv1.UpdateResultPolicyRequest{ResultPolicy: stale})
	if err != nil || !updated.GetResultPolicy().GetDisabled() || updated.GetResultPolicy().GetWhen() == "" || updated.GetRevision() <= before {
		t.Errorf("updated %v, %v", updated, err)
	}
	root := w.client(t, adminUser)
	exported, err := root.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := manifest.Marshal(exported.GetResources())
	if err != nil || !strings.Contains(string(text), "kind: ResultPolicy\nname: keys\n") || !strings.Contains(string(text), "mark: REDACT\n") {
		t.Errorf("exported %s, %v", text, err)
	}
	var rest []*adminv1.ManifestResource
	for _, r := range exported.GetResources() {
		if r.GetResultPolicy().GetName() != "keys" {
			rest = append(rest, r)
		}
	}
	pruned, err := root.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: rest, Prune: true, ValidateOnly: true})
	if err != nil || !slices.ContainsFunc(pruned.GetResources(), func(r *adminv1.AppliedResource) bool {
		return r.GetKind() == "ResultPolicy" && r.GetName() == "keys" && r.GetAction() == "deleted"
	}) {
		t.Errorf("pruned %v, %v", pruned, err)
	}
	if _, err := c.ResultPolicies.DeleteResultPolicy(ctx, &adminv1.DeleteResultPolicyRequest{Name: "keys"}); err != nil {
		t.Fatal(err)
	}
	if got := names(""); !slices.Equal(got, []string{"no-results"}) {
		t.Errorf("after the deletion %v", got)
	}
	if _, err := root.Configuration.Rollback(ctx, &adminv1.RollbackRequest{Revision: before}); err != nil {
		t.Fatal(err)
	}
	back, err := c.ResultPolicies.GetResultPolicy(ctx, &adminv1.GetResultPolicyRequest{Name: "keys"})
	if err != nil || back.GetResultPolicy().GetDisabled() || !slices.Equal(back.GetResultPolicy().GetRedact(), patterns) {
		t.Errorf("after the rollback %v, %v", back, err)
	}
}
