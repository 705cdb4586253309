// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults made here.
const (
	// ReasonTask (Unavailable): what the upstream says of its task cannot be understood.
	ReasonTask = "UPSTREAM_TASK_INVALID"
	// ReasonCancelled (Unavailable): the task ended without a result.
	ReasonCancelled = "UPSTREAM_TASK_CANCELLED"
	// ReasonLate (Timeout): the task took longer than a call may (M-49).
	ReasonLate = "UPSTREAM_TASK_TIMEOUT"
)

const (
	// ceiling is how long a task may be followed, not counting the time in which the upstream or a person is waited for.
	ceiling = 15 * time.Minute
	// farewell is how long a tasks/cancel may take.
	farewell = 5 * time.Second
	// maxUpdates is how often a task may ask (M-83).
	maxUpdates = 16
)

// Driver follows tasks. Its fields are set before use.
type Driver struct {
	// Send makes a request at the upstream.
	Send func(ctx context.Context, o *call.Outbound, events func(call.Event) error) (call.Reply, error)
	// Answers puts questions, raw inputRequests, to the client and returns raw inputResponses. The reply is set where the
	// call ends without them.
	Answers func(ctx context.Context, o *call.Outbound, requests []byte) (responses []byte, refused *call.Reply, err error)
	// End releases what upstreams hold for a session.
	End func(session string)
}

// follower follows one task.
type follower struct {
	*Driver
	o      *call.Outbound
	events func(call.Event) error
	task   task
	spent  time.Duration
	told   string // status message that the client knows
	steps  int64  // number of its progress
}

// Legacy makes a call of a tool of a 2025-11-25 server that must be called as a task, and follows the task to its result.
// Sessions of such a server own their tasks: a request of a client without a session gets one for the time of the call.
func (d *Driver) Legacy(ctx context.Context, o *call.Outbound, events func(call.Event) error) (call.Reply, error) {
	own := *o
	if own.Client.Session == "" {
		own.Client.Session = "task-" + rand.Text()
		defer d.End(own.Client.Session)
	}
	var err error
	if own.Params, err = withTask(o.Params); err != nil {
		return call.Reply{}, err
	}
	reply, err := d.Send(ctx, &own, events)
	if err != nil || reply.Error != nil {
		return reply, err
	}
	t, ok := created(reply.Result)
	if !ok {
		return reply, nil // it did the work at once
	}
	f := follower{Driver: d, o: &own, events: events, task: t}
	return f.finish(ctx, f.legacy)
}

// Modern follows the task that a call of a modern upstream became; result is that of the call.
func (d *Driver) Modern(ctx context.Context, o *call.Outbound, result []byte, events func(call.Event) error) (call.Reply, error) {
	t, ok := read(result)
	if !ok {
		return call.Reply{}, invalid()
	}
	f := follower{Driver: d, o: o, events: events, task: t}
	return f.finish(ctx, f.modern)
}

func invalid() error {
	return fault.New(fault.Unavailable, ReasonTask, "What the server says of its task cannot be understood.")
}

// finish runs follow, and cancels a task that has not ended when it returns (M-51).
func (f *follower) finish(ctx context.Context, follow func(context.Context) (call.Reply, error)) (call.Reply, error) {
	reply, err := follow(ctx)
	switch f.task.status {
	case completed, failed, cancelled:
		return reply, err
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_, _ = f.ask(short, "tasks/cancel", "") // nobody is left to hear of a failure
	return reply, err
}

// ask makes a request about the task.
func (f *follower) ask(ctx context.Context, method, more string) (call.Reply, error) {
	o := *f.o
	o.Method, o.Params, o.ProgressToken, o.Schema = method, f.task.params(more), nil, nil
	o.Retryable = method == "tasks/get"
	return f.Send(ctx, &o, f.events)
}

// next waits and asks how the task is doing. The reply is set where that is an error.
func (f *follower) next(ctx context.Context) (*call.Reply, error) {
	if f.spent += f.task.poll; f.spent > ceiling {
		return nil, fault.Newf(fault.Timeout, ReasonLate, "The task at the server %q took too long.", f.o.Server.Name)
	}
	timer := time.NewTimer(f.task.poll)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, fault.From(ctx.Err()).Because(context.Cause(ctx))
	}
	reply, err := f.ask(ctx, "tasks/get", "")
	if err != nil || reply.Error != nil {
		return &reply, err
	}
	id := f.task.id
	t, ok := read(reply.Result)
	if !ok {
		return nil, invalid()
	}
	f.task, f.task.id = t, id
	return nil, f.progress()
}

