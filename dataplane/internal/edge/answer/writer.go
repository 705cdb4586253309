// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Patience is how long an answer waits for the first message before it becomes a stream (M-18).
const Patience = 5 * time.Second

// Form is what a client takes as an answer.
type Form uint8

const (
	// JSON clients take one JSON body only: messages before the response are dropped.
	JSON Form = 1 << iota
	// Events clients take an event stream.
	Events
	// Either is what MCP clients send.
	Either = JSON | Events
)

// Body is a JSON document in up to three parts, so that a large result is not copied to be framed.
type Body [3][]byte

func (b *Body) size() int { return len(b[0]) + len(b[1]) + len(b[2]) }

// Pool makes writers and takes them back, and holds what all answers share. It is safe for concurrent use.
type Pool struct {
	dropped func()
	writers sync.Pool

	// Header values that every answer uses: a slice for each would be made anew on each request.
	jsonType, noStore []string
}

// NewPool returns a pool. dropped, which may be nil, is told of each log message that a full queue dropped.
func NewPool(dropped func()) *Pool {
	return &Pool{dropped: dropped, jsonType: []string{"application/json"}, noStore: []string{"no-store"}}
}

// Guard is asked, while a stream is open, whether its client may still have it.
type Guard interface {
	// MayGoOn is called every [GuardEvery] by the goroutine that writes the stream. After false it is not asked again
	// and nothing more is sent.
	MayGoOn() bool
	// Lost is called once, by the same goroutine, when a stream ends that has not been finished: its client is gone, shut
	// out, too slow, or reads on elsewhere.
	Lost()
}

// Tape gives the events of a stream their ids and keeps them, for a client that comes back for what it missed (M-39 to
// M-41). Its methods never wait.
type Tape interface {
	// Prime returns the event that the stream begins with, nil for none.
	Prime() []byte
	// Record keeps a message and returns the event to write; nil if another connection writes the stream now, and kept is
	// false if it has no place for the message either. response says that a request is answered by it. It keeps no
	// reference to message.
	Record(message []byte, response bool) (event []byte, kept bool)
	// Taken is closed when another connection writes the stream.
	Taken() <-chan struct{}
	// End says that nothing follows on this connection.
	End()
}

// Keeper makes the tape of an answer, when that becomes a stream.
type Keeper interface{ Tape() Tape }

// Writer answers one request. Send may be called from any goroutine; Finish or Abandon is called once, by the handler,
// after the last Send.
type Writer struct {
	pool *Pool
	w    http.ResponseWriter
	form Form
	who  Guard
	keep Keeper // nil: no event has an id, and what the client does not get is lost

	timer *time.Timer // runs impatient
	sink  func([]byte) error

	mu    sync.Mutex
	state state
	queue queue
	tape  Tape          // of a stream with a keeper
	wake  chan struct{} // one signal: the queue or the state changed
	done  chan struct{} // closed when the goroutine of a stream has ended
}

type state uint8

const (
	waiting   state = iota // nothing has been sent
	streaming              // a goroutine writes events
	closing                // it writes what is left, then ends
	finished
)

// Start begins an answer. With form Events it is a stream from the start; with JSON it never is one, and who is not
// asked.
func (p *Pool) Start(w http.ResponseWriter, form Form, who Guard) *Writer {
	a, _ := p.writers.Get().(*Writer)
	if a == nil {
		a = &Writer{}
		a.sink = func(message []byte) error { a.Send(message); return nil }
	}
	a.mu.Lock() // the timer may run before Start returns
	defer a.mu.Unlock()
	a.pool, a.w, a.form, a.who, a.keep, a.state = p, w, form, who, nil, waiting
	if form&Events != 0 {
		if a.timer == nil {
			a.timer = time.AfterFunc(Patience, a.impatient)
		} else {
			a.timer.Reset(Patience)
		}
	}
	return a
}

// Keep has the events of the answer kept, should it become a stream. It is called before anything is sent.
func (a *Writer) Keep(k Keeper) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keep = k
}

