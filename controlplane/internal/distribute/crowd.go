// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"sync"
	"time"
)

const (
	// firstTook is what a snapshot is thought to take before one was sent.
	firstTook = 200 * time.Millisecond
	// longestWait is the most that a node is asked to wait for a snapshot: it looks for another control plane meanwhile.
	longestWait = 15 * time.Second
)

// crowd tells nodes that come while all slots for snapshots are taken when to come again (D-42): one after another, as fast as
// snapshots are sent. With one wait for all, a thousand nodes that start at once would spend the control plane's time on
// handshakes.
type crowd struct {
	slots int

	mu   sync.Mutex
	took time.Duration // of a snapshot, lately
	next time.Time     // when the last one in line has its turn
}

func newCrowd(slots int) *crowd { return &crowd{slots: slots, took: firstTook} }

// wait returns how long to wait for a turn.
func (c *crowd) wait(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next.Before(now) {
		c.next = now
	}
	if c.next.Sub(now) < longestWait {
		c.next = c.next.Add(c.took / time.Duration(c.slots))
	}
	return min(max(c.next.Sub(now), minWait), longestWait) + jitter(minWait)
}

// sent notes how long a snapshot took.
func (c *crowd) sent(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = max((7*c.took+took)/8, time.Millisecond)
}
