// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/confirm"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Approvals asks the control plane about calls that a policy holds (approval room, G-34).
type Approvals interface {
	// Hold asks whether a call may run, or with Look whether it could. A call that nobody asked about is put before its approvers. Faults
	// are Unavailable, Precondition, where nobody could approve it, Exhausted and Canceled; then it does not run.
	Hold(ctx context.Context, h call.Held) (call.Approval, error)
	// Wait returns nil when an approval may have been decided, and the error of ctx if that ends before.
	Wait(ctx context.Context, approval string) error
}

// brought takes the state of an approval out of a retry. What is left in k is the call as it first came or, where it was approved and
// then asked its client something, as whoever asked knows it. The fault is Invalid if the state was given to somebody else or for another
// request, such as one whose arguments were edited (EL-7).
func (d *Dispatcher) brought(c *call.Caller, k *call.Call) (came *confirm.State, said confirm.Answer, err error) {
	raw := k.Message.P.RequestState.Of(k.Body)
	if raw == nil || c.Version.Era() != wire.Modern || k.Method != methodCallTool {
		return nil, said, nil
	}
	s, ok := confirm.Open(d.Sealer, c.Gateway.UID, raw)
	if !ok {
		return nil, said, nil
	}
	digest, ok := wire.DigestOf(k.Params, k.Method)
	if !ok {
		return nil, said, invalidState()
	}
	switch err := s.Check(c.Principal.Key(), c.Principal.ClientID, digest, time.Now()); {
	case errors.Is(err, confirm.ErrExpired):
		return nil, said, expiredState().Because(err)
	case err != nil:
		return nil, said, invalidState().Because(err)
	}
	p := &k.Message.P
	var edits wire.Edits
	if s.Inner != nil {
		edits.Replace(p.RequestState.Span, s.Inner)
	} else {
		edits.Delete(p.RequestState)
	}
	switch s.Kind {
	case confirm.Running:
	case confirm.Confirmed:
		said = confirm.Yes
	default:
		said = confirm.AnswerIn(p.InputResponses.Of(k.Body))
		edits.Delete(p.InputResponses)
	}
	body, m := edits.AppendTo(make([]byte, 0, len(k.Body)), k.Body), new(wire.Message)
	if err := wire.Scan(body, m); err != nil {
		return nil, said, invalidState().Because(err)
	}
	k.Body, k.Message, k.Params = body, m, m.Params.Of(body)
	return s, said, nil
}

func expiredState() *fault.Fault {
	return fault.New(fault.Invalid, ReasonState, "requestState has expired")
}

// cleared asks the policies whether a call may run, and a person where a policy wants that. The reply is a question to the client, or
// empty if the call goes on; what was approved is used by t.claim then. Until it does nothing is counted against limits, and neither the
// authserver nor the server is asked.
func (d *Dispatcher) cleared(ctx context.Context, c *call.Caller, k *call.Call, t *target, dry *call.Dry) (call.Reply, error) {
	p, err := d.allowed(ctx, c, k, t, dry)
	if err = dry.Step(call.StepPolicies, err); err != nil {
		return call.Reply{}, err
	}
	if dry != nil {
		d.wouldHold(c, k, t, p, dry)
		return call.Reply{}, nil
	}
	if t.came != nil && (t.tool == nil || t.came.Tool != t.tool.Name) {
		return call.Reply{}, invalidState()
	}
	if t.came != nil && t.came.Kind == confirm.Running {
		return call.Reply{}, d.goOn(t, p)
	}
	if p == nil && t.said == confirm.No { // no policy asks any more; the person who was asked has decided all the same
		return call.Reply{}, fault.New(fault.Precondition, ReasonApprovalDenied, "The call was not confirmed. It did not run.")
	}
	if p == nil {
		return call.Reply{}, nil
	}
	if err := d.holds(p); err != nil {
		return call.Reply{}, err
	}
	if err := d.unasked(c, k, t); err != nil {
		return call.Reply{}, err
	}
	if came := t.came; came != nil && (came.Policy != p.UID || (came.Kind != confirm.Waiting) != p.Approvers.Caller) {
		t.came, t.said = nil, confirm.Nothing // asked for another policy, or by an earlier form of it: this one asks anew
	}
	h := &hold{d: d, c: c, k: k, t: t, policy: p}
	start := time.Now()
	defer func() { t.person = time.Since(start) }() // is none of the node's
	if p.Approvers.Caller {
		return h.confirm(ctx)
	}
	return h.queue(ctx)
}

// holds returns why the node cannot hold calls for a policy, nil if it can.
func (d *Dispatcher) holds(p *compile.Policy) error {
	if d.Approvals == nil {
		return fault.Newf(fault.Denied, ReasonPolicyBlocked, "The policy %q asks for an approval, and this node cannot hold calls.", p.Name)
	}
	return nil
}

// goOn lets an approved call go on that asked its client something. Each question is good for one retry (G-34): a client that sends it
// twice would have the server run the call twice.
func (d *Dispatcher) goOn(t *target, p *compile.Policy) error {
	t.claim = func(context.Context) (call.Reply, error) {
		if !d.tickets.Claim(t.came.ID) {
			return call.Reply{}, expiredState()
		}
		t.claim = nil
		return call.Reply{}, nil
	}
	switch {
	case t.came.Node != d.Node || !d.tickets.Good(t.came.ID):
		return expiredState()
	case p != nil && p.UID != t.came.Policy:
		return invalidState() // approved for another policy: it starts anew
	case p != nil:
		t.approved = p.UID
	}
	return nil
}

