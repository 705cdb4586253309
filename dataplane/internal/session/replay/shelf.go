// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Bounds of what is kept (M-90), the oldest goes first.
const (
	MaxEvents  = 256             // of a stream
	MaxBytes   = 1 << 20         // of a stream
	MaxSession = 8 << 20         // bytes of all streams of a session
	Life       = 5 * time.Minute // of an event, and of a stream that nobody writes any more
	maxStreams = 1024            // known at a time, but for those that somebody writes: a stream costs memory beside its events
)

// overhead is what an event costs beside its bytes; counted, so that many small ones cannot exceed the bounds.
const overhead = 128

// Shelf holds the streams of one session. It is safe for concurrent use; the zero value is ready.
type Shelf struct {
	// Node is the name of the node that the streams are on, in the ids of their events: a client that comes back to another
	// node is led to this one (M-93). It is set before the shelf is used; empty names none.
	Node string

	mu      sync.Mutex
	prefix  string // of the names of streams: a shelf that was forgotten and made anew never uses a name again
	made    uint64
	streams map[string]*stream
	own     *stream  // the session's own that is written now, nil for none
	kept    []*event // of all streams, oldest first; those without bytes are gone already
	gone    int      // how many of kept are
	bytes   int
	over    []left // streams that nobody writes, in the order of that; some are taken up again, or gone
	mirror  Mirror // nil: nobody else has what is here
}

// left is a stream that lost its writer at a time.
type left struct {
	stream *stream
	at     time.Time
}

// is reports whether the stream is still known, and nobody has written it since. The caller holds mu.
func (l *left) is(s *Shelf) bool {
	return s.streams[l.stream.name] == l.stream && l.stream.over.Equal(l.at)
}

// event is one that a stream has sent.
type event struct {
	stream *stream
	bytes  []byte // nil once it is not kept any more
	at     time.Time
}

func (e *event) cost() int { return len(e.bytes) + overhead }

// stream is one stream of server-sent events, whatever connections it was sent over.
type stream struct {
	name        string
	head        Head
	next        uint64   // number of the next event; the first is 1, the priming event 0
	events      []*event // the newest ones, without a gap
	bytes       int
	surrendered bool      // another node goes on with it: its last events are for the mirror only
	over        time.Time // since when nobody writes it; zero while somebody does
	holder      *Tape     // whose connection it is written to; nil once it is followed
	reader      Follower  // the connection that follows it, nil for none
}

// Open begins a stream. general says that it is the session's own stream, not the answer to a request; priming that it
// begins with an event without data, which has an id.
func (s *Shelf) Open(general, priming bool) *Tape {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(Head{General: general}, priming)
}

// open begins a stream. The caller holds mu.
func (s *Shelf) open(h Head, priming bool) *Tape {
	s.prepare()
	s.makeRoom()
	s.made++
	st := &stream{name: s.prefix + strconv.FormatUint(s.made, 36), head: h, next: 1}
	s.streams[st.name] = st
	st.holder = &Tape{shelf: s, stream: st, priming: priming, taken: make(chan struct{})}
	if h.General {
		s.retire()
		s.own = st
	}
	s.tell(Change{Stream: st.name, Head: &h})
	return st.holder
}

// retire has nobody write the session's own stream any more, of which there is one at a time. The caller holds mu.
func (s *Shelf) retire() {
	if st := s.own; st != nil {
		s.own = nil
		st.seize()
		if st.over.IsZero() {
			s.leave(st)
		}
	}
}

// seize takes the stream from its holder and returns the tape of the next. The caller holds the shelf's mu.
func (st *stream) seize() *Tape {
	close(st.holder.taken)
	st.holder = &Tape{shelf: st.holder.shelf, stream: st, taken: make(chan struct{})}
	return st.holder
}

