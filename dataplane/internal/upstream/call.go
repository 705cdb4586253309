// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Call sends one request to the upstream and relays its messages, in order,
// through sink, before it returns the response. sink may be nil; an error of it
// ends the call. It is called by one goroutine at a time, and not any more when
// Call has returned. A JSON-RPC error of the upstream is a Result, not an error.
// Cancelling ctx cancels the call upstream too (M-51).
//
// Questions of the upstream come only where Target.Capabilities declares their
// kind; all others are answered here. While one waits for its answer the call's
// time stands still.
//
// The error is a *fault.Fault: Unavailable with [ReasonUnreachable],
// [ReasonCircuitOpen], [ReasonProtocol], [ReasonTooLarge] or
// [ReasonOutcomeUnknown], Timeout with
// [ReasonTimeout], Precondition with [ReasonUnauthorized], [ReasonScope] or [ReasonTarget],
// Exhausted with [ReasonBusy], Canceled when ctx or sink ended the call, and
// Invalid for params that are no object.
func (p *Pool) Call(ctx context.Context, to Target, request Request, sink func(Event) error) (Result, error) {
	both := &struct { // one piece of memory
		t Target
		r Request
	}{to, request}
	return p.call(ctx, &both.t, &both.r, sink)
}

func (p *Pool) call(ctx context.Context, t *Target, r *Request, sink func(Event) error) (Result, error) {
	s, err := p.site(t)
	if err != nil {
		return Result{}, err
	}
	defer s.users.Add(-1)
	if !s.calls.Enter(ctx, t.MaxConcurrent) {
		if ctx.Err() != nil {
			return Result{}, fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(context.Cause(ctx))
		}
		return Result{}, t.Busy()
	}
	defer s.calls.Leave()
	pass, err := p.enter(ctx, s, t)
	if err != nil {
		return Result{}, err
	}
	c := call{p: p, s: s, t: t, r: r, sink: sink}
	a, v, err := c.run(ctx)
	s.circuit.Leave(pass, outcome(ctx, err), err)
	if err != nil {
		return Result{}, err
	}
	return Result{Raw: a.Result, Error: a.Error, Version: v}, nil
}

// call is one call with the tries it may take.
type call struct {
	p    *Pool
	s    *site
	t    *Target
	r    *Request
	sink func(Event) error

	slot *lease.Slot[*link.Session]
	held *lease.Held[*link.Session]

	reopened, probed, retried bool // each remedy is used once
}

// run tries until there is an answer, a failure, or no remedy is left.
func (c *call) run(ctx context.Context) (exchange.Answer, wire.Version, error) {
	for {
		sp, err := c.p.speech(ctx, c.s, c.t)
		if err != nil {
			return exchange.Answer{}, "", err
		}
		v := sp.Version
		if v.Era() == wire.Legacy {
			if err := c.lease(ctx, sp); err != nil {
				if again, err := c.otherEra(ctx, sp, err); !again {
					return exchange.Answer{}, "", err
				}
				continue
			}
			v = c.held.Value.Version()
		}
		a, again, err := c.try(ctx, v)
		if c.slot != nil {
			c.p.finish(ctx, c.slot.Leave(c.held))
			c.slot, c.held = nil, nil
		}
		if !again {
			return a, v, err
		}
	}
}

// lease takes a session that the call may use.
func (c *call) lease(ctx context.Context, sp link.Speech) error {
	l := c.s.slot(c.t)
	h, err := c.p.take(ctx, c.s, c.t, l, sp)
	if err != nil {
		c.p.finish(ctx, l.Leave(nil))
		return err
	}
	c.slot, c.held = l, h
	return nil
}

// try sends the request once and says whether it may be sent again.
func (c *call) try(ctx context.Context, v wire.Version) (a exchange.Answer, again bool, err error) {
	var ses *link.Session
	if c.held != nil {
		ses = c.held.Value
		if c.r.LogLevel != "" {
			ses.Level(ctx, c.r.LogLevel)
		}
	}
	x := c.p.link.Begin(c.s.to, c.t, v, ses)
	defer x.Done()
	x.Token, x.Traceparent, x.Tracestate, x.Passed, x.Sink = c.r.ProgressToken, c.r.Traceparent, c.r.Tracestate, c.r.Passthrough, c.sink
	x.Listen = x.Listen || ses != nil && c.t.Streams()
	if err := x.Fill(c.r); err != nil {
		return exchange.Answer{}, false, err
	}
	a, err = x.Send(ctx, c.r.Method)
	if err != nil {
		again, err = c.broken(ctx, x, err)
		return exchange.Answer{}, again, err
	}
	if again, err = c.judge(ctx, x, a); again || err != nil {
		return exchange.Answer{}, again, err
	}
	c.subscribed(a)
	return a, false, nil
}

