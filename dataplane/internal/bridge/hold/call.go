// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

const (
	// window is how long questions wait for others to be asked with them (M-76).
	window = 50 * time.Millisecond
	// grace is how long an upstream that was told that nobody answers may take to end the call by itself.
	grace = time.Second
	// maxLogs and maxLogBytes bound the log messages kept while nobody listens (M-80, M-20).
	maxLogs     = 64
	maxLogBytes = 1 << 20
	// maxOpen is how many questions of one call may be open, and maxOpenBytes how large those behind the first may be in
	// all, as in the queue of a stream (mcp.md §2.1); beyond that they are refused.
	maxOpen      = 64
	maxOpenBytes = 1 << 20
)

// errAsksOn ends an abandoned call whose upstream asks again.
var errAsksOn = errors.New("the upstream asks although nobody is there")

// Listener is a client that waits for the call.
type Listener struct {
	// Sink takes messages, whole, one at a time; it keeps no reference.
	Sink func(message []byte) error
	// Token is the client's raw progress token, nil for no progress.
	Token []byte
	// Hears reports whether a log message, given by its raw params, is severe enough.
	Hears func(params []byte) bool
}

// Config is what a Call is made of.
type Config struct {
	// Send makes the upstream call: it blocks, and gives what the upstream says to events.
	Send func(ctx context.Context, events func(call.Event) error) (call.Reply, error)
	// Offer is the raw object of capabilities that the upstream was told of.
	Offer []byte
	// Capabilities is the raw object that the client declared.
	Capabilities []byte
	// Aside takes notifications that are not of this call; it keeps no reference. nil drops them.
	Aside func(call.Event)
}

// Call is a call that can be held. It is safe for concurrent use, but has one Listener at a time.
type Call struct {
	cfg    Config
	cancel context.CancelCauseFunc
	wake   chan struct{} // gets an element, if it has room, when something changed
	ended  chan struct{} // closed when the upstream call has returned

	mu       sync.Mutex
	listener *Listener
	resumed  bool // the listener is not the first: tokens differ
	open     []*asked
	next     int    // number of the next question
	round    uint8  // how often the client was asked
	progress []byte // newest, while nobody listens
	logs     []note
	logBytes int
	reply    call.Reply
	err      error
	over     bool
	given    bool        // abandoned
	timer    *time.Timer // of grace
}

// asked is a question without an answer.
type asked struct {
	Open
	id     string // raw JSON-RPC id at the upstream
	at     time.Time
	answer func(call.Answer)
}

// Open is a question as the client sees it.
type Open struct {
	Key      string
	Question question.Question
}

type note struct{ raw, params []byte }

// Start begins a call on a goroutine of its own. The call goes on when ctx ends: it is Wait that gives it up.
// ended is called when the upstream call has returned.
func Start(ctx context.Context, cfg Config, l *Listener, ended func()) *Call {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &Call{cfg: cfg, cancel: cancel, wake: make(chan struct{}, 1), ended: make(chan struct{}), listener: l}
	go func() {
		defer ended()
		defer close(c.ended)
		defer cancel(nil)
		reply, err := cfg.Send(ctx, c.event)
		c.mu.Lock()
		open := c.open
		c.reply, c.err, c.over, c.open = reply, err, true, nil
		if c.timer != nil {
			c.timer.Stop()
		}
		c.mu.Unlock()
		for _, q := range open { // the upstream did not wait for them, but its session may go on
			q.answer(q.Question.Unanswered())
		}
		c.signal()
	}()
	return c
}

func (c *Call) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Outcome is what Wait waited for: the end of the call, or questions.
type Outcome struct {
	Reply     call.Reply
	Err       error
	Questions []Open // not empty: the call goes on
	Round     uint8  // how often the client was asked, this time included
}

// Wait returns when the upstream call has ended, or when it has asked something and 50 ms have passed. From then on
// nobody listens. When ctx ends first, the call is given up with its cause, and Wait returns when that is done.
func (c *Call) Wait(ctx context.Context) Outcome {
	timer := time.NewTimer(window)
	defer timer.Stop()
	for {
		wait, out, ready := c.look()
		if ready {
			return out
		}
		timer.Reset(wait)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
			c.cancel(context.Cause(ctx))
			<-c.ended
			c.mu.Lock()
			defer c.mu.Unlock()
			c.listener = nil
			return Outcome{Reply: c.reply, Err: c.err}
		}
	}
}

// forever is longer than any call.
const forever = 24 * time.Hour

// look returns the outcome if there is one, else how long to wait for it.
func (c *Call) look() (wait time.Duration, out Outcome, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		c.listener = nil
		return 0, Outcome{Reply: c.reply, Err: c.err}, true
	}
	if len(c.open) == 0 {
		return forever, Outcome{}, false
	}
	first := c.open[0].at
	for _, q := range c.open {
		if q.at.Before(first) {
			first = q.at
		}
	}
	if wait = window - time.Since(first); wait > 0 {
		return wait, Outcome{}, false
	}
	c.listener = nil
	c.round++
	out.Round = c.round
	for _, q := range c.open {
		out.Questions = append(out.Questions, q.Open)
	}
	return 0, out, true
}

