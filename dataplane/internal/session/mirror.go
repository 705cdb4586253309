// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
)

// Bounds of what waits for the store; what comes when they are reached is not kept there.
const (
	maxWaiting      = 4096 // changes
	maxWaitingBytes = 16 << 20
	maxPipeline     = 128 // changes that the store gets at a time
)

// flushWithin is how long the store may take for what is left when the node stops.
const flushWithin = 2 * time.Second

// mirror takes what the streams of all sessions have sent to the store, in order, and nobody waits for it (M-90).
type mirror struct {
	manager *Manager
	dropped metric.Int64Counter
	wake    chan struct{} // one signal: something waits

	mu      sync.Mutex
	waiting []waiting
	bytes   int
}

// waiting is a change of one stream of a session.
type waiting struct {
	session UID
	change  replay.Change
	place   string        // not empty: no change, but how far an upstream session was heard
	reached []byte        // sealed
	written chan struct{} // not nil: no change, but who waits for those before
}

// Mirror implements [replay.Mirror].
func (s *Session) Mirror(c replay.Change) { s.manager.mirror.add(waiting{session: s.uid, change: c}) }

// Reached notes how far the upstream session in a place of a client's session has been heard, after what it said has been
// given to the session's stream: whoever hears it next goes on from there. It does not wait. The value is sealed.
func (m *Manager) Reached(session, place string, value []byte) {
	if s := m.byKey(session); s != nil && m.fleet != nil {
		m.mirror.add(waiting{session: s.uid, place: place, reached: value})
	}
}

func (w *waiting) size() int { return len(w.change.Event) + len(w.reached) }

func (q *mirror) add(w waiting) {
	q.mu.Lock()
	full := len(q.waiting) >= maxWaiting || q.bytes+w.size() > maxWaitingBytes
	if !full {
		q.waiting = append(q.waiting, w)
		q.bytes += w.size()
	}
	q.mu.Unlock()
	if full {
		q.dropped.Add(context.Background(), 1) //nolint:forbidigo // a counter needs a context, and nobody's is here
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// settle returns when the store has all that the streams have sent so far, or did not take it, or ctx ends.
func (q *mirror) settle(ctx context.Context) {
	written := make(chan struct{})
	q.mu.Lock()
	q.waiting = append(q.waiting, waiting{written: written})
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	select {
	case <-written:
	case <-ctx.Done():
	}
}

// take takes the oldest changes out.
func (q *mirror) take() []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), maxPipeline)
	out := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	for i := range out {
		q.bytes -= out[i].size()
	}
	return out
}

// run writes until ctx is canceled, and then what is left.
func (q *mirror) run(ctx context.Context) error {
	for {
		select {
		case <-q.wake:
			q.flush(ctx)
		case <-ctx.Done():
			// Detached: it is what the last calls have answered.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
			defer cancel()
			q.flush(last)
			return nil
		}
	}
}

// flush writes what waits. What the store does not take is lost: a client that comes back elsewhere is told so.
func (q *mirror) flush(ctx context.Context) {
	for {
		batch := q.take()
		if len(batch) == 0 {
			return
		}
		entries := make([]Entry, 0, len(batch))
		for _, w := range batch {
			if w.written == nil {
				entries = append(entries, q.entry(w))
			}
		}
		q.append(ctx, entries)
		for _, w := range batch {
			if w.written != nil {
				close(w.written)
			}
		}
	}
}

// append gives changes to the store.
func (q *mirror) append(ctx context.Context, entries []Entry) {
	if len(entries) == 0 {
		return
	}
	if err := q.manager.fleet.Append(ctx, entries); err != nil {
		q.dropped.Add(ctx, int64(len(entries)))
		q.manager.away(ctx, err)
	}
}

// entry seals a change.
func (q *mirror) entry(w waiting) Entry {
	if w.place != "" {
		return Entry{Session: w.session, Place: w.place, Reached: w.reached}
	}
	c := w.change
	e := Entry{Session: w.session, Stream: c.Stream, Number: c.Number, Oldest: c.Oldest, Gone: c.Gone}
	if c.Number > 0 {
		e.Event = q.manager.keys.SealBytes(nil, seal.Event, eventOwner(w.session, c.Stream, c.Number), c.Event)
	}
	if c.Head != nil {
		e.Head = q.manager.keys.SealBytes(nil, seal.Event, eventOwner(w.session, c.Stream, 0), headOf(c.Head))
	}
	return e
}