// subscribed notes what a client's session subscribed to, to restore it when
// the upstream session is lost.
func (c *call) subscribed(a exchange.Answer) {
	if c.held == nil || c.t.Session == "" || a.Result == nil {
		return
	}
	switch c.r.Method {
	case "resources/subscribe", "resources/unsubscribe":
		var m wire.Message
		if wire.ScanParams(c.r.Params, &m) == nil {
			if uri, ok := wire.DecodeString(m.P.URI.Of(c.r.Params)); ok {
				c.held.Value.Remember(c.r.Method, uri)
			}
		}
	}
}

// broken decides what follows an exchange without an answer.
func (c *call) broken(ctx context.Context, x *link.Messenger, err error) (again bool, _ error) {
	var refused *exchange.SinkError
	if errors.As(err, &refused) {
		c.cancel(ctx, x, "the client is gone")
		return false, fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(err)
	}
	f := link.Failed(ctx, c.t, err)
	switch {
	case ctx.Err() != nil:
		c.cancel(ctx, x, "cancelled by the client")
	case f.Reason == ReasonTimeout:
		c.cancel(ctx, x, "timeout")
	case f.Reason == ReasonOutcomeUnknown && c.r.Idempotent:
		if c.retry(x) {
			return true, nil
		}
		return false, c.t.Unreachable().Because(f)
	case f.Reason == ReasonUnreachable && !x.Sent && quick(err):
		return c.retry(x), f
	}
	return false, f
}

// retry reports whether the request, which did not run or may run twice, is sent
// once more. A client that got a message of it must not get that again.
func (c *call) retry(x *link.Messenger) bool {
	if c.retried || x.Given() {
		return false
	}
	c.retried = true
	return true
}

// quick reports whether a failure to connect came at once: what took its whole
// time would take it again.
func quick(err error) bool {
	var e *httpclient.Error
	return errors.As(err, &e) && !e.Timeout()
}

// judge decides whether an answer is the call's: an ended session or a wrong
// era is put right first.
func (c *call) judge(ctx context.Context, x *link.Messenger, a exchange.Answer) (again bool, err error) {
	if a.Result != nil {
		return false, nil
	}
	if a.Credential() {
		return false, c.t.RefusedCredential(a.Status, a.Scope, a.Wanted)
	}
	if c.held != nil && c.held.Value.Stateful() && era.SessionGone(a.Answer) && !c.reopened {
		c.reopened = true
		c.slot.Drop(c.held)
		c.held.Value.Hush()
		return true, nil
	}
	if era.Contradicts(x.Version, a.Answer) {
		return c.otherEra(ctx, link.Speech{Version: x.Version, SSE: c.held != nil && c.held.Value.SSE()}, nil)
	}
	if a.Error == nil {
		asksToWait := a.Status == http.StatusServiceUnavailable
		if a.Status >= 500 && !asksToWait && c.r.Idempotent && c.retry(x) {
			return true, nil
		}
		return false, c.t.Refused(a.Status, c.r.Idempotent)
	}
	return false, nil
}

// otherEra probes once after an answer that contradicts the version in use,
// and says whether another one was found.
func (c *call) otherEra(ctx context.Context, sp link.Speech, cause error) (again bool, err error) {
	if cause == nil {
		cause = c.t.Garbage("it refuses protocol version " + string(sp.Version))
	} else if !errors.Is(cause, link.ErrEra) {
		return false, cause
	}
	if c.probed || !c.s.probeDue() {
		return false, cause
	}
	c.probed = true
	found, err := c.p.reprobe(ctx, c.s, c.t)
	if err != nil {
		return false, err
	}
	if found == sp {
		return false, cause
	}
	return true, nil
}

// cancel tells a legacy upstream that nobody waits for the request any more
// (M-51). Closing the connection says it to a modern one.
func (c *call) cancel(ctx context.Context, x *link.Messenger, reason string) {
	if !x.Sent || x.Version.Era() != wire.Legacy {
		return
	}
	params := strconv.AppendInt([]byte(`{"requestId":`), x.ID, 10)
	params = wire.AppendString(append(params, `,"reason":`...), reason)
	message := wire.AppendNotification(nil, "notifications/cancelled", append(params, '}'))
	ses, passed := c.held.Value, c.r.Passthrough
	c.p.link.Background(ctx, func(ctx context.Context) {
		_ = ses.TellOf(ctx, message, passed) // nobody is left to hear of a failure
	})
}
