// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [Remote.LoginUser].
const (
	ReasonLoginNotAllowed = "LOGIN_NOT_ALLOWED" // Denied: nobody by that account, and none may be made or linked
	ReasonDeactivated     = "USER_DEACTIVATED"  // Denied
	ReasonUnreachable     = "CONTROL_PLANE_UNAVAILABLE"
)

// Account is somebody who has just proved themselves at an identity provider.
type Account struct {
	Provider      string // name
	Subject       string
	Email         string
	EmailVerified bool
	DisplayName   string
	Groups        []string
	GroupsKnown   bool // Groups is complete
}

// Remote asks the control plane to change users.
type Remote struct {
	service directoryv1.DirectoryServiceClient
}

// NewRemote returns a Remote on a service.
func NewRemote(s directoryv1.DirectoryServiceClient) *Remote { return &Remote{service: s} }

// LoginUser finds, links or makes the user of an account and brings its teams in line. It returns the user's uid, and the
// revision that has the change, 0 if there was none. The faults are Denied with a reason of this package, and Unavailable
// CONTROL_PLANE_UNAVAILABLE.
func (r *Remote) LoginUser(ctx context.Context, a Account) (uid string, revision uint64, err error) {
	answer, err := r.service.LoginUser(ctx, &directoryv1.LoginUserRequest{
		IdentityProvider: a.Provider, Subject: a.Subject, Email: a.Email, EmailVerified: a.EmailVerified,
		DisplayName: a.DisplayName, Groups: a.Groups, GroupsKnown: a.GroupsKnown,
	})
	if err != nil {
		return "", 0, loginFault(err)
	}
	return answer.GetUserUid(), answer.GetRevision(), nil
}

// loginFault turns the answer of the control plane into a fault; its own sentences are for people.
func loginFault(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.PermissionDenied:
		if reasonOf(s) == ReasonDeactivated {
			return fault.New(fault.Denied, ReasonDeactivated, s.Message()).Because(err)
		}
		return fault.New(fault.Denied, ReasonLoginNotAllowed, s.Message()).Because(err)
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted:
		return fault.New(fault.Unavailable, ReasonUnreachable, "The control plane cannot be reached.").Because(err)
	default:
		return fmt.Errorf("log a user in: %w", err)
	}
}

// reasonOf returns the reason in an answer of the control plane, empty if it has none.
func reasonOf(s *status.Status) (reason string) {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			reason = info.GetReason()
		}
	}
	return reason
}
