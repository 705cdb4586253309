// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/watch"
)

// Watch hears of changes until ctx ends, and then returns nil: by
// subscriptions/listen of a modern server, by a session of its own with its GET
// stream and resources/subscribe of a legacy one. What breaks is begun anew,
// after 0.25 s doubling to 30 s. Of the notifications only wanted kinds reach
// sink, on one goroutine at a time; an error of sink ends the watch.
//
// Questions reach sink as in [Pool.Call]. The fault is Precondition with
// [ReasonNoStream] if the server cannot tell any of it, or with
// [ReasonUnauthorized] or [ReasonTarget], Exhausted with [ReasonBusy] if the node
// has too many streams, Unavailable if the pool is closing, and Canceled with the
// error of sink.
func (p *Pool) Watch(ctx context.Context, t Target, sub Subscription, sink func(Event) error) error {
	t.Session = "" // it is not the client's session that is watched
	s, err := p.site(&t)
	if err != nil {
		return err
	}
	defer s.users.Add(-1)
	return watch.Run(ctx, watch.Config{
		Engine: p.link, To: s.to, Target: &t, Wanted: sub, Sink: sink,
		Speech: func(ctx context.Context) (link.Speech, error) { return p.speech(ctx, s, &t) },
		Reprobe: func(ctx context.Context) error {
			if !s.probeDue() {
				return t.Unreachable()
			}
			_, err := p.reprobe(ctx, s, &t)
			return err
		},
		Open: func(ctx context.Context, sp link.Speech, purpose link.Purpose) (*link.Session, ServerInfo, error) {
			return p.open(ctx, s, &t, sp, purpose)
		},
		Finish: func(ctx context.Context, ses *link.Session) { p.finish(ctx, []*link.Session{ses}) },
	})
}
