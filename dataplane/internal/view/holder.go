// SPDX-License-Identifier: Apache-2.0

package view

import (
	"sync"
	"sync/atomic"
)

// Key names what a denial takes away: a kind of resource, or "team_member" with name "<team>/<user>" (D-30).
type Key struct {
	Kind, Name string
}

// Snapshot is a view and the denials that overtook it. Immutable.
type Snapshot struct {
	*View
	denied map[Key]uint64 // revision that brings the denial; nil in the normal case
}

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

	mu      sync.Mutex
	changed chan struct{} // closed at the next publication
}

// NewHolder returns a holder without a view: Load returns nil until the first Publish.
func NewHolder() *Holder { return &Holder{changed: make(chan struct{})} }

// Load returns the current snapshot, nil before the first Publish.
func (h *Holder) Load() *Snapshot { return h.current.Load() }

// Publish makes a view current and drops the denials it contains.
func (h *Holder) Publish(v *View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := &Snapshot{View: v}
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
	next := &Snapshot{View: old.View, denied: make(map[Key]uint64, len(old.denied)+len(keys))}
	for k, rev := range old.denied {
		next.denied[k] = rev
	}
	for _, k := range keys {
		next.deny(k, revision)
	}
	h.swap(next)
}

func (s *Snapshot) deny(k Key, revision uint64) {
	if s.denied == nil {
		s.denied = make(map[Key]uint64)
	}
	s.denied[k] = max(s.denied[k], revision)
}

func (h *Holder) swap(next *Snapshot) {
	h.current.Store(next)
	close(h.changed)
	h.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next publication or denial. Take it before Load, so that no change
// falls between.
func (h *Holder) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}
