// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/http"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
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
		x.fail(rpcerror.InvalidRequest("Batches belong to protocol version 2025-03-26."))
		return
	}
	var room [16]wire.Span
	spans, err := wire.SplitBatch(room[:0], x.body)
	if err != nil {
		x.fail(err)
		return
	}
	members := make([]*request, 0, len(spans))
	defer func() {
		for _, m := range members {
			m.reset()
			x.h.requests.Put(m)
		}
	}()
	asks, answers := false, false
	for _, s := range spans {
		m := x.member(s.Of(x.body))
		members = append(members, m)
		m.broken = wire.Scan(m.body, &m.msg)
		switch m.msg.Kind {
		case wire.Response, wire.ErrorResponse:
			answers = true
		case wire.Request, wire.Invalid:
			asks = true
		case wire.Notification:
		}
	}
	switch {
	case asks && answers:
		x.fail(rpcerror.InvalidRequest("A batch holds requests or responses, not both."))
	case !asks:
		for _, m := range members {
			m.notified()
		}
		x.accept202()
	case x.form&answer.Events == 0:
		x.fail(intake.Refuse(http.StatusNotAcceptable, "A batch is answered with text/event-stream."))
	default:
		x.runBatch(members)
	}
}

func (x *request) runBatch(members []*request) {
	x.status = http.StatusOK
	ctx, cancel := x.lifetime()
	defer cancel(nil)
	a := x.h.answers.Start(x.w, x.form, x)
	a.Stream()
	var running sync.WaitGroup
	for _, m := range members {
		switch {
		case m.broken != nil:
			o := m.failed(m.broken)
			a.Respond(m.frame(&o))
		case m.msg.Kind == wire.Notification:
			m.notified()
		default:
			running.Go(func() {
				one, stop := context.WithCancelCause(ctx)
				defer stop(nil)
				m.cancel = stop
				if o := m.produce(one, a.Sink()); o.failure == nil || !o.failure.Silent {
					a.Respond(m.frame(&o))
				}
			})
		}
	}
	running.Wait()
	a.Abandon()
}
