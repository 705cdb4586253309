// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"maps"
	"slices"
	"time"
)

// renewEvery is how often the ownership of GET streams is renewed, well within [StreamLife].
const renewEvery = StreamLife / 3

// own makes this node the owner of the session's GET stream, whoever was (M-91): the newest stream wins, wherever it is. It
// returns the name of the node that was the owner before, if the store knows one.
func (s *Session) own(ctx context.Context) (before string) {
	m := s.manager
	if m.fleet == nil || s.sse {
		return ""
	}
	s.mu.Lock()
	s.owning++
	s.mu.Unlock()
	generation, before, err := m.fleet.Own(ctx, s.uid, m.node)
	s.mu.Lock()
	s.owning--
	s.lease = max(s.lease, generation) // of two at a time, the later
	newest := s.newest
	if here := err != nil || generation >= newest; here { // what another node has is not known while the store is away
		s.moves++
		s.elsewhere = 0
	}
	s.mu.Unlock()
	if err != nil {
		m.away(ctx, err)
		return ""
	}
	m.back(ctx)
	if generation < newest {
		s.lose(ctx, newest)
		return ""
	}
	m.tell(ctx, note{Kind: noteStream, Session: s.key, Generation: generation, Before: before})
	return before
}

// lose closes the session's stream here, because a newer one of that generation is on another node. What this node has of
// the session's stream is too little from now on: it is with the store, and when all of it is, the other node is told. It
// reports whether there is anything here that has to be given up first.
func (s *Session) lose(ctx context.Context, generation int64) (giving bool) {
	m := s.manager
	lost, streaming, left := s.yield(generation)
	if !lost {
		return false
	}
	m.quiet(s.key)
	if left != nil {
		m.handovers.Go(func() { // beside the notes: what is under way may take a moment
			left.end()
			if !streaming { // else the stream does, when it has ended
				s.give(ctx)
			}
		})
	}
	return streaming || left != nil
}

// yield is lose, and reports whether the stream is elsewhere, whether it was here, and what it had left behind here.
func (s *Session) yield(generation int64) (lost, streaming bool, left *behind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = max(s.newest, generation)
	if s.sse || s.lease >= generation || s.owning > 0 {
		return false, false, nil
	}
	s.lease = 0
	s.moves++
	s.elsewhere, s.looked = s.newest, time.Now()
	left, s.behind = s.behind, nil
	if streaming = s.listener != nil; streaming {
		s.listener.Close()
		s.listener = nil
	}
	if streaming || left != nil {
		s.giving = generation
	}
	s.events.Surrender()
	return true, streaming, left
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
			if m.missed.Swap(false) {
				m.renew(ctx)
				m.showAll(ctx)
			}
		case <-again.C:
		}
		if !m.settle(ctx) {
			again.Reset(settleAgain)
		}
	}
}

// showAll tells the store and the other nodes anew of all streams that are here, after either may have missed it.
func (m *Manager) showAll(ctx context.Context) {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.sessions))
	m.mu.Unlock()
	for _, s := range all {
		s.mu.Lock()
		lease := s.lease
		s.mu.Unlock()
		if lease != 0 {
			s.events.Again()
			m.tell(ctx, note{Kind: noteStream, Session: s.key, Generation: lease})
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
		of[l.Session].lose(ctx, l.Generation+1)
	}
}
