// SPDX-License-Identifier: Apache-2.0

// Package ask sends what upstreams ask the client of a legacy session, and waits for the response, which comes with a
// request of its own: on the stream of the request that the question belongs to, else on the session's (mcp.md M-12,
// M-38, M-51).
//
// edge uses it. It must never know methods, upstreams or who is calling.
package ask

import (
	"context"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonUnreachable: the client cannot be asked, it has no stream or its session has ended (Unavailable).
const ReasonUnreachable = "CLIENT_UNREACHABLE"

// Asker asks the client of one request, or of a session's stream. It is safe for concurrent use.
type Asker struct {
	session *session.Session

	mu  sync.Mutex
	out *answer.Writer // nil: the session's stream only
}

// New returns an asker. out is the answer to the request that questions belong to; nil if they belong to none.
func New(s *session.Session, out *answer.Writer) *Asker { return &Asker{session: s, out: out} }

// Close has the asker forget the answer, which is written to its end now. Questions go on the session's stream after
// that.
func (a *Asker) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out = nil
}

// Ask implements [call.Asker].
func (a *Asker) Ask(ctx context.Context, asked call.Question) (call.Answer, error) {
	q, err := a.session.Ask()
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = unreachable()
		}
		return call.Answer{}, err
	}
	defer q.Drop()
	if !a.send(request(q.ID(), asked.Method, rekeyed(q, asked))) {
		return call.Answer{}, unreachable()
	}
	select {
	case r, ok := <-q.Answered():
		if !ok {
			return call.Answer{}, unreachable()
		}
		return call.Answer(r), nil
	case <-ctx.Done():
		a.send(cancelled(q.ID()))
		return call.Answer{}, ctx.Err() //nolint:wrapcheck // says which of the two it was, to callers that look for it
	}
}

// send sends a message to the client, and reports whether it may get it.
func (a *Asker) send(message []byte) bool {
	a.mu.Lock()
	sent := a.out != nil && a.out.Send(message)
	a.mu.Unlock()
	return sent || a.session.Tell(message)
}

// rekeyed returns the params of a question with a progress token of the node's, its id: two upstreams may have the same
// (M-12). What the client says of its progress goes back under the upstream's.
func rekeyed(q *session.Question, asked call.Question) []byte {
	var m wire.Message
	if asked.Progress == nil || asked.Params == nil || wire.ScanParams(asked.Params, &m) != nil || !m.Meta.ProgressToken.Present() {
		return asked.Params
	}
	token := clone(m.Meta.ProgressToken.Of(asked.Params))
	q.OnProgress(func(params []byte) {
		var told wire.Message
		if wire.ScanParams(params, &told) != nil {
			return
		}
		var e wire.Edits
		e.Replace(told.P.ProgressToken.Span, token)
		asked.Progress(e.AppendTo(nil, params))
	})
	var e wire.Edits
	e.Replace(m.Meta.ProgressToken.Span, q.ID())
	return e.AppendTo(nil, asked.Params)
}

// Progress gives a notifications/progress of a client to the question that it is about (M-50). It keeps no reference to
// body, which m is the scan of, and returns when the upstream has been told.
func Progress(s *session.Session, m *wire.Message, body []byte) {
	if token := m.P.ProgressToken.Of(body); token != nil {
		s.Progress(token, m.Params.Of(body))
	}
}

func unreachable() error {
	return fault.New(fault.Unavailable, ReasonUnreachable, "The client cannot be asked: it has no stream open.")
}

func request(id []byte, method string, params []byte) []byte {
	b := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"method":`...)
	b = wire.AppendString(b, method)
	if params != nil {
		b = append(append(b, `,"params":`...), params...)
	}
	return append(b, '}')
}

// cancelled takes a question back (M-51).
func cancelled(id []byte) []byte {
	params := append(append([]byte(`{"requestId":`), id...), `,"reason":"The question was taken back."}`...)
	return wire.AppendNotification(nil, "notifications/cancelled", params)
}

// Resolve gives the response of a client to the question that it answers; one to an unknown question is ignored (M-37).
// It keeps no reference to body, which m is the scan of.
func Resolve(s *session.Session, m *wire.Message, body []byte) {
	r := session.Reply{Result: clone(m.Result.Of(body)), Error: clone(m.Error.Of(body))}
	if r.Error == nil && !wire.IsObject(r.Result) {
		r = session.Reply{Error: wire.AppendErrorObject(nil, wire.CodeInternal, "The client answered without a result object.", nil)}
	}
	s.Answer(m.ID.Of(body), r)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
