// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// reconnectAfter is how long a client that lost a stream waits before it resumes it (M-39).
const reconnectAfter = time.Second

// Tape is what the connection that writes a stream has of it. Its methods are safe for concurrent use.
type Tape struct {
	shelf   *Shelf
	stream  *stream
	priming bool
	taken   chan struct{}
}

// Follower is a connection that reads a stream along. Its methods never wait and never use the shelf.
type Follower interface {
	// Relay gets an event as it was sent first, its id included; response says that a request is answered by it, which
	// must not be lost for lack of room. event is never changed.
	Relay(event []byte, response bool)
	// Leave says that nothing follows: the stream has ended, or another connection reads it now.
	Leave()
}

// Prime returns the event that the stream begins with (M-39), nil if it has none.
func (t *Tape) Prime() []byte {
	if !t.priming {
		return nil
	}
	return sse.AppendPriming(nil, t.stream.name+"-0", reconnectAfter)
}

// Record makes an event of a message and keeps it. It returns the event for the holder's connection to write, nil if that
// has lost the stream to another one. The message is not kept if it was the session's own stream that was lost.
func (t *Tape) Record(message []byte, response bool) (event []byte, kept bool) {
	s, st := t.shelf, t.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.head.Ended || (st.head.General && st.holder != t) {
		return nil, false
	}
	id := st.name + "-" + strconv.FormatUint(st.next, 10)
	event = sse.AppendEvent(make([]byte, 0, len(message)+len(id)+eventFrame), "message", id, message)
	s.keep(st, event, true)
	switch {
	case st.holder == t:
		return event, true
	case st.reader != nil:
		st.reader.Relay(event, response)
	}
	return nil, true
}

// eventFrame is what rendering adds to a message and its id.
const eventFrame = len("event: message\nid: \ndata: \n\n")

// Taken is closed when another connection has taken the stream over.
func (t *Tape) Taken() <-chan struct{} { return t.taken }

// End says that this connection writes nothing more. A request's stream has ended with that; the session's own can be
// taken up again.
func (t *Tape) End() {
	s, st := t.shelf, t.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.head.Ended || (st.head.General && st.holder != t) {
		return
	}
	s.leave(st)
	if st.head.Ended = !st.head.General; st.head.Ended {
		h := st.head
		s.tell(Change{Stream: st.name, Head: &h})
	}
	if st.reader != nil {
		st.reader.Leave()
		st.reader = nil
	}
}

// Position is a place in a stream after which nothing is missing.
type Position struct {
	stream *stream
	after  uint64
}

// General reports whether the stream is the session's own, which [Shelf.Continue] is for; others have [Shelf.Follow].
func (p Position) General() bool { return p.stream.head.General }

// Find returns the place that the id of an event names. It is false for an id that this shelf has not given out, and for
// one after which events are missing (M-40).
func (s *Shelf) Find(id string) (Position, bool) {
	name, number, ok := split(id)
	if !ok {
		return Position{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[name]
	if st == nil || !st.complete(number) {
		return Position{}, false
	}
	return Position{st, number}, true
}

// complete reports whether all events after a number are there.
func (st *stream) complete(after uint64) bool {
	return after < st.next && after+1 >= st.next-uint64(len(st.events))
}

// missed returns the events after a number that is complete.
func (st *stream) missed(after uint64) []*event {
	return st.events[uint64(len(st.events))-(st.next-1-after):]
}

// Continue takes the session's own stream over, whoever had it before, and returns its tape and the events after the
// position, rendered. It is false if the events have been forgotten meanwhile.
func (s *Shelf) Continue(p Position) (t *Tape, missed [][]byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := p.stream
	if s.streams[st.name] != st || !st.complete(p.after) {
		return nil, nil, false
	}
	for _, e := range st.missed(p.after) {
		missed = append(missed, e.bytes)
	}
	if s.own != st {
		s.retire()
	}
	s.own, st.over = st, time.Time{}
	t = st.seize()
	h := st.head
	s.tell(Change{Stream: st.name, Head: &h}) // here now
	return t, missed, true
}

// Follow gives f the events of a request's stream after the position, those that are there before it returns, the others
// as they come. Whoever had the stream before gets nothing more. It is false, and f gets nothing, if the events have been
// forgotten meanwhile. Give it back with [Shelf.Unfollow].
func (s *Shelf) Follow(p Position, f Follower) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := p.stream
	if s.streams[st.name] != st || !st.complete(p.after) {
		return false
	}
	if st.holder != nil {
		close(st.holder.taken)
		st.holder = nil
	}
	if st.reader != nil {
		st.reader.Leave()
	}
	st.reader = f
	for _, e := range st.missed(p.after) {
		f.Relay(e.bytes, true)
	}
	if st.head.Ended {
		f.Leave()
		st.reader = nil
	}
	return true
}

// Unfollow says that the connection of f is gone.
func (s *Shelf) Unfollow(p Position, f Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.stream.reader == f {
		p.stream.reader = nil
	}
}

// NodeOf returns the name of the node that gave out the id of an event, empty if it names none.
func NodeOf(id string) string {
	stream, _, ok := split(id)
	if !ok {
		return ""
	}
	for range 2 { // what the shelf and the stream are called
		i := strings.LastIndexByte(stream, '.')
		if i < 0 {
			return ""
		}
		stream = stream[:i]
	}
	return stream
}

// split reads an event id, "<stream>-<number>". Numbers have one form only, so that every event has one id.
func split(id string) (name string, number uint64, ok bool) {
	i := strings.LastIndexByte(id, '-') // names of nodes may have some too
	if i < 0 {
		return "", 0, false
	}
	name, digits := id[:i], id[i+1:]
	if digits == "" || (digits[0] == '0' && digits != "0") {
		return "", 0, false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return "", 0, false
		}
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return name, number, err == nil && number < math.MaxUint64
}
