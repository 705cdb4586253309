// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/inbox"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/rewrite"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Messenger is one exchange with an upstream together with the answers to what
// the upstream asks in between. It is pooled; what leaves it is copied.
type Messenger struct {
	exchange.Exchange
	// Sink gets what comes before the response; may be nil.
	Sink func(peer.Event) error
	// Listen says that what comes on the session's own stream is wanted too.
	Listen bool

	e    *Engine
	t    *peer.Target
	ses  *Session
	live *inbox.Call // of a call that listens

	given bool // something reached Sink by live
}

const methodCancelled = "notifications/cancelled"

// Given reports whether something reached Sink. It is called after Send.
func (x *Messenger) Given() bool { return x.Relayed || x.given }

// InSession returns the session that the message is sent in, nil for none.
func (x *Messenger) InSession() *Session { return x.ses }

// Begin takes a Messenger for one message to t at the address to. ses is nil for
// modern requests and before there is a session. Its Done must be called.
func (e *Engine) Begin(to *httpclient.Endpoint, t *peer.Target, v wire.Version, ses *Session) *Messenger {
	x, _ := e.messengers.Get().(*Messenger)
	x.e, x.t, x.ses, x.Receiver = e, t, ses, x
	x.Peer = exchange.Peer{HTTP: e.cfg.HTTP, To: to, Pool: t.Key, Version: v, Header: t.Header, UserAgent: e.agent, Limit: t.MaxResponse}
	if ses != nil {
		x.Session = ses.id
		if ses.conn != nil {
			x.To, x.Listen = ses.conn.Endpoint, true
		}
	}
	x.ID = e.ids.Add(1)
	x.Timeout = t.CallTimeout
	def(&x.Timeout, defaultCallTimeout)
	def(&x.Limit, defaultMaxResponse)
	x.Ceiling = time.Now().Add(e.cfg.CallCeiling)
	return x
}

// Done gives the Messenger back.
func (x *Messenger) Done() {
	e := x.e
	x.Reset()
	x.e, x.t, x.ses, x.Sink, x.live, x.Listen, x.given = nil, nil, nil, nil, nil, false, false
	e.messengers.Put(x)
}

// Own makes the message go over a connection of its own: an answer that lasts
// holds its connection, and calls must not wait for it.
func (x *Messenger) Own() {
	x.Pool = fmt.Sprintf("%s|stream|%d", x.Pool, x.ID)
}

// Patience bounds the exchange by the time that a server may be silent to
// requests of the node's own.
func (x *Messenger) Patience() { x.Timeout = min(x.Timeout, x.e.cfg.ProbeTimeout) }

// Fill rewrites the params of the request. The error is of Kind Invalid.
func (x *Messenger) Fill(r *peer.Request) error {
	return x.Prepare(rewrite.Input{
		Method: r.Method, Params: r.Params, From: r.ClientVersion, ClientInfo: x.e.clientInfo,
		Capabilities: x.t.Capabilities, LogLevel: r.LogLevel, Schema: r.Schema,
	})
}

// Ask sends a request of the node's own on a session. Failures are not
// classified.
func (ses *Session) Ask(ctx context.Context, r *peer.Request) (exchange.Answer, error) {
	x := ses.e.Begin(ses.to, &ses.target, ses.version, ses)
	defer x.Done()
	x.Patience()
	if err := x.Fill(r); err != nil {
		return exchange.Answer{}, err
	}
	return x.Send(ctx, r.Method)
}

// Send sends the request and reads the answer, wherever that comes. Errors are
// classified by [Failed].
func (x *Messenger) Send(ctx context.Context, method string) (exchange.Answer, error) {
	if !x.Listen {
		return x.Request(ctx, method)
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.live = &inbox.Call{
		ID: x.ID, Token: x.Token, Cancel: cancel, Deliver: x.deliver, Timeout: x.Timeout, Ceiling: time.Until(x.Ceiling),
	}
	if x.ses.conn != nil {
		x.live.Responses = make(chan inbox.Response, 1)
	}
	if err := x.ses.box.Enter(x.live); err != nil {
		return exchange.Answer{Answer: era.Answer{Status: statusGone}}, nil
	}
	defer x.ses.box.Leave(x.live)
	if x.Sink != nil {
		defer x.ses.hear(within)()
	}
	a, err := x.roundTrip(ctx, within, method)
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		err = x.ended(context.Cause(within))
	}
	return a, err
}

