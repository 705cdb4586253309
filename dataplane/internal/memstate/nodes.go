// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"context"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Nodes is a [forward.Store]. Make it with [NewNodes]. It never fails but with NODE_NAME_TAKEN.
type Nodes struct {
	mu    sync.Mutex
	nodes map[string]announced
}

type announced struct {
	forward.Node
	until time.Time
}

// NewNodes returns a store without nodes.
func NewNodes() *Nodes { return &Nodes{nodes: make(map[string]announced)} }

// Announce implements [forward.Store].
func (s *Nodes) Announce(_ context.Context, n forward.Node, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if old, ok := s.nodes[n.Name]; ok && now.Before(old.until) && old.Generation > n.Generation {
		return fault.New(fault.Conflict, forward.ReasonNameTaken, "A newer process has the name of this node.")
	}
	s.nodes[n.Name] = announced{n, now.Add(ttl)}
	return nil
}

// Withdraw implements [forward.Store].
func (s *Nodes) Withdraw(_ context.Context, n forward.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[n.Name].Generation == n.Generation {
		delete(s.nodes, n.Name)
	}
	return nil
}

// Nodes implements [forward.Store].
func (s *Nodes) Nodes(context.Context) ([]forward.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	out := make([]forward.Node, 0, len(s.nodes))
	for name, n := range s.nodes {
		if !now.Before(n.until) {
			delete(s.nodes, name)
			continue
		}
		out = append(out, n.Node)
	}
	return out, nil
}
