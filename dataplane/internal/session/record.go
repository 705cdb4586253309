// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
)

// Names of the fields of a record. Each is put by itself: what two nodes change at a time does not undo each other.
const (
	fieldCapabilities = "c"
	fieldLevel        = "l"
	fieldSubscription = "u:" // and a digest of the URI
)

// MaxSubscriptions bounds the URIs that a session's record keeps; those beyond it are not restored on another node.
const MaxSubscriptions = 256

// maxURI bounds one of them in bytes.
const maxURI = 4 << 10

// sealed returns a field as the store gets it. It opens for this session and field only.
func (m *Manager) sealed(id UID, field string, plain []byte) []byte {
	return m.keys.SealBytes(nil, seal.Record, id.String()+"/"+field, plain)
}

// shared is what a record says; what cannot be opened is as if it were not there.
type shared struct {
	state State
	uris  map[string]struct{}
}

// read fills in what the fields of a record say.
func (m *Manager) read(id UID, fields map[string][]byte, into *shared) {
	for name, value := range fields {
		if value == nil {
			continue
		}
		plain, err := m.keys.OpenBytes(nil, seal.Record, id.String()+"/"+name, value)
		if err != nil {
			continue // sealed with a key that is gone, or not by us
		}
		switch {
		case name == fieldCapabilities:
			into.state.Capabilities = plain
		case name == fieldLevel:
			into.state.LogLevel = string(plain)
		case strings.HasPrefix(name, fieldSubscription) && len(into.uris) < MaxSubscriptions:
			if into.uris == nil {
				into.uris = make(map[string]struct{})
			}
			into.uris[string(plain)] = struct{}{}
		}
	}
}

// SetLogLevel sets the least severe log level that the client wants, on all nodes.
func (s *Session) SetLogLevel(ctx context.Context, level string) {
	s.mu.Lock()
	same := s.shared.state.LogLevel == level
	s.shared.state.LogLevel = level
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		l.Refresh()
	}
	if !same {
		s.manager.put(ctx, s, map[string][]byte{fieldLevel: []byte(level)})
	}
}

// Subscribed notes that the client has subscribed to a resource, by the URI that it knows, or that it has ended that: a
// node that goes on with the session subscribes again (M-88, M-92).
func (s *Session) Subscribed(ctx context.Context, uri string, on bool) {
	s.mu.Lock()
	_, was := s.shared.uris[uri]
	if was == on || len(uri) > maxURI || (on && len(s.shared.uris) >= MaxSubscriptions) {
		s.mu.Unlock()
		return
	}
	s.setSubscription(uri, on)
	s.mu.Unlock()
	value := []byte(uri)
	if !on {
		value = nil
	}
	s.manager.put(ctx, s, map[string][]byte{subscriptionField(uri): value})
}

// setSubscription notes a subscription. The caller holds mu. The map is replaced: a snapshot of it may be read.
func (s *Session) setSubscription(uri string, on bool) {
	uris := maps.Clone(s.shared.uris)
	if uris == nil {
		uris = make(map[string]struct{})
	}
	if on {
		uris[uri] = struct{}{}
	} else {
		delete(uris, uri)
	}
	s.shared.uris = uris
}

func subscriptionField(uri string) string {
	sum := sha256.Sum256([]byte(uri))
	return fieldSubscription + hex.EncodeToString(sum[:16])
}

// Inherited returns, once, the subscriptions that the session had before this node knew it, in order; none if it began
// here. Whoever asks subscribes again.
func (s *Session) Inherited() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.adopted {
		return nil
	}
	s.adopted = false
	return slices.Sorted(maps.Keys(s.shared.uris))
}

// fields is the whole record of a session, not sealed.
func (s *Session) fields() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]byte{fieldLevel: []byte(s.shared.state.LogLevel)}
	if c := s.shared.state.Capabilities; c != nil {
		out[fieldCapabilities] = c
	}
	for uri := range s.shared.uris {
		out[subscriptionField(uri)] = []byte(uri)
	}
	return out
}

// put puts fields of a session's record and tells the other nodes. If the store is away the whole record is put when it is
// back. A node alone keeps no records: its sessions are in its memory. nil values remove.
func (m *Manager) put(ctx context.Context, s *Session, fields map[string][]byte) {
	if m.fleet == nil || s.sse {
		return
	}
	out := make(map[string][]byte, len(fields))
	for name, value := range fields {
		if value != nil {
			value = m.sealed(s.uid, name, value)
		}
		out[name] = value
	}
	if err := m.store.Put(ctx, s.uid, out); err != nil {
		s.unsaved.Store(true)
		m.away(ctx, err)
		return
	}
	m.tell(ctx, note{Kind: noteChanged, Session: s.key, Fields: out})
}

// save puts the whole record.
func (m *Manager) save(ctx context.Context, s *Session) {
	s.unsaved.Store(false)
	m.put(ctx, s, s.fields())
}

// apply takes what another node has changed.
func (s *Session) apply(fields map[string][]byte, whole bool) {
	m := s.manager
	now := shared{state: State{LogLevel: defaultLevel}}
	m.read(s.uid, fields, &now)
	s.mu.Lock()
	before := s.shared.state.LogLevel
	_, levelled := fields[fieldLevel]
	if whole || levelled {
		s.shared.state.LogLevel = now.state.LogLevel
	}
	if now.state.Capabilities != nil {
		s.shared.state.Capabilities = now.state.Capabilities
	}
	if whole {
		s.shared.uris = now.uris
	} else {
		s.applySubscriptions(fields, now.uris)
	}
	l, changed := s.listener, before != s.shared.state.LogLevel
	s.mu.Unlock()
	if l != nil && changed {
		l.Refresh()
	}
}

// applySubscriptions takes single subscriptions and ends of them. The caller holds mu.
func (s *Session) applySubscriptions(fields map[string][]byte, added map[string]struct{}) {
	for uri := range added {
		s.setSubscription(uri, true)
	}
	for name, value := range fields {
		if value != nil || !strings.HasPrefix(name, fieldSubscription) {
			continue
		}
		for uri := range s.shared.uris {
			if subscriptionField(uri) == name {
				s.setSubscription(uri, false)
				break
			}
		}
	}
}

// current brings a session up to date that this node knows, unless it is: while the channel stands, what changes comes by
// itself, and the store is not asked (M-87).
func (m *Manager) current(ctx context.Context, s *Session) (*Session, error) {
	if m.fleet == nil || s.sse {
		return s, nil
	}
	since := m.fresh.Load()
	if since != 0 && s.fresh.Load() == since {
		return s, nil
	}
	record, err := m.store.Load(ctx, s.uid)
	switch {
	case err != nil:
		m.away(ctx, err)
		return s, nil
	case record.Ended:
		m.graves.note(s.uid, s.expires, true)
		m.forget(s)
		s.end(ErrEnded)
		return nil, notFound()
	case s.unsaved.Load() || len(record.Fields) == 0:
		m.save(ctx, s)
	default:
		s.apply(record.Fields, true)
	}
	s.look(ctx)
	m.back(ctx)
	s.fresh.Store(since)
	return s, nil
}
