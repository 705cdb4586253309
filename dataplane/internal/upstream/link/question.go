// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// maxReplies bounds the answers to one session under way; an upstream that asks
// faster than it reads answers gets none.
const maxReplies = 64

// answered answers a question that no client needs to hear of, and reports
// whether it was one: ping, and what was not declared.
func (ses *Session) answered(ctx context.Context, in exchange.Inbound) bool {
	switch {
	case in.Method == "ping":
		ses.reply(ctx, wire.AppendResult(nil, in.ID, []byte(`{}`)), nil)
	case ses.purpose.Discovering && in.Method == "roots/list":
		ses.reply(ctx, wire.AppendResult(nil, in.ID, []byte(`{"roots":[]}`)), nil)
	case ses.purpose.Discovering || !ses.kinds.Allow(in.Method):
		ses.refuse(ctx, in.ID)
	default:
		return false
	}
	return true
}

// refuse answers a question that nobody is there for.
func (ses *Session) refuse(ctx context.Context, id []byte) {
	ses.reply(ctx, wire.AppendError(nil, id, wire.CodeMethodNotFound, "Method not found", nil), nil)
}

// reply sends a response to the upstream, without waiting for it, with the headers of the client of the call that it is about.
func (ses *Session) reply(ctx context.Context, message []byte, passed http.Header) {
	if ses.replies.Add(1) <= maxReplies && ses.ready.Load() && ses.e.spawn(func(life context.Context) {
		defer ses.replies.Add(-1)
		short, cancel := context.WithTimeout(life, replyTimeout)
		defer cancel()
		_ = ses.TellOf(short, message, passed) // the upstream misses its answer
	}) {
		return
	}
	ses.replies.Add(-1)
	ses.Dropped(ctx)
}

// event makes the event of a message. release is called when a question is
// answered. passed are the headers of the client of the call that the message came with; nil for none.
func (ses *Session) event(in exchange.Inbound, release func(), passed http.Header) peer.Event {
	e := peer.Event{Kind: peer.Notification, Method: in.Method, Params: in.Params, Raw: in.Raw, ID: in.ID}
	if in.ID == nil {
		return e
	}
	e.Kind = peer.ServerRequest
	id := bytes.Clone(in.ID)
	var once sync.Once
	var over atomic.Bool
	e.Progress = func(params []byte) {
		if over.Load() {
			return
		}
		short, cancel := context.WithTimeout(ses.e.life, replyTimeout)
		defer cancel()
		_ = ses.TellOf(short, wire.AppendNotification(nil, "notifications/progress", params), passed) // it is only progress
	}
	e.Answer = func(result, object []byte) {
		once.Do(func() {
			over.Store(true)
			release()
			message := wire.AppendResult(nil, id, result)
			if result == nil {
				message = wire.AppendErrorResponse(nil, id, object)
			}
			ses.reply(ses.e.life, message, passed)
		})
	}
	return e
}
