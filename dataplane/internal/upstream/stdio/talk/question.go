// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"bytes"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// maxQuestions bounds the questions of one process that wait for an answer; more are refused.
const maxQuestions = 64

// question is a request of the server that waits for its answer.
type question struct {
	follow  func(peer.Event) // takes messages about it
	release func()           // lets the time of the request go on that it belongs to
}

// question answers a request of the server, or gives it to who can: the newest request under way, else the owner (M-77). A
// question names no request that it belongs to; its progress token is the server's own.
func (r *reader) question(text []byte) {
	x, id := r.x, r.msg.ID.Of(text)
	method, _ := wire.DecodeString(r.msg.Method.Of(text))
	switch {
	case method == "ping":
		x.post(wire.AppendResult(nil, id, []byte(`{}`)))
		return
	case x.spec.Describing && method == "roots/list":
		x.post(wire.AppendResult(nil, id, []byte(`{"roots":[]}`)))
		return
	case x.spec.Describing || !x.kinds.Allow(method) || x.modern():
		x.refuse(id)
		return
	}
	key := string(id)
	q := &question{follow: func(peer.Event) {}, release: func() {}}
	if known, full := x.note(key, q); known {
		r.drop() // an answer to one would be taken for one to the other
		return
	} else if full {
		x.refuse(id)
		return
	}
	e := peer.Event{Kind: peer.ServerRequest, Method: method, Answer: x.answerer(key, q), Progress: x.progress(key, q)}
	if !r.entrust(q, e, text) {
		x.forget(key, q)
		x.refuse(id)
	}
}

// entrust gives a question to who can answer it, and reports whether anybody can.
func (r *reader) entrust(q *question, e peer.Event, text []byte) bool {
	if w := r.x.newest(); w != nil {
		e = r.copied(e, text)
		r.x.mu.Lock()
		q.follow, q.release = func(about peer.Event) { w.push(about) }, w.hold()
		r.x.mu.Unlock()
		queued, lost := w.push(e)
		if lost {
			r.drop()
		}
		if queued {
			return true
		}
		q.release()
	}
	e.Raw, e.ID, e.Params = text, r.msg.ID.Of(text), r.msg.Params.Of(text)
	follow := r.x.owner.Ask(e)
	if follow == nil {
		return false
	}
	r.x.mu.Lock()
	q.follow, q.release = follow, func() {}
	r.x.mu.Unlock()
	return true
}

// copied fills in the bytes of an event, which outlive the reader's line.
func (r *reader) copied(e peer.Event, text []byte) peer.Event {
	e.Raw = bytes.Clone(text)
	e.ID, e.Params = r.msg.ID.Of(e.Raw), r.msg.Params.Of(e.Raw)
	return e
}

// note registers a question.
func (x *Talk) note(key string, q *question) (known, full bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known = x.questions[key]; known {
		return true, false
	}
	if x.failure != nil || len(x.questions) >= maxQuestions {
		return false, true
	}
	x.questions[key] = q
	return false, false
}

// forget takes a question back and reports whether it was still open.
func (x *Talk) forget(key string, q *question) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.questions[key] != q {
		return false
	}
	delete(x.questions, key)
	return true
}

// progress returns what tells the server how a question is getting on, as long as it is open (M-50).
func (x *Talk) progress(key string, q *question) func(params []byte) {
	return func(params []byte) {
		x.mu.Lock()
		open := x.questions[key] == q
		x.mu.Unlock()
		if open {
			x.post(wire.AppendOneLine(nil, wire.AppendNotification(nil, "notifications/progress", params)))
		}
	}
}

// answerer returns what sends the answer to a question. Without a result and an error it is a refusal.
func (x *Talk) answerer(key string, q *question) func(result, object []byte) {
	var once sync.Once
	return func(result, object []byte) {
		once.Do(func() {
			x.mu.Lock()
			release := q.release
			x.mu.Unlock()
			release()
			if !x.forget(key, q) {
				return // the server took it back
			}
			switch id := []byte(key); {
			case result != nil:
				x.post(wire.AppendOneLine(nil, wire.AppendResult(nil, id, result)))
			case object != nil:
				x.post(wire.AppendOneLine(nil, wire.AppendErrorResponse(nil, id, object)))
			default:
				x.refuse(id)
			}
		})
	}
}

// refuse answers a question that nobody is there for.
func (x *Talk) refuse(id []byte) {
	x.post(wire.AppendError(nil, id, wire.CodeMethodNotFound, "Method not found", nil))
}

// withdrawn passes on that the server takes a question back, to who has it (M-51).
func (r *reader) withdrawn(text []byte) {
	key := string(r.msg.P.RequestID.Of(text))
	r.x.mu.Lock()
	q := r.x.questions[key]
	var follow func(peer.Event)
	if q != nil {
		delete(r.x.questions, key)
		follow = q.follow
	}
	r.x.mu.Unlock()
	if q == nil {
		return // it was answered in between
	}
	q.release()
	follow(r.copied(peer.Event{Kind: peer.Notification, Method: methodCancelled}, text))
}

// newest returns the request that was sent last and takes messages, nil if there is none.
func (x *Talk) newest() *pending {
	x.mu.Lock()
	defer x.mu.Unlock()
	var last *pending
	for _, w := range x.calls {
		if w.relays && !w.listens && (last == nil || w.id > last.id) {
			last = w
		}
	}
	return last
}
