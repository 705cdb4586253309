// SPDX-License-Identifier: Apache-2.0

package nodeapi

import (
	"context"
	"log/slog"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Holder holds calls. approval.Service is one.
type Holder interface {
	Hold(ctx context.Context, r approval.Request) (approval.Held, error)
	Wait(ctx context.Context, id string) (approval.State, error)
}

// Approvals serves ApprovalService of penstock.node.v1. It is safe for concurrent use.
type Approvals struct {
	nodev1.UnimplementedApprovalServiceServer
	holder Holder
	log    *slog.Logger
}

// NewApprovals returns the service.
func NewApprovals(h Holder, log *slog.Logger) *Approvals { return &Approvals{holder: h, log: log} }

// Register adds the service to a gRPC server.
func (s *Approvals) Register(g grpc.ServiceRegistrar) { nodev1.RegisterApprovalServiceServer(g, s) }

// HoldCall implements ApprovalService.
func (s *Approvals) HoldCall(ctx context.Context, r *nodev1.HoldCallRequest) (*nodev1.HoldCallResponse, error) {
	node, err := s.admit(ctx, r)
	if err != nil {
		return nil, err
	}
	c := r.GetCaller()
	h, err := s.holder.Hold(ctx, approval.Request{
		Gateway: r.GetGateway(), GatewayUID: r.GetGatewayUid(), Tool: r.GetTool(), Policy: r.GetPolicy(),
		Caller: approval.Caller{
			Kind: c.GetKind(), UID: c.GetUid(), Name: c.GetName(), AuthMethod: c.GetAuthMethod(), ClientID: c.GetClientId(), TokenID: c.GetTokenId(),
		},
		Arguments: r.GetArguments(), Confirmation: r.GetConfirmation(), Node: node, Revision: r.GetRevision(), TraceID: r.GetTraceId(),
		Look: r.GetLook(),
	})
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return &nodev1.HoldCallResponse{
		Approval: h.ID, State: stateOf(h.State), Run: h.Run, ExpireTime: timestamppb.New(h.Expire), Reason: h.Reason, Approvers: h.Call.Approvers,
	}, nil
}

// WaitApproval implements ApprovalService.
func (s *Approvals) WaitApproval(ctx context.Context, r *nodev1.WaitApprovalRequest) (*nodev1.WaitApprovalResponse, error) {
	if _, err := s.admit(ctx, r); err != nil {
		return nil, err
	}
	state, err := s.holder.Wait(ctx, r.GetApproval())
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return &nodev1.WaitApprovalResponse{State: stateOf(state)}, nil
}

func stateOf(s approval.State) nodev1.ApprovalState {
	return nodev1.ApprovalState(nodev1.ApprovalState_value["APPROVAL_STATE_"+string(s)])
}

// admit returns the node that calls, and checks what it sent against the rules of its contract. What is wrong names fields, never
// what they hold: arguments are people's data.
func (*Approvals) admit(ctx context.Context, m proto.Message) (node string, err error) {
	w, err := enroll.Peer(ctx, ident.RoleNode)
	if err != nil {
		return "", statusOf(err)
	}
	if err := protovalidate.Validate(m); err != nil {
		return "", status.Error(codes.InvalidArgument, err.Error())
	}
	return w.Name, nil
}

func (s *Approvals) failed(ctx context.Context, err error) error {
	if kind := fault.KindOf(err); kind == fault.Bug || kind == fault.Unavailable {
		s.log.ErrorContext(ctx, "call not held", obs.Fault(err))
	}
	return statusOf(err)
}

// statusOf maps a fault to a gRPC status with its reason; the cause stays here.
func statusOf(err error) error {
	f := fault.From(err)
	st := status.New(codes.Code(f.Kind.ConnectCode()), f.Public) // the numbers of Connect are those of gRPC
	var details []protoadapt.MessageV1
	for _, d := range f.Details() {
		details = append(details, protoadapt.MessageV1Of(d))
	}
	if detailed, err := st.WithDetails(details...); err == nil {
		st = detailed
	}
	return st.Err()
}
