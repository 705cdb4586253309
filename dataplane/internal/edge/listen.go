// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/ask"
	"github.com/penstockhq/penstock/dataplane/internal/edge/changes"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/vigil"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// reconnectAfter is what clients of a draining node are asked to wait (M-95).
const reconnectAfter = time.Second

// listen answers GET in a session: with its stream (M-38), or with another one that the client has lost (M-40).
func (x *request) listen() {
	if x.form = intake.Accepts(x.r.Header["Accept"]); x.form&answer.Events == 0 {
		x.fail(intake.Refuse(http.StatusNotAcceptable, "The stream is text/event-stream."))
		return
	}
	if err := x.openSession(); err != nil {
		x.fail(err)
		return
	}
	if err := x.scoped(); err != nil {
		x.fail(err)
		return
	}
	one := crowd.Count{Streams: 1}
	if !x.h.crowd.Enter(x.seat(), one) {
		x.fail(rpcerror.Flood("Too many streams are open at this gateway."))
		return
	}
	defer x.h.crowd.Leave(x.seat(), one)
	id := x.r.Header.Get(headerEventID)
	if id != "" && x.forwardResume(id) {
		return
	}
	events := x.session.Events()
	if id == "" {
		x.session.Claim(x.r.Context())
		x.hold(func() (*replay.Tape, [][]byte, bool) { return events.Open(true, x.primes()), nil, true }, nil)
		return
	}
	lost, ok := events.Find(id)
	finish := func() {}
	if !ok {
		lost, finish, ok = x.fetch(id)
	}
	switch {
	case !ok:
	case !lost.General():
		ok = x.resume(lost, finish)
	case x.carried != nil && x.h.isDraining():
		ok = false // the node that asks can go on with it, this one cannot
	default:
		if x.session.Claim(x.r.Context()) { // what the other node kept last lies in the store now
			if now, _, found := x.fetch(id); found {
				lost = now
			}
		}
		x.hold(func() (*replay.Tape, [][]byte, bool) { return events.Continue(lost) }, nil)
	}
	if !ok {
		x.fail(errNotResumed())
	}
}

func errNotResumed() error { return rpcerror.InvalidRequest("This event cannot be resumed from.") }

// channel is the one long stream of a session: its GET stream, or the stream of HTTP+SSE. What the gateway tells, what
// upstreams tell and ask outside of calls and, on HTTP+SSE, the answers to requests meet in the queue of out.
type channel struct {
	x       *request // not used any more when the connection has ended
	session *session.Session
	h       *Handler
	tape    *replay.Tape // nil on HTTP+SSE, where nothing can be resumed
	out     *answer.Writer
	ctx     context.Context //nolint:containedctx // of the connection; requests that come with others run in it
	stop    context.CancelFunc

	first sync.Mutex // guards early; taken by whoever has the session's lock, so nothing of the session is used under it
	early [][]byte   // what came for the stream before it began; nil when it has

	mu     sync.Mutex
	caller call.Caller // by the newest snapshot
	detach func()
	over   bool
	calls  sync.WaitGroup // requests of HTTP+SSE
}

// hold keeps the session's stream open until it must end (M-21, RS-11) or the client has gone. take takes the stream that can
// be resumed with what the client has missed of it, and is nil on HTTP+SSE; events come first there.
func (x *request) hold(take func() (*replay.Tape, [][]byte, bool), events [][]byte) {
	c := &channel{x: x, session: x.session, h: x.h}
	c.ctx, c.stop = context.WithCancel(x.r.Context())
	defer c.stop()
	x.status = http.StatusOK
	// Taken before anything is sent: a client that saw the stream open is told of every change after that.
	changed := x.h.view.Changed()
	c.caller = x.caller()
	c.out = x.h.answers.Start(x.w, answer.Events, c)
	switch ok, err := c.begin(take, events); {
	case err != nil: // the session has ended just now
		c.out.Abandon()
		return
	case !ok: // events were forgotten just now
		c.session.Leave(c.ctx, c)
		o := x.failed(errNotResumed())
		x.status = o.failure.Status
		c.out.Finish(x.status, x.frame(&o))
		return
	}
	x.work = nil // it had no message
	before, _ := c.session.Hears(c).(*channel)
	c.catchUp(before, take != nil && x.r.Header.Get(headerEventID) != "")
	if uris := x.session.Inherited(); len(uris) > 0 {
		c.calls.Go(func() { c.subscribe(uris) })
	}
	keep := vigil.Watch{
		View: x.h.view, Changed: changed, Seen: x.snapshot, Gone: c.out.Done(), Draining: x.h.draining,
		Left: c.left, Renew: c.renew, Beat: x.mayLast,
	}
	c.end(keep.Keep(c.ctx))
}

// end ends the connection. The client of a stream that can be resumed may come back: until then it goes on without one.
func (c *channel) end(reason vigil.Reason) {
	c.finish(reason == vigil.Draining)
	if c.tape != nil && reason != vigil.Over {
		c.session.Linger(c.ctx, c, c.part)
	} else {
		c.part()
		c.session.Leave(c.ctx, c)
	}
	if reason == vigil.Draining {
		c.out.Relay(sse.AppendBlank(sse.AppendRetry(nil, reconnectAfter)), true)
	}
	c.out.Abandon()
}

