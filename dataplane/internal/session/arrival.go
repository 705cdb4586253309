// SPDX-License-Identifier: Apache-2.0

package session

// Arriving returns a channel that is closed when the upstreams of a session are heard for the stream that this node opens for it
// just now, or that is over; nil if it opens none. Who has the upstreams' streams opened meanwhile takes away what the session's
// stream is to go on with.
func (m *Manager) Arriving(session string) <-chan struct{} {
	if m.fleet == nil {
		return nil
	}
	s := m.byKey(session)
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arriving
}

// arrive notes that a stream is being opened here. The caller holds mu.
func (s *Session) arrive() {
	if s.arriving == nil && s.manager.fleet != nil && !s.sse {
		s.arriving = make(chan struct{})
	}
}

// arrived notes that it is heard for, or over. The caller holds mu.
func (s *Session) arrived() {
	if s.arriving != nil {
		close(s.arriving)
		s.arriving = nil
	}
}
