// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/inbox"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/sseclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Purpose says what a session is for, besides calls.
type Purpose struct {
	// Discovering gives questions the answers of a discovery: no roots, and
	// -32601 for everything else.
	Discovering bool
	// Watch gets what belongs to no call; an error ends the stream. May be nil.
	Watch func(peer.Event) error
}

// Session is one legacy session. Open makes it.
type Session struct {
	e       *Engine
	to      *httpclient.Endpoint
	id      string // "" if the server gave none
	version wire.Version
	target  peer.Target // to speak outside of calls: without it the credential would be missing
	purpose Purpose
	kinds   peer.Kinds // of questions that the upstream may ask
	logging bool       // the upstream declares it

	conn  *sseclient.Conn // of HTTP+SSE, else nil
	ended chan struct{}   // closed when conn's stream has ended
	box   inbox.Box
	ear   ear

	ready   atomic.Bool // it is initialized: version and what is declared are set
	dead    atomic.Bool // the upstream has ended it
	replies atomic.Int32

	// Kept is what a registry has for the session, for other nodes; nil for nothing. It is set before the session is used.
	Kept []byte
	// Checked is the gap in what is known of the registry after which the session was found in it.
	Checked atomic.Uint64
	// Noted is when the registry was told last that it is in use, in Unix nanoseconds.
	Noted atomic.Int64
	// Told is the generation of the client's stream on another node, whose node has said last that it hears the session;
	// Unheard is when one did not say so, in Unix nanoseconds.
	Told, Unheard atomic.Int64
	// Looked is whether it was found out where the client's stream is.
	Looked atomic.Bool

	mu    sync.Mutex
	level string // log level that the upstream was told
	uris  map[string]struct{}
}

// ID is what the upstream calls the session, "" if it gave none.
func (ses *Session) ID() string { return ses.id }

// Version returns what was agreed.
func (ses *Session) Version() wire.Version { return ses.version }

// SSE reports whether the session is one of HTTP+SSE.
func (ses *Session) SSE() bool { return ses.conn != nil }

// Target returns whom the session is with, and for whom. It must not be changed.
func (ses *Session) Target() *peer.Target { return &ses.target }

// Dead reports whether the upstream has ended the session, or [Session.Hush] was
// called.
func (ses *Session) Dead() bool { return ses.dead.Load() }

// Stateful reports whether there is something that the upstream could lose.
func (ses *Session) Stateful() bool { return ses.id != "" || ses.conn != nil }

// Ended is closed when the stream of an HTTP+SSE session has ended.
func (ses *Session) Ended() <-chan struct{} { return ses.ended }

// Err returns why that stream has ended.
func (ses *Session) Err() error { return ses.box.Err() }

// Hush closes what the session listens to, for good.
func (ses *Session) Hush() {
	ses.dead.Store(true)
	if ses.conn != nil {
		ses.conn.Close()
	}
	ses.ear.mu.Lock()
	defer ses.ear.mu.Unlock()
	ses.ear.attached = false
	if ses.ear.cancel != nil {
		ses.ear.cancel()
	}
}

// Delete ends a session at the upstream. Servers may refuse (405); nothing
// depends on the answer.
func (ses *Session) Delete(ctx context.Context) {
	ses.Hush()
	if ses.id == "" {
		return
	}
	x := ses.e.Begin(ses.to, &ses.target, ses.version, ses)
	defer x.Done()
	x.Timeout = shortTimeout
	_, _ = x.Delete(ctx)
}

// Tell sends a message that has no response and belongs to no call. The bytes are kept until then.
func (ses *Session) Tell(ctx context.Context, message []byte) error {
	return ses.TellOf(ctx, message, nil)
}

// TellOf is [Session.Tell] for a message that belongs to a call, which carries what the client of the call passes through
// (G-40); nil for nothing.
func (ses *Session) TellOf(ctx context.Context, message []byte, passed http.Header) error {
	return ses.e.tell(ctx, ses.to, &ses.target, ses.version, ses, message, passed)
}

// take places a message of the session's stream. Only the refusal of a watcher
// is an error; a broken message is dropped.
func (ses *Session) take(ctx context.Context, text []byte) error {
	err := ses.box.Take(ctx, text)
	var refused *exchange.SinkError
	if errors.As(err, &refused) {
		return err
	}
	if err != nil {
		ses.Dropped(ctx)
	}
	return nil
}

// Message implements inbox.Owner: what belongs to no call goes to whoever
// watches or is attached, else to the newest call.
func (ses *Session) Message(ctx context.Context, in exchange.Inbound, newest *inbox.Call) error {
	if in.ID != nil && ses.answered(ctx, in) {
		return nil
	}
	release := func() {}
	if in.ID != nil && newest != nil {
		release = newest.Hold(in.ID)
	}
	if in.Method == methodCancelled && newest != nil {
		newest.TakenBack(in.Params)
	}
	if ses.purpose.Watch != nil {
		if err := ses.purpose.Watch(ses.event(in, release, nil)); err != nil {
			return &exchange.SinkError{Err: err}
		}
		return nil
	}
	if ses.attached(in, release) {
		return nil
	}
	if newest != nil && newest.Give(func() error { return newest.Deliver(in, release) }) {
		return nil
	}
	release()
	if in.ID != nil {
		ses.refuse(ctx, in.ID)
	} else {
		ses.Dropped(ctx)
	}
	return nil
}

func (ses *Session) attached(in exchange.Inbound, release func()) bool {
	uid, give := ses.target.Session, ses.e.cfg.Attached
	return uid != "" && give != nil && give(uid, ses.target.Connection, ses.event(in, release, nil))
}

// Dropped implements inbox.Owner.
func (ses *Session) Dropped(ctx context.Context) { ses.e.Drop(ctx) }

// errStreamEnded is why calls fail whose HTTP+SSE stream ended.
var errStreamEnded = errors.New("the stream ended")

// run reads the stream of an HTTP+SSE session to its end.
func (ses *Session) run(context.Context) {
	defer close(ses.ended)
	err := ses.conn.Run(ses.take)
	ses.dead.Store(true)
	ses.box.Break(fmt.Errorf("%w: %w", errStreamEnded, err))
	ses.ear.mu.Lock()
	attached := ses.ear.attached
	ses.ear.mu.Unlock()
	if attached {
		ses.e.cfg.Lost(ses)
	}
}
