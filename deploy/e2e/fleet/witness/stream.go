// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// stream is what a session was sent on one of its streams. It outlives its connections.
type stream struct {
	id string

	mu      sync.Mutex
	events  [][]byte
	written int           // how many any connection was given
	reader  int           // generation: a newer connection takes the stream over
	ended   bool          // the response was the last event
	more    chan struct{} // closed at the next change
}

func newStream(id string) *stream { return &stream{id: id, more: make(chan struct{})} }

// send appends a message.
func (s *stream) send(message any, last bool) {
	data, err := json.Marshal(message)
	if err != nil {
		panic(err) // it is made here, of maps and strings
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events, s.ended = append(s.events, data), s.ended || last
	s.wakeLocked()
}

func (s *stream) wakeLocked() {
	close(s.more)
	s.more = make(chan struct{})
}

// take makes a connection the stream's reader. It returns its generation, and where it begins if it does not say where it was.
func (s *stream) take() (me, unread int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader++
	s.wakeLocked()
	return s.reader, s.written
}

// unread is where a reader begins that does not say where it was: at what no connection was given.
const unread = -1

// serve writes events from one on, until the stream or the connection ends or another one takes it over.
func (s *stream) serve(ctx context.Context, w http.ResponseWriter, from int) {
	me, fresh := s.take()
	if from == unread {
		from = fresh
	}
	from = min(from, fresh)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	// An event with an id and no data: from here it can be resumed (basic/transports, 2025-11-25).
	if _, err := fmt.Fprintf(w, "id: %s-%d\ndata:\n\n", s.id, from); err != nil || out.Flush() != nil {
		return
	}
	for {
		s.mu.Lock()
		events, ended, more, mine := s.events[from:], s.ended, s.more, s.reader == me
		if mine {
			s.written = max(s.written, from+len(events))
		}
		s.mu.Unlock()
		if !mine {
			return
		}
		for _, e := range events {
			from++
			if _, err := fmt.Fprintf(w, "id: %s-%d\ndata: %s\n\n", s.id, from, e); err != nil {
				return
			}
		}
		if out.Flush() != nil || ended {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// position reads an event id.
func position(id string) (stream string, after int, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "", 0, false
	}
	after, err := strconv.Atoi(id[i+1:])
	return id[:i], after, err == nil && after >= 0
}
