// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/rewrite"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// messenger is one exchange with an upstream together with the answers to what
// the upstream asks in between. It is pooled; what leaves it is copied.
type messenger struct {
	exchange.Exchange
	p    *Pool
	s    *site
	t    *Target
	ses  *session
	sink func(Event) error
	out  []byte
}

// begin takes a messenger for one message to t. ses is nil for modern requests
// and before there is a session.
func (p *Pool) begin(s *site, t *Target, v wire.Version, ses *session) *messenger {
	x, _ := p.messengers.Get().(*messenger)
	x.p, x.s, x.t, x.ses, x.Receiver = p, s, t, ses, x
	x.Peer = exchange.Peer{HTTP: p.http, To: s.to, Pool: t.Key, Version: v, Header: t.Header, UserAgent: p.agent, Limit: t.MaxResponse}
	if ses != nil {
		x.Session = ses.id
	}
	x.ID = p.ids.Add(1)
	x.Timeout = t.CallTimeout
	def(&x.Timeout, defaultCallTimeout)
	def(&x.Limit, defaultMaxResponse)
	x.Ceiling = time.Now().Add(p.cfg.CallCeiling)
	return x
}

// keptScratch is the largest buffer that a pooled messenger keeps.
const keptScratch = 64 << 10

// done gives the messenger back.
func (x *messenger) done() {
	p := x.p
	x.Reset()
	x.p, x.s, x.t, x.ses, x.sink = nil, nil, nil, nil, nil
	if cap(x.out) > keptScratch {
		x.out = nil
	}
	p.messengers.Put(x)
}

// prepare rewrites the params of the request.
func (x *messenger) prepare(r *Request) error {
	return x.Prepare(rewrite.Input{Method: r.Method, Params: r.Params, From: r.ClientVersion, ClientInfo: x.p.clientInfo})
}

// Notification hands a message to the caller's sink.
func (x *messenger) Notification(method string, raw []byte) error {
	if x.sink == nil {
		return nil
	}
	return x.sink(Event{Kind: Notification, Method: method, Raw: raw})
}

// Question answers ping with an empty result and anything else with -32601,
// because no client capability was declared.
func (x *messenger) Question(ctx context.Context, method string, id []byte) error {
	if method == "ping" {
		x.out = wire.AppendResult(x.out[:0], id, []byte(`{}`))
	} else {
		x.out = wire.AppendError(x.out[:0], id, wire.CodeMethodNotFound, "Method not found", nil)
	}
	if err := x.p.tell(ctx, x.s, x.t, x.Version, x.ses, x.out); err != nil && ctx.Err() != nil {
		return err
	}
	return nil // the upstream misses its answer; its call decides what then
}

// Dropped counts a message that belongs to no request.
func (x *messenger) Dropped(ctx context.Context) { x.p.dropped.Add(ctx, 1) }

// tell sends a message that has no response: a notification or an answer.
func (p *Pool) tell(ctx context.Context, s *site, t *Target, v wire.Version, ses *session, message []byte) error {
	x := p.begin(s, t, v, ses)
	defer x.done()
	x.Timeout = shortTimeout
	status, err := x.Tell(ctx, message)
	if err != nil {
		return t.failed(ctx, err)
	}
	if status >= 300 {
		return t.refused(status, true)
	}
	return nil
}

// failed classifies why an exchange ended without an answer.
func (t *Target) failed(ctx context.Context, err error) *fault.Fault {
	switch ctxErr := ctx.Err(); {
	case errors.Is(ctxErr, context.DeadlineExceeded):
		return t.late().Because(err)
	case ctxErr != nil:
		return fault.From(ctxErr).Because(context.Cause(ctx))
	}
	var garbage *exchange.Garbage
	var e *httpclient.Error
	switch {
	case errors.As(err, &garbage):
		return t.garbage(garbage.What).Because(garbage.Cause)
	case errors.Is(err, exchange.ErrTooLarge) || errors.Is(err, httpclient.ErrTooLarge):
		return t.tooLarge().Because(err)
	case !errors.As(err, &e):
		return fault.From(err) // made by this room
	case errors.Is(err, httpclient.ErrProtocol):
		return t.garbage("it is no HTTP").Because(err)
	case e.Op == "request" && !errors.Is(err, httpclient.ErrClosed):
		return t.fault(fault.Precondition, ReasonTarget, "has a header or address that cannot be sent").Because(err)
	case e.Op == "wait":
		return t.busy().Because(err)
	case !e.Sent:
		return t.unreachable().Because(err)
	case e.Timeout():
		return t.late().Because(err)
	}
	return t.fault(fault.Unavailable, ReasonOutcomeUnknown,
		"broke the connection after it got the request, which may have run").Because(err)
}
