// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestCrowd: nodes that come at once get turns one after another, as fast as snapshots are sent, and none waits for ever.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(4)
		for range 100 {
			c.sent(time.Second) // so long a snapshot takes
		}
		waits := make([]time.Duration, 100)
		for i := range waits {
			waits[i] = c.wait(time.Now())
		}
		for i, wait := range waits[61:] { // no room in line
			if wait < longestWait/2 || wait > longestWait {
				t.Errorf("number %d waits %s", 61+i, wait)
			}
		}
		for i, want := range map[int]time.Duration{0: minWait, 19: 5 * time.Second, 39: 10 * time.Second, 59: longestWait} {
			if got := waits[i]; got < want-50*time.Millisecond || got > want+minWait {
				t.Errorf("number %d waits %s, want %s and at most %s more", i, got, want, minWait)
			}
		}
		time.Sleep(time.Minute)
		if got := c.wait(time.Now()); got < minWait || got > 2*minWait {
			t.Errorf("after the crowd one waits %s", got)
		}
	})
}
