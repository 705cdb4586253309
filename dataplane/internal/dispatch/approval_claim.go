// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/confirm"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// last leaves what was approved to be used by t.claim: a call that is refused until then keeps it. The confirmation is the caller's, empty
// for an approval of others.
func (h *hold) last(confirmation string) {
	if h.free {
		return
	}
	h.t.claim = func(ctx context.Context) (call.Reply, error) { return h.claim(ctx, confirmation) }
}

// claim has the control plane let the call run, which it does once. The reply is a question where another call was first that is the same: then
// this one is put before its approvers anew.
func (h *hold) claim(ctx context.Context, confirmation string) (call.Reply, error) {
	start := time.Now()
	defer func() { h.t.person += time.Since(start) }() // is none of the node's
	q := h.request(ctx)
	q.Confirmation = confirmation
	a, err := h.d.Approvals.Hold(ctx, q)
	switch {
	case err != nil:
		return call.Reply{}, err
	case a.Run:
		return call.Reply{}, h.runs(ctx)
	case a.State != call.ApprovalPending:
		return call.Reply{}, h.outcome(ctx, &a)
	}
	h.count(ctx, decisionHeld)
	if h.t.came = nil; h.modern() && h.asks() {
		return h.question(ctx, h.waiting(&a), confirm.State{Kind: confirm.Waiting, Approval: a.ID})
	}
	return call.Reply{}, h.required(&a)
}

// runs says that the call was let run. While the control plane was asked, things may have changed to the worse: then it does not.
func (h *hold) runs(ctx context.Context) error {
	c, t := *h.c, *h.t // the request was made of what they are
	now := hold{d: h.d, c: &c, k: h.k, t: &t, policy: h.policy}
	if err := now.again(ctx); err != nil {
		return err
	}
	if _, _, err := locate(&c, &t); err != nil {
		return err
	}
	h.count(ctx, decisionApproved)
	h.t.approved, h.t.confirmed, h.t.claim = h.policy.UID, nil, nil
	return nil
}

// again decides about the call anew, as things are now: while a person was waited for, the configuration may have changed, the caller may
// have lost access, and the context may have become untrusted.
func (h *hold) again(ctx context.Context) error {
	if ctx.Err() != nil {
		return gone(ctx)
	}
	if h.c.Again != nil {
		now, err := h.c.Again.Again(*h.c)
		if err != nil {
			return err //nolint:wrapcheck // a fault with the answer
		}
		*h.c = now
	}
	now, err := h.d.find(h.c, h.k)
	if err != nil {
		return err
	}
	if now.tool.Held {
		return held(now.tool)
	}
	same := slices.EqualFunc(now.tool.Fixed, h.t.tool.Fixed, func(a, b compile.FixedArgument) bool {
		return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
	})
	if now.tool.Name != h.t.tool.Name || !same {
		return h.moved()
	}
	now.came, now.said, now.round, now.params = h.t.came, h.t.said, h.t.round, h.t.params
	now.noted, now.sink, now.reminded = h.t.noted, h.t.sink, h.t.reminded
	*h.t = now
	switch decision := h.d.decide(ctx, h.c, h.k, h.t, quiet{}); {
	case decision.Action == compile.ActionAllow:
		h.free = true
	case decision.Action != compile.ActionRequireApproval:
		h.count(ctx, decisionDenied)
		return blocked(decision)
	case decision.Policy.UID != h.policy.UID || decision.Policy.Approvers != h.policy.Approvers:
		return h.moved()
	default:
		h.policy = decision.Policy
	}
	return nil
}

// moved refuses a call that is not any more what was approved.
func (h *hold) moved() error {
	return h.says(ReasonPolicyBlocked, "held this call, and the configuration has changed since. It did not run; call again.")
}

// quiet is the watcher of a decision that was counted before.
type quiet struct{}

// Would implements compile.Watcher.
func (quiet) Would(*compile.Policy) {}

// Failed implements compile.Watcher.
func (quiet) Failed(*compile.Policy, error) {}