// headJSON is a head as it is sealed.
type headJSON struct {
	General bool        `json:"g,omitempty"`
	Ended   bool        `json:"e,omitempty"`
	Sent    uint64      `json:"s,omitempty"`
	Asked   []askedJSON `json:"a,omitempty"`
}

type askedJSON struct {
	ID     json.RawMessage `json:"i"`
	Method string          `json:"m"`
}

func headOf(h *replay.Head) []byte {
	out := headJSON{General: h.General, Ended: h.Ended, Sent: h.Sent}
	for _, a := range h.Asked {
		out.Asked = append(out.Asked, askedJSON{a.ID, a.Method})
	}
	text, _ := json.Marshal(out) // ids were scanned: they are JSON
	return text
}

// Fetch takes a stream over from the store that another node has written, so that it is found among [Session.Events], and
// returns the id's place there with what is known of the stream. The tape is set where the rest is this node's to write:
// the stream of a request whose node did not end it. It is false if the id names no stream that is known, or one of which
// events after the id are missing (M-40).
func (s *Session) Fetch(ctx context.Context, id string) (p replay.Position, c replay.Copy, unfinished *replay.Tape, ok bool) {
	m := s.manager
	name, number, ok := replay.Split(id)
	if !ok || m.fleet == nil || s.sse {
		return p, c, nil, false
	}
	found, err := m.fleet.Read(ctx, s.uid, name, 0)
	if err != nil {
		m.away(ctx, err)
		return p, c, nil, false
	}
	m.back(ctx)
	c = replay.Copy{Name: name}
	if !m.openStream(s.uid, found, &c) {
		return p, c, nil, false
	}
	if len(c.Events) == 0 && number > 0 && !c.Head.General {
		return p, c, nil, false // it has sent something, which is gone
	}
	if c.Head.General && number >= c.First+uint64(len(c.Events)) {
		// The client has read what its node had sent and not yet written when it died: nothing is missing.
		c.First, c.Events = number+1, nil
	}
	tape := s.events.Adopt(c)
	if p, ok = s.events.Find(id); !ok {
		return p, c, nil, false
	}
	if !c.Head.General && !c.Head.Ended {
		unfinished = tape
	}
	return p, c, unfinished, true
}

// openStream opens what the store has of a stream after its last gap; false if it is not known.
func (m *Manager) openStream(id UID, found Buffered, into *replay.Copy) bool {
	if found.Head == nil {
		return false
	}
	plain, err := m.keys.OpenBytes(nil, seal.Event, eventOwner(id, into.Name, 0), found.Head)
	var head headJSON
	if err != nil || json.Unmarshal(plain, &head) != nil {
		return false
	}
	into.Head = replay.Head{General: head.General, Ended: head.Ended, Sent: head.Sent}
	for _, a := range head.Asked {
		into.Head.Asked = append(into.Head.Asked, replay.Asked{ID: a.ID, Method: a.Method})
	}
	into.First = head.Sent + 1
	if len(found.Events) > 0 {
		into.First = found.Events[0].Number
	}
	for _, e := range found.Events {
		if e.Number != into.First+uint64(len(into.Events)) { // the store was away meanwhile
			into.First, into.Events = e.Number, nil
		}
		event, err := m.keys.OpenBytes(nil, seal.Event, eventOwner(id, into.Name, e.Number), e.Event)
		if err != nil {
			return false
		}
		into.Events = append(into.Events, event)
	}
	return true
}

// eventOwner binds an event to its place: it opens nowhere else.
func eventOwner(id UID, stream string, number uint64) string {
	var room [192]byte
	b := append(append(room[:0], id[:]...), stream...)
	for range 8 {
		b = append(b, byte(number))
		number >>= 8
	}
	return string(b)
}
