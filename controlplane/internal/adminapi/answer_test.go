// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi/port"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func details(t *testing.T, e *connect.Error) []proto.Message {
	t.Helper()
	var all []proto.Message
	for _, d := range e.Details() {
		v, err := d.Value()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// TestToConnect has a row per kind of fault (style, section 5).
func TestToConnect(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.3: password s3cret")
	tests := []struct {
		err  error
		code connect.Code
		text string
	}{
		{fault.New(fault.Invalid, "R", "p"), connect.CodeInvalidArgument, "p"},
		{fault.New(fault.NotFound, "R", "p"), connect.CodeNotFound, "p"},
		{fault.New(fault.AlreadyExists, "R", "p"), connect.CodeAlreadyExists, "p"},
		{fault.New(fault.Conflict, "R", "p"), connect.CodeAborted, "p"},
		{fault.New(fault.Precondition, "R", "p"), connect.CodeFailedPrecondition, "p"},
		{fault.New(fault.Unauthenticated, "R", "p"), connect.CodeUnauthenticated, "p"},
		{fault.New(fault.Denied, "R", "p"), connect.CodePermissionDenied, "p"},
		{fault.New(fault.Exhausted, "R", "p"), connect.CodeResourceExhausted, "p"},
		{fault.New(fault.Unavailable, "R", "p").Because(secret), connect.CodeUnavailable, "p"},
		{fault.New(fault.Timeout, "R", "p"), connect.CodeDeadlineExceeded, "p"},
		{fault.New(fault.Canceled, "R", "p"), connect.CodeCanceled, "p"},
		{fault.New(fault.Stale, "R", "p"), connect.CodeOutOfRange, "p"},
		{fmt.Errorf("load gateway: %w", fault.New(fault.NotFound, "R", "p")), connect.CodeNotFound, "p"},
		{secret, connect.CodeInternal, "An internal error occurred."},
		{context.DeadlineExceeded, connect.CodeDeadlineExceeded, "The call took longer than it was given."},
		{connect.NewError(connect.CodeUnimplemented, errors.New("u")), connect.CodeUnimplemented, "u"},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			got := toConnect(t.Context(), tt.err)
			if got.Code() != tt.code || got.Message() != tt.text {
				t.Errorf("got %s %q, want %s %q", got.Code(), got.Message(), tt.code, tt.text)
			}
			if strings.Contains(fmt.Sprint(got.Error(), details(t, got)), "s3cret") {
				t.Errorf("the cause is on the wire: %v", got)
			}
		})
	}
}

func TestDetails(t *testing.T) {
	f := fault.New(fault.Exhausted, "STORE_BUSY", "Busy.").After(1500*time.Millisecond).At("gateway.tools[2].tool", "is unknown")
	got := toConnect(port.WithRequestID(t.Context(), "id-1"), f)
	want := []proto.Message{
		&errdetails.ErrorInfo{Reason: "STORE_BUSY", Domain: "penstock"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "gateway.tools[2].tool", Description: "is unknown"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.RequestInfo{RequestId: "id-1"},
	}
	if diff := cmp.Diff(want, details(t, got), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if wait := got.Meta().Get("Retry-After"); wait != "2" {
		t.Errorf("Retry-After: got %q, want 2", wait)
	}
}

// TestChallenge: HTTP forbids the challenge in a trailer, which is where gRPC puts metadata.
func TestChallenge(t *testing.T) {
	a := &api{logger: slog.New(slog.DiscardHandler)}
	for contentType, want := range map[string]bool{
		"application/json": true, "application/proto": true, "application/grpc": false, "application/grpc+proto": false, "application/grpc-web+proto": false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/p.S/M", nil)
		r.Header.Set("Content-Type", contentType)
		_, err := a.authenticate(t.Context(), r)
		var ce *connect.Error
		if !errors.As(err, &ce) || ce.Code() != connect.CodeUnauthenticated || (ce.Meta().Get("WWW-Authenticate") != "") != want {
			t.Errorf("%s: got %v with %v", contentType, err, ce.Meta())
		}
	}
}

// TestLogFailure: what somebody must act on is loud, once; the caller's own mistakes are not.
func TestLogFailure(t *testing.T) {
	for level, err := range map[string]error{
		"ERROR": errors.New("broken"), "WARN": fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "p"), "DEBUG": fault.New(fault.Invalid, "R", "p"),
	} {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		logFailure(port.WithRequestID(t.Context(), "id-1"), logger, "/p.S/M", err)
		for _, want := range []string{"level=" + level, "request_id=id-1", "method=/p.S/M", "error="} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("got %s, want %s in it", log.String(), want)
			}
		}
	}
}

// TestPanic: a panic ends its own call as a Bug whose stack is in the log and not on the wire.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	handler := connect.NewUnaryHandlerSimple("/t.T/Panic",
		func(context.Context, *errdetails.ErrorInfo) (*errdetails.ErrorInfo, error) { panic("s3cret") },
		connect.WithInterceptors(answering(logger)), connect.WithRecover(recovered))
	server := httptest.NewServer(port.Identified(handler))
	defer server.Close()
	client := connect.NewClient[errdetails.ErrorInfo, errdetails.ErrorInfo](http.DefaultClient, server.URL+"/t.T/Panic")
	_, err := client.CallUnary(t.Context(), connect.NewRequest(&errdetails.ErrorInfo{}))
	if connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v, want internal without what was panicked", err)
	}
	if !strings.Contains(log.String(), "TestPanic") || !strings.Contains(log.String(), "INTERNAL") {
		t.Errorf("the log has no stack: %s", log.String())
	}
}
