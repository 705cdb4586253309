// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"iter"
	"sync"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/sdk/node/pack"
)

// partSize is about how many bytes of resources a SnapshotPart holds.
const partSize = 256 << 10

// Snapshot is a class at one revision. It holds references, the resources are shared, and what was packed.
type Snapshot struct {
	Epoch    string
	Revision catalog.Revision
	scope    scope.Scope
	digest   []byte
	entries  []*scope.Entry
	packer   *pack.Packer

	mu     sync.Mutex // guards what follows
	packed [][]byte   // so far
	next   int        // place behind them
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
		Epoch: f.epoch, Revision: f.ring.head(), scope: c.scope, packer: f.packer, digest: c.members.Sum().Bytes(), entries: make([]*scope.Entry, 0, c.members.Len()),
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
		for frame, next := s.frame(0); frame != nil; frame, next = s.frame(next) {
			if !yield(frame) {
				return
			}
		}
	}
}

// Packed returns the same for nodes that know the dictionary of package pack. They are kept, so that a thousand nodes that
// begin at one revision cost one packing (D-42).
func (s *Snapshot) Packed() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for n := 0; ; n++ {
			if frame := s.nth(n); frame == nil || !yield(frame) {
				return
			}
		}
	}
}

// nth returns a packed frame, nil behind the last one.
func (s *Snapshot) nth(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.packed) <= n {
		frame, next := s.frame(s.next)
		if frame == nil {
			return nil
		}
		s.packed, s.next = append(s.packed, s.packer.Message(frame)), next
	}
	return s.packed[n]
}

// frame returns what comes at a place, nil behind the end, and the next place: 0 is the begin, then entries are counted
// from 1, and the end is behind the last one.
func (s *Snapshot) frame(at int) (frame []byte, next int) {
	switch {
	case at == 0:
		b := appendString(nil, beginEpoch, s.Epoch)
		b = appendNumber(b, beginRevision, uint64(s.Revision))
		b = appendNumber(b, beginResources, uint64(len(s.entries)))
		return response(responseSnapshotBegin, b), 1
	case at == len(s.entries)+1:
		return response(responseSnapshotEnd, appendBytes(nil, endDigest, s.digest)), at + 1
	case at > len(s.entries):
		return nil, at
	}
	var part []byte
	for ; at <= len(s.entries); at++ {
		wire := s.entries[at-1].For(s.scope)
		if len(part) > 0 && len(part)+len(wire) > partSize {
			break
		}
		part = appendBytes(part, partResources, wire)
	}
	return response(responseSnapshotPart, part), at
}
