// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/queue"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/talk"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// steady is how long a subscription must have lasted for the pauses between attempts to begin anew.
const steady = 10 * time.Second

// errNothing: the server tells nothing of what is wanted.
var errNothing = errors.New("it offers none of the wanted kinds")

// watcher is one Watch.
type watcher struct {
	sub   upstream.Subscription
	queue *queue.Queue
	sink  func(upstream.Event) error
	t     *Target
}

// Watch keeps a process of the target running and hears of changes until ctx ends, and then returns nil: by
// subscriptions/listen of a modern server, by resources/subscribe and list_changed of a legacy one. What breaks is begun
// anew, after pauses. Only wanted kinds reach sink, in order, on the calling goroutine; an error of sink ends the watch. The
// process is that of calls with the same target, and subscriptions to resources are shared with its sessions.
//
// The fault is Precondition with UPSTREAM_NO_STREAM if the server cannot tell any of it, or with UPSTREAM_SETTINGS,
// Unavailable if the pool is closed, and Canceled with the error of sink.
func (p *Pool) Watch(ctx context.Context, t Target, sub upstream.Subscription, sink func(upstream.Event) error) error {
	t.Session = ""
	w := &watcher{sub: sub, queue: queue.New(), sink: sink, t: &t}
	p.mu.Lock()
	s, err := p.at(&t, p.keyOf(&t))
	if err == nil {
		s.watchers[w] = struct{}{}
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		p.mu.Lock()
		delete(s.watchers, w)
		s.release(holder{watcher: w})
		p.mu.Unlock()
	}()
	within, cancel := p.lifetime(ctx)
	defer cancel()
	var pause rest
	for {
		began := time.Now()
		err := p.watch(within, s, w)
		switch {
		case ctx.Err() != nil:
			return nil
		case within.Err() != nil:
			return t.unreachable(notStarted)
		}
		if f := fault.From(err); err != nil && f.Kind != fault.Unavailable && f.Kind != fault.Timeout && f.Kind != fault.Exhausted {
			return err
		}
		if time.Since(began) > steady {
			pause = rest{}
		}
		pause.wait(within, err)
	}
}

// watch watches with one process until something ends it.
func (p *Pool) watch(ctx context.Context, s *site, w *watcher) error {
	x, err := p.ready(ctx, s, w.t)
	if err != nil {
		return err
	}
	if x.Info().Version.Era() == wire.Modern {
		return w.listen(ctx, x, p.cfg.StartTimeout)
	}
	return p.hear(ctx, s, w, x)
}

// hear watches a legacy process.
func (p *Pool) hear(ctx context.Context, s *site, w *watcher, x *talk.Talk) error {
	told := w.lists(x.Info().Capabilities)
	var refused error
	if len(w.sub.URIs) > 0 && talk.Declares(x.Info().Capabilities, "resources", "subscribe") {
		var some bool
		some, refused = p.subscribeAll(ctx, s, w, x)
		told = told || some
	}
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // nobody listens any more, which is no fault
	case !told && x.Ended():
		return w.t.unreachable("ended while it was subscribed to").Because(x.Cause())
	case !told:
		return w.t.silent(errors.Join(errNothing, refused))
	}
	if w.sub.Established != nil {
		w.sub.Established()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.Over():
			return w.t.unreachable("ended").Because(x.Cause())
		case <-w.queue.Wake:
			for _, it := range w.queue.Take() {
				if err := w.sink(it.Event); err != nil {
					return givenUpBy(err)
				}
			}
		}
	}
}

func givenUpBy(err error) *fault.Fault {
	return fault.New(fault.Canceled, fault.ReasonCanceled, "The watch was given up.").Because(err)
}

// subscribeAll subscribes to the wanted resources, and says whether the server took any.
func (p *Pool) subscribeAll(ctx context.Context, s *site, w *watcher, x *talk.Talk) (some bool, refused error) {
	release, err := s.take(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	h := holder{watcher: w}
	for _, uri := range w.sub.URIs {
		known, live := p.joinURI(s, uri, h)
		if !live {
			err := ask(ctx, x, methodSubscribe, uri)
			p.settle(s, uri, h, known, err == nil)
			if err != nil {
				refused = err
				continue
			}
		}
		some = true
	}
	return some, refused
}

// lists says whether a legacy server declares any of the wanted list changes.
func (w *watcher) lists(capabilities []byte) bool {
	const member = "listChanged"
	return w.sub.Tools && talk.Declares(capabilities, "tools", member) || w.sub.Prompts && talk.Declares(capabilities, "prompts", member) ||
		w.sub.Resources && talk.Declares(capabilities, "resources", member)
}

// listen watches a modern process with one subscriptions/listen request.
func (w *watcher) listen(ctx context.Context, x *talk.Talk, patience time.Duration) error {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(patience, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	e := talk.Exchange{Talk: x, Sink: func(e upstream.Event) error {
		if e.Method != "notifications/subscriptions/acknowledged" {
			if !w.sub.Wants(e.Method) {
				return nil
			}
			return w.sink(e)
		}
		late.Stop()
		if !peer.Honours(e.Params) {
			return errNothing
		}
		if w.sub.Established != nil {
			w.sub.Established()
		}
		return nil
	}}
	a, err := e.Run(within, &upstream.Request{Method: "subscriptions/listen", Params: w.sub.Params()})
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errNothing):
		return w.t.silent(err)
	case errors.Is(context.Cause(within), context.DeadlineExceeded):
		return w.t.fault(fault.Timeout, upstream.ReasonTimeout, "did not answer in time")
	case a.Error != nil:
		return w.t.silent(fmt.Errorf("subscriptions/listen: %w", &refusal{a.Error}))
	}
	return err // nil after a graceful end
}
