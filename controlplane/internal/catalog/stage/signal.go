// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"sync"
)

// Signal tells watchers in the same process that something was committed. The zero value is ready.
type Signal struct {
	mu       sync.Mutex
	watchers map[chan struct{}]struct{}
	done     sync.WaitGroup
}

// Watch returns a channel that gets a hint after each [Signal.Notify] until ctx ends, and is then closed. Hints that
// come while one waits to be taken are one hint.
func (s *Signal) Watch(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = make(map[chan struct{}]struct{})
	}
	s.watchers[c] = struct{}{}
	s.done.Go(func() {
		<-ctx.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, c)
		close(c)
	})
	return c
}

// Notify hints to every watcher.
func (s *Signal) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Wait returns when every watcher's context has ended and its channel is closed.
func (s *Signal) Wait() { s.done.Wait() }
