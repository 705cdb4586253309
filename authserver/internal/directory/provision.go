// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonProvisioning is the reason of a refusal of the control plane that gives none.
const ReasonProvisioning = "PROVISIONING_REFUSED" // Invalid

// Provisioned is a user as its identity provider sees it. To the control plane it goes as the whole state that the user is to
// have: an empty UID makes one, a set Etag must be the stored one, Deleted hides it from the provider. With Signal a security event
// says it: UID and Active alone count.
type Provisioned struct {
	UID, Etag                                string
	UserName, ExternalID, Email, DisplayName string
	Active, Deleted, Signal                  bool
	CreateTime, UpdateTime                   time.Time
}

// ProvisionedTeam is a team as its identity provider sees it. Members are uids.
type ProvisionedTeam struct {
	UID, Etag, DisplayName, ExternalID string
	Members                            []string
	CreateTime, UpdateTime             time.Time
}

// TeamChange is a change of a team. An empty UID makes one; an empty DisplayName and a nil ExternalID keep what there is.
type TeamChange struct {
	UID, DisplayName string
	ExternalID       *string
	Replace          bool // all members go, before Add
	Add, Remove      []string
	Deleted          bool
}

// Wanted says which users or teams of an identity provider are wanted, by what of it is set, and which page of them.
type Wanted struct {
	UID, Name, ExternalID string
	Skip, Count           uint32
	WithoutMembers        bool
}

// ProviderOf returns the identity provider that a SCIM token belongs to, by the token's hash, nil if it is nobody's or the
// provider is disabled.
func (v *View) ProviderOf(token [sha256.Size]byte) (found *Provider) {
	for _, p := range v.Providers() {
		for _, hash := range p.ScimTokens {
			if subtle.ConstantTimeCompare(hash[:], token[:]) == 1 {
				found = p
			}
		}
	}
	return found
}

// ListUsers returns a page of the users of an identity provider, by name, and how many there are. The faults of this and of
// the other methods of provisioning are Denied, NotFound, AlreadyExists, Invalid, Conflict and Precondition, each with the
// control plane's reason and text, and Unavailable CONTROL_PLANE_UNAVAILABLE.
func (r *Remote) ListUsers(ctx context.Context, provider string, w Wanted) (page []Provisioned, total int, err error) {
	answer, err := r.service.ListProvisionedUsers(ctx, &directoryv1.ListProvisionedUsersRequest{
		IdentityProvider: provider, Uid: w.UID, UserName: w.Name, ExternalId: w.ExternalID, Skip: w.Skip, Count: w.Count,
	})
	if err != nil {
		return nil, 0, provisionFault(err)
	}
	for _, u := range answer.GetUsers() {
		page = append(page, provisionedOf(u))
	}
	return page, int(answer.GetTotal()), nil
}

// PutUser makes a user or brings it to a state. revision has the change, 0 if there was none.
func (r *Remote) PutUser(ctx context.Context, provider string, u Provisioned) (stored Provisioned, revision uint64, err error) {
	answer, err := r.service.ProvisionUser(ctx, &directoryv1.ProvisionUserRequest{
		IdentityProvider: provider, Uid: u.UID, Etag: u.Etag, UserName: u.UserName, ExternalId: u.ExternalID, Email: u.Email,
		DisplayName: u.DisplayName, Active: u.Active, Deleted: u.Deleted, Signal: u.Signal,
	})
	if err != nil {
		return Provisioned{}, 0, provisionFault(err)
	}
	return provisionedOf(answer.GetUser()), answer.GetRevision(), nil
}

// ListTeams returns a page of the teams of an identity provider, by name, and how many there are.
func (r *Remote) ListTeams(ctx context.Context, provider string, w Wanted) (page []ProvisionedTeam, total int, err error) {
	answer, err := r.service.ListProvisionedTeams(ctx, &directoryv1.ListProvisionedTeamsRequest{
		IdentityProvider: provider, Uid: w.UID, DisplayName: w.Name, ExternalId: w.ExternalID, Skip: w.Skip, Count: w.Count,
		WithoutMembers: w.WithoutMembers,
	})
	if err != nil {
		return nil, 0, provisionFault(err)
	}
	for _, t := range answer.GetTeams() {
		page = append(page, provisionedTeamOf(t))
	}
	return page, int(answer.GetTotal()), nil
}

// ChangeTeam makes, changes or gives up a team, which the answer is empty for. revision has the change, 0 if there was none.
func (r *Remote) ChangeTeam(ctx context.Context, provider string, c TeamChange) (stored ProvisionedTeam, revision uint64, err error) {
	answer, err := r.service.ProvisionTeam(ctx, &directoryv1.ProvisionTeamRequest{
		IdentityProvider: provider, Uid: c.UID, DisplayName: c.DisplayName, ExternalId: c.ExternalID,
		ReplaceMembers: c.Replace, AddMembers: c.Add, RemoveMembers: c.Remove, Deleted: c.Deleted,
	})
	if err != nil {
		return ProvisionedTeam{}, 0, provisionFault(err)
	}
	if t := answer.GetTeam(); t != nil {
		stored = provisionedTeamOf(t)
	}
	return stored, answer.GetRevision(), nil
}

func provisionedOf(u *directoryv1.ProvisionedUser) Provisioned {
	return Provisioned{
		UID: u.GetUid(), Etag: u.GetEtag(), UserName: u.GetUserName(), ExternalID: u.GetExternalId(), Email: u.GetEmail(),
		DisplayName: u.GetDisplayName(), Active: u.GetActive(), CreateTime: u.GetCreateTime().AsTime(), UpdateTime: u.GetUpdateTime().AsTime(),
	}
}

func provisionedTeamOf(t *directoryv1.ProvisionedTeam) ProvisionedTeam {
	return ProvisionedTeam{
		UID: t.GetUid(), Etag: t.GetEtag(), DisplayName: t.GetDisplayName(), ExternalID: t.GetExternalId(), Members: t.GetMembers(),
		CreateTime: t.GetCreateTime().AsTime(), UpdateTime: t.GetUpdateTime().AsTime(),
	}
}

// provisionFault turns the answer of the control plane into a fault; its own sentences are for whoever runs the provider.
func provisionFault(err error) error {
	s := status.Convert(err)
	reason := ""
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			reason = info.GetReason()
		}
	}
	kinds := map[codes.Code]fault.Kind{
		codes.PermissionDenied: fault.Denied, codes.NotFound: fault.NotFound, codes.AlreadyExists: fault.AlreadyExists,
		codes.InvalidArgument: fault.Invalid, codes.Aborted: fault.Conflict, codes.FailedPrecondition: fault.Precondition,
	}
	kind, known := kinds[s.Code()]
	switch {
	case known && reason != "":
		return fault.New(kind, reason, s.Message()).Because(err)
	case s.Code() == codes.InvalidArgument: // the contract's own words name its fields, which nobody outside knows
		return fault.New(fault.Invalid, ReasonProvisioning, "A value is too long, or not of the form it must have.").Because(err)
	}
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted:
		return fault.New(fault.Unavailable, ReasonUnreachable, "The control plane cannot be reached.").Because(err)
	default:
		return fmt.Errorf("provision: %w", err)
	}
}
