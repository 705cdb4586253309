// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Causes of the contexts that this room cancels.
var (
	// ErrCancelled: the client sent notifications/cancelled; it gets no answer (M-51).
	ErrCancelled = errors.New("canceled by the client")
	// ErrEnded: the session has ended while the call ran (M-36).
	ErrEnded = errors.New("the session has ended")
)

// Session is one legacy session as this node knows it. It is safe for concurrent use.
type Session struct {
	uid      UID
	version  wire.Version
	expires  time.Time
	owner    owner
	inFlight int

	used  atomic.Int64 // time of the last request, UnixNano
	ended atomic.Bool

	mu     sync.Mutex
	calls  []flight // few: compared one by one
	stream *Stream
}

// flight is a call that has no answer yet.
type flight struct {
	id     []byte // raw JSON
	cancel context.CancelCauseFunc
}

// UID names the session in telemetry.
func (s *Session) UID() UID { return s.uid }

// Version is the protocol version that was negotiated; a later MCP-Protocol-Version header does not change it (M-35).
func (s *Session) Version() wire.Version { return s.version }

// Expires is when the session's id stops opening.
func (s *Session) Expires() time.Time { return s.expires }

// Begin registers a call under its raw JSON-RPC id, which must stay unchanged until [Session.Done]. cancel is called if
// the client cancels the call or the session ends; it may be nil for calls that are over at once.
//
// Faults: Invalid, JSONRPC_INVALID_REQUEST if the id is in flight (M-11); Exhausted, SESSION_CALL_LIMIT; NotFound,
// SESSION_NOT_FOUND if the session has ended.
func (s *Session) Begin(id []byte, cancel context.CancelCauseFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() {
		return notFound()
	}
	if s.find(id) >= 0 {
		return fault.New(fault.Invalid, wire.ReasonRequest, "a request with this id is in flight")
	}
	if len(s.calls) >= s.inFlight {
		return fault.New(fault.Exhausted, ReasonBusy, "Too many requests are in flight in this session.").After(time.Second)
	}
	s.calls = append(s.calls, flight{id, cancel})
	return nil
}

// Done removes a call that [Session.Begin] registered.
func (s *Session) Done(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(id); i >= 0 {
		last := len(s.calls) - 1
		s.calls[i] = s.calls[last]
		s.calls[last] = flight{}
		s.calls = s.calls[:last]
	}
}

// Cancel cancels the call with the raw id, with cause [ErrCancelled], and reports whether there is one. Unknown ids are
// normal: the answer may be on its way (M-51).
func (s *Session) Cancel(id []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(id)
	if i < 0 || s.calls[i].cancel == nil {
		return false
	}
	s.calls[i].cancel(ErrCancelled)
	return true
}

func (s *Session) find(id []byte) int {
	for i := range s.calls {
		if bytes.Equal(s.calls[i].id, id) {
			return i
		}
	}
	return -1
}

// Stream is the session's GET stream on this node (M-38).
type Stream struct {
	closed chan struct{}
}

// Closed is closed when a newer stream takes the place of this one, or the session ends.
func (st *Stream) Closed() <-chan struct{} { return st.closed }

// Listen makes a new GET stream the session's one and closes the one before. Give it back with [Session.Leave]. The
// fault is NotFound, SESSION_NOT_FOUND if the session has ended.
func (s *Session) Listen() (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Load() {
		return nil, notFound()
	}
	if s.stream != nil {
		close(s.stream.closed)
	}
	s.stream = &Stream{closed: make(chan struct{})}
	return s.stream, nil
}

// Leave ends a stream that [Session.Listen] returned.
func (s *Session) Leave(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == st {
		s.stream = nil
		s.used.Store(time.Now().UnixNano())
	}
}

// busy reports whether something is under way in the session, so that it is not idle whatever its age.
func (s *Session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls) > 0 || s.stream != nil
}

func (s *Session) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.Swap(true) {
		return
	}
	for _, c := range s.calls {
		if c.cancel != nil {
			c.cancel(cause)
		}
	}
	if s.stream != nil {
		close(s.stream.closed)
		s.stream = nil
	}
}
