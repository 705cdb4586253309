// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// Key names what a denial takes away: a kind of resource, or "team_member" with name "<team>/<user>" (D-30).
type Key struct {
	Kind, Name string
}

// Snapshot is a view and the denials that overtook it. Immutable.
type Snapshot struct {
	*View
	denied  map[Key]uint64 // revision that brings the denial; nil in the normal case
	taken   *sync.Map      // of *Gateway to []bool, made at first use: see Taken; nil without denials
	revoked *Revocations
}

// Revocations are the access tokens that were taken away, those included that were after the snapshot.
func (s *Snapshot) Revocations() *Revocations { return s.revoked }

// Denied reports whether a denial that the view does not contain yet covers the key.
func (s *Snapshot) Denied(kind, name string) bool {
	if s.denied == nil {
		return false
	}
	_, ok := s.denied[Key{kind, name}]
	return ok
}

// HasDenials reports whether any denial is not contained in the view yet.
func (s *Snapshot) HasDenials() bool { return len(s.denied) > 0 }

// Holder publishes snapshots. Loading is one atomic read; writers are serialised.
type Holder struct {
	current atomic.Pointer[Snapshot]
	revoked *Revocations

	mu      sync.Mutex
	changed chan struct{} // closed at the next publication
}

// NewHolder returns a holder without a view: Load returns nil until the first Publish.
func NewHolder() *Holder {
	return &Holder{changed: make(chan struct{}), revoked: newRevocations(maxRevocations)}
}

// Revoke takes access tokens away at once, with or without a view. Expired entries are ignored.
func (h *Holder) Revoke(now time.Time, list []Revocation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked.add(now, list)
	if old := h.current.Load(); old != nil {
		next := *old
		h.swap(&next)
	}
}

// Banned reports whether a node or an authserver is banned (D-81), by the SHA-256 of its SPIFFE id; with or without a view.
func (h *Holder) Banned(workload [sha256.Size]byte) bool { return h.revoked.Banned(workload) }

// Load returns the current snapshot, nil before the first Publish.
func (h *Holder) Load() *Snapshot { return h.current.Load() }

// Publish makes a view current and drops the denials it contains.
func (h *Holder) Publish(v *View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := &Snapshot{View: v, revoked: h.revoked}
	if old := h.current.Load(); old != nil {
		for k, rev := range old.denied {
			if rev > v.Revision && old.Epoch == v.Epoch {
				next.deny(k, rev)
			}
		}
	}
	h.swap(next)
}

// Deny adds denials at once, ahead of the view that contains them. Keys whose revision the view has reached are
// ignored.
func (h *Holder) Deny(revision uint64, keys []Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.current.Load()
	if old == nil || revision <= old.Revision {
		return
	}
	next := &Snapshot{View: old.View, revoked: h.revoked}
	for k, rev := range old.denied {
		next.deny(k, rev)
	}
	for _, k := range keys {
		next.deny(k, revision)
	}
	h.swap(next)
}

func (s *Snapshot) deny(k Key, revision uint64) {
	if s.denied == nil {
		s.denied, s.taken = make(map[Key]uint64), new(sync.Map)
	}
	s.denied[k] = max(s.denied[k], revision)
}

func (h *Holder) swap(next *Snapshot) {
	h.current.Store(next)
	close(h.changed)
	h.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next publication, denial or revocation. Take it before Load, so that no change
// falls between.
func (h *Holder) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}
