// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"testing/synctest"
	"time"
)

func uid(n byte) UID { return UID{n} }

func (m *Memory) holds(t *testing.T, n byte) bool {
	t.Helper()
	ended, err := m.Ended(t.Context(), uid(n))
	if err != nil {
		t.Fatal(err)
	}
	return ended
}

func TestMemoryForgetsTheOldestFirst(t *testing.T) {
	m := NewMemory()
	m.limit = 2
	until := time.Now().Add(time.Hour)
	for _, n := range []byte{1, 2, 2, 3} {
		if err := m.End(t.Context(), uid(n), until); err != nil {
			t.Fatal(err)
		}
	}
	if m.holds(t, 1) || !m.holds(t, 2) || !m.holds(t, 3) {
		t.Errorf("holds 1 %v, 2 %v, 3 %v, want only the newest two", m.holds(t, 1), m.holds(t, 2), m.holds(t, 3))
	}
}

func TestMemoryForgetsWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		_ = m.End(t.Context(), uid(1), time.Now().Add(time.Hour))
		time.Sleep(59 * time.Minute)
		_ = m.End(t.Context(), uid(2), time.Now().Add(time.Hour))
		if !m.holds(t, 1) {
			t.Error("a note is gone before its time")
		}
		time.Sleep(2 * time.Minute)
		_ = m.End(t.Context(), uid(3), time.Now().Add(time.Hour))
		if m.holds(t, 1) || !m.holds(t, 2) || len(m.order) != 2 || len(m.notes) != 2 {
			t.Errorf("%d notes are left, want the two that have not expired", len(m.order))
		}
	})
}