// unasked refuses what cannot run whatever a person says, before one is asked: a retry of a call that nobody approved, and one whose
// server, connection or credential is missing.
func (d *Dispatcher) unasked(c *call.Caller, k *call.Call, t *target) error {
	if t.came == nil && c.Version.Era() == wire.Modern && k.Message.P.RequestState.Present() {
		if err := d.returned(c, k, t); err != nil {
			return err
		}
		if t.round == 0 {
			return invalidState() // the server's, or of a held call: the policy came in the middle
		}
	}
	server, connection, err := locate(c, t)
	if err != nil {
		return err
	}
	if server.NeedsSecret && server.Version(connection) == "" {
		return noCredential(connection, t.what)
	}
	return nil
}

// carried wraps the state of a question that an approved call asks its client, whoever asks: the retry is part of what was approved. So it
// is with a call that its caller has confirmed and that could not run yet.
func (d *Dispatcher) carried(c *call.Caller, k *call.Call, t *target, reply call.Reply) (call.Reply, error) {
	if t.approved == "" && t.confirmed == nil || reply.Result == nil || c.Version.Era() != wire.Modern {
		return reply, nil
	}
	var m wire.Message
	if err := wire.ScanResult(reply.Result, &m); err != nil {
		return call.Reply{}, unreadable(err)
	}
	if !wire.EqualString(m.R.ResultType.Of(reply.Result), "input_required") {
		return reply, nil
	}
	s, err := d.carrying(t)
	if err != nil {
		return call.Reply{}, err
	}
	s.Inner = bytes.Clone(m.R.RequestState.Of(reply.Result))
	sealed, err := d.sealed(c, k, t, s)
	if err != nil {
		return call.Reply{}, err
	}
	var edits wire.Edits
	edits.Set(m.Result.Span, m.R.RequestState, "requestState", sealed)
	reply.Result = edits.AppendTo(make([]byte, 0, len(reply.Result)+len(sealed)), reply.Result)
	return reply, nil
}

// carrying is the state that a retry brings back of what was approved.
func (d *Dispatcher) carrying(t *target) (s confirm.State, err error) {
	switch {
	case t.confirmed != nil:
		return *t.confirmed, nil
	case t.claim != nil: // it has not left since the last question, whose ticket is still good
		return confirm.State{Kind: confirm.Running, ID: t.came.ID, Policy: t.approved, Node: d.Node}, nil
	}
	id, ok := d.tickets.Issue(time.Now())
	if !ok {
		return s, fault.New(fault.Exhausted, ReasonApprovalUsed, "Too many approved calls wait for answers of their clients.").After(time.Minute)
	}
	return confirm.State{Kind: confirm.Running, ID: id, Policy: t.approved, Node: d.Node}, nil
}

// sealed returns a state for this call, as a JSON string.
func (d *Dispatcher) sealed(c *call.Caller, k *call.Call, t *target, s confirm.State) ([]byte, error) {
	var ok bool
	if s.Digest, ok = wire.DigestOf(t.params, k.Method); !ok {
		return nil, invalidState()
	}
	s.Principal, s.Client, s.Tool = c.Principal.Key(), c.Principal.ClientID, t.tool.Name
	return s.Seal(d.Sealer, c.Gateway.UID, time.Now()), nil
}

// RunBy returns the name of the node that runs the approved call which the raw requestState of a retry is about: only that node can go
// on with it. It is empty for any other state.
func (d *Dispatcher) RunBy(gatewayUID string, raw []byte) string {
	s, ok := confirm.Open(d.Sealer, gatewayUID, raw)
	if !ok || s.Kind != confirm.Running {
		return ""
	}
	return s.Node
}

// request returns what the control plane is asked about the call.
func (h *hold) request(ctx context.Context) call.Held {
	q := call.Held{
		Gateway: h.c.Gateway.Name, GatewayUID: h.c.Gateway.UID, Tool: h.t.tool.Name, Policy: h.policy.Name, Principal: h.c.Principal,
		Arguments: h.k.Message.P.Arguments.Of(h.k.Body), Revision: h.c.Snapshot.Revision,
	}
	if s := trace.SpanContextFromContext(ctx); s.HasTraceID() {
		q.TraceID = s.TraceID().String()
	}
	return q
}

// about says which call a person is asked about, and why.
func (h *hold) about(server *view.Server) string {
	text := "the tool \"" + confirm.Words(h.t.tool.Upstream) + "\" of \"" + confirm.Words(title(server)) + "\" through the gateway \"" + h.c.Gateway.Name + "\""
	text += " (policy \"" + h.policy.Name + "\""
	if h.policy.Reason != "" {
		text += ": " + confirm.Words(h.policy.Reason)
	}
	return text + ")"
}

// by says who approves a call: any of them.
func by(a *call.Approval) string {
	n := len(a.Approvers)
	switch n {
	case 0:
		return "one of its approvers"
	case 1:
		return confirm.Words(a.Approvers[0])
	}
	return confirm.Words(strings.Join(a.Approvers[:n-1], ", ") + " or " + a.Approvers[n-1])
}
