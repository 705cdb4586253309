// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Call sends one request to the upstream and relays its messages, in order, on
// the calling goroutine through sink, before it returns the response. sink may
// be nil; an error of it ends the call. A JSON-RPC error of the upstream is a
// Result, not an error. Cancelling ctx cancels the call upstream too (M-51).
//
// The error is a *fault.Fault: Unavailable with [ReasonUnreachable],
// [ReasonProtocol], [ReasonTooLarge] or [ReasonOutcomeUnknown], Timeout with
// [ReasonTimeout], Precondition with [ReasonUnauthorized] or [ReasonTarget],
// Exhausted with [ReasonBusy], Canceled when ctx or sink ended the call, and
// Invalid for params that are no object.
func (p *Pool) Call(ctx context.Context, t Target, r Request, sink func(Event) error) (Result, error) {
	s, err := p.site(&t)
	if err != nil {
		return Result{}, err
	}
	defer s.users.Add(-1)
	defer s.calls.Add(-1)
	if n := s.calls.Add(1); t.MaxConcurrent > 0 && int(n) > t.MaxConcurrent {
		return Result{}, t.busy()
	}
	c := call{p: p, s: s, t: &t, r: &r, sink: sink}
	a, err := c.run(ctx)
	if err != nil {
		return Result{}, err
	}
	return Result{Raw: a.Result, Error: a.Error}, nil
}

// call is one call with the tries it may take.
type call struct {
	p    *Pool
	s    *site
	t    *Target
	r    *Request
	sink func(Event) error

	slot    *slot
	session *session

	reopened, probed, retried bool // each remedy is used once
}

// run tries until there is an answer, a failure, or no remedy is left.
func (c *call) run(ctx context.Context) (exchange.Answer, error) {
	for {
		v, err := c.p.version(ctx, c.s, c.t)
		if err != nil {
			return exchange.Answer{}, err
		}
		if v.Era() == wire.Legacy {
			if err := c.lease(ctx, v); err != nil {
				if again, err := c.otherEra(ctx, v, err); !again {
					return exchange.Answer{}, err
				}
				continue
			}
			v = c.session.version
		}
		a, again, err := c.try(ctx, v)
		if c.slot != nil {
			c.slot.users.Add(-1)
			c.slot = nil
		}
		if !again {
			return a, err
		}
	}
}

// lease takes the session of the principal.
func (c *call) lease(ctx context.Context, v wire.Version) error {
	l := c.s.slot(c.t)
	ses, err := c.p.session(ctx, c.s, c.t, l, v)
	if err != nil {
		l.users.Add(-1)
		return err
	}
	c.slot, c.session = l, ses
	return nil
}

// try sends the request once and says whether it may be sent again.
func (c *call) try(ctx context.Context, v wire.Version) (a exchange.Answer, again bool, err error) {
	var ses *session
	if v.Era() == wire.Legacy {
		ses = c.session
	}
	x := c.p.begin(c.s, c.t, v, ses)
	defer x.done()
	x.Token, x.Traceparent, x.Passed, x.sink = c.r.ProgressToken, c.r.Traceparent, c.r.Passthrough, c.sink
	if err := x.prepare(c.r); err != nil {
		return exchange.Answer{}, false, err
	}
	a, err = x.Request(ctx, c.r.Method)
	if err != nil {
		again, err = c.broken(ctx, x, err)
		return exchange.Answer{}, again, err
	}
	if again, err = c.judge(ctx, x, a); again || err != nil {
		return exchange.Answer{}, again, err
	}
	return a, false, nil
}

// broken decides what follows an exchange without an answer.
func (c *call) broken(ctx context.Context, x *messenger, err error) (again bool, _ error) {
	var refused *exchange.SinkError
	if errors.As(err, &refused) {
		c.cancel(ctx, x, "the client is gone")
		return false, fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(err)
	}
	f := c.t.failed(ctx, err)
	switch {
	case ctx.Err() != nil:
		c.cancel(ctx, x, "cancelled by the client")
	case f.Reason == ReasonTimeout:
		c.cancel(ctx, x, "timeout")
	case f.Reason == ReasonOutcomeUnknown && c.r.Idempotent:
		if !c.retried && !x.Relayed {
			c.retried = true
			return true, nil
		}
		return false, c.t.unreachable().Because(f)
	}
	return false, f
}

// judge decides whether an answer is the call's: an ended session or a wrong
// era is put right first.
func (c *call) judge(ctx context.Context, x *messenger, a exchange.Answer) (again bool, err error) {
	if a.Result != nil {
		return false, nil
	}
	if a.Credential() {
		return false, c.t.refused(a.Status, true)
	}
	if x.ses != nil && x.ses.id != "" && era.SessionGone(a.Answer) && !c.reopened {
		c.reopened = true
		c.p.forget(c.slot, x.ses)
		return true, nil
	}
	if era.Contradicts(x.Version, a.Answer) {
		return c.otherEra(ctx, x.Version, nil)
	}
	if a.Error == nil {
		return false, c.t.refused(a.Status, c.r.Idempotent)
	}
	return false, nil
}

// otherEra probes once after an answer that contradicts the version in use,
// and says whether another one was found.
func (c *call) otherEra(ctx context.Context, v wire.Version, cause error) (again bool, err error) {
	if cause == nil {
		cause = c.t.garbage("it refuses protocol version " + string(v))
	} else if !errors.Is(cause, errEra) {
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
	if found == v {
		return false, cause
	}
	return true, nil
}

// cancel tells a legacy upstream that nobody waits for the request any more
// (M-51). Closing the connection says it to a modern one.
func (c *call) cancel(ctx context.Context, x *messenger, reason string) {
	if !x.Sent || x.Version.Era() != wire.Legacy {
		return
	}
	params := strconv.AppendInt([]byte(`{"requestId":`), x.ID, 10)
	params = wire.AppendString(append(params, `,"reason":`...), reason)
	message := wire.AppendNotification(nil, "notifications/cancelled", append(params, '}'))
	p, s, t, v, ses := c.p, c.s, c.t, x.Version, x.ses
	p.background(ctx, func(ctx context.Context) {
		_ = p.tell(ctx, s, t, v, ses, message) // nobody is left to hear of a failure
	})
}
