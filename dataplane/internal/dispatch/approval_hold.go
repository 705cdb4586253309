// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/confirm"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	// askTime is how long a person may take for an answer.
	askTime = 10 * time.Minute
	// graceTime is how long a call waits for others when its client has said that it wants to.
	graceTime = 25 * time.Second
)

// hold is one call that a policy holds.
type hold struct {
	d      *Dispatcher
	c      *call.Caller
	k      *call.Call
	t      *target
	policy *compile.Policy
	free   bool // no policy holds the call any more
}

func (h *hold) count(ctx context.Context, outcome string) {
	decisions{ctx, h.d, h.c}.count(h.policy.Name, outcome)
}

func (h *hold) modern() bool { return h.c.Version.Era() == wire.Modern }

// asks reports whether the person can be asked in their client.
func (h *hold) asks() bool {
	return confirm.Shown(h.c.Version, h.c.Client.Capabilities) && (h.modern() || h.c.Client.Asker != nil)
}

// confirm asks the person who calls. The reply is a question, or empty if the call goes on.
func (h *hold) confirm(ctx context.Context) (call.Reply, error) {
	if h.c.Principal.Kind != ident.KindUser {
		h.count(ctx, decisionDenied)
		return call.Reply{}, nobodys(h.policy)
	}
	if !h.asks() {
		return call.Reply{}, h.unaskable(ctx)
	}
	server := h.c.Snapshot.Server(h.t.server)
	message := "Run " + h.about(server) + "? Arguments: " + confirm.Arguments(h.k.Message.P.Arguments.Of(h.k.Body))
	id := confirm.NewID()
	switch {
	case h.modern() && h.t.said == confirm.Nothing:
		return h.question(ctx, message, confirm.State{Kind: confirm.Confirmation, ID: id})
	case h.modern():
		id = h.t.came.ID
	default:
		h.count(ctx, decisionHeld)
		said, err := h.ask(ctx, message)
		if err != nil {
			return call.Reply{}, err
		}
		h.t.said = said
	}
	if h.t.said != confirm.Yes {
		return call.Reply{}, h.refuse(ctx, ReasonApprovalDenied, "asks to confirm this call, and it was not confirmed. It did not run.")
	}
	if err := h.again(ctx); err != nil {
		return call.Reply{}, err
	}
	h.last(id.String())
	if h.modern() && !h.free {
		s := confirm.State{Kind: confirm.Confirmed, ID: id, Policy: h.policy.UID}
		if h.t.came != nil {
			s.Round = h.t.came.Round
		}
		h.t.confirmed = &s
	}
	return call.Reply{}, nil
}

// unaskable refuses a call whose caller would have to be asked, and cannot.
func (h *hold) unaskable(ctx context.Context) error {
	return h.refuse(ctx, ReasonApprovalUnasked,
		"asks the person who calls to confirm the call, and this client cannot ask: it offers no elicitation with forms. Call the tool with a client that does.")
}

// queue puts the call before its approvers. The reply is a question, or empty if the call goes on.
func (h *hold) queue(ctx context.Context) (call.Reply, error) {
	came := h.t.came
	if came != nil && h.t.said == confirm.No {
		return call.Reply{}, h.required(&call.Approval{ID: came.Approval})
	}
	round, waits := 0, came != nil && h.t.said == confirm.Yes
	if came != nil {
		round = int(came.Round)
	}
	for first := true; ; first = false {
		q := h.request(ctx)
		q.Look = true
		a, err := h.d.Approvals.Hold(ctx, q)
		if err != nil {
			return call.Reply{}, err
		}
		switch {
		case a.Run: // by a control plane that does not know a look
			return call.Reply{}, h.runs(ctx)
		case a.State == call.ApprovalApproved:
			if err := h.again(ctx); err != nil {
				return call.Reply{}, err
			}
			h.last("")
			return call.Reply{}, nil
		case a.State != call.ApprovalPending:
			return call.Reply{}, h.outcome(ctx, &a)
		}
		if first && came == nil {
			h.count(ctx, decisionHeld)
		}
		switch {
		case !h.asks():
			return call.Reply{}, h.required(&a)
		case h.modern() && waits:
			waits = false
			if err := h.wait(ctx, &a); err != nil {
				return call.Reply{}, err
			}
		case round >= confirm.Rounds:
			return call.Reply{}, h.required(&a)
		case h.modern():
			return h.question(ctx, h.waiting(&a), confirm.State{Kind: confirm.Waiting, Approval: a.ID})
		default:
			round++
			goOn, err := h.askWhileWaiting(ctx, &a)
			if err != nil {
				return call.Reply{}, err
			}
			if !goOn {
				return call.Reply{}, h.required(&a)
			}
		}
		if err := h.again(ctx); err != nil || h.free {
			return call.Reply{}, err
		}
	}
}

