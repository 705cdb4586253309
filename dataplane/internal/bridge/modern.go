// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/state"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/verdict"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	// ReasonState (Invalid): the requestState is not one that this client was given for this request (EL-7).
	ReasonState = "REQUEST_STATE_INVALID"
	// ReasonHeld (Exhausted): too many calls wait for answers.
	ReasonHeld = "TOO_MANY_HELD_CALLS"
	// ReasonDeclined (Precondition): the person did not agree to open the page that the call needs (EL-8).
	ReasonDeclined = "PAGE_DECLINED"
)

// stateTime is how long a requestState is good for that is not of a held call.
const stateTime = 10 * time.Minute

// modern makes a request of a client without a session.
func (b *Bridge) modern(ctx context.Context, o *call.Outbound, upstream wire.Era, sink func([]byte) error) (call.Reply, error) {
	round := uint8(0)
	if o.State != nil || o.Responses != nil {
		t, err := b.open(o, upstream)
		switch {
		case errors.Is(err, state.ErrExpired):
			return expired(), nil
		case err != nil:
			return call.Reply{}, invalidState().Because(err)
		case t == nil:
		case t.Kind == state.Hold:
			return b.comeBack(ctx, o, t, sink)
		case t.Kind == state.Resend && declined(o.Responses):
			return verdict.Refuse(o.Method, ReasonDeclined, "The page that the server needs opened was declined.")
		case t.Kind == state.Resend:
			round = t.Round
		}
		if o, err = retried(o, t, upstream); err != nil {
			return call.Reply{}, err
		}
	}
	if upstream != wire.Modern && asksInput(o.Method) && question.CanAsk(o.Offer) {
		return b.start(ctx, o, round, sink)
	}
	reply, err := b.perform(ctx, o, func(e call.Event) error {
		switch {
		case e.ID != nil:
			refuse(e)
		case e.Method == "notifications/progress", e.Method == "notifications/message" && isHeard(o.Client.LogLevel, e.Params):
			return sink(e.Raw)
		case isOfSession(e.Method):
			b.aside(o, e)
		case upstream == wire.Modern && !isKnown(e.Method):
			return sink(e.Raw)
		}
		return nil
	})
	if err != nil {
		return call.Reply{}, err
	}
	return b.toModern(o, reply, round)
}

// isKnown reports whether a notification is one of MCP's own that are not for the stream of a call.
func isKnown(method string) bool {
	switch method {
	case "notifications/message", "notifications/cancelled", "notifications/tasks", "notifications/tasks/status",
		"notifications/elicitation/complete", "notifications/subscriptions/acknowledged":
		return true
	}
	return false
}

// open reads the requestState of a retry. It returns nil for one that is the upstream's.
func (b *Bridge) open(o *call.Outbound, upstream wire.Era) (*state.State, error) {
	if o.State == nil {
		return nil, nil //nolint:nilnil // nothing came, nothing is wrong
	}
	if !state.IsOurs(o.State) {
		if upstream == wire.Legacy {
			return nil, state.ErrInvalid // it makes none
		}
		return nil, nil //nolint:nilnil // the upstream's
	}
	t, err := b.states.Open(o.Gateway.UID, o.State)
	if err != nil {
		return nil, err
	}
	digest, ok := digestOf(o)
	if !ok {
		return nil, state.ErrInvalid
	}
	return t, t.Check(o.Principal.Key(), o.Principal.ClientID, digest, time.Now())
}

func digestOf(o *call.Outbound) (state.Digest, bool) {
	return state.DigestOf(o.Server.Name, o.Connection.UID, o.Method, o.Params)
}

func invalidState() *fault.Fault {
	return fault.New(fault.Invalid, ReasonState, "requestState is not valid")
}

// expired is what a retry gets that comes too late or twice (M-79, M-81).
func expired() call.Reply {
	return call.Reply{Error: wire.AppendErrorObject(nil, wire.CodeInvalidParams, "requestState has expired",
		[]byte(`{"reason":"request_state_expired"}`))}
}

// declined reports whether one of the answers to a page is another than yes.
func declined(responses []byte) bool {
	fields, err := wire.Fields(nil, responses)
	if err != nil {
		return false
	}
	for i := range fields {
		if !question.Accepts(fields[i].Of(responses)) {
			return true
		}
	}
	return false
}

