// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// follower is a connection that has taken over the stream of a request.
type follower struct {
	out  *answer.Writer
	stop context.CancelCauseFunc
}

// Relay implements [replay.Follower].
func (f *follower) Relay(event []byte, response bool) { f.out.Relay(event, response) }

// Leave implements [replay.Follower].
func (f *follower) Leave() { f.stop(nil) }

// resume answers with the rest of a request's stream, until that ends. finish writes what nobody else will write any more.
// It reports false if the rest is not there; then nothing was sent.
func (x *request) resume(lost replay.Position, finish func()) bool {
	ctx, stop := context.WithCancelCause(x.r.Context())
	defer stop(nil)
	x.cancel = stop
	f := &follower{x.h.answers.Start(x.w, answer.Events, x), stop}
	if !x.session.Events().Follow(lost, f) {
		o := x.failed(rpcerror.InvalidRequest("This event cannot be resumed from."))
		x.status = o.failure.Status
		f.out.Finish(x.status, x.frame(&o))
		return true
	}
	x.status = http.StatusOK
	f.out.Stream()
	finish()
	select {
	case <-ctx.Done():
	case <-f.out.Done():
	}
	x.session.Events().Unfollow(lost, f)
	f.out.Abandon()
	return true
}

// fetch finds an event that another node has sent, which cannot be asked for the rest: it has gone, or given the stream up.
// What was in flight there has an unknown outcome (M-92), and finish says so.
func (x *request) fetch(id string) (lost replay.Position, finish func(), ok bool) {
	lost, had, rest, ok := x.session.Fetch(x.r.Context(), id)
	finish = func() {}
	if ok && rest != nil {
		finish = func() {
			for _, asked := range unanswered(had) {
				rest.Record(x.outcomeUnknown(asked), true)
			}
			rest.End()
		}
	}
	return lost, finish, ok
}

// unanswered returns the requests of a stream that it has not answered.
func unanswered(c replay.Copy) []replay.Asked {
	answered := make(map[string]bool)
	for _, event := range c.Events {
		_, data, _ := bytes.Cut(event, []byte("\ndata: "))
		data = bytes.TrimRight(data, "\n")
		var m wire.Message
		if wire.Scan(data, &m) == nil && (m.Kind == wire.Response || m.Kind == wire.ErrorResponse) {
			answered[string(m.ID.Of(data))] = true
		}
	}
	var out []replay.Asked
	for _, asked := range c.Head.Asked {
		if !answered[string(asked.ID)] {
			out = append(out, asked)
		}
	}
	return out
}

// textOutcomeUnknown is what a client reads about a call that was in flight on a node that is gone.
const textOutcomeUnknown = "The gateway lost the call while it ran. It may have had its effect: look before you repeat it."

// outcomeUnknown answers a request that may have run (G-53): a tool call with a result that says so, others with an error.
func (x *request) outcomeUnknown(asked replay.Asked) []byte {
	if asked.Method != method.CallTool {
		e := rpcerror.Error{
			Status: http.StatusOK, Code: wire.CodeUnavailable, Message: textOutcomeUnknown, Data: []byte(`{"reason":"outcome_unknown"}`),
		}
		return e.Append(nil, asked.ID)
	}
	b := append(append([]byte(`{"jsonrpc":"2.0","id":`), asked.ID...), `,"result":{"content":[{"type":"text","text":`...)
	b = append(wire.AppendString(b, textOutcomeUnknown), `}],"isError":true`...)
	if x.version.AtLeast(wire.V20250618) {
		b = append(b, `,"structuredContent":{"penstock_error":{"type":"OUTCOME_UNKNOWN","retryable":false}}`...)
	}
	return append(b, `}}`...)
}

// subscribe subscribes again to the resources that the session had subscribed to on another node (M-92): nothing of it is
// told to the client, which has been told that it is subscribed.
func (c *channel) subscribe(uris []string) {
	c.mu.Lock()
	caller := c.caller
	c.mu.Unlock()
	for _, uri := range uris {
		body := append(wire.AppendString([]byte(`{"jsonrpc":"2.0","id":0,"method":"resources/subscribe","params":{"uri":`), uri), `}}`...)
		var m wire.Message
		if c.ctx.Err() != nil || wire.Scan(body, &m) != nil {
			return
		}
		// What fails is left out: the upstream is away, or the resource not there for the caller any more.
		_, _ = c.x.h.dispatch.Call(c.ctx, caller, call.Call{
			Method: method.Subscribe, Params: m.Params.Of(body), Message: &m, Body: body,
		}, func([]byte) error { return nil })
	}
}
