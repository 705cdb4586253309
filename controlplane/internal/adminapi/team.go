// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// teams serves TeamService.
type teams struct{ *api }

// CreateTeam implements adminv1connect.TeamServiceHandler.
func (s teams) CreateTeam(ctx context.Context, req *adminv1.CreateTeamRequest) (*adminv1.CreateTeamResponse, error) {
	m, w, err := create(ctx, s.api, req.GetTeam(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateTeamResponse{Team: m, Revision: uint64(w.Revision)}, nil
}

// GetTeam implements adminv1connect.TeamServiceHandler.
func (s teams) GetTeam(ctx context.Context, req *adminv1.GetTeamRequest) (*adminv1.GetTeamResponse, error) {
	m, err := get[*resourcev1.Team](ctx, s.api, catalog.KindTeam, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetTeamResponse{Team: m}, nil
}

// ListTeams implements adminv1connect.TeamServiceHandler.
func (s teams) ListTeams(ctx context.Context, req *adminv1.ListTeamsRequest) (*adminv1.ListTeamsResponse, error) {
	page, next, err := list[*resourcev1.Team](ctx, s.api, catalog.KindTeam, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListTeamsResponse{Teams: page, NextPageToken: next}, nil
}

// UpdateTeam implements adminv1connect.TeamServiceHandler.
func (s teams) UpdateTeam(ctx context.Context, req *adminv1.UpdateTeamRequest) (*adminv1.UpdateTeamResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetTeam(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateTeamResponse{Team: m, Revision: rev}, nil
}

// DeleteTeam implements adminv1connect.TeamServiceHandler.
func (s teams) DeleteTeam(ctx context.Context, req *adminv1.DeleteTeamRequest) (*adminv1.DeleteTeamResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindTeam, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteTeamResponse{Revision: rev}, nil
}
