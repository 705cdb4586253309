// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"errors"
	"log/slog"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Users logs users in and connects servers for them. The catalog implements it.
type Users interface {
	// LoginUser finds, links or makes the user of an account; Denied if it may not be.
	LoginUser(ctx context.Context, in catalog.Login) (catalog.LoggedIn, error)
	// ConnectServer makes a user's own connection and sets which credential counts; Denied or NotFound if it may not be.
	ConnectServer(ctx context.Context, in catalog.Connecting) (catalog.Connected, error)
}

// Config is what a Server needs. All fields are required.
type Config struct {
	Users Users
	// Peer returns the name of the authserver that makes a call; Unauthenticated or Denied if it is none.
	Peer func(ctx context.Context) (name string, err error)
	Log  *slog.Logger
}

// Server serves penstock.directory.v1. It is safe for concurrent use.
type Server struct {
	directoryv1.UnimplementedDirectoryServiceServer

	c Config
}

// New returns a Server. It starts nothing.
func New(c Config) (*Server, error) {
	if c.Users == nil || c.Peer == nil || c.Log == nil {
		return nil, errors.New("the directory needs users, a way to know its callers, and a log")
	}
	return &Server{c: c}, nil
}

// Register adds the service to a gRPC server.
func (s *Server) Register(g grpc.ServiceRegistrar) { directoryv1.RegisterDirectoryServiceServer(g, s) }

// LoginUser implements DirectoryService.
func (s *Server) LoginUser(ctx context.Context, r *directoryv1.LoginUserRequest) (*directoryv1.LoginUserResponse, error) {
	name, err := s.c.Peer(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	if err := protovalidate.Validate(r); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	out, err := s.c.Users.LoginUser(ctx, catalog.Login{
		Provider: r.GetIdentityProvider(), Subject: r.GetSubject(), Email: r.GetEmail(), EmailVerified: r.GetEmailVerified(),
		DisplayName: r.GetDisplayName(), Groups: r.GetGroups(), GroupsKnown: r.GetGroupsKnown(), Actor: "authserver:" + name,
	})
	if err != nil {
		if !refused(err) && ctx.Err() == nil {
			s.c.Log.ErrorContext(ctx, "login not stored", obs.AttrError, err)
		}
		return nil, toStatus(err)
	}
	for _, team := range out.FullTeams {
		s.c.Log.WarnContext(ctx, "team is full, a login could not join it", slog.String("team", team))
	}
	return &directoryv1.LoginUserResponse{UserUid: out.UserUID, User: out.User, Revision: uint64(out.Revision)}, nil
}

// ConnectServer implements DirectoryService.
func (s *Server) ConnectServer(ctx context.Context, r *directoryv1.ConnectServerRequest) (*directoryv1.ConnectServerResponse, error) {
	name, err := s.c.Peer(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	if err := protovalidate.Validate(r); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	out, err := s.c.Users.ConnectServer(ctx, catalog.Connecting{
		UserUID: r.GetUserUid(), Server: r.GetServer(), CredentialVersion: r.GetCredentialVersion(), SecretNames: r.GetSecretNames(),
		Actor: "authserver:" + name,
	})
	if err != nil {
		if !refused(err) && ctx.Err() == nil {
			s.c.Log.ErrorContext(ctx, "connection not stored", obs.AttrServer, r.GetServer(), obs.AttrError, err)
		}
		return nil, toStatus(err)
	}
	return &directoryv1.ConnectServerResponse{ConnectionUid: out.ConnectionUID, Connection: out.Connection, Revision: uint64(out.Revision)}, nil
}

// refused reports whether an error is an answer, not a failure.
func refused(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Denied || kind == fault.NotFound
}

// toStatus maps a fault to a gRPC status with its reason; the cause stays here.
func toStatus(err error) error {
	f := fault.From(err)
	s := status.New(codes.Code(f.Kind.ConnectCode()), f.Public) // the numbers of Connect are those of gRPC
	var details []protoadapt.MessageV1
	for _, d := range f.Details() {
		details = append(details, protoadapt.MessageV1Of(d))
	}
	if detailed, err := s.WithDetails(details...); err == nil {
		s = detailed
	}
	return s.Err()
}
