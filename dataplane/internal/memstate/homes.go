// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"context"
	"sync"
	"time"
)

// Homes is a home.Store (dataplane/internal/forward/home). Make it with [NewHomes]. It never fails.
type Homes struct {
	mu    sync.Mutex
	homes map[string]leased
}

type leased struct {
	node  string
	until time.Time
}

// NewHomes returns a store without homes.
func NewHomes() *Homes { return &Homes{homes: make(map[string]leased)} }

// Claim implements home.Store.
func (s *Homes) Claim(_ context.Context, keys []string, node string, ttl time.Duration) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	homes := make([]string, len(keys))
	for i, key := range keys {
		if h, ok := s.homes[key]; !ok || !now.Before(h.until) || h.node == node {
			s.homes[key] = leased{node, now.Add(ttl)}
		}
		homes[i] = s.homes[key].node
	}
	return homes, nil
}

// Release implements home.Store.
func (s *Homes) Release(_ context.Context, keys []string, node string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if s.homes[key].node == node {
			delete(s.homes, key)
		}
	}
	return nil
}
