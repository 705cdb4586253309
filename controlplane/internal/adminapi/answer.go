// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi/port"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// errorDomain is the domain of google.rpc.ErrorInfo.
const errorDomain = "penstock"

// answering turns the error of each call into what the wire carries, and logs it. It is the only place that does.
func answering(logger *slog.Logger) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			res, err := next(ctx, req)
			if err != nil {
				logFailure(ctx, logger, req.Spec().Procedure, err)
				return nil, toConnect(ctx, err)
			}
			return res, nil
		}
	}
}

// logFailure logs a failed call: loudly what somebody must act on, quietly what the caller did wrong.
func logFailure(ctx context.Context, logger *slog.Logger, procedure string, err error) {
	f, level := fault.From(err), slog.LevelDebug
	switch f.Kind {
	case fault.Bug:
		level = slog.LevelError
	case fault.Unavailable, fault.Timeout:
		level = slog.LevelWarn
	default:
	}
	logger.LogAttrs(ctx, level, "admin call failed",
		slog.String(obs.AttrMethod, procedure), slog.String(obs.AttrRequestID, port.RequestID(ctx)),
		slog.String(obs.AttrFaultKind, f.Kind.String()), slog.String(obs.AttrFaultReason, f.Reason),
		slog.String(obs.AttrError, err.Error()))
}

// toConnect maps an error to the wire: code and public text of its fault (an unclassified one is a Bug with a generic text),
// ErrorInfo with the reason, BadRequest with the refused fields, RetryInfo and Retry-After with the wait, RequestInfo.
func toConnect(ctx context.Context, err error) *connect.Error {
	if ce, ok := errors.AsType[*connect.Error](err); ok {
		return ce
	}
	f := fault.From(err)
	ce := connect.NewError(connect.Code(f.Kind.ConnectCode()), errors.New(f.Public))
	info := &errdetails.ErrorInfo{Reason: f.Reason, Domain: errorDomain}
	details := []proto.Message{info}
	if len(f.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, field := range f.Fields {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: field.Path, Description: field.Problem})
		}
		details = append(details, bad)
	}
	if f.Retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.Retry)})
		ce.Meta().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.Retry.Seconds()))))
	}
	if id := port.RequestID(ctx); id != "" {
		details = append(details, &errdetails.RequestInfo{RequestId: id})
	}
	if f.Kind == fault.Unauthenticated {
		ce.Meta().Set("WWW-Authenticate", `Bearer realm="penstock-admin"`)
	}
	for _, d := range details {
		if detail, err := connect.NewErrorDetail(d); err == nil { // fails only for a message that cannot be marshalled
			ce.AddDetail(detail)
		}
	}
	return ce
}

// recovered turns a panic into a Bug. The stack goes to the log with the error, never onto the wire.
func recovered(_ context.Context, _ connect.Spec, _ http.Header, panicked any) error {
	return fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
}
