// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"testing/synctest"
	"time"
)

func uid(n byte) UID { return UID{n} }

func TestGravesForgetTheOldestFirst(t *testing.T) {
	g := graves{limit: 2}
	until := time.Now().Add(time.Hour)
	for _, n := range []byte{1, 2, 2, 3} {
		g.note(uid(n), until, true)
	}
	if g.holds(uid(1)) || !g.holds(uid(2)) || !g.holds(uid(3)) {
		t.Errorf("holds 1 %v, 2 %v, 3 %v, want only the newest two", g.holds(uid(1)), g.holds(uid(2)), g.holds(uid(3)))
	}
}

func TestGravesForgetWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g graves
		g.note(uid(1), time.Now().Add(time.Hour), true)
		time.Sleep(59 * time.Minute)
		g.note(uid(2), time.Now().Add(time.Hour), true)
		if !g.holds(uid(1)) {
			t.Error("a note is gone before its time")
		}
		time.Sleep(2 * time.Minute)
		g.note(uid(3), time.Now().Add(time.Hour), true)
		if g.holds(uid(1)) || !g.holds(uid(2)) || len(g.order) != 2 || len(g.notes) != 2 {
			t.Errorf("%d notes are left, want the two that have not expired", len(g.order))
		}
	})
}

// TestUntold: what the store was not told is told when it is back, once.
func TestUntold(t *testing.T) {
	var g graves
	until := time.Now().Add(time.Hour)
	g.note(uid(1), until, true)
	g.note(uid(2), until, false)
	if got := g.untold(); len(got) != 1 || !got[uid(2)].Equal(until) {
		t.Errorf("untold %v, want the second", got)
	}
	g.note(uid(2), until, true)
	g.note(uid(2), until, false)
	if got := g.untold(); len(got) != 0 {
		t.Errorf("untold %v, want none", got)
	}
}
