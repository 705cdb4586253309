// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
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
	manager *Manager
	uid     UID
	key     string // uid as text
	began   time.Time
	expires time.Time
	owner   owner
	sse     bool // HTTP+SSE: the session is its one stream

	used  atomic.Int64 // time of the last request, UnixNano
	ended atomic.Bool

	events replay.Shelf

	fresh   atomic.Uint64 // [Manager.fresh] when it was read last
	unsaved atomic.Bool   // the store has an older record
	touched int64         // in the store, UnixNano; guarded by the manager's mu

	mu        sync.Mutex
	shared    shared
	adopted   bool      // it began on another node, and its subscriptions are still to be made here
	lease     int64     // generation of the GET stream that is here; 0 for none
	newest    int64     // generation of the GET stream elsewhere that is known last
	owning    int       // how many ask for a generation
	elsewhere int64     // generation of the GET stream that another node has; 0 if none has, as far as known
	looked    time.Time // when that was learned
	moves     int       // how often notes told where the GET stream is
	calls     []flight  // few: compared one by one
	questions []*Question
	listener  Listener
	hears     bool          // listener is told what upstreams say
	behind    *behind       // what a stream goes on with whose client has gone
	giving    int64         // generation of the GET stream elsewhere whose node waits until the one here has been given up
	claimed   bool          // by [Session.Claim], for the next stream
	arriving  chan struct{} // closed when the upstreams are heard for the stream that is opened here just now, or it is over
}

// State is what a session has agreed on with its client.
type State struct {
	// Version is the protocol version that was negotiated; a later MCP-Protocol-Version header does not change it (M-35).
	// It is empty for HTTP+SSE before initialize.
	Version wire.Version
	// Capabilities is the raw ClientCapabilities object; nil if the client declared none. On a node that did not see
	// initialize it is the part that the session id holds. It is never written to.
	Capabilities []byte
	// LogLevel is the least severe log level that the client wants, "info" if it has not said (M-52).
	LogLevel string
}

// defaultLevel is the log level of a session whose client has set none (M-52, ours).
const defaultLevel = "info"

// flight is a call that has no answer yet.
type flight struct {
	id     []byte // raw JSON
	cancel context.CancelCauseFunc
}

// UID names the session in telemetry.
func (s *Session) UID() UID { return s.uid }

// Key is the UID as text.
func (s *Session) Key() string { return s.key }

// State returns what the session has agreed on so far.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shared.state
}

// Events are the streams of the session, for clients that come back to them.
func (s *Session) Events() *replay.Shelf { return &s.events }

// IsSSE reports whether the session is one of HTTP+SSE, which lives as long as its stream.
func (s *Session) IsSSE() bool { return s.sse }

// Start notes what initialize agreed on in a session of HTTP+SSE. It reports false if that was done before. It keeps no
// reference to capabilities.
func (s *Session) Start(v wire.Version, capabilities []byte) bool {
	s.mu.Lock()
	if s.shared.state.Version != "" {
		s.mu.Unlock()
		return false
	}
	s.shared.state.Version, s.shared.state.Capabilities = v, keepCapabilities(capabilities)
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		l.Refresh()
	}
	return true
}

func keepCapabilities(raw []byte) []byte {
	if len(raw) > maxCapabilities {
		return readAbilities(raw).object()
	}
	return bytes.Clone(raw)
}

// Began is when the session began, by the clock of the node that it began on; to other nodes it is the second in that it did.
func (s *Session) Began() time.Time { return s.began }

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
	if len(s.calls) >= s.manager.limit.InFlight {
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

// Listener is the connection of a session's long stream on this node: the GET stream (M-38), or the stream of HTTP+SSE.
// Its methods never wait.
type Listener interface {
	// Send sends a message that belongs to no request, and reports whether the client may still get it. It must not use
	// the session.
	Send(message []byte) bool
	// Refresh says that the session's state has changed. It may be called after [Session.Leave].
	Refresh()
	// Close says that a newer stream takes the place of this one, or that the session ends. It must not use the session.
	Close()
}

// Listen makes l the session's one stream, in the whole fleet, and closes the one before (M-38, M-91). Give it back with
// [Session.Leave] or [Session.Linger]. The fault is NotFound, SESSION_NOT_FOUND if the session has ended.
func (s *Session) Listen(ctx context.Context, l Listener) error {
	s.mu.Lock()
	if s.ended.Load() {
		s.mu.Unlock()
		return notFound()
	}
	claimed := s.claimed
	s.claimed = false
	if claimed && s.elsewhere != 0 { // a newer one was opened elsewhere meanwhile
		s.arrived()
		s.mu.Unlock()
		l.Close()
		return nil
	}
	if s.listener != nil {
		s.listener.Close()
	}
	s.listener, s.hears = l, false
	s.arrive()
	s.mu.Unlock()
	if !claimed {
		s.own(ctx)
	}
	s.ownSoon()
	return nil
}

// Leave ends a stream that [Session.Listen] began, and what an older one has left behind: it is not used any more when Leave
// returns. With nil it gives back a claim that led to no stream.
func (s *Session) Leave(ctx context.Context, l Listener) {
	s.mu.Lock()
	var lease int64
	var b *behind
	if s.listener == l {
		s.listener = nil
		s.used.Store(time.Now().UnixNano())
		lease, s.lease = s.lease, 0
		b, s.behind = s.behind, nil
		s.arrived()
	}
	s.mu.Unlock()
	b.end()
	s.release(ctx, lease)
	s.give(ctx)
}

// Listener returns the session's stream on this node, nil if there is none.
func (s *Session) Listener() Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

// Tell sends a message on the session's stream, and reports whether there is one that takes it.
func (s *Session) Tell(message []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener != nil && s.listener.Send(message)
}

// busy reports whether something is under way in the session, so that it is not idle whatever its age.
func (s *Session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls) > 0 || s.listener != nil || s.behind != nil
}

// end ends the session on this node, once: its calls are canceled, its stream is closed, its questions get no answer.
func (s *Session) end(cause error) {
	if s.close(cause) {
		s.over()
	}
}

// over tells who wants to know that the session has ended here.
func (s *Session) over() {
	if f := s.manager.onEnd.Load(); f != nil {
		(*f)(s)
	}
}

func (s *Session) close(cause error) bool {
	s.mu.Lock()
	if s.ended.Swap(true) {
		s.mu.Unlock()
		return false
	}
	for _, c := range s.calls {
		if c.cancel != nil {
			c.cancel(cause)
		}
	}
	for _, q := range s.questions {
		close(q.answer)
	}
	s.questions = nil
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	b := s.behind
	s.behind = nil
	s.arrived()
	s.mu.Unlock()
	b.end()
	return true
}
