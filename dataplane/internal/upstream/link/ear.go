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
	// firstWords is how long calls wait for a GET stream that has just been
	// asked for: what a server says on it before it is open is lost. They wait
	// slowWords for a server that let others wait in vain: it may answer when it
	// has something to say.
	firstWords = time.Second
	slowWords  = 250 * time.Millisecond
	// closing is how long a stream may take to end that is closed for another node.
	closing = 250 * time.Millisecond
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
	users    int    // calls
	attached bool   // by Join
	parting  bool   // and what the stream has brought is still for who was attached
	none     bool   // the server has no such stream
	after    string // event that the next stream for who is attached goes on from
	cancel   context.CancelFunc
	asked    time.Time     // when the stream was asked for
	opened   chan struct{} // closed when the stream is open, or has ended
	ended    chan struct{} // closed when nothing of it is taken any more
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
	ses.listen()
	opened, left := e.opened, time.Duration(0)
	if e.cancel != nil {
		left = ses.patience() - time.Since(e.asked)
	}
	e.mu.Unlock()
	if left > 0 {
		wait := time.NewTimer(left)
		defer wait.Stop()
		select {
		case <-opened:
		case <-wait.C:
			ses.to.Slow.Store(true)
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

func (ses *Session) patience() time.Duration {
	if ses.to.Slow.Load() {
		return slowWords
	}
	return firstWords
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

// listen opens the stream unless it is open. ear.mu is held.
func (ses *Session) listen() {
	e := &ses.ear
	if e.cancel != nil || e.none || ses.dead.Load() || !e.attached && ses.elsewhere() {
		return
	}
	if !ses.e.OpenStream() {
		return
	}
	ctx, cancel := context.WithCancel(ses.e.life)
	e.cancel, e.asked, e.opened, e.ended = cancel, time.Now(), make(chan struct{}), make(chan struct{})
	after := ""
	if e.attached {
		after, e.after = e.after, ""
	}
	if !ses.e.spawn(func(context.Context) { ses.follow(ctx, after) }) {
		cancel()
		ses.e.CloseStream()
		e.cancel = nil
		close(e.opened)
		close(e.ended)
	}
}

// follow reads the session's stream until nobody listens or it is over.
func (ses *Session) follow(ctx context.Context, after string) {
	defer ses.e.CloseStream()
	e := &ses.ear
	open := sync.OnceFunc(func() { close(e.opened) })
	first := func() {
		open()
		ses.to.Slow.Store(false)
	}
	err := ses.read(ctx, stream.Handler{Opened: first, After: after, Passed: ses.passed})
	e.mu.Lock()
	e.cancel()
	e.cancel, e.parting = nil, false
	close(e.ended)
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
	return ses.read(ctx, stream.Handler{Opened: opened})
}

func (ses *Session) read(ctx context.Context, h stream.Handler) error {
	x := ses.e.Begin(ses.to, &ses.target, ses.version, ses)
	defer x.Done()
	x.Own()
	h.Message = func(text []byte) error { return ses.take(ctx, text) }
	return stream.Follow(ctx, &x.Exchange, h)
}

// passed tells how far the stream has been read for who is attached.
func (ses *Session) passed(eventID string) {
	ses.ear.mu.Lock()
	attached := ses.ear.attached || ses.ear.parting
	ses.ear.mu.Unlock()
	if attached && ses.e.cfg.Reached != nil {
		ses.e.cfg.Reached(ses, eventID)
	}
}

// After has the stream that Join opens go on after an event. It does nothing where a stream is open.
func (ses *Session) After(eventID string) {
	ses.ear.mu.Lock()
	defer ses.ear.mu.Unlock()
	if ses.ear.cancel == nil {
		ses.ear.after = eventID
	}
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
	e.after = "" // an open stream goes on from where it is
	return true
}

// Part takes Join back, and reports whether there was one. Where another node hears the session from now on the stream is
// closed, and what it has brought so far has been taken when Part returns.
func (ses *Session) Part() bool {
	e := &ses.ear
	e.mu.Lock()
	was := e.attached
	e.attached = false
	ended := e.ended
	if e.parting = e.cancel != nil && ses.elsewhere(); e.parting {
		e.hush()
	}
	parting := e.parting
	e.relax(linger)
	e.mu.Unlock()
	if parting {
		late := time.NewTimer(closing)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
		}
	}
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
