// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"sync"
	"time"
)

// maxTombstones bounds the memory of [Memory] to about 4 MiB.
const maxTombstones = 1 << 16

// Memory is a [Store] in the memory of one process. It holds 65,536 notes at most; beyond that the oldest is forgotten
// early, which lets the owner of that session go on with it until its id expires: no harm, since an id authenticates
// nobody.
type Memory struct {
	mu    sync.Mutex
	notes map[UID]time.Time
	order []UID // as noted; notes are looked up in it once they are too many
	limit int
}

// NewMemory returns a store without notes.
func NewMemory() *Memory { return &Memory{notes: make(map[UID]time.Time), limit: maxTombstones} }

// End notes that a session has ended. It never fails.
func (m *Memory) End(_ context.Context, id UID, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.notes[id]; ok {
		return nil
	}
	now := time.Now()
	for len(m.order) > 0 && (len(m.order) >= m.limit || !now.Before(m.notes[m.order[0]])) {
		delete(m.notes, m.order[0])
		m.order = m.order[1:]
	}
	m.notes[id] = until
	m.order = append(m.order, id)
	return nil
}

// Ended reports whether a session is known to have ended. It never fails.
func (m *Memory) Ended(_ context.Context, id UID) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.notes[id]
	return ok, nil
}