// retried returns the request without the node's own state: with the upstream's that was wrapped in it, or as it first
// came.
func retried(o *call.Outbound, t *state.State, upstream wire.Era) (*call.Outbound, error) {
	next := *o
	var err error
	switch {
	case t == nil && upstream == wire.Legacy, t != nil && t.Kind == state.Resend:
		next.State, next.Responses = nil, nil
	case t != nil && t.Kind == state.Wrapped:
		next.State = t.Upstream
	default:
		return o, nil
	}
	next.Params, err = withAnswers(o.Params, next.Responses, next.State)
	return &next, err
}

// start makes a call that is held if the upstream, of the legacy era as far as is known, asks something (4.1).
func (b *Bridge) start(ctx context.Context, o *call.Outbound, round uint8, sink func([]byte) error) (call.Reply, error) {
	own := kept(o)
	l := &hold.Listener{Sink: sink, Token: own.ProgressToken, Hears: hears(o.Client.LogLevel)}
	b.working.Add(1)
	c := hold.Start(ctx, hold.Config{
		Send: func(ctx context.Context, events func(call.Event) error) (call.Reply, error) {
			return b.perform(ctx, own, events)
		},
		Offer: own.Offer, Capabilities: own.Client.Capabilities,
		Aside: func(e call.Event) {
			if isOfSession(e.Method) {
				b.aside(own, e)
			}
		},
	}, l, b.working.Done)
	return b.follow(ctx, o, c, round)
}

// kept returns a copy of a request that owns its bytes: a held call outlives the message it came with.
func kept(o *call.Outbound) *call.Outbound {
	own := *o
	own.Params, own.ProgressToken = bytes.Clone(o.Params), bytes.Clone(o.ProgressToken)
	own.Client.Capabilities, own.Schema = bytes.Clone(o.Client.Capabilities), bytes.Clone(o.Schema)
	own.State, own.Responses = nil, nil
	return &own
}

// comeBack goes on with a held call (M-78, M-79).
func (b *Bridge) comeBack(ctx context.Context, o *call.Outbound, t *state.State, sink func([]byte) error) (call.Reply, error) {
	if t.Node != b.cfg.Node {
		return expired(), nil // edge has forwarded it if that node was there
	}
	c := b.held.Claim(t.ID)
	if c == nil {
		return expired(), nil
	}
	c.Resume(&hold.Listener{Sink: sink, Token: o.ProgressToken, Hears: hears(o.Client.LogLevel)}, o.Responses)
	return b.follow(ctx, o, c, 0)
}

// HeldBy returns the name of the node that holds the call which the raw requestState of a principal's retry is about: only
// that node can go on with it (M-78). It is empty for a state that is about no held call, has expired or is not valid; what
// the retry says beside it is checked there.
func (b *Bridge) HeldBy(gatewayUID string, p ident.Principal, raw []byte) string {
	if !state.IsOurs(raw) {
		return ""
	}
	t, err := b.states.Open(gatewayUID, raw)
	if err != nil || t.Kind != state.Hold || t.Check(p.Key(), p.ClientID, t.Digest, time.Now()) != nil {
		return ""
	}
	return t.Node
}

// Held returns how many calls wait here for answers of their clients.
func (b *Bridge) Held() int { return b.held.Len() }

// follow waits for what becomes of a call: its end, or questions, with which it is held.
func (b *Bridge) follow(ctx context.Context, o *call.Outbound, c *hold.Call, round uint8) (call.Reply, error) {
	out := c.Wait(ctx)
	switch {
	case out.Err != nil:
		return call.Reply{}, out.Err
	case len(out.Questions) == 0:
		return b.toModern(o, out.Reply, round)
	case out.Round > maxRounds:
		c.Abandon(errTooOften)
		return call.Reply{}, tooOften()
	}
	digest, ok := digestOf(o)
	if !ok {
		c.Abandon(hold.ErrRefused)
		return call.Reply{}, invalidState()
	}
	ticket, ok := b.held.Put(o.Principal.Key(), c)
	if !ok {
		return call.Reply{}, fault.New(fault.Exhausted, ReasonHeld, "Too many calls wait for answers of their clients.").After(time.Second)
	}
	sealed := b.states.Seal(o.Gateway.UID, &state.State{
		Kind: state.Hold, ID: ticket.ID, Node: b.cfg.Node, Round: out.Round, Expires: ticket.Expires,
		Principal: o.Principal.Key(), Client: o.Principal.ClientID, Digest: digest,
	})
	r := []byte(`{"resultType":"input_required","inputRequests":{`)
	for i, q := range out.Questions {
		if i > 0 {
			r = append(r, ',')
		}
		r = q.Question.Append(r, q.Key)
	}
	r = append(append(r, `},"requestState":`...), sealed...)
	return call.Reply{Result: append(r, '}'), Version: wire.Latest}, nil
}

