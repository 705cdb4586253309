// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	noteKind   = "node"
	noteEvery  = 5 * time.Second
	seenEvery  = time.Minute // how fresh the noted time of the last message is
	flushLimit = 5 * time.Second
	// forgetAfter is how long a node that does not come back is remembered.
	forgetAfter = 7 * 24 * time.Hour
)

// note is what is kept of a node, for status after a restart and for post-mortems (D-51).
type note struct {
	Name     string           `json:"name"`
	Region   string           `json:"region,omitempty"`
	Role     ident.Role       `json:"role,omitempty"` // empty: a node
	Build    string           `json:"build,omitempty"`
	Epoch    string           `json:"epoch,omitempty"`
	Enforced catalog.Revision `json:"enforced"`
	Denied   catalog.Revision `json:"denied"`
	Rejects  int              `json:"rejects,omitempty"`
	Seen     time.Time        `json:"seen"`
}

// Run follows the revocations, remembers the nodes of before a restart, and notes what the present ones enforce, at most every 5 s and never per
// ack. It ends with ctx, after the streams, and returns nil. Without Notes it only waits for the streams.
func (s *Server) Run(ctx context.Context) error {
	defer s.wait()
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() { s.followRevocations(ctx) })
	loops.Go(func() { s.followRollout(ctx) })
	loops.Go(func() { s.shed(ctx) })
	loops.Go(func() { s.followPace(ctx) })
	if s.notes == nil {
		<-ctx.Done()
		return nil
	}
	s.remember(ctx)
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// Detached: the last state is worth a moment of the stop.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
			defer cancel()
			s.flush(last)
			return nil
		case <-tick.C:
			s.flush(ctx)
		}
	}
}

// remember lists the nodes that were known, as disconnected.
func (s *Server) remember(ctx context.Context) {
	notes, err := s.notes.Notes(ctx, noteKind)
	if err != nil && ctx.Err() != nil {
		return // told to stop before it began
	}
	if err != nil {
		s.log.WarnContext(ctx, "nodes of before cannot be read", obs.AttrError, err)
		return
	}
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, body := range notes {
		var n note
		if err := json.Unmarshal(body, &n); err != nil || s.now().Sub(n.Seen) > forgetAfter {
			continue
		}
		if l.entries[id] == nil {
			l.entries[id] = &entry{node: Node{
				Name: n.Name, Region: n.Region, Role: cmp.Or(n.Role, ident.RoleNode), Build: n.Build, Epoch: n.Epoch,
				Enforced: n.Enforced, Denied: n.Denied, Seen: n.Seen,
			}}
		}
	}
	l.signal()
}

// flush notes what changed. What cannot be noted is tried again by the next flush.
func (s *Server) flush(ctx context.Context) {
	l := s.ledger
	l.mu.Lock()
	dirty := make(map[string]note)
	for id, e := range l.entries {
		if !e.dirty {
			continue
		}
		e.dirty, e.noted = false, e.node.Seen
		n := &e.node
		dirty[id] = note{
			Name: n.Name, Region: n.Region, Role: n.Role, Build: n.Build, Epoch: n.Epoch, Enforced: n.Enforced, Denied: n.Denied,
			Rejects: len(e.rejects), Seen: n.Seen,
		}
	}
	l.mu.Unlock()
	defer s.unnoted(dirty)
	for id, n := range dirty {
		body, err := json.Marshal(n)
		if err == nil {
			err = s.notes.Note(ctx, noteKind, id, body)
		}
		if err != nil {
			s.log.WarnContext(ctx, "what a node enforces cannot be noted", obs.AttrNode, n.Name, obs.AttrError, err)
			return
		}
		delete(dirty, id)
	}
}

// unnoted marks nodes whose notes were not written. One that another control plane has by now is left to that one.
func (s *Server) unnoted(notes map[string]note) {
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range notes {
		if e := l.entries[id]; e != nil && (e.node.Replica == "" || e.node.Here) {
			e.dirty = true
		}
	}
}
