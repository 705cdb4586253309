// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [Remote.ConnectServer], besides those of [Remote.LoginUser].
const (
	ReasonConnectNotAllowed = "CONNECT_NOT_ALLOWED" // Denied: the user may not install the server
	ReasonServerUnknown     = "SERVER_UNKNOWN"      // NotFound
)

// Installation is a credential that a person gave for a server.
type Installation struct {
	User    string   // uid
	Server  string   // name
	Version string   // of the credential in the vault; empty: make the connection only
	Names   []string // of the secret headers in it
}

// ConnectServer makes the user's own connection of a server, if there is none, and sets which version of its credential
// counts. It returns the connection's uid. The faults are Denied CONNECT_NOT_ALLOWED or USER_DEACTIVATED, NotFound
// SERVER_UNKNOWN, and Unavailable CONTROL_PLANE_UNAVAILABLE.
func (r *Remote) ConnectServer(ctx context.Context, i Installation) (connection string, err error) {
	answer, err := r.service.ConnectServer(ctx, &directoryv1.ConnectServerRequest{
		UserUid: i.User, Server: i.Server, CredentialVersion: i.Version, SecretNames: i.Names,
	})
	if err != nil {
		return "", connectFault(err)
	}
	return answer.GetConnectionUid(), nil
}

func connectFault(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.PermissionDenied:
		if reasonOf(s) == ReasonDeactivated {
			return fault.New(fault.Denied, ReasonDeactivated, s.Message()).Because(err)
		}
		return fault.New(fault.Denied, ReasonConnectNotAllowed, s.Message()).Because(err)
	case codes.NotFound:
		return fault.New(fault.NotFound, ReasonServerUnknown, s.Message()).Because(err)
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted:
		return fault.New(fault.Unavailable, ReasonUnreachable, "The control plane cannot be reached.").Because(err)
	default:
		return fmt.Errorf("connect a server: %w", err)
	}
}
