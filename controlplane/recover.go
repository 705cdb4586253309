// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// recoverUnary keeps a panic in one node's call from ending the control plane for all.
func (p *ControlPlane) recoverUnary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (reply any, err error) {
	defer p.recovered(ctx, info.FullMethod, &err)
	return next(ctx, req)
}

// recoverStream is recoverUnary for streams.
func (p *ControlPlane) recoverStream(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler,
) (err error) {
	defer p.recovered(stream.Context(), info.FullMethod, &err)
	return next(srv, stream)
}

// recovered turns a panic into an internal error and logs where it came from. It is deferred itself, or it would recover
// nothing.
func (p *ControlPlane) recovered(ctx context.Context, method string, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	p.c.Telemetry.Log.ErrorContext(ctx, "node call panicked", slog.String(obs.AttrMethod, method),
		slog.Any(obs.AttrError, cause), slog.String("stack", string(debug.Stack())))
	*err = status.Error(codes.Internal, "internal error")
}
