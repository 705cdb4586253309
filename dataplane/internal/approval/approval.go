// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	// ReasonUnavailable (Unavailable): the control plane could not be asked. The call did not run.
	ReasonUnavailable = "APPROVALS_UNAVAILABLE"
	// ReasonImpossible (Precondition): the call cannot be put before anybody, or nobody could approve it.
	ReasonImpossible = "APPROVAL_IMPOSSIBLE"
	// ReasonChanged (Unavailable): the control plane does not know, or know any more, what the call is about.
	ReasonChanged = "CONFIGURATION_CHANGING"
)

const (
	// holdTime is how long one question whether a call may run may take.
	holdTime = 10 * time.Second
	// waitTime is the same for one that waits: the control plane answers after 30 s at the latest.
	waitTime = 40 * time.Second
	// pause is between two questions of a wait, where the first failed or came back at once.
	pause = time.Second
)

// reasonNotRequired is the control plane's word for a policy that has changed since this node heard of it.
const reasonNotRequired = "APPROVAL_NOT_REQUIRED"

// Service is penstock.node.v1.ApprovalService at the control plane. Its errors are faults.
type Service interface {
	HoldCall(ctx context.Context, r *nodev1.HoldCallRequest) (*nodev1.HoldCallResponse, error)
	WaitApproval(ctx context.Context, r *nodev1.WaitApprovalRequest) (*nodev1.WaitApprovalResponse, error)
}

// Client asks about held calls. It is safe for concurrent use.
type Client struct{ service Service }

// New returns a Client.
func New(s Service) *Client { return &Client{s} }

// Hold asks whether a call may run, or with Look whether it could. It is asked once: an answer that is lost may have been the one that lets
// the call run, and then it does not.
//
// The faults are Unavailable, APPROVALS_UNAVAILABLE and CONFIGURATION_CHANGING; Precondition, APPROVAL_IMPOSSIBLE; Exhausted, if the
// control plane takes no more; and Canceled.
func (c *Client) Hold(ctx context.Context, h call.Held) (call.Approval, error) {
	within, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	p := h.Principal
	caller := &nodev1.HeldCaller{
		Kind: string(p.Kind), Uid: p.UID, Name: p.Name, AuthMethod: p.Method, ClientId: p.ClientID, TokenId: p.TokenID,
	}
	if p.Kind == ident.KindOrganization {
		caller.Uid = ""
	}
	got, err := c.service.HoldCall(within, &nodev1.HoldCallRequest{
		Gateway: h.Gateway, GatewayUid: h.GatewayUID, Tool: h.Tool, Policy: h.Policy, Caller: caller, Arguments: h.Arguments,
		Confirmation: h.Confirmation, Revision: h.Revision, TraceId: h.TraceID, Look: h.Look,
	})
	if err != nil {
		return call.Approval{}, refused(ctx, err)
	}
	a := call.Approval{
		ID: got.GetApproval(), State: stateOf(got.GetState()), Run: got.GetRun() && got.GetState() == nodev1.ApprovalState_APPROVAL_STATE_RUN,
		Reason: got.GetReason(), Approvers: got.GetApprovers(),
	}
	if t := got.GetExpireTime(); t != nil {
		a.Expires = t.AsTime()
	}
	if a.State == 0 {
		return call.Approval{}, fault.New(fault.Unavailable, ReasonUnavailable,
			"The control plane answered about the approval what this node does not know. The call did not run; ask an administrator to update the node.")
	}
	return a, nil
}

// refused says of a question that failed what it means to the caller.
func refused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(context.Cause(ctx))
	}
	f := fault.From(err)
	if f.Reason == reasonNotRequired {
		f = fault.New(fault.NotFound, f.Reason, f.Public)
	}
	switch f.Kind {
	case fault.Precondition, fault.Invalid:
		return fault.New(fault.Precondition, ReasonImpossible, "The call needs an approval that cannot be asked for: "+f.Public).Because(err)
	case fault.NotFound:
		return fault.New(fault.Unavailable, ReasonChanged, "The configuration is changing. The call did not run; call again.").Because(err)
	case fault.Exhausted:
		return fault.New(fault.Exhausted, ReasonUnavailable, "The approval cannot be asked for now: "+f.Public).After(f.Retry).Because(err)
	default:
		return fault.New(fault.Unavailable, ReasonUnavailable,
			"The call needs an approval, and the control plane, which keeps approvals, cannot be reached. The call did not run; try again later.").Because(err)
	}
}

// Wait returns nil when an approval may have been decided, which [Client.Hold] tells, and the error of ctx when that ends before. While the
// control plane is away it goes on waiting.
func (c *Client) Wait(ctx context.Context, id string) error {
	for {
		asked := time.Now()
		if c.decided(ctx, id) {
			return nil
		}
		if ctx.Err() == nil && time.Since(asked) >= pause {
			continue
		}
		rest := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			rest.Stop()
			return ctx.Err() //nolint:wrapcheck // documented
		case <-rest.C:
		}
	}
}

func (c *Client) decided(ctx context.Context, id string) bool {
	within, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	got, err := c.service.WaitApproval(within, &nodev1.WaitApprovalRequest{Approval: id})
	if err != nil {
		return fault.KindOf(err) == fault.NotFound
	}
	return got.GetState() != nodev1.ApprovalState_APPROVAL_STATE_PENDING
}

// stateOf returns 0 for a state that this node does not know.
func stateOf(s nodev1.ApprovalState) call.ApprovalState {
	switch s {
	case nodev1.ApprovalState_APPROVAL_STATE_PENDING:
		return call.ApprovalPending
	case nodev1.ApprovalState_APPROVAL_STATE_APPROVED:
		return call.ApprovalApproved
	case nodev1.ApprovalState_APPROVAL_STATE_DENIED:
		return call.ApprovalDenied
	case nodev1.ApprovalState_APPROVAL_STATE_EXPIRED:
		return call.ApprovalExpired
	case nodev1.ApprovalState_APPROVAL_STATE_RUN:
		return call.ApprovalRun
	default:
		return 0
	}
}
