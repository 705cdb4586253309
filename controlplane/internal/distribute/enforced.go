// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"slices"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Enforcement says who enforces a revision. The lists hold names of nodes, sorted. An authserver is no node and in none of
// them, but for Lagging, as "authserver/<name>": what nodes enforce already, it must not undo with a new token.
type Enforcement struct {
	Revision     catalog.Revision
	Enforced     bool     // a node is connected, and none lags
	Enforcing    []string // connected nodes that do, or that the revision does not concern
	Lagging      []string // connected nodes that do not
	Disconnected []string // nodes without a stream, which may serve an older revision (D-52)
}

// WaitEnforced returns when every connected node and authserver in the scope of a revision enforces it, at whatever control
// plane, or with the laggards when ctx ends. A denial is enforced before older changes may be (D-50); with whole, those are
// waited for as well. The revision may be newer than what this control plane has taken in yet. Nothing is claimed while a
// control plane does not answer: it is named among the laggards then, as "controlplane/<id>".
func (s *Server) WaitEnforced(ctx context.Context, rev catalog.Revision, whole bool) Enforcement {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		headMoved, moved := s.feed.Changed(), s.ledger.changed()
		var silent []string
		if s.isEnforced(rev, whole) {
			// The others may have nodes of which nothing was heard yet: they are asked once more before it is claimed (D-51).
			silent = s.others.Sync(ctx)
			if now := s.enforcement(rev, whole).without(silent); now.Enforced {
				return now
			}
		}
		select {
		case <-ctx.Done():
			return s.enforcement(rev, whole).without(silent)
		case <-headMoved:
		case <-moved:
		case <-again.C:
		}
	}
}

// askAgain is how often a control plane that did not answer is asked again.
const askAgain = 500 * time.Millisecond

// without takes back what cannot be claimed while control planes do not say what their nodes enforce.
func (e Enforcement) without(silent []string) Enforcement {
	for _, id := range silent {
		e.Lagging = append(e.Lagging, "controlplane/"+id)
	}
	slices.Sort(e.Lagging)
	e.Lagging = slices.Compact(e.Lagging)
	e.Enforced = e.Enforced && len(silent) == 0
	return e
}

// Enforcement tells who enforces a revision now, as far as the other control planes have told.
func (s *Server) Enforcement(rev catalog.Revision) Enforcement {
	return s.enforcement(rev, false).without(s.others.Silent())
}

func (s *Server) enforcement(rev catalog.Revision, whole bool) Enforcement {
	obeys := s.obeys(rev, whole)
	out := Enforcement{Revision: rev}
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, e := range s.ledger.entries {
		enforces := obeys(e)
		switch {
		case e.node.Role == ident.RoleAuthserver:
			if e.node.Connected && !enforces {
				out.Lagging = append(out.Lagging, "authserver/"+e.node.Name)
			}
		case !e.node.Connected:
			out.Disconnected = append(out.Disconnected, e.node.Name)
		case enforces:
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

// obeys returns what tells of an entry whether it is connected and enforces a revision. The ledger's mu is held when it is called.
func (s *Server) obeys(rev catalog.Revision, whole bool) func(*entry) bool {
	head := s.feed.Head()
	info, known := s.feed.Info(rev)
	denial := known && info.Denial && !whole
	return func(e *entry) bool { return e.node.Connected && head.Revision >= rev && e.enforces(head, rev, denial) }
}

// isEnforced is what [Server.enforcement] says in Enforced, without the names: it ends at the first one that lags.
func (s *Server) isEnforced(rev catalog.Revision, whole bool) bool {
	obeys, some := s.obeys(rev, whole), false
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, e := range s.ledger.entries {
		if e.node.Connected && !obeys(e) {
			return false
		}
		some = some || e.node.Connected && e.node.Role != ident.RoleAuthserver
	}
	return some
}

// enforces reports whether a connected node obeys a revision: it acknowledged it, or it acknowledged the denial and the
// change is nothing else, or nothing between what it acknowledged and the revision concerns it (D-50).
func (e *entry) enforces(head catalog.Head, rev catalog.Revision, denial bool) bool {
	n := &e.node
	switch {
	case n.Epoch != head.Epoch || n.Enforced == 0:
		return false
	case max(n.Enforced, n.Idle) >= rev || denial && n.Denied >= rev:
		return true
	default:
		return e.class != nil && !e.class.Affects(n.Enforced, rev)
	}
}

// Enforced reports whether at least one node is connected and every connected one enforces the revision. It implements
// catalog.Status.
func (s *Server) Enforced(rev catalog.Revision) bool {
	return s.isEnforced(rev, false) && len(s.others.Silent()) == 0
}

// Lacking returns the names of the connected nodes that did not announce a capability, sorted (D-37). A node that is not
// connected is not one of them: it takes what it finds when it comes, or rejects it. An authserver decides no calls and
// is none either. It implements catalog.Capabilities.
func (s *Server) Lacking(capability string) []string { return s.lacking(ident.RoleNode, capability) }

// LackingAuthservers is Lacking for authservers, of what only they can do.
func (s *Server) LackingAuthservers(capability string) []string {
	return s.lacking(ident.RoleAuthserver, capability)
}

func (s *Server) lacking(role ident.Role, capability string) []string {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	var names []string
	for _, e := range s.ledger.entries {
		if e.node.Connected && e.node.Role == role && !slices.Contains(e.node.Capabilities, capability) {
			names = append(names, e.node.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names) // one name in two regions
}