// waiting is the question whether to wait for an approval.
func (h *hold) waiting(a *call.Approval) string {
	text := "A call of " + h.about(h.c.Snapshot.Server(h.t.server)) + " waits for an approval by " + by(a) + " (approval " + a.ID + until(a) +
		"). Accept to try again once it is approved."
	return text + " Arguments: " + confirm.Arguments(h.k.Message.P.Arguments.Of(h.k.Body))
}

func until(a *call.Approval) string {
	if a.Expires.IsZero() {
		return ""
	}
	return ", " + untilTime(a.Expires)
}

func untilTime(t time.Time) string { return "until " + t.UTC().Format(time.RFC3339) }

// waits is what a client is told while it waits for an approval.
func waits(a *call.Approval) string {
	return "The call waits for an approval by " + by(a) + " (approval " + a.ID + until(a) + ")."
}

// outcome is what became of an approval by which the call does not run.
func (h *hold) outcome(ctx context.Context, a *call.Approval) error {
	switch a.State {
	case call.ApprovalDenied:
		text := "holds this call, and its approval was denied."
		if a.Reason != "" {
			text = "holds this call, and its approval was denied: " + a.Reason
		}
		return h.refuse(ctx, ReasonApprovalDenied, text)
	case call.ApprovalExpired:
		return h.refuse(ctx, ReasonApprovalExpired, "holds this call, and its approval has expired. It did not run; call again to ask anew.")
	case call.ApprovalRun:
		return h.refuse(ctx, ReasonApprovalUsed, "holds this call, and what was approved has been used: it runs once. Call the tool anew.")
	default: // approved, and not for this call: no answer of a control plane
		return fault.Newf(fault.Unavailable, ReasonApprovalRequired, "The policy %q holds this call, and it cannot be told whether it may run. Call again.", h.policy.Name)
	}
}

// required is what a client reads of a call that waits for its approvers.
func (h *hold) required(a *call.Approval) error {
	text := "holds this call until it is approved by " + by(a) + " (approval " + a.ID + until(a) + "). Call the tool again with the same arguments once it is approved."
	return h.says(ReasonApprovalRequired, text).Because(&waitsFor{a.ID, a.Expires})
}

// refuse is what a client reads of a call that does not run. It is counted.
func (h *hold) refuse(ctx context.Context, reason, text string) error {
	h.count(ctx, decisionDenied)
	return h.says(reason, text)
}

func (h *hold) says(reason, text string) *fault.Fault { return says(h.policy, reason, text) }

func says(p *compile.Policy, reason, text string) *fault.Fault {
	if r := p.Reason; r != "" {
		text = strings.TrimSuffix(text, ".") + ". Reason of the policy: " + r
	}
	return fault.Newf(fault.Precondition, reason, "The policy %q %s", p.Name, text)
}

// nobodys refuses a call that its caller is to confirm, where no person calls.
func nobodys(p *compile.Policy) error {
	return says(p, ReasonApprovalUser, "asks the person who calls to confirm the call, and this token is nobody's. Call the tool as a person.")
}

