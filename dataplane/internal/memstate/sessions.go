// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// Sessions holds what nodes share about sessions. It is safe for concurrent use.
type Sessions struct {
	mu        sync.Mutex
	dead      map[session.UID]time.Time // until when
	records   map[session.UID]*record
	owners    map[session.UID]*owner
	streams   map[streamKey]*stream
	upstreams map[string]*upstreams // by session
	swept     time.Time

	channel channel
}

// record is that of a session.
type record struct {
	fields map[string][]byte
	until  time.Time
}

// owner is the node that has a session's GET stream.
type owner struct {
	node       string
	generation int64
	until      time.Time
}

// NewSessions returns an empty store.
func NewSessions() *Sessions {
	return &Sessions{
		dead: make(map[session.UID]time.Time), records: make(map[session.UID]*record), owners: make(map[session.UID]*owner),
		streams: make(map[streamKey]*stream), upstreams: make(map[string]*upstreams),
	}
}

// sweepEvery is how often what has expired is looked for; until then it only takes room.
const sweepEvery = time.Minute

// enter locks the store, and forgets what has expired from time to time.
func (s *Sessions) enter() (now time.Time) {
	s.mu.Lock()
	now = time.Now()
	if now.Sub(s.swept) < sweepEvery {
		return now
	}
	s.swept = now
	maps.DeleteFunc(s.dead, func(_ session.UID, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(s.records, func(_ session.UID, r *record) bool { return !now.Before(r.until) })
	maps.DeleteFunc(s.owners, func(_ session.UID, o *owner) bool { return !now.Before(o.until) })
	maps.DeleteFunc(s.streams, func(_ streamKey, t *stream) bool { return !now.Before(t.until) })
	maps.DeleteFunc(s.upstreams, func(_ string, u *upstreams) bool { return !now.Before(u.until) })
	return now
}

// Load implements [session.Store].
func (s *Sessions) Load(_ context.Context, id session.UID) (r session.Record, _ error) {
	now := s.enter()
	defer s.mu.Unlock()
	r.Ended = now.Before(s.dead[id])
	if known := s.records[id]; known != nil && now.Before(known.until) {
		r.Fields = maps.Clone(known.fields)
	}
	return r, nil
}

// Put implements [session.Store].
func (s *Sessions) Put(_ context.Context, id session.UID, fields map[string][]byte) error {
	now := s.enter()
	defer s.mu.Unlock()
	known := s.records[id]
	if known == nil || !now.Before(known.until) {
		known = &record{fields: make(map[string][]byte)}
		s.records[id] = known
	}
	known.until = now.Add(session.RecordLife)
	for name, value := range fields {
		if value == nil {
			delete(known.fields, name)
			continue
		}
		known.fields[name] = value
	}
	return nil
}

// Touch implements [session.Store].
func (s *Sessions) Touch(_ context.Context, ids []session.UID) (gone []session.UID, _ error) {
	now := s.enter()
	defer s.mu.Unlock()
	for _, id := range ids {
		known := s.records[id]
		if known == nil || !now.Before(known.until) {
			gone = append(gone, id)
			continue
		}
		known.until = now.Add(session.RecordLife)
	}
	return gone, nil
}

// End implements [session.Store].
func (s *Sessions) End(_ context.Context, id session.UID, until time.Time) error {
	s.enter()
	defer s.mu.Unlock()
	s.dead[id] = until
	delete(s.records, id)
	delete(s.owners, id)
	maps.DeleteFunc(s.streams, func(k streamKey, _ *stream) bool { return k.session == id })
	return nil
}

// Own implements [session.Streams].
func (s *Sessions) Own(_ context.Context, id session.UID, node string) (generation int64, before string, _ error) {
	now := s.enter()
	defer s.mu.Unlock()
	generation = now.UnixMicro()
	if old := s.owners[id]; old != nil {
		generation = max(generation, old.generation+1)
		if now.Before(old.until) {
			before = old.node
		}
	}
	s.owners[id] = &owner{node, generation, now.Add(session.StreamLife)}
	return generation, before, nil
}

// Renew implements [session.Streams].
func (s *Sessions) Renew(_ context.Context, node string, leases []session.Lease) (lost []session.Lease, _ error) {
	now := s.enter()
	defer s.mu.Unlock()
	for _, l := range leases {
		o := s.owners[l.Session]
		if o != nil && now.Before(o.until) && o.generation != l.Generation {
			lost = append(lost, l)
			continue
		}
		s.owners[l.Session] = &owner{node, l.Generation, now.Add(session.StreamLife)}
	}
	return lost, nil
}

// Release implements [session.Streams].
func (s *Sessions) Release(_ context.Context, l session.Lease) error {
	s.enter()
	defer s.mu.Unlock()
	if o := s.owners[l.Session]; o != nil && o.generation == l.Generation {
		delete(s.owners, l.Session)
	}
	return nil
}

// Owner implements [session.Streams].
func (s *Sessions) Owner(_ context.Context, id session.UID) (string, error) {
	now := s.enter()
	defer s.mu.Unlock()
	if o := s.owners[id]; o != nil && now.Before(o.until) {
		return o.node, nil
	}
	return "", nil
}
