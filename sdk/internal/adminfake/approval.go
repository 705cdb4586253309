// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
)

type approvals struct {
	adminv1connect.UnimplementedApprovalServiceHandler
	a *API
}

// ListApprovals implements the service, without pages.
func (s approvals) ListApprovals(_ context.Context, req *adminv1.ListApprovalsRequest) (*adminv1.ListApprovalsResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	res := &adminv1.ListApprovalsResponse{}
	for _, a := range s.a.Approvals {
		if req.GetState() == "*" || a.GetState() == req.GetState() || req.GetState() == "" && a.GetState() == "PENDING" {
			res.Approvals = append(res.Approvals, a)
		}
	}
	return res, nil
}

// GetApproval implements the service.
func (s approvals) GetApproval(_ context.Context, req *adminv1.GetApprovalRequest) (*adminv1.GetApprovalResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	a, err := s.find(req.GetId())
	return &adminv1.GetApprovalResponse{Approval: a}, err
}

// DecideApproval implements the service: the first decision counts, and it is Ada's.
func (s approvals) DecideApproval(_ context.Context, req *adminv1.DecideApprovalRequest) (*adminv1.DecideApprovalResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	a, err := s.find(req.GetId())
	if err != nil {
		return nil, err
	}
	if a.GetState() != "PENDING" {
		return nil, Failure(connect.CodeFailedPrecondition, "APPROVAL_DECIDED", "The call was decided by "+a.GetDecidedBy()+".")
	}
	a.State, a.DecidedBy, a.Reason, a.DecideTime = "DENIED", "ada@example.com", req.GetReason(), timestamppb.New(a.GetCreateTime().AsTime())
	kind := "denied"
	if req.GetApprove() {
		a.State, kind = "APPROVED", "approved"
	}
	a.Events = append(a.Events, &adminv1.ApprovalEvent{Kind: kind, Time: a.GetDecideTime(), Actor: a.GetDecidedBy(), How: "cli"})
	return &adminv1.DecideApprovalResponse{Approval: a}, nil
}

func (s approvals) find(id string) (*adminv1.Approval, error) {
	i := slices.IndexFunc(s.a.Approvals, func(a *adminv1.Approval) bool { return a.GetId() == id })
	if i < 0 {
		return nil, Failure(connect.CodeNotFound, "APPROVAL_NOT_FOUND", "There is no such approval that you may see.")
	}
	return s.a.Approvals[i], nil
}
