// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"slices"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// TestRollback: what was written is listed, taken back in one revision, and only administrators may.
func TestRollback(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	base, err := c.Configuration.GetHead(ctx, &adminv1.GetHeadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("new")})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Configuration.ListRevisions(ctx, &adminv1.ListRevisionsRequest{PageSize: 1})
	if err != nil || len(list.GetRevisions()) != 1 || list.GetRevisions()[0].GetRevision() != made.GetRevision() ||
		!slices.Equal(list.GetRevisions()[0].GetChanged(), []string{"assignment/new/everything/echo", "gateway/new"}) || list.GetRevisions()[0].GetCommitTime() == nil {
		t.Errorf("the newest revision is %v, %v", list, err)
	}
	try := &adminv1.RollbackRequest{Revision: base.GetRevision(), ValidateOnly: true}
	res, err := c.Configuration.Rollback(ctx, try)
	if err != nil || len(res.GetResources()) != 1 || res.GetResources()[0].GetAction() != "deleted" || res.GetRevision() != made.GetRevision() {
		t.Errorf("a trial: %v, %v", res, err)
	}
	try.ValidateOnly = false
	if res, err = c.Configuration.Rollback(ctx, try); err != nil || res.GetRevision() != made.GetRevision()+1 {
		t.Errorf("rollback: %v, %v", res, err)
	}
	if _, err := c.Gateways.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: "new"}); !admin.IsNotFound(err) {
		t.Errorf("got %v, want not_found", err)
	}
	_, err = c.Configuration.Rollback(ctx, &adminv1.RollbackRequest{Revision: 10_000})
	if e, ok := admin.AsError(err); !ok || e.Reason != "REVISION_AHEAD" {
		t.Errorf("a revision that is not there: %v", err)
	}
	for _, user := range []string{editorUser, memberUser} {
		other := w.client(t, user)
		if _, err := other.Configuration.Rollback(ctx, try); !admin.IsDenied(err) {
			t.Errorf("%s rolls back: %v", user, err)
		}
		if _, err := other.Configuration.ListRevisions(ctx, &adminv1.ListRevisionsRequest{}); !admin.IsDenied(err) {
			t.Errorf("%s lists revisions: %v", user, err)
		}
		if _, err := other.Configuration.PromoteRollout(ctx, &adminv1.PromoteRolloutRequest{Revision: 1}); !admin.IsDenied(err) {
			t.Errorf("%s promotes: %v", user, err)
		}
	}
}

// TestStagedApply: a staged change is told as a rollout until it is promoted.
func TestStagedApply(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	if now, err := c.Configuration.GetRollout(ctx, &adminv1.GetRolloutRequest{}); err != nil || now.GetRevision() != 0 {
		t.Errorf("before: %v, %v", now, err)
	}
	req := &adminv1.ApplyRequest{Staged: true, Resources: []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Gateway{Gateway: orgGateway("new")}},
	}}
	res, err := c.Configuration.Apply(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.Configuration.GetRollout(ctx, &adminv1.GetRolloutRequest{})
	if err != nil || now.GetRevision() != res.GetRevision() || now.GetStage() != adminv1.RolloutStage_ROLLOUT_STAGE_ONE {
		t.Errorf("the rollout is %v, %v", now, err)
	}
	req.Resources[0].GetGateway().Description = "again"
	_, err = c.Configuration.Apply(ctx, req)
	if e, ok := admin.AsError(err); !ok || e.Reason != "ROLLOUT_RUNNING" {
		t.Errorf("a second rollout: %v", err)
	}
	_, err = c.Configuration.PromoteRollout(ctx, &adminv1.PromoteRolloutRequest{Revision: res.GetRevision() + 1})
	if e, ok := admin.AsError(err); !ok || e.Reason != catalog.ReasonNoRollout {
		t.Errorf("promoting another one: %v", err)
	}
	if _, err := c.Configuration.PromoteRollout(ctx, &adminv1.PromoteRolloutRequest{Revision: res.GetRevision()}); err != nil {
		t.Error(err)
	}
	if now, err = c.Configuration.GetRollout(ctx, &adminv1.GetRolloutRequest{}); err != nil || now.GetStage() != adminv1.RolloutStage_ROLLOUT_STAGE_ALL {
		t.Errorf("afterwards: %v, %v", now, err)
	}
}
