// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"context"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/lines"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// exitDelay is how much later than the end of its output the end of a process may be seen.
const exitDelay = 500 * time.Millisecond

// reader is what the goroutine that reads a process works with.
type reader struct {
	x     *process
	msg   wire.Message
	edits wire.Edits
	spans []wire.Span
}

// readOutput reads the server's standard output to its end. A server that closes it can answer no more and is stopped.
func (x *process) readOutput() {
	defer close(x.read)
	r := reader{x: x}
	in := lines.New(x.run.Out)
	for {
		l, err := in.Next(x.limit.Load)
		if err != nil {
			break
		}
		switch {
		case l.TooLong:
			r.tooLong(l.ID)
		case len(bytes.TrimSpace(l.Text)) == 0:
		default:
			r.line(l.Text, l.Cut)
		}
	}
	select {
	case <-x.run.Exited(): // await tells how it ended
	case <-time.After(exitDelay):
		x.stop("it closed its standard output")
	}
}

// tooLong ends the call whose answer is too long; the others go on.
func (r *reader) tooLong(id int64) {
	r.x.messages.Add(1)
	if w := r.x.take(id); w != nil {
		w.finish(nil, nil, errTooLong)
		return
	}
	r.drop()
}

// line handles one line: a message, a batch of them, or noise.
func (r *reader) line(text []byte, cut bool) {
	if cut && !wire.Valid(text) { // the end of the process, which is told to all who wait, came in the middle of it
		r.noise()
		return
	}
	if !wire.IsBatch(text) {
		r.message(text)
		return
	}
	spans, err := wire.Elements(r.spans[:0], text)
	if err != nil {
		r.noise()
		return
	}
	for _, s := range spans {
		r.message(s.Of(text))
	}
	r.spans = spans[:0]
}

func (r *reader) message(text []byte) {
	m := &r.msg
	if err := wire.Scan(text, m); err != nil {
		if id, ok := wire.Int(m.ID.Of(text)); ok && !m.Method.Present() { // an answer to us, but a broken one
			if w := r.x.take(id); w != nil {
				r.x.messages.Add(1)
				w.finish(nil, nil, &brokenError{err})
				return
			}
		}
		r.noise()
		return
	}
	r.x.messages.Add(1)
	switch m.Kind {
	case wire.Response, wire.ErrorResponse:
		r.answer(text)
	case wire.Notification:
		r.notification(text)
	case wire.Request:
		r.question(text)
	case wire.Invalid:
	}
}

// answer ends the request that it belongs to; one with an unknown id belongs to a call that was given up (M-12).
func (r *reader) answer(text []byte) {
	id, ok := wire.Int(r.msg.ID.Of(text))
	w := r.x.take(id)
	if !ok || w == nil {
		r.drop()
		return
	}
	if r.msg.Kind == wire.ErrorResponse {
		w.finish(nil, bytes.Clone(r.msg.Error.Of(text)), nil)
		return
	}
	w.finish(bytes.Clone(r.msg.Result.Of(text)), nil, nil)
}

// notification passes a message on to the call it belongs to: progress by its token, which becomes the client's again
// (M-12, M-50). Others name no call; they go to the one that waits longest, which on a process of one principal is
// that principal's. On a shared process they could be another person's and are dropped (M-59).
func (r *reader) notification(text []byte) {
	method, _ := wire.DecodeString(r.msg.Method.Of(text))
	var w *waiting
	switch method {
	case methodCancelled: // of a question, which was answered at once
		return
	case methodProgress:
		id, ok := wire.Int(r.msg.P.ProgressToken.Of(text))
		if w = r.x.peek(id); !ok || w == nil || w.token == nil {
			r.drop()
			return
		}
		r.edits.Reset()
		r.edits.Replace(r.msg.P.ProgressToken.Span, w.token)
		text = r.edits.AppendTo(nil, text)
	default:
		if w = r.x.oldest(); w == nil {
			r.drop()
			return
		}
		text = bytes.Clone(text)
	}
	if !w.relays || w.push(upstream.Event{Kind: upstream.Notification, Method: method, Raw: text}) {
		r.drop()
	}
}

// question answers a request of the server: ping with an empty result, anything else with -32601, because no client
// capability was declared.
func (r *reader) question(text []byte) {
	id := r.msg.ID.Of(text)
	if wire.EqualString(r.msg.Method.Of(text), "ping") {
		r.x.post(wire.AppendResult(nil, id, []byte(`{}`)))
		return
	}
	r.x.post(wire.AppendError(nil, id, wire.CodeMethodNotFound, "Method not found", nil))
}

// noise is a line that is no message. The specification forbids it, and servers print banners all the same.
func (r *reader) noise() {
	r.x.junk.Add(1)
	r.drop()
}

func (r *reader) drop() {
	r.x.pool.dropped.Add(context.Background(), 1) //nolint:forbidigo // a count belongs to no call
}

// brokenError is an answer with our id that is no acceptable message.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "broken answer: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// take returns the call with an id and forgets it, nil if there is none.
func (x *process) take(id int64) *waiting {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := x.calls[id]
	delete(x.calls, id)
	return w
}

func (x *process) peek(id int64) *waiting {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.calls[id]
}

// oldest returns the call that waits longest and takes messages, nil if there is none or the process is shared.
func (x *process) oldest() *waiting {
	if x.shared {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var first *waiting
	for _, w := range x.calls {
		if w.relays && (first == nil || w.id < first.id) {
			first = w
		}
	}
	return first
}
