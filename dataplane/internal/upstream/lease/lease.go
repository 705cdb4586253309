// SPDX-License-Identifier: Apache-2.0

// Package lease keeps sessions with an upstream and says who may use which
// (mcp.md M-59 and section 4): a client's session and a principal share one
// among their calls, opened once however many ask; calls that offer client
// capabilities without a session of their client lease one exclusively, the one
// used last first.
//
// Called by upstream. It must never know what a session is, or talk to anybody.
package lease

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/flight"
)

// Key says who may use a session.
type Key struct {
	Kind         string // of the principal, if there are several
	Principal    string // empty for a stateless server
	Session      string // of the client; empty for a client without
	Capabilities string // raw object declared upstream; empty for none
}

// exclusive reports whether one session serves one call at a time.
func (k Key) exclusive() bool { return k.Session == "" && k.Capabilities != "" }

// Held is a session on a shelf.
type Held[T any] struct {
	Value T
	used  atomic.Int64 // Unix nanoseconds of the last use
	gone  atomic.Bool  // taken off the shelf
	pins  atomic.Int32 // keep it from being taken out as idle
}

// Pin keeps the session on the shelf although nobody uses it, until as many
// Unpin.
func (h *Held[T]) Pin() { h.pins.Add(1) }

// Unpin takes back one Pin; the session counts as used just now.
func (h *Held[T]) Unpin() {
	h.used.Store(time.Now().UnixNano())
	h.pins.Add(-1)
}

// Gone reports whether the session was taken off the shelf.
func (h *Held[T]) Gone() bool { return h.gone.Load() }

// Shelf holds the sessions with one upstream. Make it with [NewShelf].
type Shelf[T any] struct {
	count *atomic.Int64

	mu        sync.Mutex
	slots     map[Key]*Slot[T]
	bySession map[string][]*Slot[T] // of these, those of a client's session
}

// NewShelf returns an empty shelf. count is kept at the number of sessions on
// it, and may be shared by shelves.
func NewShelf[T any](count *atomic.Int64) *Shelf[T] {
	return &Shelf[T]{count: count, slots: make(map[Key]*Slot[T]), bySession: make(map[string][]*Slot[T])}
}

// Slot is the place of all sessions with one Key.
type Slot[T any] struct {
	key     Key
	shelf   *Shelf[T]
	users   atomic.Int32 // keep it from being forgotten
	ended   atomic.Bool
	opening flight.Flight

	current atomic.Pointer[Held[T]] // the shared session
	lost    atomic.Pointer[Held[T]] // the shared session before it
	free    []*Held[T]              // exclusive ones, the one used last at the end; guarded by Shelf.mu
}

// Enter returns the slot of a key. Its Leave must be called.
func (s *Shelf[T]) Enter(k Key) *Slot[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.slots[k]
	if l == nil {
		l = &Slot[T]{key: k, shelf: s}
		s.slots[k] = l
		if k.Session != "" {
			s.bySession[k.Session] = append(s.bySession[k.Session], l)
		}
	}
	l.users.Add(1)
	return l
}

// forget takes a slot off the shelf. The caller holds mu.
func (s *Shelf[T]) forget(l *Slot[T]) {
	delete(s.slots, l.key)
	if l.key.Session == "" {
		return
	}
	rest := slices.DeleteFunc(s.bySession[l.key.Session], func(other *Slot[T]) bool { return other == l })
	if len(rest) == 0 {
		delete(s.bySession, l.key.Session)
		return
	}
	s.bySession[l.key.Session] = rest
}

// Take returns a session of the slot, one that open makes if there is none. open
// gets the shared session that was dropped last, nil if there was none: what the
// upstream knew by it must be told again. fresh says that this call opened it.
func (l *Slot[T]) Take(ctx context.Context, open func(lost *Held[T]) (T, error)) (h *Held[T], fresh bool, err error) {
	if l.key.exclusive() {
		return l.takeExclusive(open)
	}
	for {
		if h := l.current.Load(); h != nil {
			h.used.Store(time.Now().UnixNano())
			return h, fresh, nil
		}
		err := l.opening.Do(ctx, func() error {
			if l.current.Load() != nil {
				return nil
			}
			v, err := open(l.lost.Load())
			if err != nil {
				return err
			}
			l.current.Store(l.put(v))
			l.lost.Store(nil)
			fresh = true
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
}

func (l *Slot[T]) takeExclusive(open func(*Held[T]) (T, error)) (*Held[T], bool, error) {
	l.shelf.mu.Lock()
	if n := len(l.free) - 1; n >= 0 {
		h := l.free[n]
		l.free[n] = nil
		l.free = l.free[:n]
		l.shelf.mu.Unlock()
		return h, false, nil
	}
	l.shelf.mu.Unlock()
	v, err := open(nil)
	if err != nil {
		return nil, false, err
	}
	return l.put(v), true, nil
}

func (l *Slot[T]) put(v T) *Held[T] {
	h := &Held[T]{Value: v}
	h.used.Store(time.Now().UnixNano())
	l.shelf.count.Add(1)
	return h
}

// Drop takes a session off the shelf, for example one that the upstream no
// longer knows, and reports whether it was still there.
func (l *Slot[T]) Drop(h *Held[T]) bool {
	if h.gone.Swap(true) {
		return false
	}
	l.shelf.count.Add(-1)
	if l.key.exclusive() {
		l.shelf.mu.Lock()
		defer l.shelf.mu.Unlock()
		for i, other := range l.free {
			if other == h {
				l.free = append(l.free[:i], l.free[i+1:]...)
				break
			}
		}
		return true
	}
	l.lost.Store(h)
	l.current.CompareAndSwap(h, nil)
	return true
}

// Replace puts another session in the place of the shared one, and reports whether that was still there.
func (l *Slot[T]) Replace(h *Held[T], v T) (next *Held[T], ok bool) {
	next = &Held[T]{Value: v}
	next.used.Store(time.Now().UnixNano())
	if l.key.exclusive() || !l.current.CompareAndSwap(h, next) {
		return nil, false
	}
	h.gone.Store(true) // the count of sessions stays
	return next, true
}

// Leave ends a use of the slot. h is the session that was taken, nil if none
// was. It returns sessions to be ended because nobody can come back for them.
func (l *Slot[T]) Leave(h *Held[T]) (end []T) {
	l.shelf.mu.Lock()
	defer l.shelf.mu.Unlock()
	if h != nil && l.key.exclusive() && !h.Gone() {
		h.used.Store(time.Now().UnixNano())
		l.free = append(l.free, h)
	}
	if l.users.Add(-1) == 0 && l.ended.Load() {
		end = l.clear(nil, func(*Held[T]) bool { return true })
	}
	return end
}

// clear takes out the sessions that match and are not with a call.
func (l *Slot[T]) clear(out []T, match func(*Held[T]) bool) []T {
	take := func(h *Held[T]) bool {
		if !match(h) || h.gone.Swap(true) {
			return false
		}
		l.shelf.count.Add(-1)
		out = append(out, h.Value)
		return true
	}
	if h := l.current.Load(); h != nil && take(h) {
		l.current.CompareAndSwap(h, nil)
	}
	kept := l.free[:0]
	for _, h := range l.free {
		if !take(h) {
			kept = append(kept, h)
		}
	}
	clear(l.free[len(kept):])
	l.free = kept
	return out
}
