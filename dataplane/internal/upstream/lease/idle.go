// SPDX-License-Identifier: Apache-2.0

package lease

import "slices"

// Patience is how many times longer the session of a client's session is
// kept than others: the upstream may keep things for it that a new session would
// not have (mcp.md M-89).
const Patience = 3

// Idle appends to out the sessions whose last use is longer ago than idle
// nanoseconds before now, takes them off the shelf, and forgets slots that
// nobody uses. empty says that nothing is left.
func (s *Shelf[T]) Idle(out []T, now, idle int64) (list []T, empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, l := range s.slots {
		busy := l.users.Load() > 0
		limit := now - idle
		if key.Session != "" {
			limit = now - Patience*idle
		}
		out = l.clear(out, func(h *Held[T]) bool {
			return h.used.Load() <= limit && h.pins.Load() == 0 && (!busy || key.exclusive())
		})
		if !busy && l.current.Load() == nil && len(l.free) == 0 {
			s.forget(l)
		}
	}
	return out, len(s.slots) == 0
}

// Oldest returns when the session that is longest without use was used, in Unix
// nanoseconds; ok is false if all are in use.
func (s *Shelf[T]) Oldest() (used int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, h := s.oldest()
	if h == nil {
		return 0, false
	}
	return h.used.Load(), true
}

// Evict takes off the shelf the session that is longest without use, unless all
// are in use.
func (s *Shelf[T]) Evict() (v T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, oldest := s.oldest()
	if oldest == nil {
		return v, false
	}
	out := l.clear(nil, func(h *Held[T]) bool { return h == oldest })
	return oldest.Value, len(out) == 1
}

func (s *Shelf[T]) oldest() (from *Slot[T], oldest *Held[T]) {
	look := func(l *Slot[T], h *Held[T]) {
		if h.pins.Load() == 0 && (oldest == nil || h.used.Load() < oldest.used.Load()) {
			oldest, from = h, l
		}
	}
	for _, l := range s.slots {
		if h := l.current.Load(); h != nil && l.users.Load() == 0 {
			look(l, h)
		}
		for _, h := range l.free {
			look(l, h)
		}
	}
	return from, oldest
}

// End appends to out the sessions of a client's session and takes them off the
// shelf for good. A call that uses one goes on with it.
func (s *Shelf[T]) End(out []T, session string) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range slices.Clone(s.bySession[session]) {
		l.ended.Store(true)
		out = l.clear(out, func(*Held[T]) bool { return true })
		s.forget(l)
	}
	return out
}

// Of appends to out the shared sessions of a client's session.
func (s *Shelf[T]) Of(out []*Held[T], session string) []*Held[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.bySession[session] {
		if h := l.current.Load(); h != nil {
			out = append(out, h)
		}
	}
	return out
}
