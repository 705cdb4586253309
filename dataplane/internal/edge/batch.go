// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// batch answers an array of messages, which only sessions of 2025-03-26 may send (M-43): requests run in parallel, each
// within the limits of its caller, and are answered in the order they end on one stream.
func (x *request) batch() {
	if err := x.openSession(); err != nil {
		x.fail(err)
		return
	}
	if x.version != wire.V20250326 {
		x.fail(errNoBatch())
		return
	}
	members, err := x.split()
	if err != nil {
		x.fail(err)
		return
	}
	defer release(x.h, members)
	asks, answers := kinds(members)
	switch {
	case asks && answers:
		x.fail(errMixedBatch())
	case !asks:
		var failed error
		for _, m := range members {
			if err := m.notified(); err != nil {
				failed = err
			}
		}
		if failed != nil {
			x.failNotice(failed)
			return
		}
		x.accept202()
	case x.form&answer.Events == 0:
		x.fail(intake.Refuse(http.StatusNotAcceptable, "A batch is answered with text/event-stream."))
	default:
		if err := scopedAll(members); err != nil {
			for _, m := range members {
				m.noteRefused(err)
			}
			x.fail(err)
			return
		}
		x.runBatch(members)
	}
}

func errNoBatch() error {
	return rpcerror.InvalidRequest("Batches belong to protocol version 2025-03-26.")
}

func errMixedBatch() error {
	return rpcerror.InvalidRequest("A batch holds requests or responses, not both.")
}

// split makes a request of each member of the array.
func (x *request) split() ([]*request, error) {
	var room [16]wire.Span
	spans, err := wire.SplitBatch(room[:0], x.body)
	if err != nil {
		return nil, err
	}
	members := make([]*request, 0, len(spans))
	for _, s := range spans {
		m := x.member(s.Of(x.body))
		m.broken = wire.Scan(m.body, &m.msg)
		members = append(members, m)
	}
	return members, nil
}

func release(h *Handler, members []*request) {
	for _, m := range members {
		m.reset()
		h.requests.Put(m)
	}
}

// kinds reports whether members are to be answered, and whether there are answers among them.
func kinds(members []*request) (asks, answers bool) {
	for _, m := range members {
		switch m.msg.Kind {
		case wire.Response, wire.ErrorResponse:
			answers = true
		case wire.Request, wire.Invalid:
			asks = true
		case wire.Notification:
		}
	}
	return asks, answers
}

func (x *request) runBatch(members []*request) {
	x.status = http.StatusOK
	ctx := x.lifetime()
	defer ctx.Cancel(nil)
	x.promised = make([]replay.Asked, 0, len(members))
	for _, m := range members {
		if m.broken == nil && m.msg.Kind == wire.Request {
			x.promised = append(x.promised, replay.Asked{ID: bytes.Clone(m.msg.ID.Of(m.body)), Method: m.methodOf()})
		}
	}
	a := x.h.answers.Start(x.w, x.form, x)
	asker := x.reach(a)
	defer asker.Close()
	a.Stream()
	var running sync.WaitGroup
	for _, m := range members {
		m.client = x.client
		switch {
		case m.broken != nil:
			o := m.failed(m.broken)
			a.Respond(m.frame(&o), false)
		case m.msg.Kind == wire.Notification:
			_ = m.notified() // the stream has no place for the error
		default:
			running.Go(func() {
				one, stop := context.WithCancelCause(ctx)
				defer stop(nil)
				m.cancel = stop
				if o := m.produce(one, a.Sink()); o.failure == nil || !o.failure.Silent {
					a.Respond(m.frame(&o), false)
				}
			})
		}
	}
	running.Wait()
	a.Abandon()
}