// progress tells the client of a new status message.
func (f *follower) progress() error {
	if f.o.ProgressToken == nil || f.task.message == "" || f.task.message == f.told {
		return nil
	}
	f.told = f.task.message
	f.steps++
	params := append([]byte(`{"progressToken":`), f.o.ProgressToken...)
	params = strconv.AppendInt(append(params, `,"progress":`...), f.steps, 10)
	params = append(wire.AppendString(append(params, `,"message":`...), f.told), '}')
	const method = "notifications/progress"
	return f.events(call.Event{Method: method, Params: params, Raw: wire.AppendNotification(nil, method, params)})
}

func (f *follower) ended() error {
	text := "The task was cancelled at the server."
	if f.task.message != "" {
		text = "The task was cancelled at the server: " + f.task.message
	}
	return fault.New(fault.Unavailable, ReasonCancelled, text)
}

// legacy follows a task of 2025-11-25. The upstream asks its questions on the stream of tasks/result.
func (f *follower) legacy(ctx context.Context) (call.Reply, error) {
	for {
		switch f.task.status {
		case completed, failed:
			return f.payload(ctx)
		case cancelled:
			return call.Reply{}, f.ended()
		case inputRequired:
			reply, err := f.payload(ctx)
			if fault.KindOf(err) != fault.Timeout || ctx.Err() != nil {
				if err == nil {
					f.task.status = completed
				}
				return reply, err
			}
			// The person has answered, and the task takes its time again.
		}
		if reply, err := f.next(ctx); err != nil || reply != nil {
			return orNone(reply), err
		}
	}
}

func (f *follower) payload(ctx context.Context) (call.Reply, error) {
	reply, err := f.ask(ctx, "tasks/result", "")
	if err == nil && reply.Result != nil {
		reply.Result = unrelated(reply.Result)
	}
	return reply, err
}

func orNone(r *call.Reply) call.Reply {
	if r == nil {
		return call.Reply{}
	}
	return *r
}

// modern follows a task of the extension.
func (f *follower) modern(ctx context.Context) (call.Reply, error) {
	answered := make(map[string]bool)
	updates := 0
	for {
		switch f.task.status {
		case completed:
			if wire.IsObject(f.task.result) {
				return call.Reply{Result: f.task.result, Version: wire.V20260728}, nil
			}
		case failed:
			if wire.IsObject(f.task.object) {
				return call.Reply{Error: f.task.object, Version: wire.V20260728}, nil
			}
		case cancelled:
			return call.Reply{}, f.ended()
		case inputRequired:
			fresh, err := unanswered(f.task.requests, answered)
			if err != nil {
				return call.Reply{}, err
			}
			if fresh == nil {
				break
			}
			if updates++; updates > maxUpdates {
				return call.Reply{}, invalid()
			}
			responses, refused, err := f.Answers(ctx, f.o, fresh)
			if err != nil || refused != nil {
				return orNone(refused), err
			}
			if reply, err := f.ask(ctx, "tasks/update", `,"inputResponses":`+string(responses)); err != nil || reply.Error != nil {
				return reply, err
			}
		}
		if over(f.task.status) && f.spent > 0 {
			return call.Reply{}, invalid() // it has ended and says nothing
		}
		if reply, err := f.next(ctx); err != nil || reply != nil {
			return orNone(reply), err
		}
	}
}

func over(status string) bool { return status == completed || status == failed }

// unanswered returns the questions, raw inputRequests, of which the client has not heard, nil if there are none, and notes
// that it will.
func unanswered(requests []byte, answered map[string]bool) ([]byte, error) {
	if requests == nil {
		return nil, nil
	}
	fields, err := wire.Fields(nil, requests)
	if err != nil {
		return nil, invalid()
	}
	var b []byte
	for i := range fields {
		key := string(fields[i].Name)
		if answered[key] {
			continue
		}
		answered[key] = true
		b = append(wire.AppendString(append(b, ','), key), ':')
		b = append(b, fields[i].Of(requests)...)
	}
	if b == nil {
		return nil, nil
	}
	b[0] = '{'
	return append(b, '}'), nil
}
