// SPDX-License-Identifier: Apache-2.0

package remote

import "container/list"

// lru is a map with a bound: the entry that was used longest ago makes room. It is not safe for concurrent use.
type lru[V any] struct {
	most    int
	order   *list.List // of pair[V], the newest in front
	entries map[string]*list.Element
}

type pair[V any] struct {
	key   string
	value V
}

func newLRU[V any](most int) *lru[V] {
	return &lru[V]{most: most, order: list.New(), entries: make(map[string]*list.Element)}
}

func (l *lru[V]) get(key string) (V, bool) {
	e, ok := l.entries[key]
	if !ok {
		var zero V
		return zero, false
	}
	l.order.MoveToFront(e)
	return e.Value.(pair[V]).value, true
}

func (l *lru[V]) put(key string, value V) {
	l.drop(key)
	l.entries[key] = l.order.PushFront(pair[V]{key, value})
	if l.order.Len() > l.most {
		l.drop(l.order.Back().Value.(pair[V]).key)
	}
}

func (l *lru[V]) drop(key string) {
	if e, ok := l.entries[key]; ok {
		l.order.Remove(e)
		delete(l.entries, key)
	}
}
