// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/tasks"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/verdict"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of faults and refusals.
const (
	// ReasonAsked (Unavailable): the upstream asks what it must not, or in a form that nobody understands (M-30).
	ReasonAsked = "UPSTREAM_QUESTION_INVALID"
	// ReasonRounds (Unavailable): the upstream asks again and again (M-79, M-83).
	ReasonRounds = "UPSTREAM_ASKS_TOO_OFTEN"
	// ReasonUnanswered (Precondition): the client did not answer, and the upstream cannot be told so (M-84).
	ReasonUnanswered = "CLIENT_DID_NOT_ANSWER"
)

const (
	// maxRounds is how often an upstream may ask for input in one call (M-79, M-83).
	maxRounds = 16
	// maxState is the longest requestState of an upstream (mcp.md §2.1).
	maxState = 32 << 10
	// firstPause and lastPause bound the wait before a call is sent again that asked for nothing (M-83).
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// demand is a result of type input_required.
type demand struct {
	requests []byte // raw inputRequests, nil if absent
	state    []byte // raw requestState, nil if absent
}

// demanded reads a result. ok is false if it asks for nothing.
func demanded(result []byte) (d demand, ok bool) {
	if !bytes.Contains(result, []byte("input_required")) { // the value needs no escapes, and nobody makes some
		return d, false
	}
	var m wire.Message
	if wire.ScanResult(result, &m) != nil || !wire.EqualString(m.R.ResultType.Of(result), "input_required") {
		return d, false
	}
	return demand{requests: m.R.InputRequests.Of(result), state: m.R.RequestState.Of(result)}, true
}

// check is M-30, but for what was declared.
func (d demand) check(method string) error {
	switch {
	case !asksInput(method):
		return asks("it asks for input where it may not")
	case d.requests == nil && d.state == nil:
		return asks("it asks for input and does not say for which")
	case d.state != nil && !wire.IsString(d.state):
		return asks("its request state is no string")
	case len(d.state) > maxState:
		return asks("its request state is too long")
	}
	return nil
}

func asks(text string) *fault.Fault {
	return fault.New(fault.Unavailable, ReasonAsked, "The server's answer is not valid: "+text+".")
}

func tooOften() error {
	return fault.New(fault.Unavailable, ReasonRounds, "The server asks for input again and again.")
}

// rounds sends a legacy client's request, and again with the client's answers as long as a modern upstream asks for some
// (4.2).
func (b *Bridge) rounds(ctx context.Context, o *call.Outbound, events func(call.Event) error) (call.Reply, error) {
	next := o
	pause := firstPause
	for round := 0; ; round++ {
		reply, err := b.perform(ctx, next, events)
		if err == nil && wantsTasks(o, reply) {
			o, next = withTasks(o), withTasks(next) // it did not run
			reply, err = b.once(ctx, next, events)
		}
		if err != nil || reply.Result == nil || reply.Version.Era() == wire.Legacy {
			return reply, err
		}
		if o.Method == callTool && tasks.IsCreated(reply.Result) {
			return b.driver().Modern(ctx, next, reply.Result, events)
		}
		d, asked := demanded(reply.Result)
		if !asked {
			return reply, nil
		}
		if err := d.check(o.Method); err != nil {
			return call.Reply{}, err
		}
		if round == maxRounds {
			return call.Reply{}, tooOften()
		}
		var responses []byte
		if d.requests == nil {
			if err := wait(ctx, pause); err != nil {
				return call.Reply{}, err
			}
			pause = min(2*pause, lastPause)
		} else {
			var refused *call.Reply
			if responses, refused, err = b.answers(ctx, o, d.requests); err != nil || refused != nil {
				return orNone(refused), err
			}
		}
		again := *o
		if again.Params, err = withAnswers(o.Params, responses, d.state); err != nil {
			return call.Reply{}, err
		}
		next = &again
	}
}

func orNone(r *call.Reply) call.Reply {
	if r == nil {
		return call.Reply{}
	}
	return *r
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return gone(ctx)
	}
}

// withAnswers returns params with the two members of a retry, absent where they are nil.
func withAnswers(params, responses, state []byte) ([]byte, error) {
	if params == nil {
		params = []byte(`{}`)
	}
	var m wire.Message
	if err := wire.ScanParams(params, &m); err != nil {
		return nil, err
	}
	var e wire.Edits
	set := func(old wire.Member, key string, value []byte) {
		if value == nil {
			e.Delete(old)
			return
		}
		e.Set(m.Params.Span, old, key, value)
	}
	set(m.P.InputResponses, "inputResponses", responses)
	set(m.P.RequestState, "requestState", state)
	return e.AppendTo(make([]byte, 0, len(params)+len(responses)+len(state)+64), params), nil
}

// answers puts all questions of an input_required result to a legacy client, in parallel, and returns inputResponses. The
// reply is set where the call ends without them (M-84).
func (b *Bridge) answers(ctx context.Context, o *call.Outbound, requests []byte) (responses []byte, refused *call.Reply, err error) {
	keys, questions, ok := question.Parse(requests)
	if !ok {
		return nil, nil, asks("its questions cannot be read")
	}
	for _, q := range questions {
		if refused, err := mayAsk(o, q); err != nil || refused != nil {
			return nil, refused, err
		}
	}
	within, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	raw := make([][]byte, len(questions))
	var asking sync.WaitGroup
	for i, q := range questions {
		asking.Go(func() {
			if raw[i] = answerOf(within, o.Client.Asker, q); raw[i] == nil {
				cancel() // the call ends: the other answers are of no use
			}
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, nil, gone(ctx)
	}
	responses = []byte{'{'}
	for i, key := range keys {
		if raw[i] == nil {
			reply, err := verdict.Refuse(o.Method, ReasonUnanswered, "The client did not answer what the server asked.")
			return nil, &reply, err
		}
		if i > 0 {
			responses = append(responses, ',')
		}
		responses = append(append(wire.AppendString(responses, key), ':'), raw[i]...)
	}
	return append(responses, '}'), nil, nil
}

// mayAsk checks that a legacy client can answer a question of a modern upstream.
func mayAsk(o *call.Outbound, q question.Question) (*call.Reply, error) {
	var reply call.Reply
	var err error
	switch {
	case q.IsURL() && (!question.KnowsURL(o.Client.Capabilities, o.Version) || !q.AnswerableBy(o.Offer)):
		reply, err = verdict.Refuse(o.Method, verdict.ReasonPage, verdict.Links([]question.Question{q}))
	case !q.AnswerableBy(o.Offer):
		return nil, asks("it asks what the client did not offer to answer")
	case o.Client.Asker == nil:
		reply, err = verdict.Refuse(o.Method, ReasonUnanswered, "The client cannot be asked.")
	default:
		return nil, nil
	}
	return &reply, err
}

// answerOf asks one question. It returns nil where there is no answer that the upstream could be given (M-84).
func answerOf(ctx context.Context, asker call.Asker, q question.Question) []byte {
	q = q.ForLegacy()
	a, err := asker.Ask(ctx, call.Question{Method: q.Method, Params: q.Params})
	if err == nil && a.Result != nil && q.IsAnswer(a.Result) {
		return a.Result
	}
	if q.Method == question.Elicit && !errors.Is(context.Cause(ctx), context.Canceled) {
		return question.Cancelled()
	}
	return nil
}
