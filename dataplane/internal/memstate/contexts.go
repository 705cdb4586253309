// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/taint"
)

// maxMarks bounds the memory. Beyond that all marks are forgotten, which counts as a loss of data: every context of before is untrusted.
const maxMarks = 1 << 16

// Contexts is a [taint.Store]. Make it with [NewContexts]. It never fails. It knows nothing of what was before it was made.
type Contexts struct {
	mu    sync.Mutex
	since time.Time
	marks map[string]*mark
}

type mark struct {
	used    time.Time
	until   time.Time // when it is forgotten
	sources []string
}

// NewContexts returns a store without marks.
func NewContexts() *Contexts { return &Contexts{since: time.Now(), marks: make(map[string]*mark)} }

// Read implements [taint.Store].
func (s *Contexts) Read(_ context.Context, keys []taint.Key) ([]taint.Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	out := make([]taint.Mark, len(keys))
	for i, k := range keys {
		out[i].Reach = now.Sub(s.since)
		m := s.find(k, now)
		if m == nil {
			continue
		}
		if k.Window {
			m.used, m.until = now, now.Add(taint.Kept)
		}
		out[i].Untrusted, out[i].Sources = true, slices.Clone(m.sources)
	}
	return out, nil
}

// find returns the mark of a key, nil if there is none. The caller holds mu.
func (s *Contexts) find(k taint.Key, now time.Time) *mark {
	m := s.marks[k.ID]
	if m == nil || !now.Before(m.until) || k.Window && now.Sub(m.used) >= taint.Window {
		return nil
	}
	return m
}

// Mark implements [taint.Store].
func (s *Contexts) Mark(_ context.Context, keys []taint.Key, server string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, k := range keys {
		m := s.find(k, now)
		if m == nil {
			s.makeRoom(now)
			m = &mark{}
			s.marks[k.ID] = m
		}
		m.used, m.until = now, now.Add(taint.Life)
		if k.Window {
			m.until = now.Add(taint.Kept)
		}
		if server != "" && len(m.sources) < taint.MaxSources && !slices.Contains(m.sources, server) {
			m.sources = append(m.sources, server)
		}
	}
	return nil
}

// makeRoom forgets what has ended when there are many marks, and all of them if that is not enough. The caller holds mu.
func (s *Contexts) makeRoom(now time.Time) {
	if len(s.marks) < maxMarks {
		return
	}
	for id, m := range s.marks {
		if !now.Before(m.until) {
			delete(s.marks, id)
		}
	}
	if len(s.marks) >= maxMarks {
		clear(s.marks)
		s.since = now
	}
}

// Touch implements [taint.Store].
func (s *Contexts) Touch(_ context.Context, uses []taint.Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, u := range uses {
		at := now.Add(-u.Ago)
		m := s.marks[u.ID]
		if m == nil || !now.Before(m.until) || !at.After(m.used) || at.Sub(m.used) >= taint.Window {
			continue
		}
		m.used, m.until = at, at.Add(taint.Kept)
	}
	return nil
}

// Watch implements [taint.Store]: nothing is lost without it.
func (s *Contexts) Watch(context.Context) (reach time.Duration, err error) {
	return time.Since(s.since), nil
}