// Resume gives the call a new listener: it gets what was kept, then the upstream gets the answers. responses is the raw
// object inputResponses, nil for none. Questions without an answer of the right form are asked again.
func (c *Call) Resume(l *Listener, responses []byte) {
	fields, err := wire.Fields(nil, responses)
	if err != nil {
		fields = nil
	}
	type pair struct {
		to  func(call.Answer)
		raw []byte
	}
	var answers []pair
	c.mu.Lock()
	c.listener, c.resumed = l, true
	c.flush()
	left := c.open[:0]
	for _, q := range c.open {
		raw := wire.Lookup(fields, q.Key).Of(responses)
		if raw != nil && q.Question.IsAnswer(raw) {
			answers = append(answers, pair{q.answer, bytes.Clone(raw)})
			continue
		}
		left = append(left, q)
	}
	clear(c.open[len(left):])
	c.open = left
	c.mu.Unlock()
	for _, a := range answers {
		a.to(call.Answer{Result: a.raw})
	}
}

// flush gives the listener what was kept. An error of it shows again with the next message, or with its context.
func (c *Call) flush() {
	if c.progress != nil {
		_ = c.tell(c.progress)
	}
	for _, n := range c.logs {
		if c.listener.Hears(n.params) {
			_ = c.listener.Sink(n.raw)
		}
	}
	c.progress, c.logs, c.logBytes = nil, nil, 0
}

// Abandon ends a call that nobody comes back for (M-81): each question is answered that nobody answers, and then, unless
// the upstream ends it first, the call is cancelled.
func (c *Call) Abandon(cause error) {
	c.mu.Lock()
	if c.given || c.over {
		c.mu.Unlock()
		return
	}
	c.given = true
	open := c.open
	c.open = nil
	c.timer = time.AfterFunc(grace, func() { c.cancel(cause) })
	c.mu.Unlock()
	for _, q := range open {
		q.answer(q.Question.Unanswered())
	}
}

// event takes what the upstream says.
func (c *Call) event(e call.Event) error {
	switch {
	case e.ID != nil:
		c.ask(e)
		return nil
	case e.Method == "notifications/cancelled":
		c.takeBack(e.Params)
		return nil
	case e.Method == "notifications/progress":
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.listener == nil {
			c.progress = append(c.progress[:0], e.Raw...)
			return nil
		}
		return c.tell(e.Raw)
	case e.Method == "notifications/message":
		return c.log(e)
	}
	if c.cfg.Aside != nil {
		c.cfg.Aside(e)
	}
	return nil
}

// tell gives the listener a progress notification, with its token.
func (c *Call) tell(raw []byte) error {
	if !c.resumed {
		return c.listener.Sink(raw)
	}
	var m wire.Message
	if c.listener.Token == nil {
		return nil
	}
	if err := wire.Scan(raw, &m); err != nil {
		return err
	}
	var e wire.Edits
	e.Replace(m.P.ProgressToken.Span, c.listener.Token)
	return c.listener.Sink(e.AppendTo(nil, raw))
}

func (c *Call) log(e call.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener != nil {
		if !c.listener.Hears(e.Params) {
			return nil
		}
		return c.listener.Sink(e.Raw)
	}
	if len(c.logs) < maxLogs && c.logBytes+len(e.Raw) <= maxLogBytes {
		c.logs = append(c.logs, note{bytes.Clone(e.Raw), bytes.Clone(e.Params)})
		c.logBytes += len(e.Raw)
	}
	return nil
}

func (c *Call) ask(e call.Event) {
	q := question.Question{Method: e.Method, Params: bytes.Clone(e.Params)}
	if !q.AnswerableBy(c.cfg.Offer) {
		e.Answer(question.NotFound())
		return
	}
	c.mu.Lock()
	if c.given || c.over || c.full(len(q.Params)) {
		given := c.given
		c.mu.Unlock()
		e.Answer(q.Unanswered())
		if given {
			c.cancel(errAsksOn) // it was told that nobody is there
		}
		return
	}
	c.next++
	c.open = append(c.open, &asked{
		Open: Open{Key: "q" + strconv.Itoa(c.next), Question: q.ForModern(c.cfg.Capabilities)},
		id:   string(e.ID), at: time.Now(), answer: e.Answer,
	})
	c.mu.Unlock()
	c.signal()
}

// full reports whether a question of a size has no room behind those that are open. The caller holds mu.
func (c *Call) full(size int) bool {
	for _, q := range c.open {
		size += len(q.Question.Params)
	}
	return len(c.open) >= maxOpen || (len(c.open) > 0 && size > maxOpenBytes)
}

// takeBack forgets a question that the upstream cancelled (M-80).
func (c *Call) takeBack(params []byte) {
	var m wire.Message
	if wire.ScanParams(params, &m) != nil {
		return
	}
	id := string(m.P.RequestID.Of(params))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, q := range c.open {
		if q.id == id {
			c.open = append(c.open[:i], c.open[i+1:]...)
			return
		}
	}
}
