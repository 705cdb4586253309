// SPDX-License-Identifier: Apache-2.0

package enroll

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// strangers is the one service that takes calls without a client certificate.
const strangers = "/penstock.node.v1.EnrollmentService/"

// Unary refuses calls without an identity, but for those of enrollment, and of workloads that are banned. It stands before
// every handler, so that none can forget.
func (b *Bans) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if !strings.HasPrefix(info.FullMethod, strangers) {
		w, err := Peer(ctx, everybody()...)
		if err == nil {
			err = b.Refuse(w)
		}
		if err != nil {
			return nil, toStatus(err)
		}
	}
	return next(ctx, req)
}

// Stream is [Bans.Unary] for streams, which it also ends when their workload is banned.
func (b *Bans) Stream(srv any, g grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	w, err := Peer(g.Context(), everybody()...)
	if err != nil {
		return toStatus(err)
	}
	ctx, end := context.WithCancelCause(g.Context())
	defer end(nil)
	leave, err := b.enter(w, func() { end(toStatus(refusal())) })
	if err != nil {
		return toStatus(err)
	}
	defer leave()
	err = next(srv, endable{g, ctx})
	if cause := context.Cause(ctx); cause != nil && g.Context().Err() == nil {
		return cause // whatever the handler made of it
	}
	return err
}

// endable is a stream whose context ends with a ban.
type endable struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream hands it out
}

// Context implements grpc.ServerStream.
func (e endable) Context() context.Context { return e.ctx }

func everybody() []ident.Role {
	return []ident.Role{ident.RoleNode, ident.RoleAuthserver, ident.RoleControlPlane}
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
