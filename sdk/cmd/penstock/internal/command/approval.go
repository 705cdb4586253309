// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// approvalCommands is penstock approvals.
type approvalCommands struct {
	List    approvalListCommand `cmd:"" default:"withargs" help:"List the tool calls that wait for your approval, for an ADMIN all."`
	Show    approvalShowCommand `cmd:"" help:"Show one: the call, its arguments, and what happened to it."`
	Approve approveCommand      `cmd:"" help:"Let a call run once, with exactly these arguments, within 10 minutes."`
	Deny    denyCommand         `cmd:"" help:"Refuse a call."`
}

// approvalListCommand is penstock approvals list.
type approvalListCommand struct {
	State string `enum:"pending,approved,denied,expired,run,all" default:"pending" help:"Those in this state: pending, approved, denied, expired, run or all."`
}

// Run implements the command.
func (c *approvalListCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	state := map[string]string{"approved": "APPROVED", "denied": "DENIED", "expired": "EXPIRED", "run": "RUN", "all": "*"}[c.State]
	var all []proto.Message
	for a, err := range client.Approvals.All(ctx, &adminv1.ListApprovalsRequest{State: state}) {
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	if !r.forPeople() {
		return show.Many(r.Stdout, r.grammar.Output, all)
	}
	if len(all) == 0 {
		r.note("no call waits for your approval")
		return nil
	}
	return table(r, all...)
}

// approvalShowCommand is penstock approvals show.
type approvalShowCommand struct {
	ID string `arg:"" name:"id" help:"Identifier of the approval."`
}

// Run implements the command.
func (c *approvalShowCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Approvals.GetApproval(ctx, &adminv1.GetApprovalRequest{Id: c.ID})
	if err != nil {
		return err
	}
	return showApproval(r, res.GetApproval())
}

func showApproval(r *run, a *adminv1.Approval) error {
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, a)
	}
	return show.Describe(r.Stdout, a, nil)
}

// approveCommand is penstock approvals approve.
type approveCommand struct {
	ID     string `arg:"" name:"id" help:"Identifier of the approval."`
	Reason string `placeholder:"TEXT" help:"Sentence for the caller."`
}

// Run implements the command.
func (c *approveCommand) Run(ctx context.Context, r *run) error {
	return decide(ctx, r, &adminv1.DecideApprovalRequest{Id: c.ID, Approve: true, Reason: c.Reason})
}

// denyCommand is penstock approvals deny.
type denyCommand struct {
	ID     string `arg:"" name:"id" help:"Identifier of the approval."`
	Reason string `placeholder:"TEXT" help:"Sentence for the caller."`
}

// Run implements the command.
func (c *denyCommand) Run(ctx context.Context, r *run) error {
	return decide(ctx, r, &adminv1.DecideApprovalRequest{Id: c.ID, Reason: c.Reason})
}

func decide(ctx context.Context, r *run, req *adminv1.DecideApprovalRequest) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Approvals.DecideApproval(ctx, req)
	if err != nil {
		return err
	}
	a := res.GetApproval()
	switch {
	case !r.forPeople():
		return show.One(r.Stdout, r.grammar.Output, a)
	case req.GetApprove():
		return r.print("%s of %s is approved; it can run once, until %s", show.Safe(a.GetTool()), show.Safe(a.GetCaller()), a.GetExpireTime().AsTime().Format("2006-01-02 15:04Z"))
	default:
		return r.print("%s of %s is denied", show.Safe(a.GetTool()), show.Safe(a.GetCaller()))
	}
}
