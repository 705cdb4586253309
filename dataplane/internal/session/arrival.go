// SPDX-License-Identifier: Apache-2.0

package session

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
