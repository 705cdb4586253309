// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"context"
	"sync"
)

// channel carries notes between the nodes of one process.
type channel struct {
	mu          sync.Mutex
	subscribers map[*subscriber]struct{}
}

// subscriber is one node.
type subscriber struct {
	mu   sync.Mutex // one note at a time
	take func(note []byte)
}

// Publish implements [session.Channel]. Subscribers have the note when it returns, but for one that takes another note
// just now.
func (s *Sessions) Publish(_ context.Context, note []byte) error {
	s.channel.mu.Lock()
	all := make([]*subscriber, 0, len(s.channel.subscribers))
	for one := range s.channel.subscribers {
		all = append(all, one)
	}
	s.channel.mu.Unlock()
	for _, one := range all {
		one.mu.Lock()
		one.take(note)
		one.mu.Unlock()
	}
	return nil
}

// Subscribe implements [session.Channel].
func (s *Sessions) Subscribe(ctx context.Context, take func(note []byte), live func(bool)) error {
	one := &subscriber{take: take}
	s.channel.mu.Lock()
	if s.channel.subscribers == nil {
		s.channel.subscribers = make(map[*subscriber]struct{})
	}
	s.channel.subscribers[one] = struct{}{}
	s.channel.mu.Unlock()
	live(true)
	<-ctx.Done()
	s.channel.mu.Lock()
	delete(s.channel.subscribers, one)
	s.channel.mu.Unlock()
	live(false)
	return nil
}
