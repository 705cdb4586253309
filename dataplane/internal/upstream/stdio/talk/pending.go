// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/queue"
)

const (
	methodProgress     = "notifications/progress"
	methodCancelled    = "notifications/cancelled"
	methodListen       = "subscriptions/listen"
	methodAcknowledged = "notifications/subscriptions/acknowledged"
)

// pending is one request on its way, between the reader of the process and the goroutine of the caller. Relayed messages
// come before the end.
type pending struct {
	id      int64
	token   []byte // the client's raw progress token, nil if it sent none
	relays  bool   // the caller takes messages
	listens bool   // it is subscriptions/listen

	queue *queue.Queue

	mu            sync.Mutex // guards what follows
	result, fault []byte     // raw result, raw JSON-RPC error object
	err           error
	done          bool
	open          int       // questions not answered
	since         time.Time // of the first of them
	stood         time.Duration
}

func newPending(id int64, r *peer.Request, relays bool) *pending {
	return &pending{id: id, token: r.ProgressToken, relays: relays, listens: r.Method == methodListen, queue: queue.New()}
}

// push queues a message and says whether it is queued, and whether anything was lost.
func (w *pending) push(e peer.Event) (queued, lost bool) { return w.queue.Push(queue.Item{Event: e}) }

// finish ends the request; the first end counts.
func (w *pending) finish(result, fault []byte, err error) {
	w.mu.Lock()
	if !w.done {
		w.result, w.fault, w.err, w.done = result, fault, err, true
	}
	w.mu.Unlock()
	w.queue.Ring()
}

// ended reports whether the end is reached, once all is relayed that is queued by then.
func (w *pending) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// hold stops the time of the request until the function that it returns is called: the server waits for an answer (M-49).
func (w *pending) hold() (release func()) {
	w.mu.Lock()
	if w.open++; w.open == 1 {
		w.since = time.Now()
	}
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		if w.open--; w.open == 0 {
			w.stood += time.Since(w.since)
		}
		w.mu.Unlock()
		w.queue.Ring()
	})
}

// standing reports whether the time stands still now, and for how long it did before.
func (w *pending) standing() (now bool, before time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open > 0, w.stood
}
