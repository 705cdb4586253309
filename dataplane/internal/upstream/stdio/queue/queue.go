// SPDX-License-Identifier: Apache-2.0

// Package queue holds the messages of a server that wait for one who is slower than the reader of the process: bounded, and
// nobody who fills it waits (mcp.md M-20).
//
// Called by stdio and its rooms. It must never know whose messages they are.
package queue

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
)

// Bounds of one queue (mcp.md §2.1).
const (
	Max      = 256
	MaxBytes = 1 << 20
)

const (
	progress = "notifications/progress"
	updated  = "notifications/resources/updated"
)

// Item is one message, with the connection it came over where one taker has several. The bytes of the event belong to the
// queue; several queues may share them.
type Item struct {
	Connection string
	Event      peer.Event
}

// Queue is between the goroutine that reads a process and the one that takes.
type Queue struct {
	// Wake has an element when there is something to take.
	Wake chan struct{}

	mu     sync.Mutex // guards what follows
	list   []Item
	bytes  int
	closed bool
}

// New returns an empty queue.
func New() *Queue { return &Queue{Wake: make(chan struct{}, 1)} }

// Push queues a message and says whether it is queued, and whether something was lost: it, or one before it. When the queue
// is full the oldest progress goes, because the newest says the same and more; without one the new message does. A notice
// that something changed says nothing new while an equal one waits.
func (q *Queue) Push(it Item) (queued, lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, true
	}
	if q.waits(&it) {
		return true, false
	}
	for len(q.list) >= Max || q.bytes+len(it.Event.Raw) > MaxBytes && len(q.list) > 0 {
		lost = true
		i := slices.IndexFunc(q.list, func(old Item) bool { return old.Event.Method == progress })
		if i < 0 {
			return false, true
		}
		q.bytes -= len(q.list[i].Event.Raw)
		q.list = slices.Delete(q.list, i, i+1)
	}
	q.list = append(q.list, it)
	q.bytes += len(it.Event.Raw)
	q.ring()
	return true, lost
}

func (q *Queue) waits(it *Item) bool {
	if it.Event.Method != updated && !strings.HasSuffix(it.Event.Method, "/list_changed") {
		return false
	}
	return slices.ContainsFunc(q.list, func(old Item) bool {
		return old.Connection == it.Connection && old.Event.Method == it.Event.Method && bytes.Equal(old.Event.Raw, it.Event.Raw)
	})
}

// Ring wakes the taker, though nothing may be queued.
func (q *Queue) Ring() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ring()
}

func (q *Queue) ring() {
	select {
	case q.Wake <- struct{}{}:
	default:
	}
}

// Take returns what is queued, in order.
func (q *Queue) Take() []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list, q.bytes = nil, 0
	return list
}

// Close refuses what is pushed from now on, and returns what nobody took.
func (q *Queue) Close() []Item {
	left := q.Take()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left = append(left, q.list...)
	q.list = nil
	return left
}
