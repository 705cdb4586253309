// SPDX-License-Identifier: Apache-2.0

// Package watch hears of changes at an upstream for as long as somebody wants to
// (mcp.md M-71, section 4): by subscriptions/listen of a modern server, by a
// session of its own with its GET stream and resources/subscribe of a legacy one.
//
// Called by upstream, on the goroutine of who watches. It must never know
// principals or who shares sessions.
package watch

import (
	"context"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/inbox"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stream"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	firstPause = 250 * time.Millisecond
	maxPause   = 30 * time.Second
	// steady is how long a subscription must have lasted for the pauses between
	// attempts to begin anew.
	steady = 10 * time.Second
)

// Config says who watches what.
type Config struct {
	Engine *link.Engine
	To     *httpclient.Endpoint
	Target *peer.Target // Session is empty
	Wanted peer.Subscription
	Sink   func(peer.Event) error
	// Speech says how to speak to the target. Reprobe finds that out after an
	// answer that contradicts it; it fails if that was done just before.
	Speech  func(context.Context) (link.Speech, error)
	Reprobe func(context.Context) error
	// Open opens a legacy session, see [link.Engine.Open].
	Open func(context.Context, link.Speech, link.Purpose) (*link.Session, peer.ServerInfo, error)
	// Finish ends a session without waiting for it.
	Finish func(context.Context, *link.Session)
}

// Run watches until ctx ends, and then returns nil. What breaks is begun anew,
// after 0.25 s doubling to 30 s. The fault is that of upstream's Pool.Watch.
func Run(ctx context.Context, cfg Config) error {
	w := &watcher{Config: cfg, t: cfg.Target}
	if !w.Engine.OpenStream() {
		return w.t.Busy()
	}
	defer w.Engine.CloseStream()
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.Engine.Life(), cancel)()
	for {
		began := time.Now()
		err := w.once(within)
		switch {
		case ctx.Err() != nil:
			return nil
		case within.Err() != nil:
			return w.t.Unreachable().Because(httpclient.ErrClosed)
		}
		if f := fault.From(err); err != nil && f.Kind != fault.Unavailable && f.Kind != fault.Timeout {
			return f
		}
		w.rest(within, time.Since(began))
	}
}

// watcher is one watch.
type watcher struct {
	Config
	t     *peer.Target
	pause time.Duration

	acknowledged func(params []byte) // of the present listen request
	out          []byte
}

