// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// Kinds of notes that nodes send each other.
const (
	noteChanged   = "changed"   // fields of a session's record
	noteEnded     = "ended"     // a session has ended
	noteStream    = "stream"    // a node has become the owner of a session's GET stream
	noteGiven     = "given"     // the owner before has given it up: all that it was sent lies in the store
	noteLeft      = "left"      // a session's GET stream of that generation has ended
	notePlaced    = "placed"    // an upstream has a session for a session, in a place
	noteHeard     = "heard"     // the owner of the GET stream hears the upstream session of a place
	noteCancelled = "cancelled" // a client has cancelled a request that the sender does not know
)

// note is one message over the channel.
type note struct {
	Kind       string            `json:"k"`
	Node       string            `json:"n"` // that sends it, by a name for its run
	Session    string            `json:"s"`
	Fields     map[string][]byte `json:"f,omitempty"` // sealed
	Generation int64             `json:"g,omitempty"`
	Place      string            `json:"p,omitempty"`
	Before     string            `json:"b,omitempty"` // name of the node that had the stream
	Request    []byte            `json:"r,omitempty"` // raw JSON-RPC id
}

// tell sends a note to the other nodes, and reports whether it is on its way; what is lost they find in the store.
func (m *Manager) tell(ctx context.Context, n note) bool {
	if m.fleet == nil {
		return true
	}
	n.Node = m.self
	text, err := json.Marshal(n)
	if err == nil {
		err = m.fleet.Publish(ctx, text)
	}
	if err != nil {
		m.away(ctx, err)
	}
	return err == nil
}

// take takes a note of another node.
func (m *Manager) take(ctx context.Context, text []byte) {
	var n note
	if err := json.Unmarshal(text, &n); err != nil || n.Node == m.self {
		return
	}
	var id UID
	if k, err := hex.Decode(id[:], []byte(n.Session)); err != nil || k != len(id) {
		return
	}
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	switch {
	case n.Kind == noteEnded:
		m.graves.note(id, time.Now().Add(m.limit.Life), true)
		if s != nil {
			m.forget(s)
			s.end(ErrEnded)
		}
	case n.Kind == noteHeard:
		m.wake(n.Session + n.Place)
	case n.Kind == noteGiven:
		m.wake(givenKey(n.Session))
	case n.Kind == noteStream:
		if (s == nil || !s.lose(ctx, n.Generation)) && n.Before == m.node {
			m.tell(ctx, note{Kind: noteGiven, Session: n.Session, Generation: n.Generation}) // there is nothing here
		}
	case s == nil:
	case n.Kind == noteChanged:
		s.apply(n.Fields, false)
	case n.Kind == noteLeft:
		s.left(n.Generation)
	case n.Kind == notePlaced:
		m.placed(n)
	case n.Kind == noteCancelled:
		s.Cancel(n.Request)
	default: // of a newer build
		m.log.DebugContext(ctx, "unknown note about a session")
	}
}

// CancelElsewhere tells the other nodes that the client has cancelled the request with the raw id, which this one does not
// know. Nobody answers: the request may have ended (M-51).
func (s *Session) CancelElsewhere(ctx context.Context, id []byte) {
	s.manager.tell(ctx, note{Kind: noteCancelled, Session: s.key, Request: id})
}

// away notes that the store could not be asked: sessions go on (M-88). It is logged once until [Manager.back].
func (m *Manager) away(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) {
		return // the caller is gone, not the store
	}
	m.errors.Add(ctx, 1)
	if !m.lost.Swap(true) {
		m.log.WarnContext(ctx, "session store unavailable", obs.Fault(err))
	}
}

// back notes that the store was asked.
func (m *Manager) back(ctx context.Context) {
	if m.lost.Load() && m.lost.Swap(false) {
		m.log.InfoContext(ctx, "session store available again")
	}
}

// Run drops the records of idle sessions and ends the streams of expired ones, and in a fleet hears of what other nodes do
// and tells them, until ctx is canceled; then it returns nil, when what streams have sent is with the store.
func (m *Manager) Run(ctx context.Context) error {
	tasks := []run.Task{{Name: "idle sessions", Run: m.sweepUntil}}
	if m.fleet != nil {
		tasks = append(tasks,
			run.Task{Name: "session notes", Run: func(ctx context.Context) error {
				return m.fleet.Subscribe(ctx, func(text []byte) { m.take(ctx, text) }, m.live)
			}},
			run.Task{Name: "session streams", Run: m.renewUntil},
			run.Task{Name: "session events", Run: m.mirror.run},
		)
	}
	defer m.handovers.Wait()
	return run.Group(ctx, tasks...)
}

// live notes whether what other nodes do is heard of. After a gap every record is read anew, at its next request, and what
// the store was not told is told.
func (m *Manager) live(up bool) {
	if !up {
		m.fresh.Store(0)
		return
	}
	m.fresh.Store(m.gaps.Add(1))
	m.missed.Store(true)
	m.hearAll()
	m.remind()
}

// remind has the store told what it was not.
func (m *Manager) remind() {
	select {
	case m.due <- struct{}{}:
	default:
	}
}

// settleAgain is how soon the store is told anew what it did not take.
const settleAgain = time.Second

// settle tells the store which sessions have ended that it does not know of, and reports whether it knows them all.
func (m *Manager) settle(ctx context.Context) bool {
	for id, until := range m.graves.untold() {
		if m.entomb(ctx, id, until) != nil {
			return false
		}
	}
	return true
}

// entomb tells the store, and the other nodes, that a session has ended.
func (m *Manager) entomb(ctx context.Context, id UID, until time.Time) error {
	err := m.store.End(ctx, id, until)
	m.graves.note(id, until, err == nil)
	if err != nil {
		m.away(ctx, err)
		return err
	}
	m.tell(ctx, note{Kind: noteEnded, Session: id.String()})
	return nil
}
