// SPDX-License-Identifier: Apache-2.0

package unheard

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestBox: what is kept comes once, in order and not too late, and takes no more room than it may.
func TestBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Box
		raw := []byte("0")
		for i := range perSession + 1 {
			raw = fmt.Append(raw[:0], i)
			if ok := b.Keep("s", "c", raw); ok != (i < perSession) {
				t.Errorf("message %d is kept: %t", i, ok)
			}
		}
		if !b.Keep("other", "d", raw) {
			t.Error("a session has no room for the messages of another one")
		}
		got := b.Take("s")
		if len(got) != perSession || string(got[0].Raw) != "0" || string(got[perSession-1].Raw) != fmt.Sprint(perSession-1) || got[0].Connection != "c" {
			t.Errorf("%d messages came", len(got))
		}
		if len(b.Take("s")) > 0 {
			t.Error("they come again")
		}
		time.Sleep(Life + time.Second)
		if len(b.Take("other")) > 0 {
			t.Error("what is too old comes")
		}
		b.Keep("old", "c", raw)
		time.Sleep(Life + time.Second)
		if !b.Keep("old", "c", raw) || len(b.Take("old")) != 1 {
			t.Error("what is too old stays beside what is not")
		}
		b.Keep("late", "c", raw)
		time.Sleep(Life + time.Second)
		b.Sweep(time.Now())
		if len(b.sessions) != 0 || b.bytes != 0 {
			t.Errorf("%d sessions with %d bytes are left", len(b.sessions), b.bytes)
		}
		large := make([]byte, maxBytes/2+1)
		if !b.Keep("x", "c", large) || b.Keep("y", "c", large) {
			t.Error("more is kept than there is room for")
		}
	})
}