// rest waits before the next attempt.
func (w *watcher) rest(ctx context.Context, lasted time.Duration) {
	if w.pause == 0 || lasted > steady {
		w.pause = firstPause
	}
	timer := time.NewTimer(w.pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	w.pause = min(2*w.pause, maxPause)
}

// once watches until something ends it. nil and Unavailable faults are worth
// another attempt.
func (w *watcher) once(ctx context.Context) error {
	sp, err := w.Speech(ctx)
	if err != nil {
		return err
	}
	if sp.Version.Era() == wire.Modern {
		return w.listen(ctx, sp.Version)
	}
	ses, info, err := w.Open(ctx, sp, link.Purpose{Watch: w.filtered})
	if err != nil {
		if errors.Is(err, link.ErrEra) {
			return w.Reprobe(ctx)
		}
		return err
	}
	defer w.Finish(ctx, ses)
	return w.hear(ctx, ses, info.Capabilities)
}

// filtered gives a message to the sink if it is wanted.
func (w *watcher) filtered(e peer.Event) error {
	if e.Kind == peer.Notification && !w.wants(e.Method) {
		return nil
	}
	return w.Sink(e)
}

// wants also takes notice of questions that are taken back.
func (w *watcher) wants(method string) bool {
	return w.Wanted.Wants(method) || method == "notifications/cancelled" && len(w.t.Capabilities) > 0
}

// hear watches with a session.
func (w *watcher) hear(ctx context.Context, ses *link.Session, capabilities []byte) error {
	lists, updates := w.offered(capabilities)
	if !lists && !updates {
		return noMessages(w.t, errors.New("it declares no change notifications"))
	}
	subscribed := !updates
	subscribe := func() {
		for _, uri := range w.Wanted.URIs {
			if updates && ses.Subscribe(ctx, uri) {
				subscribed = true
			}
		}
	}
	var err error
	if !ses.SSE() {
		within, cancel := context.WithCancel(ctx)
		defer cancel()
		err = ses.Read(within, func() {
			if subscribe(); !lists && !subscribed {
				cancel()
				return
			}
			w.established()
		})
	} else if subscribe(); lists || subscribed {
		w.established()
		select {
		case <-ses.Ended():
			err = ses.Err()
		case <-ctx.Done():
		}
	}
	var refused *exchange.SinkError
	switch {
	case errors.As(err, &refused):
		return fault.New(fault.Canceled, fault.ReasonCanceled, "The watch was given up.").Because(refused)
	case errors.Is(err, stream.ErrNone) || !lists && !subscribed && ctx.Err() == nil && !ses.Dead():
		return noMessages(w.t, err)
	case errors.Is(err, stream.ErrRefused):
		return w.t.Refused(statusUnauthorized, true)
	}
	return nil // it was lost
}

// established tells that the server has taken the subscription.
func (w *watcher) established() {
	if w.Wanted.Established != nil {
		w.Wanted.Established()
	}
}

const statusUnauthorized = 401

// offered says which of the wanted kinds a legacy server declares.
func (w *watcher) offered(capabilities []byte) (lists, updates bool) {
	fields, err := wire.Fields(nil, capabilities)
	if err != nil {
		return false, false
	}
	has := func(capability, member string) bool {
		raw := wire.Lookup(fields, capability).Of(capabilities)
		inner, err := wire.Fields(nil, raw)
		return err == nil && string(wire.Lookup(inner, member).Of(raw)) == "true"
	}
	lists = w.Wanted.Tools && has("tools", "listChanged") || w.Wanted.Prompts && has("prompts", "listChanged") ||
		w.Wanted.Resources && has("resources", "listChanged")
	return lists, len(w.Wanted.URIs) > 0 && has("resources", "subscribe")
}

// listen watches with one subscriptions/listen request.
func (w *watcher) listen(ctx context.Context, v wire.Version) error {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := w.Engine.Begin(w.To, w.t, v, nil)
	defer x.Done()
	x.Receiver = w
	x.Own()
	x.Patience()
	patience := time.AfterFunc(x.Timeout, func() { cancel(inbox.ErrLate) })
	defer patience.Stop()
	var none error
	w.acknowledged = func(params []byte) {
		patience.Stop()
		if !peer.Honours(params) {
			none = errors.New("it acknowledges none of the wanted kinds")
			cancel(none)
			return
		}
		w.established()
	}
	if err := x.Fill(&peer.Request{Method: "subscriptions/listen", Params: w.Wanted.Params()}); err != nil {
		return err
	}
	x.Timeout, x.Ceiling = 0, time.Time{}
	a, err := x.Request(within, "subscriptions/listen")
	var refused *exchange.SinkError
	switch {
	case ctx.Err() != nil:
		return nil
	case none != nil:
		return noMessages(w.t, none)
	case errors.As(err, &refused):
		return fault.New(fault.Canceled, fault.ReasonCanceled, "The watch was given up.").Because(refused)
	case errors.Is(context.Cause(within), inbox.ErrLate):
		return w.t.Late()
	case err != nil:
		return link.NotSent(w.t, link.Failed(ctx, w.t, err))
	case a.Result != nil:
		return nil // a graceful end
	case a.Credential():
		return w.t.Refused(a.Status, true)
	case era.Contradicts(v, a.Answer):
		return w.Reprobe(ctx)
	case a.Error != nil && a.Status < 500:
		return noMessages(w.t, era.Error(a.Error))
	}
	return w.t.Refused(a.Status, true)
}

// Notification implements exchange.Receiver for subscriptions/listen. The id of
// the subscription is the node's own and is taken out.
func (w *watcher) Notification(_ context.Context, in exchange.Inbound) error {
	if in.Method == "notifications/subscriptions/acknowledged" {
		w.acknowledged(in.Params)
		return nil
	}
	if !w.wants(in.Method) {
		return nil
	}
	var m wire.Message
	var e wire.Edits
	if err := wire.Scan(in.Raw, &m); err == nil && m.Meta.Reserved > 0 {
		if wire.StripMeta(&e, in.Raw, m.P.Meta.Span, "", wire.MetaSubscriptionID) == nil && e.Len() > 0 {
			w.out = e.AppendTo(w.out[:0], in.Raw)
			grown := len(w.out) - len(in.Raw)
			in.Raw, in.Params = w.out, w.out[m.Params.Start:m.Params.End+grown]
		}
	}
	return w.Sink(peer.Event{Kind: peer.Notification, Method: in.Method, Params: in.Params, Raw: in.Raw})
}

// Question implements exchange.Receiver; modern servers do not ask.
func (w *watcher) Question(ctx context.Context, _ exchange.Inbound) error {
	w.Dropped(ctx)
	return nil
}

// Dropped implements exchange.Receiver.
func (w *watcher) Dropped(ctx context.Context) { w.Engine.Drop(ctx) }

func noMessages(t *peer.Target, cause error) *fault.Fault {
	return t.Fault(fault.Precondition, peer.ReasonNoStream, "does not tell of changes").Because(cause)
}
