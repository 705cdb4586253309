// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"sync"
	"time"
)

const (
	// firstTook is what a snapshot is thought to take before one was sent.
	firstTook = 200 * time.Millisecond
	// longestWait is the most that a node is asked to wait for a snapshot: it looks for another control plane meanwhile.
	longestWait = 15 * time.Second
	// nearEach is how many nodes wait for each slot with their streams open, and nearFor how long at most: no slot stays empty
	// while others are on their way.
	nearEach = 8
	nearFor  = 10 * time.Second
)

// crowd tells nodes that come while all slots for snapshots are taken when to come again (D-42): one after another, as fast as
// snapshots are sent. With one wait for all, a thousand nodes that start at once would spend the control plane's time on
// handshakes.
type crowd struct {
	slots int
	near  chan struct{} // a token for each that waits for a slot

	mu   sync.Mutex
	took time.Duration // of a snapshot, lately
	next time.Time     // when the last one in line has its turn
}

func newCrowd(slots int) *crowd {
	return &crowd{slots: slots, near: make(chan struct{}, nearEach*slots), took: firstTook}
}

// wait returns how long to wait for a turn. Those for whom there is no room in line come at any time, and not together.
func (c *crowd) wait(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next.Before(now) {
		c.next = now
	}
	if c.next.Sub(now) >= longestWait {
		return longestWait/2 + jitter(longestWait/2)
	}
	c.next = c.next.Add(c.took / time.Duration(c.slots))
	return min(max(c.next.Sub(now), minWait), longestWait) + jitter(minWait)
}

// slot takes a slot for a snapshot and reports whether the stream has one; else its node is to come again. What must not wait
// goes to a node meanwhile that enforces something.
func (st *stream) slot(blank bool) (ok bool, err error) {
	s := st.server
	select {
	case s.snapshots <- struct{}{}:
		return true, nil
	default:
	}
	select {
	case s.crowd.near <- struct{}{}:
		defer func() { <-s.crowd.near }()
	default:
		return false, nil
	}
	late := time.NewTimer(nearFor)
	defer late.Stop()
	for {
		changed, revoked := s.feed.Changed(), s.revoked.changed()
		if !blank {
			if err := st.fastLane(); err != nil {
				return false, err
			}
		}
		select {
		case s.snapshots <- struct{}{}:
			return true, nil
		case <-late.C:
			return false, nil
		case <-s.draining:
			return false, nil
		case <-st.ctx.Done():
			return false, context.Cause(st.ctx)
		case <-changed:
		case <-revoked:
		}
	}
}

// sent notes how long a snapshot took.
func (c *crowd) sent(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = max((7*c.took+took)/8, time.Millisecond)
}
