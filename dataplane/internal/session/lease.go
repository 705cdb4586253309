// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"
)

// renewEvery is how often the ownership of GET streams is renewed, well within [StreamLife].
const renewEvery = StreamLife / 3

// own makes this node the owner of the session's GET stream, whoever was (M-91): the newest stream wins, wherever it is.
func (s *Session) own(ctx context.Context) {
	m := s.manager
	if m.fleet == nil || s.sse {
		return
	}
	s.mu.Lock()
	s.owning++
	s.mu.Unlock()
	generation, err := m.fleet.Own(ctx, s.uid, m.node)
	s.mu.Lock()
	s.owning--
	s.lease = max(s.lease, generation) // of two at a time, the later
	newest := s.newest
	s.mu.Unlock()
	if err != nil {
		m.away(ctx, err)
		return
	}
	m.back(ctx)
	if generation < newest {
		s.lose(newest)
		return
	}
	s.mu.Lock()
	s.moves++
	s.elsewhere = 0
	s.mu.Unlock()
	m.tell(ctx, note{Kind: noteStream, Session: s.key, Generation: generation})
}

// lose closes the session's stream here, because a newer one of that generation is on another node. What this node has of
// the session's stream is too little from now on: it is with the store.
func (s *Session) lose(generation int64) {
	if s.yield(generation) {
		s.manager.quiet(s.key)
	}
}

// yield is lose, and reports whether the stream is elsewhere.
func (s *Session) yield(generation int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = max(s.newest, generation)
	if s.sse || s.lease >= generation || s.owning > 0 {
		return false
	}
	s.lease = 0
	s.moves++
	s.elsewhere, s.looked = s.newest, time.Now()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	s.events.Surrender()
	return true
}

// release gives the ownership back.
func (s *Session) release(ctx context.Context, generation int64) {
	if generation == 0 {
		return
	}
	// Detached: the connection has ended, which is why.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.manager.fleet.Release(ctx, Lease{s.uid, generation}); err != nil {
		s.manager.away(ctx, err)
		return
	}
	s.manager.tell(ctx, note{Kind: noteLeft, Session: s.key, Generation: generation})
}

// StreamNode returns the name of the node that has the session's GET stream, empty if none is known to have it.
func (s *Session) StreamNode(ctx context.Context) string {
	m := s.manager
	if s.Listener() != nil {
		return m.node
	}
	if m.fleet == nil {
		return ""
	}
	node, err := m.fleet.Owner(ctx, s.uid)
	if err != nil {
		m.away(ctx, err)
	}
	return node
}

func (m *Manager) renewUntil(ctx context.Context) error {
	tick, again := time.NewTicker(renewEvery), time.NewTimer(settleAgain)
	defer tick.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.renew(ctx)
			m.lookAgain(ctx, time.Now())
			continue
		case <-m.due:
		case <-again.C:
		}
		if !m.settle(ctx) {
			again.Reset(settleAgain)
		}
	}
}

// renew renews the ownership of all streams that are here. A stream that was opened while the store was away is owned now.
func (m *Manager) renew(ctx context.Context) {
	var leases []Lease
	var unowned []*Session
	of := make(map[UID]*Session)
	m.mu.Lock()
	for _, s := range m.sessions {
		s.mu.Lock()
		switch {
		case s.listener == nil || s.sse:
		case s.lease == 0:
			unowned = append(unowned, s)
		default:
			leases = append(leases, Lease{s.uid, s.lease})
			of[s.uid] = s
		}
		s.mu.Unlock()
	}
	m.mu.Unlock()
	for _, s := range unowned {
		s.own(ctx)
		m.hear(s.key, "", nil)
	}
	if len(leases) == 0 {
		return
	}
	lost, err := m.fleet.Renew(ctx, m.node, leases)
	if err != nil {
		m.away(ctx, err)
		return
	}
	m.back(ctx)
	for _, l := range lost {
		of[l.Session].lose(l.Generation + 1)
	}
}