// statusGone is the status of a session that has ended.
const statusGone = 404

// ended is the error of a listening call that was cancelled from inside.
func (x *Messenger) ended(cause error) error {
	switch {
	case errors.Is(cause, inbox.ErrLate):
		return x.t.Late().Because(cause)
	case errors.Is(cause, errStreamEnded):
		return &httpclient.Error{Op: "body", Sent: x.Sent, Err: cause}
	}
	return cause // a SinkError
}

// roundTrip sends the request of a listening call and waits for the response.
// within ends with the call's time, which live keeps: it stands still while a
// question waits (M-49).
func (x *Messenger) roundTrip(ctx, within context.Context, method string) (a exchange.Answer, err error) {
	if x.ses.conn == nil {
		x.Timeout, x.Ceiling = 0, time.Time{}
		return x.Request(within, method)
	}
	// A stream that breaks now does not end the POST: its answer says whether
	// the server took the request.
	status, err := x.Tell(ctx, x.Message(nil, method))
	if err != nil {
		x.Sent = httpclient.Sent(err)
		return a, err
	}
	x.Sent = true
	if status >= 300 {
		a.Status = status
		return a, nil
	}
	select {
	case r := <-x.live.Responses:
		a.Status, a.Result, a.Error = status, r.Result, r.Error
		if a.Error == nil && !wire.IsObject(a.Result) {
			return a, &exchange.Garbage{What: "its result is no object"}
		}
		return a, nil
	case <-within.Done():
		return a, &httpclient.Error{Op: "body", Sent: true, Err: within.Err()}
	}
}

// Notification implements exchange.Receiver: the caller's sink gets the message.
func (x *Messenger) Notification(_ context.Context, in exchange.Inbound) error {
	if x.Sink == nil || in.Method == methodCancelled && (x.ses == nil || x.ses.kinds == 0) {
		return nil // it was asked nothing that it could take back
	}
	if x.live == nil {
		return x.Sink(peer.Event{Kind: peer.Notification, Method: in.Method, Params: in.Params, Raw: in.Raw})
	}
	switch in.Method {
	case "notifications/progress":
		x.live.Restart()
	case methodCancelled:
		x.live.TakenBack(in.Params)
	}
	x.live.Give(func() error { return x.deliver(in, nil) })
	return nil
}

// Question implements exchange.Receiver.
func (x *Messenger) Question(ctx context.Context, in exchange.Inbound) error {
	if x.ses == nil {
		x.Dropped(ctx) // nobody asks before there is a session
		return nil
	}
	if x.ses.answered(ctx, in) {
		return nil
	}
	if x.live == nil || x.Sink == nil {
		x.ses.refuse(ctx, in.ID)
		return nil
	}
	release := x.live.Hold(in.ID)
	if !x.live.Give(func() error { return x.deliver(in, release) }) {
		release()
	}
	return nil
}

// deliver hands a message to the caller's sink.
func (x *Messenger) deliver(in exchange.Inbound, release func()) error {
	if x.Sink == nil {
		if in.ID != nil {
			release()
			x.ses.refuse(x.e.life, in.ID)
		}
		return nil
	}
	x.given = true
	return x.Sink(x.ses.event(in, release, x.Passed))
}

// Dropped implements exchange.Receiver.
func (x *Messenger) Dropped(ctx context.Context) { x.e.Drop(ctx) }

// tell sends a message that has no response: a notification or an answer. passed are the headers of the client whose call it
// belongs to; nil for none.
func (e *Engine) tell(ctx context.Context, to *httpclient.Endpoint, t *peer.Target, v wire.Version, ses *Session, message []byte, passed http.Header) error {
	x := e.Begin(to, t, v, ses)
	defer x.Done()
	x.Passed = passed
	x.Timeout = shortTimeout
	if deadline, ok := ctx.Deadline(); ok {
		x.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	status, err := x.Tell(ctx, message)
	if err != nil {
		return Failed(ctx, t, err)
	}
	if status >= 300 {
		return t.Refused(status, true)
	}
	return nil
}
