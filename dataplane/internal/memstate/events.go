// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
)

// streamKey names a stream of a session.
type streamKey struct {
	session session.UID
	name    string
}

// stream is what is kept of one.
type stream struct {
	head   []byte
	last   uint64 // number of the newest event there was
	events []session.BufferedEvent
	until  time.Time
}

// Append implements [session.Events].
func (s *Sessions) Append(_ context.Context, entries []session.Entry) error {
	now := s.enter()
	defer s.mu.Unlock()
	for _, e := range entries {
		if e.Place != "" {
			s.upstream(now, e.Session.String(), e.Place).reach(now, e.Reached)
			continue
		}
		k := streamKey{e.Session, e.Stream}
		if e.Gone {
			delete(s.streams, k)
			continue
		}
		if now.Before(s.dead[e.Session]) {
			continue
		}
		t := s.streams[k]
		if t == nil || !now.Before(t.until) {
			t = &stream{}
			s.streams[k] = t
		}
		t.until = now.Add(replay.Life)
		t.apply(e)
	}
	return nil
}

func (t *stream) apply(e session.Entry) {
	if e.Head != nil {
		t.head = e.Head
	}
	if e.Number > t.last {
		t.last = e.Number
		t.events = append(t.events, session.BufferedEvent{Number: e.Number, Event: e.Event})
	}
	for len(t.events) > 0 && (t.events[0].Number < e.Oldest || len(t.events) > replay.MaxEvents) {
		t.events = t.events[1:]
	}
}

// Read implements [session.Events].
func (s *Sessions) Read(_ context.Context, id session.UID, name string, after uint64) (b session.Buffered, _ error) {
	now := s.enter()
	defer s.mu.Unlock()
	t := s.streams[streamKey{id, name}]
	if t == nil || !now.Before(t.until) {
		return b, nil
	}
	b.Head = t.head
	for _, e := range t.events {
		if e.Number > after {
			b.Events = append(b.Events, e)
		}
	}
	return b, nil
}
