// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/filter"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
)

// approvals serves ApprovalService.
type approvals struct{ *api }

var _ adminv1connect.ApprovalServiceHandler = approvals{}

// Approvals are the held calls. approval.Service has them.
type Approvals interface {
	List(ctx context.Context, v approval.Viewer, q approval.Query) ([]*approval.Approval, bool, error)
	Get(ctx context.Context, v approval.Viewer, id string) (*approval.Approval, []approval.Event, error)
	Decide(ctx context.Context, d approval.Decision, answer func(*approval.Approval) (*approval.Answer, error)) (*approval.Approval, error)
}

const (
	approvalPage = 100
	// anyState lists approvals in all states.
	anyState = "*"
	// commandLine begins the User-Agent of the CLI.
	commandLine = "penstock/"
)

func viewer(ctx context.Context) approval.Viewer {
	c := callerOf(ctx)
	return approval.Viewer{Email: c.Email, Admin: c.System || c.Role == catalog.RoleAdmin}
}

// ListApprovals implements adminv1connect.ApprovalServiceHandler.
func (s approvals) ListApprovals(ctx context.Context, req *adminv1.ListApprovalsRequest) (*adminv1.ListApprovalsResponse, error) {
	q := approval.Query{State: approval.State(req.GetState()), Limit: int(req.GetPageSize())}
	switch req.GetState() {
	case "":
		q.State = approval.Pending
	case anyState:
		q.State = ""
	}
	if q.Limit == 0 {
		q.Limit = approvalPage
	}
	of := filter.Request{Kind: "approval", Filter: string(q.State)}
	after, err := of.After(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if after != "" {
		micros, id, _ := strings.Cut(after, " ")
		at, err := strconv.ParseInt(micros, 10, 64) // it is our own: nobody else knows what a token is bound to
		if err != nil {
			return nil, err
		}
		q.Before = &approval.Mark{Create: time.UnixMicro(at), ID: id}
	}
	page, more, err := s.held.List(ctx, viewer(ctx), q)
	if err != nil {
		return nil, err
	}
	res := &adminv1.ListApprovalsResponse{}
	for _, a := range page {
		res.Approvals = append(res.Approvals, approvalMessage(a, nil))
	}
	if more {
		last := page[len(page)-1]
		res.NextPageToken = of.Token(strconv.FormatInt(last.Create.UnixMicro(), 10) + " " + last.ID)
	}
	return res, nil
}

// GetApproval implements adminv1connect.ApprovalServiceHandler.
func (s approvals) GetApproval(ctx context.Context, req *adminv1.GetApprovalRequest) (*adminv1.GetApprovalResponse, error) {
	a, events, err := s.held.Get(ctx, viewer(ctx), req.GetId())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetApprovalResponse{Approval: approvalMessage(a, events)}, nil
}

// DecideApproval implements adminv1connect.ApprovalServiceHandler.
func (s approvals) DecideApproval(ctx context.Context, req *adminv1.DecideApprovalRequest) (*adminv1.DecideApprovalResponse, error) {
	d := approval.Decision{ID: req.GetId(), Approve: req.GetApprove(), By: callerOf(ctx).Email, How: approval.HowAPI, Reason: req.GetReason()}
	if info, ok := connect.CallInfoForHandlerContext(ctx); ok && strings.HasPrefix(info.RequestHeader().Get("User-Agent"), commandLine) {
		d.How = approval.HowCLI
	}
	if _, err := s.held.Decide(ctx, d, nil); err != nil {
		return nil, err
	}
	a, events, err := s.held.Get(ctx, viewer(ctx), req.GetId())
	if err != nil {
		return nil, err
	}
	return &adminv1.DecideApprovalResponse{Approval: approvalMessage(a, events)}, nil
}

// approvalMessage encodes an approval.
func approvalMessage(a *approval.Approval, events []approval.Event) *adminv1.Approval {
	m := &adminv1.Approval{
		Id: a.ID, State: string(a.State), Gateway: a.Call.Gateway, Tool: a.Call.Tool, Policy: a.Call.Policy, Caller: a.Call.Caller.String(),
		ClientId: a.Call.Caller.ClientID, Arguments: string(a.Arguments), ArgumentsSha256: hex.EncodeToString(a.SHA256[:]),
		Approvers: a.Call.Approvers, CreateTime: timestamppb.New(a.Create), ExpireTime: timestamppb.New(a.Expire),
		DecidedBy: a.DecidedBy, DecideTime: instant(a.DecideTime), Reason: a.Reason, Node: a.RunNode, RunTime: instant(a.RunTime),
	}
	for _, e := range events {
		m.Events = append(m.Events, &adminv1.ApprovalEvent{Kind: e.Kind, Time: timestamppb.New(e.Time), Actor: e.Actor, How: e.How})
	}
	return m
}

// instant encodes a time that may not have come.
func instant(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
