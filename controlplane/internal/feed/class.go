// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"slices"
	"sync"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxClasses is the most scope classes of one control plane (D-13).
const maxClasses = 64

// classChange is what one revision does to a class.
type classChange struct {
	scope.Change
	deny []byte // encoded Deny; nil if it takes nothing away from the class
}

func (c *classChange) affects() bool { return len(c.Moved) > 0 || c.deny != nil }

// Class is one distinct scope and everything that nodes of that scope receive. Its methods are safe for concurrent use.
type Class struct {
	feed  *Feed
	scope scope.Scope

	// Guarded by feed.mu, as one state with the world and the ring.
	members *scope.Members
	log     []classChange // parallel to the changes of the ring
	left    map[catalog.Hash]catalog.Revision
	full    *Snapshot // of the head, while nobody changed anything
	past    *Snapshot // of an older revision that was asked for last

	mu     sync.Mutex
	deltas []*cached // newest first
}

// Class returns the class of a scope, which it makes at the first call. More than 64 scopes are fault.Exhausted; before
// the feed is ready it is fault.Unavailable.
func (f *Feed) Class(s scope.Scope) (*Class, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ready {
		return nil, errNotReady()
	}
	if c := f.classes[s]; c != nil {
		return c, nil
	}
	if len(f.classes) >= maxClasses {
		return nil, fault.Newf(fault.Exhausted, ReasonTooManyScopes, "There are nodes of %d regions, more than a control plane serves.", maxClasses)
	}
	c := &Class{feed: f, scope: s}
	c.rebuild(f.world, &f.ring)
	f.classes[s] = c
	return c, nil
}

// rebuild makes the index and its log anew: the world is taken back to the begin of the ring and the changes are
// replayed. The caller holds feed.mu.
func (c *Class) rebuild(now *scope.World, r *ring) {
	w := now.Clone()
	for _, ch := range slices.Backward(r.changes) {
		for _, op := range slices.Backward(ch.ops) {
			w.Set(op.Key(), op.Before)
		}
	}
	c.members = scope.NewMembers(c.scope)
	c.members.Fill(w)
	c.log, c.left, c.full, c.past = nil, make(map[catalog.Hash]catalog.Revision), nil, nil
	for i := range r.changes {
		c.advance(w, &r.changes[i], r.base+catalog.Revision(i)+1, func(op scope.Moved) { w.Set(op.Key(), op.After) })
	}
}

// advance follows one change. put brings the world along, operation by operation. The caller holds feed.mu.
func (c *Class) advance(w *scope.World, ch *change, rev catalog.Revision, put func(scope.Moved)) {
	t := scope.NewTouched()
	for _, op := range ch.ops {
		put(op)
		c.members.Step(w, op.Before, op.After, t)
	}
	c.finish(w, t, rev, ch.denials)
}

// finish adds what a change did to the class to its log. The caller holds feed.mu.
func (c *Class) finish(w *scope.World, t *scope.Touched, rev catalog.Revision, denials []catalog.Key) {
	cc := classChange{Change: c.members.Close(w, t, denials)}
	if len(cc.Denials) > 0 {
		cc.deny = encodeDeny(rev, cc.Denials)
	}
	for _, h := range cc.In {
		delete(c.left, h)
	}
	for _, h := range cc.Out {
		c.left[h] = rev
	}
	c.log = append(c.log, cc)
	c.full = nil
}

// trim forgets the n oldest changes, the first of which is revision base+1. The caller holds feed.mu.
func (c *Class) trim(n int, base catalog.Revision) {
	for i := range n {
		for _, h := range c.log[i].Out {
			if c.left[h] == base+catalog.Revision(i)+1 {
				delete(c.left, h)
			}
		}
	}
	c.log = cutFront(c.log, n)
}

// Scope returns the scope of the class.
func (c *Class) Scope() scope.Scope { return c.scope }

// Affects reports whether a change in (from, to] concerns the class. Beyond the ring it says true.
func (c *Class) Affects(from, to catalog.Revision) bool {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	r := &c.feed.ring
	if !r.holds(from) || !r.holds(to) {
		return true
	}
	for rev := from + 1; rev <= to; rev++ {
		if c.log[rev-r.base-1].affects() {
			return true
		}
	}
	return false
}

// FirstAfter returns the first revision after from that concerns the class and its commit time; ok is false if there is
// none in the ring.
func (c *Class) FirstAfter(from catalog.Revision) (info Info, ok bool) {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	r := &c.feed.ring
	for rev := max(from, r.base) + 1; rev <= r.head(); rev++ {
		if c.log[rev-r.base-1].affects() {
			return r.info(rev), true
		}
	}
	return Info{}, false
}

// Digest returns the digest of the class at a revision, 16 bytes. It is unknown, ok false, outside the ring and before
// the revision the feed began with: the log does not say what its first changes replaced.
func (c *Class) Digest(rev catalog.Revision) (sum []byte, ok bool) {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	r := &c.feed.ring
	switch {
	case rev < c.feed.exact || rev > r.head() || rev < r.base:
		return nil, false
	case rev == r.head():
		return c.members.Sum().Bytes(), true
	case rev == r.base:
		return nil, false
	default:
		return c.log[rev-r.base-1].Sum.Bytes(), true
	}
}

// HoldsBlob reports whether a body is in the scope, or was at any revision of the ring: a node that takes an older
// snapshot may still ask for it.
func (c *Class) HoldsBlob(h catalog.Hash) bool {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	_, left := c.left[h]
	return left || c.members.NeedsBlob(h)
}

// Holds reports whether the class has a resource.
func (c *Class) Holds(k catalog.Key) bool {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	return c.members.Has(c.feed.world, c.feed.world.Entries[k])
}

// HoldsVersion reports whether the class has exactly that version of a resource.
func (c *Class) HoldsVersion(k catalog.Key, version []byte) bool {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	e := c.feed.world.Entries[k]
	return e != nil && string(e.Version[:]) == string(version) && c.members.Has(c.feed.world, e)
}

// Denials returns the encoded Deny messages of the changes after a revision, oldest first, and the head up to which
// they are complete. Changes that left the ring are not in it: who lacks them gets a snapshot.
func (c *Class) Denials(after catalog.Revision) (frames [][]byte, head catalog.Revision) {
	c.feed.mu.RLock()
	defer c.feed.mu.RUnlock()
	r := &c.feed.ring
	for rev := max(after, r.base) + 1; rev <= r.head(); rev++ {
		if deny := c.log[rev-r.base-1].deny; deny != nil {
			frames = append(frames, deny)
		}
	}
	return frames, r.head()
}

func errNotReady() error {
	return fault.New(fault.Unavailable, ReasonNotReady, "The control plane is still loading the configuration.")
}