// impatient makes a late answer a stream, so that the client sees a sign of life.
func (a *Writer) impatient() { a.Stream() }

// Stream makes the answer a stream now, if the client takes one and nothing was sent.
func (a *Writer) Stream() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream()
}

// stream starts the goroutine that writes events. The caller holds mu; Finish and Abandon wait for the goroutine.
func (a *Writer) stream() {
	if a.state != waiting || a.form&Events == 0 {
		return
	}
	a.state = streaming
	a.wake, a.done = make(chan struct{}, 1), make(chan struct{})
	a.queue.dropped = a.pool.dropped
	a.timer.Stop()
	var taken <-chan struct{}
	if a.keep != nil {
		a.tape = a.keep.Tape()
		taken = a.tape.Taken()
		if first := a.tape.Prime(); first != nil {
			a.queue.push(item{event: first})
		}
	}
	go a.write(taken)
}

// record makes the event of a message for this connection; nil if it has lost the stream. The client may still get what is
// kept. The caller holds mu.
func (a *Writer) record(message []byte, response bool) (event []byte, kept bool) {
	if a.tape != nil {
		return a.tape.Record(message, response)
	}
	if a.queue.broken {
		return nil, false
	}
	return render(message), true
}

// Send queues a message that belongs before the response, and reports whether the client may still get it. It never
// waits for the client and keeps no reference to message. A client that takes no stream, or is gone, or too slow, gets
// nothing but what it comes back for.
func (a *Writer) Send(message []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream()
	if a.state != streaming {
		return false
	}
	event, kept := a.record(message, false)
	if event != nil && a.queue.add(message, event) {
		a.signal()
	}
	return kept && (a.tape != nil || !a.queue.broken)
}

// Relay queues an event that is rendered already, on a stream without a keeper. A response is taken whatever else
// waits. event is not changed by anybody after that.
func (a *Writer) Relay(event []byte, response bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream()
	switch {
	case a.state != streaming:
	case response:
		a.queue.last(event)
		a.signal()
	case a.queue.put(item{event: event}):
		a.signal()
	}
}

// Sink is [Writer.Send] as a function; it never fails. It is the same for every request of a writer.
func (a *Writer) Sink() func(message []byte) error { return a.sink }

// Done is closed when nothing more is written to a stream that has begun: it ended, or its client is gone or too slow.
func (a *Writer) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

// Header sets a header of the answer, if none was sent yet. It is for the goroutine that calls Finish.
func (a *Writer) Header(key, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == waiting {
		a.w.Header().Set(key, value)
	}
}

// Finish sends the response: as a JSON body with the status, or as the last event of the stream. An error status is
// JSON even to a client that takes events only, because a stream has none. Finish returns when everything is written or
// the client is known to be gone.
func (a *Writer) Finish(status int, body Body) {
	a.mu.Lock()
	if a.state == waiting && a.form&JSON == 0 && status == http.StatusOK {
		a.stream()
	}
	if a.state == waiting {
		a.state = finished
		a.mu.Unlock()
		a.pool.JSON(a.w, status, body)
		a.recycle()
		return
	}
	if event, _ := a.record(flat(body), true); event != nil {
		a.queue.last(event)
	}
	a.close()
}

// Respond queues a response of many, after [Writer.Stream]. The responses of one request, a batch (M-43), are taken
// whatever else waits. On a stream that carries the responses to any number of requests (M-44), bounded, a client that
// leaves more than the queue may hold (M-20) loses the stream.
func (a *Writer) Respond(body Body, bounded bool) {
	message := flat(body)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != streaming {
		return
	}
	event, _ := a.record(message, true)
	switch {
	case event == nil:
		return
	case bounded && a.queue.overdue():
		a.queue.discard()
	default:
		a.queue.last(event)
	}
	a.signal()
}

