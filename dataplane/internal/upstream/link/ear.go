// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/stream"
)

const (
	// firstWords is how long the first call of a session waits for the GET
	// stream to open: what a server says on it before is lost.
	firstWords = 250 * time.Millisecond
	// settling is how long another node's call waits for it: the server may have to notice first that the stream of yet
	// another node has ended.
	settling = time.Second
	// linger is how long the stream stays open after the last call: opening
	// one for each call costs a connection each time, and servers take only one
	// at a time.
	linger = 5 * time.Second
)

// ear is the GET stream of a session, open while somebody listens.
type ear struct {
	mu       sync.Mutex
	users    int  // calls
	attached bool // by Join
	none     bool // the server has no such stream
	cancel   context.CancelFunc
	opened   chan struct{} // closed when the stream is open, or has ended
	timer    *time.Timer
}

// hear keeps the session's stream open until the function that it returns is
// called.
func (ses *Session) hear(ctx context.Context) (release func()) {
	if ses.conn != nil || ses.e.cfg.Heard != nil && ses.e.cfg.Heard(ctx, ses) {
		return func() {}
	}
	e := &ses.ear
	e.mu.Lock()
	e.users++
	fresh := ses.listen()
	opened := e.opened
	e.mu.Unlock()
	if fresh {
		wait := time.NewTimer(firstWords)
		defer wait.Stop()
		select {
		case <-opened:
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.users--
		e.relax(linger)
	}
}

// relax closes the stream after a while if nobody listens then.
func (e *ear) relax(after time.Duration) {
	if e.users > 0 || e.attached || e.cancel == nil {
		return
	}
	if e.timer != nil {
		e.timer.Reset(after)
		return
	}
	e.timer = time.AfterFunc(after, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.users == 0 && !e.attached && e.cancel != nil {
			e.cancel()
		}
	})
}

// listen opens the stream unless it is open, and reports whether it did. ear.mu
// is held.
func (ses *Session) listen() bool {
	e := &ses.ear
	if e.cancel != nil || e.none || ses.dead.Load() || !e.attached && ses.elsewhere() {
		return false
	}
	if !ses.e.OpenStream() {
		return false
	}
	ctx, cancel := context.WithCancel(ses.e.life)
	e.cancel, e.opened = cancel, make(chan struct{})
	if !ses.e.spawn(func(context.Context) { ses.follow(ctx) }) {
		cancel()
		ses.e.CloseStream()
		e.cancel = nil
		close(e.opened)
		return false
	}
	return true
}

// follow reads the session's stream until nobody listens or it is over.
func (ses *Session) follow(ctx context.Context) {
	defer ses.e.CloseStream()
	e := &ses.ear
	open := sync.OnceFunc(func() { close(e.opened) })
	err := ses.Read(ctx, open)
	e.mu.Lock()
	e.cancel()
	e.cancel = nil
	e.none = errors.Is(err, stream.ErrNone)
	open()
	gone := errors.Is(err, stream.ErrGone)
	if gone {
		ses.dead.Store(true)
	}
	revive := gone && e.attached
	if err == nil && (e.users > 0 || e.attached) {
		ses.listen() // somebody came while it closed
	}
	e.mu.Unlock()
	if revive {
		ses.e.cfg.Lost(ses)
	}
}

// Read follows the session's GET stream and places its messages, until ctx ends,
// when it returns nil, or there is nothing to be had, with an error of package
// stream or of a watcher. opened is called each time that the stream opens.
func (ses *Session) Read(ctx context.Context, opened func()) error {
	x := ses.e.Begin(ses.to, &ses.target, ses.version, ses)
	defer x.Done()
	x.Own()
	return stream.Follow(ctx, &x.Exchange, stream.Handler{
		Opened:  opened,
		Message: func(text []byte) error { return ses.take(ctx, text) },
	})
}

// Join keeps the session's stream open until Part, and reports whether that is
// new.
func (ses *Session) Join() bool {
	e := &ses.ear
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.attached || ses.dead.Load() {
		return false
	}
	e.attached = true
	if ses.conn == nil {
		ses.listen()
	}
	return true
}

// Part takes Join back, and reports whether there was one.
func (ses *Session) Part() bool {
	e := &ses.ear
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.attached
	e.attached = false
	if ses.elsewhere() {
		e.hush()
	}
	e.relax(linger)
	return was
}

// elsewhere reports whether another node hears the session.
func (ses *Session) elsewhere() bool { return ses.e.cfg.Elsewhere != nil && ses.e.cfg.Elsewhere(ses) }

// Quiet closes the session's stream, unless it is kept by Join: another node opens its own, and what comes on both would
// come twice. Many servers allow only one.
func (ses *Session) Quiet() {
	e := &ses.ear
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.attached {
		e.hush()
	}
}

// hush closes the stream. ear.mu is held.
func (e *ear) hush() {
	if e.cancel != nil {
		e.cancel()
	}
}

// Settle waits until the stream is open, or has ended, but not for long.
func (ses *Session) Settle(ctx context.Context) {
	e := &ses.ear
	e.mu.Lock()
	opened, on := e.opened, e.cancel != nil
	e.mu.Unlock()
	if !on {
		return
	}
	wait := time.NewTimer(settling)
	defer wait.Stop()
	select {
	case <-opened:
	case <-wait.C:
	case <-ctx.Done():
	}
}
