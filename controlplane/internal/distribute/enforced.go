// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// Enforcement says who enforces a revision. The lists hold names of nodes, sorted.
type Enforcement struct {
	Revision     catalog.Revision
	Enforced     bool     // a node is connected, and none lags
	Enforcing    []string // connected nodes that do, or that the revision does not concern
	Lagging      []string // connected nodes that do not
	Disconnected []string // nodes without a stream, which may serve an older revision (D-52)
}

// WaitEnforced returns when every connected node in the scope of a revision enforces it, or with the laggards when ctx
// ends. The revision may be newer than what this control plane has taken in yet.
func (s *Server) WaitEnforced(ctx context.Context, rev catalog.Revision) Enforcement {
	for {
		headMoved, moved := s.feed.Changed(), s.ledger.changed()
		now := s.Enforcement(rev)
		if now.Enforced {
			return now
		}
		select {
		case <-ctx.Done():
			return now
		case <-headMoved:
		case <-moved:
		}
	}
}

// Enforcement tells who enforces a revision now.
func (s *Server) Enforcement(rev catalog.Revision) Enforcement {
	head := s.feed.Head()
	info, known := s.feed.Info(rev)
	denial := known && info.Denial
	out := Enforcement{Revision: rev}
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, e := range s.ledger.entries {
		switch {
		case e.stream == nil:
			out.Disconnected = append(out.Disconnected, e.node.Name)
		case head.Revision >= rev && e.enforces(head, rev, denial):
			out.Enforcing = append(out.Enforcing, e.node.Name)
		default:
			out.Lagging = append(out.Lagging, e.node.Name)
		}
	}
	slices.Sort(out.Enforcing)
	slices.Sort(out.Lagging)
	slices.Sort(out.Disconnected)
	out.Enforced = len(out.Lagging) == 0 && len(out.Enforcing) > 0
	return out
}

// enforces reports whether a connected node obeys a revision: it acknowledged it, or it acknowledged the denial and the
// change is nothing else, or nothing between what it acknowledged and the revision concerns it (D-50).
func (e *entry) enforces(head catalog.Head, rev catalog.Revision, denial bool) bool {
	n := &e.node
	switch {
	case n.Epoch != head.Epoch || n.Enforced == 0:
		return false
	case n.Enforced >= rev || denial && n.Denied >= rev:
		return true
	default:
		return !e.class.Affects(n.Enforced, rev)
	}
}

// Enforced reports whether at least one node is connected and every connected one enforces the revision. It implements
// catalog.Status.
func (s *Server) Enforced(rev catalog.Revision) bool { return s.Enforcement(rev).Enforced }
