// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"iter"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
)

// partSize is about how many bytes of resources a SnapshotPart holds.
const partSize = 256 << 10

// Snapshot is a class at one revision. It holds references only: the resources are shared.
type Snapshot struct {
	Epoch    string
	Revision catalog.Revision
	digest   []byte
	entries  []*scope.Entry
}

// Snapshot returns the class at the head. Streams that begin at the same revision share it.
func (c *Class) Snapshot() *Snapshot {
	f := c.feed
	f.mu.RLock()
	full := c.full
	f.mu.RUnlock()
	if full != nil {
		return full
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.full != nil {
		return c.full
	}
	s := &Snapshot{
		Epoch: f.epoch, Revision: f.ring.head(), digest: c.members.Sum().Bytes(), entries: make([]*scope.Entry, 0, c.members.Len()),
	}
	for _, e := range f.world.Entries {
		if c.members.Has(f.world, e) {
			s.entries = append(s.entries, e)
		}
	}
	c.full = s
	return s
}

// Len returns the number of resources.
func (s *Snapshot) Len() int { return len(s.entries) }

// Frames returns the encoded FollowResponses: begin, parts of about 256 KB, end. Each part is put together when it is
// asked for, so a slow reader holds one of them.
func (s *Snapshot) Frames() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := appendString(nil, beginEpoch, s.Epoch)
		b = appendNumber(b, beginRevision, uint64(s.Revision))
		b = appendNumber(b, beginResources, uint64(len(s.entries)))
		if !yield(response(responseSnapshotBegin, b)) {
			return
		}
		var part []byte
		for _, e := range s.entries {
			if len(part) > 0 && len(part)+len(e.Wire) > partSize {
				if !yield(response(responseSnapshotPart, part)) {
					return
				}
				part = part[:0]
			}
			part = appendBytes(part, partResources, e.Wire)
		}
		if len(part) > 0 && !yield(response(responseSnapshotPart, part)) {
			return
		}
		yield(response(responseSnapshotEnd, appendBytes(nil, endDigest, s.digest)))
	}
}
