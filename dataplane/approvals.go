// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/dataplane/internal/bridge"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node"
)

// approvals asks the control plane that the node follows about held calls.
type approvals struct{ follower *node.Client }

// HoldCall implements approval.Service.
func (a approvals) HoldCall(ctx context.Context, r *nodev1.HoldCallRequest) (*nodev1.HoldCallResponse, error) {
	got, err := a.follower.ApprovalService().HoldCall(ctx, r)
	return got, said(err)
}

// WaitApproval implements approval.Service.
func (a approvals) WaitApproval(ctx context.Context, r *nodev1.WaitApprovalRequest) (*nodev1.WaitApprovalResponse, error) {
	got, err := a.follower.ApprovalService().WaitApproval(ctx, r)
	return got, said(err)
}

// said makes a fault of what a control plane answered.
func said(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	var details []proto.Message
	for _, d := range s.Details() {
		if m, ok := d.(proto.Message); ok {
			details = append(details, m)
		}
	}
	return fault.FromDetails(fault.KindOfConnect(uint32(s.Code())), s.Message(), details...).Because(err)
}

// goesOnAt says at which node alone a retry can go on: where the approved call runs, or where a call is held for its server. It is empty
// for any.
func goesOnAt(between *bridge.Bridge, calls *dispatch.Dispatcher) func(gatewayUID string, p ident.Principal, raw []byte) string {
	return func(gatewayUID string, p ident.Principal, raw []byte) string {
		if at := calls.RunBy(gatewayUID, raw); at != "" {
			return at
		}
		return between.HeldBy(gatewayUID, p, raw)
	}
}