// prepare makes the zero value ready. The caller holds mu.
func (s *Shelf) prepare() {
	if s.streams != nil {
		return
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand never fails: it ends the process instead
	s.prefix = strconv.FormatUint(binary.BigEndian.Uint64(random[:]), 36) + "."
	if s.Node != "" {
		s.prefix = s.Node + "." + s.prefix
	}
	s.streams = make(map[string]*stream)
}

// makeRoom forgets the streams that nobody has written for longest, until one more may be known. The caller holds mu.
func (s *Shelf) makeRoom() {
	for len(s.over) > 0 && len(s.streams) >= maxStreams {
		oldest := s.over[0]
		s.over[0] = left{}
		s.over = s.over[1:]
		if oldest.is(s) {
			s.clear(oldest.stream)
			delete(s.streams, oldest.stream.name)
			s.tell(Change{Stream: oldest.stream.name, Gone: true})
		}
	}
}

// leave notes that nobody writes a stream from now on. The caller holds mu.
func (s *Shelf) leave(st *stream) {
	st.over = time.Now()
	s.over = append(s.over, left{st, st.over})
	if len(s.over) >= 2*maxStreams { // at most maxStreams of them are still so, unless more are written than that
		s.over = slices.DeleteFunc(s.over, func(l left) bool { return !l.is(s) })
	}
}

// Sweep forgets what is older than [Life].
func (s *Shelf) Sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := now.Add(-Life)
	for len(s.kept) > 0 && (s.kept[0].bytes == nil || !s.kept[0].at.After(old)) {
		s.forgetOldest(nil) // the mirror forgets by itself
	}
	for name, st := range s.streams {
		if !st.over.IsZero() && !st.over.After(old) {
			s.clear(st)
			delete(s.streams, name)
		}
	}
	s.show()
	s.compact()
}

// show tells the mirror how far the session's own stream has come, however long ago: its client may come back to another node
// for what follows. The caller holds mu.
func (s *Shelf) show() {
	st := s.own
	if st == nil || st.surrendered {
		return
	}
	h := st.head
	h.Sent = st.next - 1
	s.tell(Change{Stream: st.name, Head: &h, Oldest: st.next - uint64(len(st.events))})
}

// Size returns how many streams are known and what their events cost in bytes.
func (s *Shelf) Size() (streams, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams), s.bytes
}

// keep notes an event that was sent and makes room for it. One that is too large for any bound is not kept, and nothing
// before it can be resumed from any more. fresh says that it was sent here, just now. The caller holds mu.
func (s *Shelf) keep(st *stream, b []byte, fresh bool) {
	number := st.next
	st.next++
	if st.surrendered {
		s.tell(Change{Stream: st.name, Number: number, Event: b})
		return
	}
	e := &event{stream: st, bytes: b, at: time.Now()}
	if e.cost() > MaxBytes {
		s.clear(st)
		s.tell(Change{Stream: st.name, Oldest: st.next})
		return
	}
	for len(st.events) > 0 && (len(st.events) >= MaxEvents || st.bytes+e.cost() > MaxBytes) {
		s.forgetFirst(st)
	}
	for s.bytes+e.cost() > MaxSession {
		s.forgetOldest(st)
	}
	if fresh {
		s.tell(Change{Stream: st.name, Number: number, Event: b, Oldest: st.next - uint64(len(st.events)) - 1})
	}
	st.events = append(st.events, e)
	st.bytes += e.cost()
	s.kept = append(s.kept, e)
	s.bytes += e.cost()
	s.compact()
}

// forgetFirst forgets the oldest event of a stream. The caller holds mu.
func (s *Shelf) forgetFirst(st *stream) {
	e := st.events[0]
	st.events[0] = nil
	st.events = st.events[1:]
	st.bytes -= e.cost()
	s.bytes -= e.cost()
	e.bytes = nil
	s.gone++
}

// forgetOldest forgets the oldest event of all. The events of a stream lie in the order of kept, so it is the first of
// its stream. writing is the stream that this makes room for, nil for none. The caller holds mu.
func (s *Shelf) forgetOldest(writing *stream) {
	e := s.kept[0]
	if e.bytes != nil {
		st := e.stream
		s.forgetFirst(st)
		if writing != nil && st != writing {
			s.tell(Change{Stream: st.name, Oldest: st.next - uint64(len(st.events))})
		}
	}
	s.kept[0] = nil
	s.kept = s.kept[1:]
	s.gone--
}

func (s *Shelf) clear(st *stream) {
	for len(st.events) > 0 {
		s.forgetFirst(st)
	}
}

// compact removes what is gone from kept when it is the larger part. The caller holds mu.
func (s *Shelf) compact() {
	if s.gone <= len(s.kept)/2+MaxEvents {
		return
	}
	rest := make([]*event, 0, len(s.kept)-s.gone)
	for _, e := range s.kept {
		if e.bytes != nil {
			rest = append(rest, e)
		}
	}
	s.kept, s.gone = rest, 0
}