// Abandon ends the answer without a response: an open stream ends, and a client that still waits gets an empty stream,
// or 202 if it takes none.
func (a *Writer) Abandon() {
	a.mu.Lock()
	if a.state != waiting {
		a.close()
		return
	}
	a.state = finished
	a.mu.Unlock()
	if a.form&Events != 0 {
		_, _ = Open(a.w)
	} else {
		a.w.WriteHeader(http.StatusAccepted)
	}
	a.recycle()
}

// close waits for the goroutine of the stream. The caller holds mu.
func (a *Writer) close() {
	a.state = closing
	if a.tape != nil {
		a.tape.End()
	}
	a.signal()
	done := a.done
	a.mu.Unlock()
	<-done
}

func (a *Writer) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// recycle gives back a writer that never streamed. One whose timer has fired is left to the garbage collector: the
// timer's goroutine may still look at it.
func (a *Writer) recycle() {
	if a.timer == nil || a.timer.Stop() || a.form&Events == 0 {
		a.w, a.who, a.keep = nil, nil, nil
		a.pool.writers.Put(a)
	}
}

// GuardEvery is how often a [Guard] is asked: a revocation must close streams within 5 s (M-21).
const GuardEvery = 3 * time.Second

const commentTicks = int(Heartbeat / GuardEvery)

var (
	errCut   = errors.New("the client may not have the answer any more")
	errTaken = errors.New("the client reads the answer on another connection")
	errSlow  = errors.New("the client is too slow")
)

// write is the one goroutine that writes the stream: queued events one by one, comments while there are none.
func (a *Writer) write(taken <-chan struct{}) {
	defer close(a.done)
	stream, err := Open(a.w)
	tick := time.NewTicker(GuardEvery)
	defer tick.Stop()
	for ticks := 1; err == nil; {
		event, last := a.next()
		switch {
		case isClosed(taken):
			err = errTaken
		case event != nil:
			err = stream.Raw(event)
		case last && !a.overrun():
			return
		case last:
			err = errSlow
		default:
			select {
			case <-taken:
			case <-a.wake:
			case <-tick.C:
				switch {
				case !a.who.MayGoOn():
					err = errCut
				case ticks%commentTicks == 0:
					err = stream.Comment()
				}
				ticks++
			}
		}
	}
	// A legacy call that nobody cancels goes on without its client (M-41).
	a.mu.Lock()
	a.queue.discard()
	goesOn := a.tape != nil
	a.mu.Unlock()
	a.who.Lost()
	if goesOn {
		hangUp(a.w)
	}
}

// hangUp closes the connection of a request that goes on: its client is to see now that nothing more comes here, not when
// the request ends, or it would not come back for the rest (M-40). A writer without a connection, as in tests, has none.
func hangUp(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// overrun reports whether the queue has lost what it must not lose (M-20).
func (a *Writer) overrun() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queue.broken
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// next takes the oldest event, nil if there is none; last means that none will come.
func (a *Writer) next() (event []byte, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	event = a.queue.take()
	return event, event == nil && (a.state == closing || a.queue.broken)
}

func flat(b Body) []byte {
	out := make([]byte, 0, b.size())
	for _, part := range b {
		out = append(out, part...)
	}
	return out
}

// lengthKnown is how much net/http buffers before it must be told the length or send chunks.
const lengthKnown = 2 << 10

// JSON answers with one JSON document, never to be cached (RS-18).
func (p *Pool) JSON(w http.ResponseWriter, status int, body Body) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = p.jsonType, p.noStore
	if n := body.size(); n > lengthKnown {
		h["Content-Length"] = []string{strconv.Itoa(n)}
	}
	deadline(w)
	w.WriteHeader(status)
	for _, part := range body {
		if len(part) > 0 {
			if _, err := w.Write(part); err != nil {
				return // the client is gone
			}
		}
	}
}

// Empty answers with a status and no body, never to be cached.
func (p *Pool) Empty(w http.ResponseWriter, status int) {
	w.Header()["Cache-Control"] = p.noStore
	deadline(w)
	w.WriteHeader(status)
}