var errTooOften = errors.New("the upstream asks too often")

// toModern makes of an upstream's answer what a modern client gets.
func (b *Bridge) toModern(o *call.Outbound, reply call.Reply, round uint8) (call.Reply, error) {
	if reply.Error != nil {
		e := verdict.Read(reply.Error)
		if e.Code() == wire.CodeURLElicitation && reply.Version.Era() != wire.Modern {
			return b.pages(o, e, round)
		}
		return b.judge(o, reply, e)
	}
	if reply.Version.Era() == wire.Legacy {
		return reply, nil
	}
	d, asked := demanded(reply.Result)
	if !asked {
		return reply, nil
	}
	if err := d.check(o.Method); err != nil {
		return call.Reply{}, err
	}
	if d.requests != nil {
		_, questions, ok := question.Parse(d.requests)
		if !ok {
			return call.Reply{}, asks("its questions cannot be read")
		}
		for _, q := range questions {
			if !q.AnswerableBy(o.Offer) {
				return call.Reply{}, asks("it asks what the client did not offer to answer")
			}
		}
	}
	if d.state == nil || !state.IsOurs(d.state) {
		return reply, nil
	}
	return b.wrap(o, reply, d)
}

// wrap puts a state of the upstream that starts as ours do into one of ours (M-75).
func (b *Bridge) wrap(o *call.Outbound, reply call.Reply, d demand) (call.Reply, error) {
	digest, ok := digestOf(o)
	if !ok {
		return call.Reply{}, invalidState()
	}
	var m wire.Message
	if err := wire.ScanResult(reply.Result, &m); err != nil {
		return call.Reply{}, asks("its result cannot be read")
	}
	var e wire.Edits
	e.Replace(m.R.RequestState.Span, b.states.Seal(o.Gateway.UID, &state.State{
		Kind: state.Wrapped, Expires: time.Now().Add(stateTime), Principal: o.Principal.Key(), Client: o.Principal.ClientID,
		Digest: digest, Upstream: d.state,
	}))
	reply.Result = e.AppendTo(nil, reply.Result)
	return reply, nil
}

// pages turns -32042 into questions without a held call: the retry sends the call anew.
func (b *Bridge) pages(o *call.Outbound, e *verdict.Error, round uint8) (call.Reply, error) {
	pages := e.Pages()
	if len(pages) == 0 || !asksInput(o.Method) || !o.Server.Questions.Elicitation ||
		!question.Declares(o.Client.Capabilities, "elicitation", "url") {
		return noPages(o.Method, e)
	}
	if round >= maxRounds {
		return call.Reply{}, tooOften()
	}
	digest, ok := digestOf(o)
	if !ok {
		return call.Reply{}, invalidState()
	}
	r := []byte(`{"resultType":"input_required","inputRequests":{`)
	for i, q := range pages {
		if i > 0 {
			r = append(r, ',')
		}
		r = q.ForModern(o.Client.Capabilities).Append(r, "q"+strconv.Itoa(i+1))
	}
	sealed := b.states.Seal(o.Gateway.UID, &state.State{
		Kind: state.Resend, Round: round + 1, Expires: time.Now().Add(stateTime),
		Principal: o.Principal.Key(), Client: o.Principal.ClientID, Digest: digest,
	})
	r = append(append(r, `},"requestState":`...), sealed...)
	return call.Reply{Result: append(r, '}'), Version: wire.Latest}, nil
}
