// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
)

// staged returns the latest change of the ring that is rolled out in stages, 0 for none.
func (r *ring) staged() catalog.Revision {
	for i, ch := range slices.Backward(r.changes) {
		if ch.staged {
			return r.base + catalog.Revision(i) + 1
		}
	}
	return 0
}

// SnapshotAt returns the class as it was at a revision, for those who may not have what came after it; nil if the ring does
// not reach back to it. It is made by undoing the changes since: that costs a copy of the index, and is kept until another
// revision is asked for.
func (c *Class) SnapshotAt(rev catalog.Revision) *Snapshot {
	f := c.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.ring
	switch {
	case rev >= r.head() || !r.holds(rev):
		return nil
	case c.past != nil && c.past.Revision == rev && c.past.Epoch == f.epoch:
		return c.past
	}
	w := f.world.Clone()
	for i := len(r.changes) - 1; r.base+catalog.Revision(i)+1 > rev; i-- {
		for _, op := range slices.Backward(r.changes[i].ops) {
			w.Set(op.Key(), op.Before)
		}
	}
	members := scope.NewMembers(c.scope)
	members.Fill(w)
	s := &Snapshot{packer: f.packer, Epoch: f.epoch, Revision: rev, scope: c.scope, digest: members.Sum().Bytes()}
	for _, e := range w.Entries {
		if members.Has(w, e) {
			s.entries = append(s.entries, e)
		}
	}
	c.past = s
	return s
}

// Leap is [Class.Delta] in one step over everything in (from, to], atomic changes too: what was done and undone in between
// is never seen.
func (c *Class) Leap(ctx context.Context, from, to catalog.Revision) (*Delta, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBodies)
	defer cancel()
	return c.merge(ctx, from, to, true)
}
