// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// DefaultKeys is how many keys a [Memory] and a [Limiter] remember when nothing else is said: some 300 bytes each.
const DefaultKeys = 50_000

// Memory is a [Store] of this process. It forgets the key that was not used for longest.
type Memory struct {
	// Now, if it is set before the first use, is the clock.
	Now func() time.Time

	mu       sync.Mutex // guards both
	buckets  *recent[string, *bucket]
	attempts *recent[string, *steps]
}

// NewMemory returns a Memory of so many keys of either kind; 0 means [DefaultKeys].
func NewMemory(keys int) *Memory {
	if keys < 1 {
		keys = DefaultKeys
	}
	return &Memory{Now: time.Now, buckets: newRecent[string, *bucket](keys), attempts: newRecent[string, *steps](keys)}
}

// Take is described at [Store]. It never fails.
func (m *Memory) Take(_ context.Context, key string, l Limit, n int) (Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, known := m.buckets.get(key)
	if !known {
		b = new(bucket)
		if n > 0 {
			m.buckets.put(key, b)
		}
	}
	return b.take(m.Now(), l, n), nil
}

// Attempt is described at [Store]. It never fails.
func (m *Memory) Attempt(_ context.Context, key string, l Ladder) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, known := m.attempts.get(key)
	if !known {
		s = new(steps)
		m.attempts.put(key, s)
	}
	return s.attempt(m.Now(), l), nil
}

// Forget is described at [Store]. It never fails.
func (m *Memory) Forget(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts.drop(key)
	return nil
}

// recent is a map that forgets what was not used for longest. Its users lock.
type recent[K comparable, V any] struct {
	max   int
	order *list.List // of *item[K, V], the latest first
	items map[K]*list.Element
}

type item[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{max: limit, order: list.New(), items: make(map[K]*list.Element)}
}

func (r *recent[K, V]) get(key K) (V, bool) {
	e := r.items[key]
	if e == nil {
		var none V
		return none, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*item[K, V]).value, true
}

// peek is get that leaves no trace.
func (r *recent[K, V]) peek(key K) (V, bool) {
	e := r.items[key]
	if e == nil {
		var none V
		return none, false
	}
	return e.Value.(*item[K, V]).value, true
}

// put adds a key that is not there.
func (r *recent[K, V]) put(key K, value V) {
	r.items[key] = r.order.PushFront(&item[K, V]{key, value})
	if r.order.Len() > r.max {
		oldest := r.order.Back()
		r.order.Remove(oldest)
		delete(r.items, oldest.Value.(*item[K, V]).key)
	}
}

func (r *recent[K, V]) drop(key K) {
	if e := r.items[key]; e != nil {
		r.order.Remove(e)
		delete(r.items, key)
	}
}
