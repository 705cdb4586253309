// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Provisioner does what identity providers say of users and teams over SCIM. The catalog implements it.
type Provisioner interface {
	ProvisionedUsers(ctx context.Context, q catalog.ProvisionQuery) (page []catalog.Provisioned, total int, err error)
	ProvisionUser(ctx context.Context, in catalog.Provision) (catalog.Provisioned, catalog.Revision, error)
	ProvisionedTeams(ctx context.Context, q catalog.ProvisionQuery) (page []catalog.ProvisionedTeam, total int, err error)
	// ProvisionTeam returns nil for a team that was given up.
	ProvisionTeam(ctx context.Context, in catalog.ProvisionTeam) (*catalog.ProvisionedTeam, catalog.Revision, error)
}

// ListProvisionedUsers implements DirectoryService.
func (s *Server) ListProvisionedUsers(ctx context.Context, r *directoryv1.ListProvisionedUsersRequest) (*directoryv1.ListProvisionedUsersResponse, error) {
	if err := s.admit(ctx, r); err != nil {
		return nil, err
	}
	page, total, err := s.c.Provisioner.ProvisionedUsers(ctx, catalog.ProvisionQuery{
		Provider: r.GetIdentityProvider(), UID: r.GetUid(), Name: r.GetUserName(), ExternalID: r.GetExternalId(),
		Skip: int(r.GetSkip()), Count: int(r.GetCount()),
	})
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out := &directoryv1.ListProvisionedUsersResponse{Total: uint32(total)}
	for _, u := range page {
		out.Users = append(out.Users, userMessage(u))
	}
	return out, nil
}

// ProvisionUser implements DirectoryService.
func (s *Server) ProvisionUser(ctx context.Context, r *directoryv1.ProvisionUserRequest) (*directoryv1.ProvisionUserResponse, error) {
	if err := s.admit(ctx, r); err != nil {
		return nil, err
	}
	u, revision, err := s.c.Provisioner.ProvisionUser(ctx, catalog.Provision{
		Provider: r.GetIdentityProvider(), UID: r.GetUid(), Etag: r.GetEtag(), UserName: r.GetUserName(), ExternalID: r.GetExternalId(),
		Email: r.GetEmail(), DisplayName: r.GetDisplayName(), Active: r.GetActive(), Deleted: r.GetDeleted(), Signal: r.GetSignal(),
	})
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return &directoryv1.ProvisionUserResponse{User: userMessage(u), Revision: uint64(revision)}, nil
}

// ListProvisionedTeams implements DirectoryService.
func (s *Server) ListProvisionedTeams(ctx context.Context, r *directoryv1.ListProvisionedTeamsRequest) (*directoryv1.ListProvisionedTeamsResponse, error) {
	if err := s.admit(ctx, r); err != nil {
		return nil, err
	}
	page, total, err := s.c.Provisioner.ProvisionedTeams(ctx, catalog.ProvisionQuery{
		Provider: r.GetIdentityProvider(), UID: r.GetUid(), Name: r.GetDisplayName(), ExternalID: r.GetExternalId(),
		Skip: int(r.GetSkip()), Count: int(r.GetCount()), WithoutMembers: r.GetWithoutMembers(),
	})
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out := &directoryv1.ListProvisionedTeamsResponse{Total: uint32(total)}
	for _, t := range page {
		out.Teams = append(out.Teams, teamMessage(t))
	}
	return out, nil
}

// ProvisionTeam implements DirectoryService.
func (s *Server) ProvisionTeam(ctx context.Context, r *directoryv1.ProvisionTeamRequest) (*directoryv1.ProvisionTeamResponse, error) {
	if err := s.admit(ctx, r); err != nil {
		return nil, err
	}
	t, revision, err := s.c.Provisioner.ProvisionTeam(ctx, catalog.ProvisionTeam{
		Provider: r.GetIdentityProvider(), UID: r.GetUid(), DisplayName: r.GetDisplayName(), ExternalID: r.ExternalId,
		Replace: r.GetReplaceMembers(), Add: r.GetAddMembers(), Remove: r.GetRemoveMembers(), Deleted: r.GetDeleted(),
	})
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out := &directoryv1.ProvisionTeamResponse{Revision: uint64(revision)}
	if t != nil {
		out.Team = teamMessage(*t)
	}
	return out, nil
}

// admit refuses callers that are no authservers, and requests that do not obey their contract.
func (s *Server) admit(ctx context.Context, r proto.Message) error {
	if _, err := s.c.Peer(ctx); err != nil {
		return toStatus(err)
	}
	if err := protovalidate.Validate(r); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return nil
}

// failed logs what is no answer.
func (s *Server) failed(ctx context.Context, err error) error {
	switch fault.KindOf(err) {
	case fault.Bug, fault.Unavailable, fault.Timeout:
		if ctx.Err() == nil {
			s.c.Log.ErrorContext(ctx, "provisioning not stored", obs.AttrError, err)
		}
	default:
	}
	return toStatus(err)
}

func userMessage(u catalog.Provisioned) *directoryv1.ProvisionedUser {
	return &directoryv1.ProvisionedUser{
		Uid: u.UID, Etag: u.Etag, UserName: u.UserName, ExternalId: u.ExternalID, Email: u.Email, DisplayName: u.DisplayName,
		Active: u.Active, CreateTime: timestamppb.New(u.CreateTime), UpdateTime: timestamppb.New(u.UpdateTime),
	}
}

func teamMessage(t catalog.ProvisionedTeam) *directoryv1.ProvisionedTeam {
	return &directoryv1.ProvisionedTeam{
		Uid: t.UID, Etag: t.Etag, DisplayName: t.DisplayName, ExternalId: t.ExternalID, Members: t.Members,
		CreateTime: timestamppb.New(t.CreateTime), UpdateTime: timestamppb.New(t.UpdateTime),
	}
}
