// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"slices"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
)

// Bounds of what waits for a slow caller (mcp.md §2.1).
const (
	maxQueued      = 256
	maxQueuedBytes = 1 << 20
)

const (
	methodProgress  = "notifications/progress"
	methodCancelled = "notifications/cancelled"
)

// waiting is one request on its way, between the reader of the process and the goroutine of the caller. Relayed messages
// come before the end.
type waiting struct {
	id     int64
	token  []byte // the client's raw progress token, nil if it sent none
	relays bool   // the caller takes messages

	wake chan struct{} // has an element when there is something to take

	mu     sync.Mutex // guards what follows
	queue  []upstream.Event
	bytes  int
	result []byte
	fault  []byte // JSON-RPC error object
	err    error
	done   bool
}

func newWaiting(id int64, token []byte, relays bool) *waiting {
	return &waiting{id: id, token: token, relays: relays, wake: make(chan struct{}, 1)}
}

// push queues a message and says whether it, or one before it, had to go. When the queue is full the oldest progress
// goes, because the newest says the same and more; without one the new message does (M-20).
func (w *waiting) push(e upstream.Event) (lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return true
	}
	for len(w.queue) >= maxQueued || w.bytes+len(e.Raw) > maxQueuedBytes && len(w.queue) > 0 {
		lost = true
		i := slices.IndexFunc(w.queue, func(q upstream.Event) bool { return q.Method == methodProgress })
		if i < 0 || e.Method != methodProgress {
			return true
		}
		w.bytes -= len(w.queue[i].Raw)
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	w.queue = append(w.queue, e)
	w.bytes += len(e.Raw)
	w.ring()
	return lost
}

// finish ends the request; the first end counts.
func (w *waiting) finish(result, fault []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	w.result, w.fault, w.err, w.done = result, fault, err, true
	w.ring()
}

func (w *waiting) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns what is queued, and whether the end is reached once that is relayed.
func (w *waiting) take() ([]upstream.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.queue
	w.queue, w.bytes = nil, 0
	return queue, w.done
}
