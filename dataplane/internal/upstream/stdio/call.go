// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/talk"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	methodSubscribe   = "resources/subscribe"
	methodUnsubscribe = "resources/unsubscribe"
)

// Call sends one request to the process of a target, which it starts if need be, and relays what comes before the answer, in
// order, on the calling goroutine, through sink (which may be nil) before it returns the answer: a result or a JSON-RPC error
// of the server. Headers of the request have no meaning here.
//
// A question of the server goes to the newest call under way on the process, else to who is attached (see [Pool.Attach]);
// without anybody, or if t.Capabilities does not declare its kind, it is refused (M-77). While it waits, the time of the call
// stands still (M-49). Subscriptions to resources are shared: the server is told of the first and of the last for a URI.
//
// Errors are *fault.Fault: Unavailable with UPSTREAM_UNREACHABLE (not started, ended before it got the request, or paused
// after failures), UPSTREAM_PROTOCOL, RESPONSE_TOO_LARGE or OUTCOME_UNKNOWN (it ended after it got the request), Timeout
// with UPSTREAM_TIMEOUT, Precondition with UPSTREAM_SETTINGS, Exhausted with UPSTREAM_BUSY, Canceled when ctx or sink ended
// the call, and Invalid for params that are no object. A request that no process got, and an idempotent one that relayed
// nothing yet, is sent once more.
func (p *Pool) Call(ctx context.Context, t Target, r upstream.Request, sink func(upstream.Event) error) (upstream.Result, error) {
	s, leave, err := p.enter(&t, p.keyOf(&t))
	if err != nil {
		return upstream.Result{}, err
	}
	defer leave()
	if !s.turns.Enter(ctx, t.MaxConcurrent) {
		if ctx.Err() != nil {
			return upstream.Result{}, fault.New(fault.Canceled, fault.ReasonCanceled, "The call was given up.").Because(context.Cause(ctx))
		}
		return upstream.Result{}, t.busy("has as many calls under way as its connection allows")
	}
	defer s.turns.Leave()
	if t.Session != "" && (r.Method == methodSubscribe || r.Method == methodUnsubscribe) {
		if uri, ok := uriOf(r.Params); ok {
			return p.subscription(ctx, s, &t, &r, uri)
		}
	}
	return p.send(ctx, s, &t, &r, sink)
}

// send sends a request to the process of a site, and once more if that does no harm.
func (p *Pool) send(ctx context.Context, s *site, t *Target, r *upstream.Request, sink func(upstream.Event) error) (upstream.Result, error) {
	for try := 0; ; try++ {
		x, err := p.ready(ctx, s, t)
		if err != nil {
			return upstream.Result{}, err
		}
		x.Allow(t.peer(p.cfg.MaxMessage).MaxResponse)
		if r.LogLevel != "" {
			x.Level(ctx, r.LogLevel, t.CallTimeout)
		}
		e := talk.Exchange{Talk: x, Timeout: t.CallTimeout, Sink: sink}
		result, err := e.Run(ctx, r)
		if err == nil || try > 0 || !e.Again(r) {
			return result, err
		}
	}
}

// uriOf returns the URI in raw params.
func uriOf(params []byte) (string, bool) {
	var m wire.Message
	if params == nil || wire.ScanParams(params, &m) != nil {
		return "", false
	}
	return wire.DecodeString(m.P.URI.Of(params))
}
