// SPDX-License-Identifier: Apache-2.0

package replay

import "time"

// Mirror gets what a shelf keeps, so that other nodes have it too (M-90). It is called in the order of what happens, with
// the shelf locked: it never waits and never uses the shelf.
type Mirror interface{ Mirror(c Change) }

// Change is one change of a stream.
type Change struct {
	Stream string
	Head   *Head  // nil: as before
	Number uint64 // of Event, from 1 on; 0 for none
	Event  []byte // as it was sent, its id included; never changed
	Oldest uint64 // number of the oldest event that is kept, 0: as before
	Gone   bool   // the stream is not known any more
}

// Head is what is known of a stream as a whole.
type Head struct {
	General bool    // the session's own stream, not that of a request
	Ended   bool    // nothing follows
	Asked   []Asked // the requests that are answered on the stream
	Sent    uint64  // number of the newest event that was sent before this was told
}

// Asked is one request.
type Asked struct {
	ID     []byte // raw JSON
	Method string
}

// Share has changes from now on given to m as well. It is called before the shelf is used.
func (s *Shelf) Share(m Mirror) { s.mirror = m }

// Answer begins the stream of requests, as [Shelf.Open] does; they are what the node that has it must answer. It keeps
// asked.
func (s *Shelf) Answer(asked []Asked, priming bool) *Tape {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(Head{Asked: asked}, priming)
}

// tell gives a change to the mirror, if there is one. The caller holds mu.
func (s *Shelf) tell(c Change) {
	if s.mirror != nil {
		s.mirror.Mirror(c)
	}
}

// Copy is a stream that another node has written.
type Copy struct {
	Head   Head
	Name   string
	First  uint64   // number of the first of Events
	Events [][]byte // as they were sent, without a gap
}

// Adopt makes a stream known that another node has written, in place of what was known of it, so that it can be found and
// goes on here. The tape is that of a connection which is gone; it writes the rest, if there is to be one. Adopt keeps the
// events.
func (s *Shelf) Adopt(c Copy) *Tape {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	if old := s.streams[c.Name]; old != nil {
		s.clear(old)
		if old == s.own {
			s.retire()
		}
		if old.reader != nil {
			old.reader.Leave()
			old.reader = nil
		}
		delete(s.streams, c.Name)
	}
	s.makeRoom()
	st := &stream{name: c.Name, head: c.Head, next: c.First}
	s.streams[st.name] = st
	st.holder = &Tape{shelf: s, stream: st, taken: make(chan struct{})}
	for _, event := range c.Events {
		s.keep(st, event, false)
	}
	if st.head.General || st.head.Ended {
		s.leave(st)
	}
	return st.holder
}

// Again tells the mirror all of the session's own stream anew: it may have lost the stream, or some of its events.
func (s *Shelf) Again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.own
	if st == nil || st.surrendered {
		return
	}
	h := st.head
	s.tell(Change{Stream: st.name, Gone: true})
	s.tell(Change{Stream: st.name, Head: &h})
	first := st.next - uint64(len(st.events))
	for i, e := range st.events {
		s.tell(Change{Stream: st.name, Number: first + uint64(i), Event: e.bytes, Oldest: first})
	}
}

// Surrender forgets the session's own streams: another node goes on with them, so what is here would soon be too little.
func (s *Shelf) Surrender() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range s.streams {
		if st.head.General {
			st.surrendered = true
			s.clear(st)
			st.over = time.Now() // nothing of over is it any more
			delete(s.streams, name)
		}
	}
}

// Split reads an event id and returns the name of its stream and its number there; false for what is no such id.
func Split(id string) (name string, number uint64, ok bool) { return split(id) }
