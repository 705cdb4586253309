// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"
)

// sweepEvery is how often idle and expired sessions are looked for; they may live that much longer.
const sweepEvery = time.Minute

// touchEvery is how often a record that is in use is touched in the store, well within [RecordLife].
const touchEvery = RecordLife / 3

func (m *Manager) sweepUntil(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.sweep()
			m.touch(ctx)
		}
	}
}

// touch has the store keep the records of sessions that are in use, and puts those that it has lost.
func (m *Manager) touch(ctx context.Context) {
	if m.fleet == nil {
		return
	}
	now := time.Now().UnixNano()
	var due []UID
	var unsaved []*Session
	of := make(map[UID]*Session)
	m.mu.Lock()
	for id, s := range m.sessions {
		used := s.used.Load() > s.touched || s.busy()
		switch {
		case s.sse:
		case s.unsaved.Load():
			unsaved = append(unsaved, s)
		case used && now-s.touched >= int64(touchEvery):
			s.touched = now
			due = append(due, id)
			of[id] = s
		}
	}
	m.mu.Unlock()
	if len(due) > 0 {
		gone, err := m.store.Touch(ctx, due)
		if err != nil {
			m.away(ctx, err)
			return
		}
		m.back(ctx)
		for _, id := range gone {
			unsaved = append(unsaved, of[id])
		}
	}
	for _, s := range unsaved {
		m.save(ctx, s)
	}
}

func (m *Manager) sweep() {
	now := time.Now()
	idle := now.Add(-m.limit.Idle).UnixNano()
	var over, left []*Session
	m.mu.Lock()
	for _, s := range m.sessions {
		if !now.Before(s.expires) || (s.used.Load() < idle && !s.busy()) {
			over = append(over, s)
			m.drop(s)
			continue
		}
		left = append(left, s)
	}
	m.mu.Unlock()
	for _, s := range over {
		s.end(ErrEnded)
	}
	for _, s := range left {
		s.events.Sweep(now)
	}
}