// question puts a question to a modern client, which brings the state back with the answer.
func (h *hold) question(ctx context.Context, message string, s confirm.State) (call.Reply, error) {
	if s.Round = 1; h.t.came != nil {
		s.Round = h.t.came.Round + 1
	} else if s.Kind == confirm.Confirmation {
		h.count(ctx, decisionHeld)
	}
	if s.Round > confirm.Rounds {
		return call.Reply{}, h.refuse(ctx, ReasonApprovalDenied, "asks to confirm this call, and it was not confirmed. It did not run.")
	}
	s.Policy = h.policy.UID
	sealed, err := h.d.sealed(h.c, h.k, h.t, s)
	if err != nil {
		return call.Reply{}, err
	}
	return call.Reply{Result: confirm.Asked(message, sealed)}, nil
}

// ask puts a question to the person at the client of a legacy session. No answer in time is none.
func (h *hold) ask(ctx context.Context, message string) (confirm.Answer, error) {
	within, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var got call.Answer
	var err error
	h.meanwhile("The call waits for you to confirm it in this client, "+untilTime(time.Now().Add(askTime))+".", func() {
		got, err = h.c.Client.Asker.Ask(within, call.Question{Method: confirm.Method, Params: confirm.Params(message)})
	})
	switch {
	case ctx.Err() != nil:
		return confirm.Nothing, gone(ctx)
	case err != nil && within.Err() == nil:
		return confirm.Nothing, h.unaskable(ctx)
	case err != nil:
		return confirm.Nothing, nil
	}
	return confirm.AnswerOf(got.Result), nil
}

// askWhileWaiting asks the person at the client of a legacy session whether to wait, and waits meanwhile: when the approval is decided the
// question is taken back. goOn is false if the person does not want to wait.
func (h *hold) askWhileWaiting(ctx context.Context, a *call.Approval) (goOn bool, err error) {
	within, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var both sync.WaitGroup
	var decided, said bool
	both.Go(func() {
		decided = h.d.Approvals.Wait(within, a.ID) == nil
		cancel()
	})
	both.Go(func() {
		got, err := h.c.Client.Asker.Ask(within, call.Question{Method: confirm.Method, Params: confirm.Params(h.waiting(a))})
		if said = err == nil && confirm.AnswerOf(got.Result) == confirm.Yes; !said {
			cancel()
			return
		}
		over := time.NewTimer(graceTime)
		defer over.Stop()
		select {
		case <-within.Done():
		case <-over.C:
			cancel()
		}
	})
	h.meanwhile(waits(a), both.Wait)
	if ctx.Err() != nil {
		return false, gone(ctx)
	}
	return decided || said, nil
}

// wait waits for the decision, for as long as a client waits for an answer at least.
func (h *hold) wait(ctx context.Context, a *call.Approval) error {
	within, cancel := context.WithTimeout(ctx, graceTime)
	defer cancel()
	h.meanwhile(waits(a), func() {
		_ = h.d.Approvals.Wait(within, a.ID) // how it ended is asked anew
	})
	if ctx.Err() != nil {
		return gone(ctx)
	}
	return nil
}

// gone is the fault of a call whose client does not want it any more.
func gone(ctx context.Context) error {
	return fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(context.Cause(ctx))
}

// waitsFor says in a fault which approval a call waits for.
type waitsFor struct {
	id      string
	expires time.Time
}

// Error implements error.
func (w *waitsFor) Error() string { return "waits for the approval " + w.id }

func (w *waitsFor) append(b []byte) []byte {
	b = wire.AppendString(append(b, `,"approval":`...), w.id)
	if !w.expires.IsZero() {
		b = wire.AppendString(append(b, `,"expire_time":`...), w.expires.UTC().Format(time.RFC3339))
	}
	return b
}
