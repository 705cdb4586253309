// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Call sends one request to the process of a target, which it starts if need be, and relays notifications in order, on the
// calling goroutine, through sink (which may be nil) before it returns the answer: a result or a JSON-RPC error of the
// server. Headers of the request have no meaning here.
//
// Errors are *fault.Fault: Unavailable with UPSTREAM_UNREACHABLE (not started, ended before it got the request, or paused
// after failures), UPSTREAM_PROTOCOL, RESPONSE_TOO_LARGE or OUTCOME_UNKNOWN (it ended after it got the request), Timeout
// with UPSTREAM_TIMEOUT, Precondition with UPSTREAM_SETTINGS, Exhausted with UPSTREAM_BUSY, Canceled when ctx or sink ended
// the call, and Invalid for params that are no object. A request that no process got, and an idempotent one that relayed
// nothing yet, is sent once more.
func (p *Pool) Call(ctx context.Context, t Target, r upstream.Request, sink func(upstream.Event) error) (upstream.Result, error) {
	s, leave, err := p.enter(&t, p.keyOf(&t))
	if err != nil {
		return upstream.Result{}, err
	}
	defer leave()
	for try := 0; ; try++ {
		x, err := p.ready(ctx, s, &t)
		if err != nil {
			return upstream.Result{}, err
		}
		x.allow(&t, p.cfg.MaxMessage)
		e := exchange{x: x, t: &t, sink: sink}
		result, err := e.run(ctx, &r)
		if err == nil || try > 0 || !e.again(&r) {
			return result, err
		}
	}
}

// exchange is one request to a process.
type exchange struct {
	x    *process
	t    *Target
	sink func(upstream.Event) error

	quiet bool // the request cannot be cancelled

	written, relayed bool
	lost             bool // the process ended
}

// again says whether the request may be sent to another process.
func (e *exchange) again(r *upstream.Request) bool {
	return e.lost && (!e.written || r.Idempotent && !e.relayed)
}

// run sends the request and waits for its answer.
func (e *exchange) run(ctx context.Context, r *upstream.Request) (upstream.Result, error) {
	id := e.x.ids.Add(1)
	params, err := paramsOf(r, id)
	if err != nil {
		return upstream.Result{}, err
	}
	w := newWaiting(id, r.ProgressToken, e.sink != nil)
	if !e.x.add(w) {
		e.lost = true
		return upstream.Result{}, e.t.failed(errNotSent, false)
	}
	defer e.x.take(id)
	message := append(wire.AppendRequest(nil, id, r.Method, params), '\n')
	if e.written, err = e.x.write(ctx, message); err != nil {
		return upstream.Result{}, e.notWritten(ctx, err)
	}
	if err := e.wait(ctx, w); err != nil {
		return upstream.Result{}, err
	}
	return e.answer(w)
}

// add registers a call; it fails when the process takes none any more.
func (x *process) add(w *waiting) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failure != nil {
		return false
	}
	x.calls[w.id] = w
	return true
}

// notWritten is the end of a request that did not go out whole. A process that was given half a line is of no use.
func (e *exchange) notWritten(ctx context.Context, err error) error {
	if !e.written && ctx.Err() != nil {
		return e.t.givenUp(ctx)
	}
	e.lost = true
	e.x.stop("its standard input broke")
	return e.t.failed(err, e.written)
}

// wait relays messages until the request ends, or is given up.
func (e *exchange) wait(ctx context.Context, w *waiting) error {
	timeout := e.t.CallTimeout
	def(&timeout, defaultCallTimeout)
	ceiling := time.Now().Add(e.x.pool.cfg.CallCeiling)
	timer := time.NewTimer(min(timeout, time.Until(ceiling)))
	defer timer.Stop()
	for {
		select {
		case <-w.wake:
			queue, done := w.take()
			for _, event := range queue {
				if err := e.relay(event); err != nil {
					e.cancel(w.id, "the client is gone")
					return fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(err)
				}
				if event.Method == methodProgress { // M-49
					timer.Reset(max(0, min(timeout, time.Until(ceiling))))
				}
			}
			if done {
				return nil
			}
		case <-timer.C:
			e.cancel(w.id, "timeout")
			e.x.probe(e.t)
			return e.t.fault(fault.Timeout, upstream.ReasonTimeout, "did not answer in time")
		case <-ctx.Done():
			e.cancel(w.id, "cancelled by the client")
			return e.t.givenUp(ctx)
		}
	}
}

func (e *exchange) relay(event upstream.Event) error {
	e.relayed = true
	return e.sink(event)
}

// answer reads the end of a request.
func (e *exchange) answer(w *waiting) (upstream.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var broken *brokenError
	switch {
	case errors.As(w.err, &broken):
		return upstream.Result{}, e.t.garbage("a message is broken").Because(w.err)
	case w.err != nil:
		e.lost = errors.Is(w.err, errGone)
		return upstream.Result{}, e.t.failed(w.err, true)
	case w.fault != nil:
		return upstream.Result{Error: w.fault}, nil
	case !wire.IsObject(w.result):
		return upstream.Result{}, e.t.garbage("its result is no object")
	}
	return upstream.Result{Raw: w.result}, nil
}

// cancel tells the server that nobody waits any more (M-51), if the server has the request.
func (e *exchange) cancel(id int64, reason string) {
	if e.x.take(id) == nil || e.quiet {
		return // it was answered in between, or may not be cancelled
	}
	params := strconv.AppendInt([]byte(`{"requestId":`), id, 10)
	params = wire.AppendString(append(params, `,"reason":`...), reason)
	e.x.post(wire.AppendNotification(nil, methodCancelled, append(params, '}')))
}

// probe asks a process on which a call timed out whether it still lives, and ends it if it does not say so. While other
// calls wait it may just be busy.
func (x *process) probe(t *Target) {
	x.mu.Lock()
	idle := len(x.calls) == 0 && x.failure == nil
	x.mu.Unlock()
	if !idle {
		return
	}
	x.pool.group.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), x.pool.cfg.HungAfter) //nolint:forbidigo // it outlives the call
		defer cancel()
		e := exchange{x: x, t: t}
		if _, err := e.run(ctx, &upstream.Request{Method: "ping"}); err != nil && ctx.Err() != nil {
			x.pool.hung(x)
		}
	})
}
