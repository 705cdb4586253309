// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// openStream is a stream of which only the context is asked.
type openStream struct{ grpc.ServerStream }

func (openStream) Context() context.Context { return context.Background() }

// A panic in a handler is an internal error of that call, which says nothing about its cause.
func TestPanicEndsOneCall(t *testing.T) {
	p := &ControlPlane{c: Config{Telemetry: &obs.Telemetry{Log: slog.New(slog.DiscardHandler)}}}
	_, unary := p.recoverUnary(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) {
		panic("secret detail")
	})
	stream := p.recoverStream(nil, openStream{}, &grpc.StreamServerInfo{}, func(any, grpc.ServerStream) error {
		panic("secret detail")
	})
	for name, err := range map[string]error{"unary": unary, "stream": stream} {
		if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "internal error" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
