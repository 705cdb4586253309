// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// ListRevisions implements adminv1connect.ConfigurationServiceHandler.
func (s configuration) ListRevisions(ctx context.Context, req *adminv1.ListRevisionsRequest) (*adminv1.ListRevisionsResponse, error) {
	list, err := s.catalog.Revisions(ctx, callerOf(ctx), catalog.Revision(req.GetBefore()), int(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	res := &adminv1.ListRevisionsResponse{}
	for _, r := range list {
		res.Revisions = append(res.Revisions, &adminv1.RevisionInfo{
			Revision: uint64(r.Revision), CommitTime: timestamppb.New(r.Time), Actor: r.Actor,
			Changed: r.Changed, Deleted: r.Deleted, Staged: r.Staged,
		})
	}
	return res, nil
}

// Rollback implements adminv1connect.ConfigurationServiceHandler.
func (s configuration) Rollback(ctx context.Context, req *adminv1.RollbackRequest) (*adminv1.RollbackResponse, error) {
	done, err := s.catalog.Rollback(ctx, callerOf(ctx), catalog.Revision(req.GetRevision()), catalog.WriteOptions{ValidateOnly: req.GetValidateOnly()})
	if err != nil {
		return nil, err
	}
	return &adminv1.RollbackResponse{Revision: uint64(done.Revision), Resources: appliedResources(done.Items)}, nil
}

// GetRollout implements adminv1connect.ConfigurationServiceHandler. A rollout that is over is still told, so that whoever
// waits for its end sees it.
func (s configuration) GetRollout(ctx context.Context, _ *adminv1.GetRolloutRequest) (*adminv1.GetRolloutResponse, error) {
	now, running, err := s.catalog.Rollout(ctx)
	if err != nil {
		return nil, err
	}
	res := &adminv1.GetRolloutResponse{Revision: uint64(now.Revision), Reason: now.Reason}
	if now.Revision != 0 {
		res.Stage = stageOf(now.Stage)
	}
	if running {
		res.Nodes = now.Nodes
	}
	return res, nil
}

func stageOf(s record.Stage) adminv1.RolloutStage {
	switch s {
	case record.StageOne:
		return adminv1.RolloutStage_ROLLOUT_STAGE_ONE
	case record.StageTenth:
		return adminv1.RolloutStage_ROLLOUT_STAGE_TENTH
	case record.StageAll:
		return adminv1.RolloutStage_ROLLOUT_STAGE_ALL
	case record.StageStopped:
		return adminv1.RolloutStage_ROLLOUT_STAGE_STOPPED
	default:
		return adminv1.RolloutStage_ROLLOUT_STAGE_UNSPECIFIED
	}
}

// PromoteRollout implements adminv1connect.ConfigurationServiceHandler.
func (s configuration) PromoteRollout(ctx context.Context, req *adminv1.PromoteRolloutRequest) (*adminv1.PromoteRolloutResponse, error) {
	if err := s.catalog.Promote(ctx, callerOf(ctx), catalog.Revision(req.GetRevision())); err != nil {
		return nil, err
	}
	return &adminv1.PromoteRolloutResponse{}, nil
}
