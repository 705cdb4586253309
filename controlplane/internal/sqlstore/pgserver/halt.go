// SPDX-License-Identifier: Apache-2.0

package pgserver

import "syscall"

// Halt stops the server, whatever it is doing, and keeps its data and its port: [Server.Restart] starts it again.
func (s *Server) Halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(syscall.SIGQUIT) // immediate shutdown
}
