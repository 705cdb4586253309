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
// returns the name of the node that was the owner before, if the store knows one, and is false while the store is away.
func (s *Session) own(ctx context.Context) (before string, ok bool) {
	m := s.manager
	if m.fleet == nil || s.sse {
		return "", true
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
		return "", false
	}
	m.back(ctx)
	if generation < newest {
		s.lose(ctx, newest)
		return "", true
	}
	if !m.tell(ctx, note{Kind: noteStream, Session: s.key, Generation: generation, Before: before}) {
		m.missed.Store(true)
		m.remind()
	}
	return before, true
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
	s.arrived()
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
		case <-again.C:
		}
		if !m.catchUp(ctx) {
			again.Reset(settleAgain)
		}
	}
}

// catchUp tells the store and the other nodes what they may have missed, and reports whether they have it all now.
func (m *Manager) catchUp(ctx context.Context) bool {
	if m.missed.Swap(false) && (!m.renew(ctx) || !m.showAll(ctx)) {
		m.missed.Store(true)
		return false
	}
	if m.unowned.Swap(false) && !m.renew(ctx) {
		m.unowned.Store(true)
		return false
	}
	return m.settle(ctx)
}

// ownSoon has a stream of this node owned as soon as the store takes that, which it did not when the stream was opened: until
// then the other nodes do not know of it.
func (s *Session) ownSoon() {
	m := s.manager
	if m.fleet == nil || s.sse {
		return
	}
	s.mu.Lock()
	unowned := s.listener != nil && s.lease == 0
	s.mu.Unlock()
	if unowned {
		m.unowned.Store(true)
		m.remind()
	}
}

// showAll tells the store and the other nodes anew of all streams that are here, after either may have missed it. It is
// false if one of them could not be told.
func (m *Manager) showAll(ctx context.Context) bool {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.sessions))
	m.mu.Unlock()
	for _, s := range all {
		s.mu.Lock()
		lease := s.lease
		s.mu.Unlock()
		if lease != 0 {
			s.events.Again()
			if !m.tell(ctx, note{Kind: noteStream, Session: s.key, Generation: lease}) {
				return false
			}
		}
	}
	return true
}

// renew renews the ownership of all streams that are here. A stream that was opened while the store was away is owned now.
// It is false if the store did not take it.
func (m *Manager) renew(ctx context.Context) bool {
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
	owned := true
	for _, s := range unowned {
		_, ok := s.own(ctx)
		owned = owned && ok
		m.hear(s.key, "", nil)
	}
	if len(leases) == 0 {
		return owned
	}
	lost, err := m.fleet.Renew(ctx, m.node, leases)
	if err != nil {
		m.away(ctx, err)
		return false
	}
	m.back(ctx)
	for _, l := range lost {
		of[l.Session].lose(ctx, l.Generation+1)
	}
	return owned
}
