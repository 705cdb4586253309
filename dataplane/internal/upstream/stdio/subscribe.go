// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/talk"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// subscription subscribes a session to a resource, or ends that. The server hears of it only if nobody else is subscribed.
// A session that was ended meanwhile leaves nothing behind.
func (p *Pool) subscription(ctx context.Context, s *site, t *Target, r *upstream.Request, uri string) (upstream.Result, error) {
	release, err := s.take(ctx)
	if err != nil {
		return upstream.Result{}, err
	}
	defer release()
	x, err := p.ready(ctx, s, t)
	if err != nil {
		return upstream.Result{}, err
	}
	if x.Info().Version.Era() == wire.Modern { // it refuses: it has subscriptions/listen
		return p.send(ctx, s, t, r, nil)
	}
	h := holder{session: t.Session}
	done := upstream.Result{Raw: []byte(`{}`), Version: x.Info().Version}
	if r.Method == methodUnsubscribe {
		if p.leaveURI(s, uri, h) {
			return done, nil
		}
		return p.send(ctx, s, t, r, nil)
	}
	p.remember(s, t)
	known, live := p.joinURI(s, uri, h)
	if live {
		return done, nil
	}
	result, err := p.send(ctx, s, t, r, nil)
	p.settle(s, uri, h, known, err == nil && result.Error == nil)
	return result, err
}

// remember notes how to start the process again.
func (p *Pool) remember(s *site, t *Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := *t
	s.target = &again
}

// take makes the changes of a site's subscriptions one after another.
func (s *site) take(ctx context.Context) (release func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, givenUp(ctx)
	}
}

// joinURI notes who subscribes, and says whether they were subscribed, and whether the server knows already.
func (p *Pool) joinURI(s *site, uri string, h holder) (known, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.holders[uri] == nil {
		s.holders[uri] = make(map[holder]struct{})
	}
	_, known = s.holders[uri][h]
	s.holders[uri][h] = struct{}{}
	_, live = s.live[uri]
	return known, live
}

// settle notes what the server said to a subscription.
func (p *Pool) settle(s *site, uri string, h holder, known, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := h.watcher == nil && h.session != "" && !slices.Contains(s.sessions, h.session)
	if !taken && !known || ended {
		s.forget(uri, h)
	}
	if !taken {
		return
	}
	if s.live[uri] = struct{}{}; len(s.holders[uri]) == 0 {
		s.unsubscribe(uri)
	}
}

// leaveURI ends a subscription, and says whether others still have it.
func (p *Pool) leaveURI(s *site, uri string, h holder) (others bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.forget(uri, h)
	if len(s.holders[uri]) > 0 {
		return true
	}
	delete(s.live, uri)
	return false
}

// forget ends a subscription here. The caller holds mu.
func (s *site) forget(uri string, h holder) {
	if delete(s.holders[uri], h); len(s.holders[uri]) == 0 {
		delete(s.holders, uri)
	}
}

// release ends all subscriptions of one holder; the server is told, without waiting, of those that nobody has any more. The
// caller holds mu.
func (s *site) release(h holder) {
	for _, uri := range slices.Collect(maps.Keys(s.holders)) {
		if _, ok := s.holders[uri][h]; !ok {
			continue
		}
		if s.forget(uri, h); len(s.holders[uri]) == 0 {
			s.unsubscribe(uri)
		}
	}
	s.used = time.Now()
}

// unsubscribe tells the server, without waiting, that nobody wants the updates of a resource. The caller holds mu.
func (s *site) unsubscribe(uri string) {
	x := s.process
	if _, live := s.live[uri]; !live || x == nil || x.Ended() || s.pool.closed {
		return
	}
	s.pool.group.Go(func() {
		ctx, cancel := context.WithTimeout(s.pool.life, asideTimeout)
		defer cancel()
		release, err := s.take(ctx)
		if err != nil {
			return
		}
		defer release()
		if s.quit(uri, x) {
			_ = ask(ctx, x, methodUnsubscribe, uri) // at worst updates come that nobody wants
		}
	})
}

// quit says whether a process must still be told that nobody wants a resource, and notes that it is.
func (s *site) quit(uri string, x *talk.Talk) bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	_, live := s.live[uri]
	if s.process != x || len(s.holders[uri]) > 0 || !live {
		return false
	}
	delete(s.live, uri)
	return true
}

// asideTimeout bounds one request that no caller waits for.
const asideTimeout = 10 * time.Second

// ask sends a request about one resource.
func ask(ctx context.Context, x *talk.Talk, method, uri string) error {
	params := append(wire.AppendString([]byte(`{"uri":`), uri), '}')
	e := talk.Exchange{Talk: x, Timeout: asideTimeout}
	a, err := e.Run(ctx, &upstream.Request{Method: method, Params: params})
	if err == nil && a.Error != nil {
		err = &refusal{a.Error}
	}
	return err
}

// refusal is an error that the server answered: a raw JSON-RPC error object.
type refusal struct{ object []byte }

func (r *refusal) Error() string { return "refused: " + string(r.object[:min(len(r.object), 200)]) }

// resubscribe tells a fresh process what the one before it knew, and returns which resources it will tell of.
func (p *Pool) resubscribe(ctx context.Context, s *site, x *talk.Talk) map[string]struct{} {
	live := make(map[string]struct{})
	if x.Info().Version.Era() != wire.Legacy {
		return live
	}
	p.mu.Lock()
	wanted := slices.Sorted(maps.Keys(s.holders))
	p.mu.Unlock()
	for _, uri := range wanted {
		if ask(ctx, x, methodSubscribe, uri) == nil {
			live[uri] = struct{}{}
		}
	}
	return live
}

// keep sees to it that a process runs again while sessions are subscribed to its resources; watchers do so themselves. The
// caller holds mu.
func (p *Pool) keep(s *site) {
	if p.closed || s.kept || len(s.holders) == 0 || len(s.watchers) > 0 || s.target == nil {
		return
	}
	s.kept = true
	t := *s.target
	p.group.Go(func() {
		ctx := p.life
		var pause rest
		for wanted := true; wanted; {
			_, err := p.ready(ctx, s, &t)
			if err == nil || ctx.Err() != nil {
				break
			}
			pause.wait(ctx, err)
			p.mu.Lock()
			wanted = len(s.holders) > 0
			p.mu.Unlock()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		s.kept = false
	})
}

// lifetime returns a context that ends with the pool, too.
func (p *Pool) lifetime(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// rest is the pauses between attempts.
type rest struct{ last time.Duration }

const (
	firstRest = 250 * time.Millisecond
	maxRest   = 30 * time.Second
)

// wait waits before the next attempt: as long as the failure says, or longer each time.
func (r *rest) wait(ctx context.Context, err error) {
	r.last = min(max(2*r.last, firstRest), maxRest)
	pause := r.last
	if f := fault.From(err); f != nil {
		pause = max(pause, f.Retry)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
