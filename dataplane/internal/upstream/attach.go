// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// attachment is who hears what the upstream sessions of a client's session say
// outside of calls.
type attachment struct {
	life  context.Context //nolint:containedctx // ends with it
	end   context.CancelFunc
	reach Reach

	isHeard atomic.Bool   // all upstream sessions that there were at first are heard, or cannot be
	heard   chan struct{} // closed then

	mu   sync.Mutex
	sink func(connection string, e Event)
	over bool
}

// allHeard notes that the upstream sessions that there were at first are heard.
func (a *attachment) allHeard() {
	if !a.isHeard.Swap(true) {
		close(a.heard)
	}
}

// give hands an event over, one at a time.
func (a *attachment) give(connection string, e Event) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	a.sink(connection, e)
	return true
}

// Attach keeps the streams of the client session's upstream sessions open, of
// those there are and of those to come, and gives their messages, but for
// progress, to sink with the name of the connection. sink is called by one
// goroutine at a time, must not wait for long, and must not call detach. When
// detach returns it is called no more. A newer Attach for the session takes the
// place of an older one. An upstream session that is lost meanwhile is opened
// anew, with its subscriptions and log level (M-92). What other nodes have opened is heard too, where reach, which may be
// nil, says how (M-91).
func (p *Pool) Attach(uid string, reach Reach, sink func(connection string, e Event)) (detach func()) {
	a := &attachment{sink: sink, reach: reach, heard: make(chan struct{})}
	a.life, a.end = context.WithCancel(p.link.Life())
	p.mu.Lock()
	p.attached[uid] = a
	p.mu.Unlock()
	// What other nodes may have heard before is joined when it is known how far they came.
	later := p.hears(a, uid)
	p.eachOf(uid, func(h *lease.Held[*link.Session]) {
		if !later || h.Value.Kept == nil {
			p.join(h)
		}
	})
	p.hear(a, uid, "", nil)
	return sync.OnceFunc(func() {
		if p.attachment(uid) == a {
			p.eachOf(uid, part) // before: what their streams have brought is still for sink
		}
		a.mu.Lock()
		a.over = true
		a.mu.Unlock()
		a.end()
		p.mu.Lock()
		last := p.attached[uid] == a
		if last {
			delete(p.attached, uid)
		}
		p.mu.Unlock()
		if last {
			p.eachOf(uid, part) // those that have come meanwhile
		}
	})
}

func (p *Pool) eachOf(uid string, f func(*lease.Held[*link.Session])) {
	var list []*lease.Held[*link.Session]
	p.mu.RLock()
	for _, s := range p.sites {
		list = s.shelf.Of(list, uid)
	}
	p.mu.RUnlock()
	for _, h := range list {
		f(h)
	}
}

// attachment returns who is attached to a client's session, nil if nobody is.
func (p *Pool) attachment(uid string) *attachment {
	if uid == "" {
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.attached[uid]
}

// joined opens the stream of a session that was opened while somebody is
// attached.
func (p *Pool) joined(h *lease.Held[*link.Session]) {
	if a := p.attachment(h.Value.Target().Session); a != nil {
		p.join(h)
		select {
		case <-a.life.Done():
			part(h) // detached meanwhile
		default:
		}
	}
}

func (p *Pool) join(h *lease.Held[*link.Session]) {
	if h.Value.Join() {
		h.Pin()
	}
}

func part(h *lease.Held[*link.Session]) {
	if h.Value.Part() {
		h.Unpin()
	}
}

// give hands an event to who is attached to a client's session.
func (p *Pool) give(uid, connection string, e Event) bool {
	a := p.attachment(uid)
	return a != nil && a.give(connection, e)
}

// revive opens a lost session anew for who is attached to it, until that works
// or nobody is attached any more. It runs on the goroutine that read the lost
// session's stream.
func (p *Pool) revive(lost *link.Session) {
	t, life := lost.Target(), p.link.Life()
	a := p.attachment(t.Session)
	if a == nil {
		return
	}
	s, err := p.site(t)
	if err != nil {
		return // the pool is closing
	}
	defer s.users.Add(-1)
	l := s.slot(t)
	var held *lease.Held[*link.Session]
	defer func() { p.finish(life, l.Leave(held)) }()
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		sp, err := p.speech(life, s, t)
		if err == nil && sp.Version.Era() == wire.Modern {
			return // there are no sessions any more
		}
		if err == nil {
			held, err = p.take(life, s, t, l, sp)
		}
		if err == nil {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-a.life.Done():
			timer.Stop()
			return
		}
	}
}

// Notify sends a notification of the client, such as
// notifications/roots/list_changed, to all upstream sessions of its session,
// without waiting for them. params is a raw object or nil. passed are the
// headers that came with it and that servers get (G-40); nil for none.
func (p *Pool) Notify(uid, method string, params []byte, passed http.Header) {
	message := wire.AppendNotification(nil, method, params)
	var list []*link.Session
	p.eachOf(uid, func(h *lease.Held[*link.Session]) { list = append(list, h.Value) })
	for _, ses := range list {
		p.link.Background(p.link.Life(), func(ctx context.Context) {
			_ = ses.TellOf(ctx, message, passed) // best effort, as notifications are
		})
	}
}
