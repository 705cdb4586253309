// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	defaultCallTimeout = 60 * time.Second
	// maxHeld ends a request whose question nobody answers: longer than a person is given (M-83).
	maxHeld = 11 * time.Minute
)

// Exchange is one request to a process.
type Exchange struct {
	Talk *Talk
	// Timeout is restarted by progress, and stands still while a question waits (M-49). Default 60 s. A request of
	// subscriptions/listen has none.
	Timeout time.Duration
	// Sink takes the messages that come for the request, on the goroutine of Run; nil for none.
	Sink func(peer.Event) error
	// Quiet says that the request cannot be cancelled.
	Quiet bool

	written, relayed bool
	lost             bool // the process ended
}

// Again says, after Run, whether the request may be sent to another process.
func (e *Exchange) Again(r *peer.Request) bool {
	return e.lost && (!e.written || r.Idempotent && !e.relayed)
}

// Run sends the request and relays what comes before its answer. Errors are faults, see package stdio.
func (e *Exchange) Run(ctx context.Context, r *peer.Request) (peer.Result, error) {
	w, err := e.send(ctx, r)
	if err != nil {
		return peer.Result{}, err
	}
	defer e.leave(w)
	if err := e.wait(ctx, w); err != nil {
		return peer.Result{}, err
	}
	return e.answer(w)
}

// send sends the request. If that works, leave must be called.
func (e *Exchange) send(ctx context.Context, r *peer.Request) (*pending, error) {
	x := e.Talk
	id := x.ids.Add(1)
	params, err := x.params(r, id)
	if err != nil {
		return nil, err
	}
	w := newPending(id, r, e.Sink != nil)
	if !x.add(w) {
		e.lost = true
		return nil, failed(x.to, errNotSent, false)
	}
	message := append(wire.AppendRequest(nil, id, r.Method, params), '\n')
	if e.written, err = x.write(ctx, message); err != nil {
		e.leave(w)
		return nil, e.notWritten(ctx, err)
	}
	return w, nil
}

// leave forgets a request. Questions in it that nobody took are answered.
func (e *Exchange) leave(w *pending) {
	e.Talk.take(w.id)
	for _, it := range w.queue.Close() {
		if it.Event.Answer != nil {
			it.Event.Answer(nil, nil)
		}
	}
}

// add registers a request; it fails when the process takes none any more.
func (x *Talk) add(w *pending) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failure != nil {
		return false
	}
	x.calls[w.id] = w
	return true
}

// notWritten is the end of a request that did not go out whole. A process that was given half a line is of no use.
func (e *Exchange) notWritten(ctx context.Context, err error) error {
	if !e.written && ctx.Err() != nil {
		return givenUp(ctx)
	}
	e.lost = true
	e.Talk.Stop("its standard input broke")
	return failed(e.Talk.to, err, e.written)
}

// clock is the time of one request.
type clock struct {
	timer   *time.Timer
	timeout time.Duration
	ceiling time.Time
	held    bool
	stood   time.Duration
}

// reset begins the time anew.
func (c *clock) reset() { c.timer.Reset(max(0, min(c.timeout, time.Until(c.ceiling)))) }

// follow lets the time stand still while questions wait.
func (c *clock) follow(w *pending) {
	held, stood := w.standing()
	c.ceiling = c.ceiling.Add(stood - c.stood)
	c.stood = stood
	switch {
	case held && !c.held:
		c.timer.Reset(maxHeld)
	case !held && c.held:
		c.reset()
	}
	c.held = held
}

func (e *Exchange) clock(w *pending) *clock {
	c := &clock{timeout: e.Timeout, ceiling: time.Now().Add(e.Talk.cfg.CallCeiling)}
	if c.timeout == 0 {
		c.timeout = defaultCallTimeout
	}
	c.timer = time.NewTimer(min(c.timeout, time.Until(c.ceiling)))
	if w.listens {
		c.timer.Stop()
	}
	return c
}

// wait relays messages until the request ends, or is given up.
func (e *Exchange) wait(ctx context.Context, w *pending) error {
	c := e.clock(w)
	defer c.timer.Stop()
	for {
		select {
		case <-w.queue.Wake:
			done := w.ended()
			if !w.listens {
				c.follow(w)
			}
			progress, err := e.relay(w)
			if err != nil {
				e.cancel(w.id, "the client is gone")
				return fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(err)
			}
			if done {
				return nil
			}
			if progress && !c.held && !w.listens { // M-49
				c.reset()
			}
		case <-c.timer.C:
			e.cancel(w.id, "timeout")
			e.Talk.probe()
			return e.Talk.to.Late()
		case <-ctx.Done():
			e.cancel(w.id, "cancelled by the client")
			return givenUp(ctx)
		}
	}
}

// relay gives the queued messages to the sink, and says whether progress was among them.
func (e *Exchange) relay(w *pending) (progress bool, err error) {
	list := w.queue.Take()
	for i, it := range list {
		e.relayed = true
		if err == nil {
			err = e.Sink(it.Event)
		}
		if err != nil && list[i].Event.Answer != nil {
			it.Event.Answer(nil, nil)
		}
		progress = progress || it.Event.Method == methodProgress
	}
	return progress, err
}

// answer reads the end of a request.
func (e *Exchange) answer(w *pending) (peer.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := e.Talk
	var broken *brokenError
	switch {
	case errors.As(w.err, &broken):
		return peer.Result{}, x.to.Garbage("a message is broken").Because(w.err)
	case w.err != nil:
		e.lost = errors.Is(w.err, errGone)
		return peer.Result{}, failed(x.to, w.err, true)
	case w.fault != nil:
		return peer.Result{Error: w.fault, Version: x.info.Load().Version}, nil
	case !wire.IsObject(w.result):
		return peer.Result{}, x.to.Garbage("its result is no object")
	}
	return peer.Result{Raw: w.result, Version: x.info.Load().Version}, nil
}

// cancel tells the server that nobody waits any more (M-51), if the server has the request.
func (e *Exchange) cancel(id int64, reason string) {
	if e.Talk.take(id) == nil || e.Quiet {
		return // it was answered in between, or may not be cancelled
	}
	params := strconv.AppendInt([]byte(`{"requestId":`), id, 10)
	params = wire.AppendString(append(params, `,"reason":`...), reason)
	e.Talk.post(wire.AppendNotification(nil, methodCancelled, append(params, '}')))
}

// probe asks a process on which a request timed out whether it still lives, and has it ended if it does not say so. While
// other requests wait it may just be busy. Modern servers know no ping; any answer is a sign of life.
func (x *Talk) probe() {
	x.mu.Lock()
	idle := len(x.calls) == 0 && x.failure == nil
	x.mu.Unlock()
	if !idle {
		return
	}
	x.cfg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), x.cfg.HungAfter) //nolint:forbidigo // it outlives the call
		defer cancel()
		e := Exchange{Talk: x, Timeout: 2 * x.cfg.HungAfter}
		if _, err := e.Run(ctx, &peer.Request{Method: "ping"}); err != nil && ctx.Err() != nil {
			x.owner.Hung(x)
		}
	})
}
