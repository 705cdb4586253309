// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"bytes"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/lines"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// exitDelay is how much later than the end of its output the end of a process may be seen.
const exitDelay = 500 * time.Millisecond

// reader is what the goroutine that reads a process works with.
type reader struct {
	x     *Talk
	msg   wire.Message
	edits wire.Edits
	spans []wire.Span
}

// readOutput reads the server's standard output to its end. A server that closes it can answer no more and is stopped.
func (x *Talk) readOutput() {
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
		x.Stop("it closed its standard output")
	}
}

// tooLong ends the request whose answer is too long; the others go on.
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

// notification passes a message on: progress to the request with its token, which becomes the client's again (M-12, M-50),
// and what a modern subscription brings to the request that subscribed.
func (r *reader) notification(text []byte) {
	method, _ := wire.DecodeString(r.msg.Method.Of(text))
	e := peer.Event{Kind: peer.Notification, Method: method}
	switch {
	case method == methodCancelled:
		r.withdrawn(text)
	case method == methodProgress:
		id, ok := wire.Int(r.msg.P.ProgressToken.Of(text))
		w := r.x.peek(id)
		if !ok || w == nil || w.token == nil || !w.relays {
			r.drop()
			return
		}
		r.edits.Reset()
		r.edits.Replace(r.msg.P.ProgressToken.Span, w.token)
		r.give(w, r.edited(e, text))
	case r.msg.Meta.Reserved > 0 && r.subscription(e, text):
	default:
		r.aside(e, text)
	}
}

// edited makes an event of a message with the edits applied, all of which lie in params.
func (r *reader) edited(e peer.Event, text []byte) peer.Event {
	e.Raw = r.edits.AppendTo(nil, text)
	p, grown := r.msg.Params, len(e.Raw)-len(text)
	e.Params = e.Raw[p.Start : p.End+grown : p.End+grown]
	return e
}

// subscription gives a message to the subscriptions/listen request that it names. The id of that is the node's own and is
// taken out.
func (r *reader) subscription(e peer.Event, text []byte) bool {
	meta := r.msg.P.Meta.Of(text)
	fields, err := wire.Fields(nil, meta)
	if err != nil {
		return false
	}
	raw := wire.Lookup(fields, wire.MetaSubscriptionID).Of(meta)
	if raw == nil {
		return false
	}
	id, ok := wire.Int(raw)
	w := r.x.peek(id)
	if !ok || w == nil || !w.listens {
		r.drop()
		return true
	}
	r.edits.Reset()
	if err := wire.StripMeta(&r.edits, text, r.msg.P.Meta.Span, "", wire.MetaSubscriptionID); err != nil {
		r.drop()
		return true
	}
	r.give(w, r.edited(e, text))
	return true
}

// aside passes on what names no request. News about the server go to who listens, else to the newest request; everything
// else, log messages above all, the other way round. On a process that principals share only news are passed on: the rest
// could be another person's (M-59).
func (r *reader) aside(e peer.Event, text []byte) {
	news := strings.HasSuffix(e.Method, "/list_changed") || e.Method == "notifications/resources/updated"
	w := r.x.newest()
	if r.x.spec.Shared {
		w = nil
	}
	e.Raw, e.Params = text, r.msg.Params.Of(text)
	switch {
	case news && r.x.owner.Tell(e):
	case w != nil:
		r.give(w, r.copied(e, text))
	case news || r.x.spec.Shared || !r.x.owner.Tell(e):
		r.drop()
	}
}

func (r *reader) give(w *pending, e peer.Event) {
	if _, lost := w.push(e); lost {
		r.drop()
	}
}

// noise is a line that is no message. The specification forbids it, and servers print banners all the same.
func (r *reader) noise() {
	r.x.junk.Add(1)
	r.drop()
}

func (r *reader) drop() { r.x.cfg.Drop() }

// take returns the request with an id and forgets it, nil if there is none.
func (x *Talk) take(id int64) *pending {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := x.calls[id]
	delete(x.calls, id)
	return w
}

func (x *Talk) peek(id int64) *pending {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.calls[id]
}
