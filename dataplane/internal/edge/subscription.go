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
	"github.com/penstockhq/penstock/dataplane/internal/edge/capability"
	"github.com/penstockhq/penstock/dataplane/internal/edge/changes"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/subscribe"
	"github.com/penstockhq/penstock/dataplane/internal/edge/vigil"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// subscribe answers subscriptions/listen. Its span covers what is agreed on, not the hours that the stream may last.
func (x *request) subscribe() {
	ctx, op := x.start(x.r.Context())
	honoured, err := x.agree()
	if err == nil {
		err = x.counted()
	}
	one := crowd.Count{Streams: 1}
	if err == nil && !x.h.crowd.Enter(x.seat(), one) {
		err = rpcerror.Flood("Too many streams are open at this gateway.")
	}
	if err != nil {
		o := x.failed(err)
		op.end(ctx, x, &o, err)
		x.refuse(*o.failure)
		return
	}
	defer x.h.crowd.Leave(x.seat(), one)
	op.end(ctx, x, &outcome{}, nil)
	x.status = http.StatusOK
	x.relay(honoured)
}

// agree finds out what of the subscription can be had (M-29).
func (x *request) agree() (honoured call.Subscription, err error) {
	defer recovered(&err)
	if _, err := x.validate(); err != nil {
		return honoured, err
	}
	if err := x.scoped(); err != nil {
		return honoured, err
	}
	if x.form&answer.Events == 0 {
		return honoured, intake.Refuse(http.StatusNotAcceptable, "A subscription is answered with text/event-stream.")
	}
	want, err := subscribe.Parse(x.msg.Params.Of(x.body))
	if err != nil {
		return honoured, err
	}
	if want.Tasks && !capability.Extension(x.client.Capabilities, compile.ExtensionTasks) {
		return honoured, rpcerror.MissingExtension(compile.ExtensionTasks)
	}
	return x.h.dispatch.Subscribe(x.caller(), want.Subscription)
}

// always is the guard of streams whose end a vigil sees to.
type always struct{}

// MayGoOn implements answer.Guard.
func (always) MayGoOn() bool { return true }

// Lost implements answer.Guard.
func (always) Lost() {}

// relay keeps the stream open for as long as it may last. What edge and what upstreams tell meet in the queue of the
// writer.
func (x *request) relay(honoured call.Subscription) {
	// Taken before anything is sent: a client that saw the acknowledgment is told of every change after that.
	changed := x.h.view.Changed()
	ctx, give := context.WithCancel(x.r.Context())
	defer give()
	out := x.h.answers.Start(x.w, answer.Events, always{})
	relay := &subscribe.Relay{
		ID: bytes.Clone(x.msg.ID.Of(x.body)), Send: func(message []byte) { out.Send(message) }, Watch: x.watcher(),
		Broken: func(err error) {
			x.h.log.ErrorContext(ctx, "subscription broke", obs.Fault(bug(err)))
			give()
		},
	}
	x.establish(ctx, relay, honoured)
	keep := vigil.Watch{
		View: x.h.view, Changed: changed, Seen: x.snapshot, Gone: out.Done(), Draining: x.h.draining,
		Left: x.tokenLeft, Renew: func() bool { return x.resubscribe(ctx, relay) },
		Beat: x.mayLast,
	}
	reason := keep.Keep(ctx)
	relay.Stop()
	o := outcome{result: subscribe.End(relay.ID)}
	if err := x.result.Read(&x.asks, o.result); err != nil || reason == vigil.Gone {
		out.Abandon()
		return
	}
	out.Finish(http.StatusOK, x.frame(&o)) // graceful
}

// patience is how long the acknowledgement waits for servers that do not say that they have taken the subscription.
const patience = 3 * time.Second // a stream must end within 5 s when its caller loses access (RS-11)

// establish starts the subscription and acknowledges it when the servers have taken it: a client that saw the
// acknowledgement is told of every change after that.
func (x *request) establish(ctx context.Context, relay *subscribe.Relay, honoured call.Subscription) {
	taken := make(chan struct{})
	honoured.Established = sync.OnceFunc(func() { close(taken) })
	relay.Start(ctx, honoured)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-taken:
	case <-late.C:
	case <-x.h.draining:
	case <-ctx.Done():
		return
	}
	relay.Open()
}

// watcher returns the dispatcher's Watch for the caller as it is now.
func (x *request) watcher() func(context.Context, call.Subscription, func([]byte)) {
	caller := x.caller()
	return func(ctx context.Context, honoured call.Subscription, deliver func([]byte)) {
		x.h.dispatch.Watch(ctx, caller, honoured, deliver)
	}
}

// resubscribe takes the newest snapshot, tells what it changed, and reports whether the subscription may go on. What
// upstreams tell is mapped by the gateway as it was, so where that changed they are watched anew, for what is left.
func (x *request) resubscribe(ctx context.Context, relay *subscribe.Relay) bool {
	was, old := x.snapshot, x.gateway
	if !x.recheck() {
		return false
	}
	if was == x.snapshot {
		return true
	}
	changes.Between(was, old, x.snapshot, x.gateway).Notifications(relay.Tell)
	if old == x.gateway && !was.HasDenials() && !x.snapshot.HasDenials() && !x.snapshot.Rechosen(was, old, x.principal) {
		return true
	}
	honoured, err := x.h.dispatch.Subscribe(x.caller(), relay.Honoured())
	if err != nil {
		return false
	}
	relay.Watch = x.watcher()
	relay.Start(ctx, honoured)
	return true
}

// tokenLeft is how long the token lasts, at least a second: authn may allow for skewed clocks.
func (x *request) tokenLeft() time.Duration {
	if x.principal.Expires.IsZero() {
		return 24 * time.Hour
	}
	return max(time.Second, time.Until(x.principal.Expires))
}
