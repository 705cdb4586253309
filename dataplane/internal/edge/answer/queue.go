// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"slices"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// Bounds of the queue of one stream (mcp.md §2.1): of what waits behind the first event, which may be as large as a message
// of an upstream.
const (
	maxQueued      = 256
	maxQueuedBytes = 1 << 20
)

// queue holds events that the client has not taken yet. The zero value is ready. Past its bounds (M-20) older progress
// and list_changed give way to newer, then log messages are dropped and counted; where that is not enough, the stream
// is broken: a message that must not be lost was lost. The response is always taken.
type queue struct {
	items   []item
	bytes   int
	broken  bool
	dropped func()
}

// item is a rendered event. Of the items with one key only the newest matters; an empty key matches none.
type item struct {
	event []byte
	key   string
	log   bool
}

// add queues a message, rendered as event, and reports whether there is news for the writer.
func (q *queue) add(message, event []byte) bool {
	if q.broken {
		return false
	}
	it := describe(message)
	it.event = event
	return q.put(it)
}

// put queues an event and reports whether there is news for the writer.
func (q *queue) put(it item) bool {
	if q.broken {
		return false
	}
	if !q.fits(it) {
		q.supersede(it.key)
	}
	if !q.fits(it) {
		if it.log {
			q.lost()
			return false
		}
		q.dropLogs(it)
	}
	if !q.fits(it) {
		q.discard()
		return true
	}
	q.push(it)
	return true
}

// eventFrame is what rendering adds to a message.
const eventFrame = len("event: message\ndata: \n\n")

// render makes an event without an id of a message.
func render(message []byte) []byte {
	return sse.AppendEvent(make([]byte, 0, len(message)+eventFrame), "message", "", message)
}

// overdue reports whether more waits for the client than a stream of many responses may hold.
func (q *queue) overdue() bool { return len(q.items) >= maxQueued || q.bytes > maxQueuedBytes }

// last queues the response, whatever the bounds say: it is held in memory anyway.
func (q *queue) last(event []byte) {
	if !q.broken {
		q.push(item{event: event})
	}
}

func (q *queue) take() []byte {
	if len(q.items) == 0 {
		return nil
	}
	it := q.items[0]
	q.items[0] = item{}
	q.items = q.items[1:]
	q.bytes -= len(it.event)
	return it.event
}

// discard empties the queue and takes nothing any more.
func (q *queue) discard() { q.items, q.bytes, q.broken = nil, 0, true }

func (q *queue) push(it item) {
	q.items = append(q.items, it)
	q.bytes += len(it.event)
}

func (q *queue) fits(it item) bool {
	return len(q.items) == 0 || (len(q.items) < maxQueued && q.bytes+len(it.event) <= maxQueuedBytes)
}

// supersede removes all items that a newer one, or one with the key newest, replaces.
func (q *queue) supersede(newest string) {
	newer := map[string]bool{newest: true}
	for i, it := range slices.Backward(q.items) {
		if it.key == "" {
			continue
		}
		if newer[it.key] {
			q.remove(i)
		}
		newer[it.key] = true
	}
}

// dropLogs removes the oldest log messages until it fits.
func (q *queue) dropLogs(it item) {
	for i := 0; i < len(q.items) && !q.fits(it); {
		if q.items[i].log {
			q.remove(i)
			q.lost()
			continue
		}
		i++
	}
}

func (q *queue) remove(i int) {
	q.bytes -= len(q.items[i].event)
	q.items = slices.Delete(q.items, i, i+1)
}

func (q *queue) lost() {
	if q.dropped != nil {
		q.dropped()
	}
}

// describe tells how a message may give way. A message that cannot be read may not.
func describe(message []byte) (it item) {
	var m wire.Message
	if wire.Scan(message, &m) != nil {
		return it
	}
	method, _ := wire.DecodeString(m.Method.Of(message))
	switch {
	case method == "notifications/message":
		it.log = true
	case method == "notifications/progress":
		it.key = method + string(m.P.ProgressToken.Of(message))
	case strings.HasSuffix(method, "/list_changed"):
		it.key = method
	}
	return it
}
