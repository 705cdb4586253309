// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"
)

const (
	// Lingering is how long what a session's stream is to say is kept when its client has gone: a client that comes back
	// within that time, to any node, misses nothing.
	Lingering = 15 * time.Second
	// handsOver is how long a node waits at most for the one that had the stream before, which may be dead.
	handsOver = time.Second
)

// behind is what a session's stream has left behind: its client has gone, and what upstreams say is kept until it is back.
type behind struct {
	manager *Manager
	ctx     context.Context //nolint:containedctx // of the connection, without its end: the others are told with it
	stream  Listener
	stop    func()
	timer   *time.Timer
}

// end has nothing kept any more. The zero pointer has nothing.
func (b *behind) end() {
	if b == nil {
		return
	}
	b.timer.Stop()
	b.stop()
	select {
	case b.manager.settled <- struct{}{}:
	default:
	}
}

// Claim makes this node the one that has the session's stream, wherever it is (M-91), and reports whether another node had it.
// It returns when that one has given it up: all that it was sent lies in the store then; or after a second. [Session.Listen]
// or [Session.Leave] follows.
func (s *Session) Claim(ctx context.Context) (moved bool) {
	m := s.manager
	if m.fleet == nil || s.sse {
		return false
	}
	given := m.expect(givenKey(s.key))
	defer m.forgo(given)
	s.mu.Lock()
	s.arrive()
	s.mu.Unlock()
	before, _ := s.own(ctx)
	s.mu.Lock()
	s.claimed = true
	s.mu.Unlock()
	if before == "" || before == m.node {
		return false
	}
	m.await(ctx, given, handsOver)
	return true
}

func givenKey(session string) string { return session + " given" }

// Linger ends a stream that [Session.Listen] began, as [Session.Leave] does, but what goes on for it goes on until stop is
// called, once, by any goroutine: when another connection hears the upstreams, here ([Session.Hears]) or on another node, or
// after [Lingering].
func (s *Session) Linger(ctx context.Context, l Listener, stop func()) {
	b := &behind{manager: s.manager, ctx: context.WithoutCancel(ctx), stream: l, stop: stop}
	s.mu.Lock()
	left := s.listener == l
	if left {
		s.arrived()
		s.listener = nil
		s.used.Store(time.Now().UnixNano())
	}
	lost := s.ended.Load() || s.giving != 0
	if lost || !left && (s.listener == nil || s.hears) {
		s.mu.Unlock()
		stop()
		s.give(b.ctx)
		return
	}
	before := s.behind
	s.behind = b
	b.timer = time.AfterFunc(Lingering, func() { s.expire(b) })
	s.mu.Unlock()
	before.end()
}

// Hears says that the upstreams are heard for the stream l: what an older one has left behind is over. It returns that one,
// nil for none.
func (s *Session) Hears(l Listener) (before Listener) {
	s.mu.Lock()
	if s.listener != l {
		s.mu.Unlock()
		return nil
	}
	s.hears = true
	s.arrived()
	b := s.behind
	s.behind = nil
	s.mu.Unlock()
	if b == nil {
		return nil
	}
	b.end()
	return b.stream
}

// expire ends what a stream has left behind, whose client has not come back.
func (s *Session) expire(b *behind) {
	s.mu.Lock()
	if s.behind != b {
		s.mu.Unlock()
		return
	}
	s.behind = nil
	var lease int64
	if s.listener == nil {
		lease, s.lease = s.lease, 0
	}
	s.mu.Unlock()
	b.end()
	s.release(b.ctx, lease)
}

// give tells the node that has the session's stream now that this one has given it up, once, if it waits for that.
func (s *Session) give(ctx context.Context) {
	s.mu.Lock()
	giving := s.giving
	s.giving = 0
	s.mu.Unlock()
	if giving == 0 {
		return
	}
	// Detached: the connection has ended, which is why.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handsOver)
	defer cancel()
	s.manager.mirror.settle(ctx)
	s.manager.tell(ctx, note{Kind: noteGiven, Session: s.key, Generation: giving})
}

// Settle returns when all streams whose clients have gone are with other nodes, and not later than within: a node that shuts
// down keeps what they are to say so long. It is called when there are no connections any more.
func (m *Manager) Settle(within time.Duration) {
	if m.fleet == nil {
		within = 0
	}
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		left := m.lingering()
		if len(left) == 0 {
			return
		}
		select {
		case <-m.settled:
		case <-late.C:
			for s, b := range left {
				s.expire(b)
			}
			return
		}
	}
}

func (m *Manager) lingering() map[*Session]*behind {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := make(map[*Session]*behind)
	for _, s := range m.sessions {
		s.mu.Lock()
		if s.behind != nil {
			left[s] = s.behind
		}
		s.mu.Unlock()
	}
	return left
}