// begin makes c the stream of its session, then sends what comes first. A client that sees its stream begin may rely on it: a
// client of HTTP+SSE sends as soon as it has read where to, and one that moves to another node has left the old stream. What
// it missed comes before anything new, and upstreams are heard before it begins. It is false if what the client has missed is
// not there any more.
func (c *channel) begin(take func() (*replay.Tape, [][]byte, bool), events [][]byte) (ok bool, err error) {
	c.first.Lock()
	c.early = [][]byte{}
	c.first.Unlock()
	if err := c.session.Listen(c.ctx, c); err != nil {
		return false, err //nolint:wrapcheck // nobody looks into it
	}
	if take != nil {
		// Not before: what the stream before this one cannot keep any more it gives to this one.
		if c.tape, events, ok = take(); !ok {
			return false, nil
		}
		c.out.Keep(c)
	}
	c.Refresh()
	c.out.Stream()
	c.first.Lock()
	defer c.first.Unlock()
	for _, e := range events {
		c.out.Relay(e, true)
	}
	for _, message := range c.early {
		c.out.Send(message)
	}
	c.early = nil
	return true, nil
}

// MayGoOn lets the writer go on: the vigil sees to the end.
func (c *channel) MayGoOn() bool { return true }

// Lost implements [answer.Guard]: the vigil sees that too.
func (c *channel) Lost() {}

// Tape implements [answer.Keeper].
func (c *channel) Tape() answer.Tape { return c.tape }

// Send implements [session.Listener].
func (c *channel) Send(message []byte) bool {
	c.first.Lock()
	defer c.first.Unlock()
	if c.early != nil {
		c.early = append(c.early, bytes.Clone(message))
		return true
	}
	return c.out.Send(message)
}

// Close implements [session.Listener].
func (c *channel) Close() { c.stop() }

// Refresh implements [session.Listener]: upstreams' messages are delivered by what the session has agreed on now.
func (c *channel) Refresh() {
	state := c.session.State()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || state.Version == "" { // HTTP+SSE before initialize
		return
	}
	if old := c.detach; old != nil {
		defer old() // when the new one is there: nothing is told to nobody between the two
	}
	c.caller.Version = state.Version
	c.caller.Client = call.Client{
		Session: c.session.Key(), Began: c.session.Began(), Capabilities: state.Capabilities, LogLevel: state.LogLevel,
		Asker: ask.New(c.session, nil),
	}
	c.detach = c.h.dispatch.Attach(c.caller, c.deliver)
}

// catchUp tells what has changed since the stream before this one ended. Of a stream that another node had that is not known:
// its client looks at everything anew.
func (c *channel) catchUp(before *channel, resumed bool) {
	var s changes.Set
	switch {
	case before != nil:
		s = changes.Between(before.caller.Snapshot, before.caller.Gateway, c.caller.Snapshot, c.caller.Gateway)
	case resumed:
		s = changes.All(c.caller.Gateway)
	}
	s.Notifications(func(m []byte) { c.out.Send(m) })
}

// deliver sends what an upstream says, keeps it if there is no connection any more, or gives it to the stream that has taken
// the place of this one.
func (c *channel) deliver(message []byte) {
	if c.Send(message) || c.tape == nil {
		return
	}
	if _, kept := c.tape.Record(message, false); !kept {
		c.session.Tell(message)
	}
}

// part has nothing that upstreams say delivered any more.
func (c *channel) part() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detach != nil {
		c.detach()
	}
}

// finish ends what goes on over the connection. With wait, the requests of HTTP+SSE get their answers first (M-95).
func (c *channel) finish(wait bool) {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.calls.Wait()
		close(done)
	}()
	if wait {
		select {
		case <-done:
		case <-c.out.Done():
		case <-c.ctx.Done():
		}
	}
	c.stop()
	<-done
}

// left is how long the stream may last as things are.
func (c *channel) left() time.Duration {
	return min(c.x.tokenLeft(), max(time.Second, time.Until(c.x.session.Expires())))
}

// renew takes the newest snapshot, tells what it changed, and reports whether the stream may go on.
func (c *channel) renew() bool {
	x := c.x
	was, old := x.snapshot, x.gateway
	if !time.Now().Before(x.session.Expires()) || !x.recheck() {
		return false
	}
	if was == x.snapshot {
		return true
	}
	c.mu.Lock()
	c.caller.Snapshot, c.caller.Gateway, c.caller.Principal = x.snapshot, x.gateway, x.principal
	attached := c.detach != nil
	c.mu.Unlock()
	if !attached {
		return true
	}
	changes.Between(was, old, x.snapshot, x.gateway).Notifications(func(m []byte) { c.out.Send(m) })
	if old != x.gateway || was.HasDenials() || x.snapshot.HasDenials() || x.snapshot.Rechosen(was, old, x.principal) {
		c.Refresh() // what upstreams tell is mapped by the gateway as it was
	}
	return true
}
