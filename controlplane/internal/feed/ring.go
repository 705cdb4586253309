// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
)

// change is what one revision did to the world.
type change struct {
	time    time.Time
	ops     []scope.Moved // before and after in the world, nil for nothing
	denials []catalog.Key
	atomic  bool
	prompt  bool // may narrow somebody's rights: not held back to be coalesced (D-31)
	staged  bool // it is rolled out in stages
	denial  bool // its denials take away everything it takes away: enforced as soon as they are
}

// ring is the recent changes, oldest first, one for each revision after base.
type ring struct {
	base    catalog.Revision
	changes []change
	ops     int
}

func (r *ring) head() catalog.Revision { return r.base + catalog.Revision(len(r.changes)) }

// at returns the change of a revision, which is in the ring.
func (r *ring) at(rev catalog.Revision) *change { return &r.changes[rev-r.base-1] }

// holds reports whether the changes after a revision are all in the ring.
func (r *ring) holds(after catalog.Revision) bool { return after >= r.base && after <= r.head() }

func (r *ring) push(c change) {
	r.changes = append(r.changes, c)
	r.ops += len(c.ops)
}

// excess returns how many of the oldest changes are too many.
func (r *ring) excess(l limits) int {
	n, ops := 0, r.ops
	for n < len(r.changes) && (len(r.changes)-n > l.changes || ops > l.ops) {
		ops -= len(r.changes[n].ops)
		n++
	}
	return n
}

func (r *ring) drop(n int) {
	for i := range n {
		r.ops -= len(r.changes[i].ops)
	}
	r.changes = cutFront(r.changes, n)
	r.base += catalog.Revision(n)
}

// cutFront drops the first n elements and lets go of what they hold.
func cutFront[T any](list []T, n int) []T {
	clear(list[:n])
	return list[n:]
}

// limits bound the ring: what is older is a snapshot (D-20).
type limits struct {
	changes int
	ops     int
	age     time.Duration // of what is read back at the start (D-44)
}
