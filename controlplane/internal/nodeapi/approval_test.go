// SPDX-License-Identifier: Apache-2.0

package nodeapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

// holder answers what a test says, and keeps what it was asked.
type holder struct {
	held  approval.Held
	state approval.State
	err   error
	asked approval.Request
}

// Hold implements nodeapi.Holder.
func (h *holder) Hold(_ context.Context, r approval.Request) (approval.Held, error) {
	h.asked = r
	return h.held, h.err
}

// Wait implements nodeapi.Holder.
func (h *holder) Wait(context.Context, string) (approval.State, error) { return h.state, h.err }

// serveApprovals serves a holder for callers of one identity.
func serveApprovals(t *testing.T, h nodeapi.Holder, creds credentials.TransportCredentials) nodev1.ApprovalServiceClient {
	t.Helper()
	log := &obstest.Log{}
	t.Cleanup(func() {
		if strings.Contains(log.String(), "arguments") {
			t.Errorf("arguments are logged: %s", log)
		}
	})
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer(grpc.Creds(creds))
	nodeapi.NewApprovals(h, slog.New(slog.NewTextHandler(log, nil))).Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return nodev1.NewApprovalServiceClient(conn)
}

func call() *nodev1.HoldCallRequest {
	return &nodev1.HoldCallRequest{
		Gateway: "eng", GatewayUid: "g", Tool: "demo/echo", Policy: "careful", Arguments: []byte(`{"a":1}`), Confirmation: "c", Revision: 7, TraceId: "t", Look: true,
		Caller: &nodev1.HeldCaller{Kind: "user", Uid: "u", Name: "ada@example.com", AuthMethod: "oauth", ClientId: "c1", TokenId: "k"},
	}
}

// TestHoldCall: what a node says arrives, with the name in its certificate, and so does the answer.
func TestHoldCall(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h := &holder{held: approval.Held{Run: true, Approval: &approval.Approval{
		ID: "a1", State: approval.Run, Expire: at, Reason: "fine", Call: approval.Call{Approvers: []string{"bob@example.com"}},
	}}}
	c := serveApprovals(t, h, node())
	got, err := c.HoldCall(t.Context(), call())
	if err != nil {
		t.Fatal(err)
	}
	want := &nodev1.HoldCallResponse{
		Approval: "a1", State: nodev1.ApprovalState_APPROVAL_STATE_RUN, Run: true, ExpireTime: timestamppb.New(at), Reason: "fine", Approvers: []string{"bob@example.com"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	asked := approval.Request{
		Gateway: "eng", GatewayUID: "g", Tool: "demo/echo", Policy: "careful", Arguments: []byte(`{"a":1}`), Confirmation: "c", Node: "n1", Revision: 7, TraceID: "t", Look: true,
		Caller: approval.Caller{Kind: "user", UID: "u", Name: "ada@example.com", AuthMethod: "oauth", ClientID: "c1", TokenID: "k"},
	}
	if diff := cmp.Diff(asked, h.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	for state, want := range map[approval.State]nodev1.ApprovalState{
		approval.Pending: nodev1.ApprovalState_APPROVAL_STATE_PENDING, approval.Approved: nodev1.ApprovalState_APPROVAL_STATE_APPROVED,
		approval.Denied: nodev1.ApprovalState_APPROVAL_STATE_DENIED, approval.Expired: nodev1.ApprovalState_APPROVAL_STATE_EXPIRED,
		approval.Run: nodev1.ApprovalState_APPROVAL_STATE_RUN,
	} {
		h.state = state
		if res, err := c.WaitApproval(t.Context(), &nodev1.WaitApprovalRequest{Approval: "a1"}); err != nil || res.GetState() != want {
			t.Errorf("%s: %v, %v", state, res, err)
		}
	}
}

// TestHoldCallRefused: who may not ask, what cannot be asked, and what goes wrong; nothing of the arguments is said.
func TestHoldCallRefused(t *testing.T) {
	h := &holder{}
	other := serveApprovals(t, h, enroll.Local(ident.Workload{TrustDomain: "test", Role: ident.RoleAuthserver, Name: "as"}))
	c := serveApprovals(t, h, node())
	for _, tc := range []struct {
		name   string
		client nodev1.ApprovalServiceClient
		edit   func(*nodev1.HoldCallRequest)
		err    error
		code   codes.Code
		reason string
	}{
		{"an authserver", other, nil, nil, codes.PermissionDenied, "WRONG_ROLE"},
		{"no caller", c, func(r *nodev1.HoldCallRequest) { r.Caller = nil }, nil, codes.InvalidArgument, ""},
		{"no gateway", c, func(r *nodev1.HoldCallRequest) { r.Gateway = "" }, nil, codes.InvalidArgument, ""},
		{"a long confirmation", c, func(r *nodev1.HoldCallRequest) { r.Confirmation = strings.Repeat("x", 65) }, nil, codes.InvalidArgument, ""},
		{"refused", c, nil, fault.New(fault.Precondition, approval.ReasonNobody, "Nobody can."), codes.FailedPrecondition, approval.ReasonNobody},
		{"not there", c, nil, fault.New(fault.NotFound, approval.ReasonUnknownTarget, "No."), codes.NotFound, approval.ReasonUnknownTarget},
		{"no database", c, nil, fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "No."), codes.Unavailable, "STORE_UNAVAILABLE"},
		{"a bug", c, nil, errors.New("secret"), codes.Internal, "INTERNAL"},
	} {
		h.err = tc.err
		r := call()
		r.Arguments = []byte(`{"a":"secret","b":"arguments"}`)
		if tc.edit != nil {
			tc.edit(r)
		}
		_, err := tc.client.HoldCall(t.Context(), r)
		reason := ""
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				reason = info.GetReason()
			}
		}
		if status.Code(err) != tc.code || reason != tc.reason || strings.Contains(status.Convert(err).Message(), "secret") {
			t.Errorf("%s: %v %s, want %s %s", tc.name, err, reason, tc.code, tc.reason)
		}
	}
	h.err = nil
	if _, err := other.WaitApproval(t.Context(), &nodev1.WaitApprovalRequest{Approval: "a"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("an authserver waits: %v", err)
	}
	if _, err := c.WaitApproval(t.Context(), &nodev1.WaitApprovalRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nothing to wait for: %v", err)
	}
	h.err = fault.New(fault.NotFound, approval.ReasonNotFound, "No.")
	if _, err := c.WaitApproval(t.Context(), &nodev1.WaitApprovalRequest{Approval: "a"}); status.Code(err) != codes.NotFound {
		t.Errorf("not there: %v", err)
	}
}
