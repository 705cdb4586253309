// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"slices"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/queue"
)

const (
	methodUpdated = "notifications/resources/updated"
	// maxSessions bounds the sessions that are known to use one process; the longest known is forgotten.
	maxSessions = 1024
)

// audience is who hears what the process of a site says outside of requests. Its fields are guarded by Pool.mu, but for turn.
type audience struct {
	sessions []string // of clients, that used the site
	watchers map[*watcher]struct{}
	holders  map[string]map[holder]struct{} // by URI: who is subscribed
	live     map[string]struct{}            // URIs that the present process was told
	target   *Target                        // of the last subscription, to start a process for it
	kept     bool                           // somebody sees to it that a process runs
	turn     chan struct{}                  // held while subscriptions are changed
}

// holder is one who is subscribed to a resource: a session, or a watcher.
type holder struct {
	session string
	watcher *watcher
}

func newAudience() audience {
	return audience{
		watchers: make(map[*watcher]struct{}), holders: make(map[string]map[holder]struct{}), live: make(map[string]struct{}),
		turn: make(chan struct{}, 1),
	}
}

// heard says whether anybody waits for news of the process.
func (a *audience) heard() bool { return len(a.watchers) > 0 || len(a.holders) > 0 }

// joined notes that a session uses the site.
func (a *audience) joined(session string) {
	if session == "" || slices.Contains(a.sessions, session) {
		return
	}
	if len(a.sessions) >= maxSessions {
		a.sessions = slices.Delete(a.sessions, 0, 1)
	}
	a.sessions = append(a.sessions, session)
}

// attachment is somebody who takes what the processes of a session say outside of requests.
type attachment struct {
	number int // a newer one has a higher
	sink   func(connection string, e upstream.Event)
	// What follows is made when there is something to take: most sessions use no process. Guarded by Pool.mu.
	queue *queue.Queue
	leave chan struct{}
	left  chan struct{}
}

// queueFor returns the queue of an attachment, nil if the pool is closed. The caller holds mu.
func (p *Pool) queueFor(a *attachment) *queue.Queue {
	if a.queue == nil && !p.closed {
		a.queue, a.leave, a.left = queue.New(), make(chan struct{}), make(chan struct{})
		p.group.Go(func() { p.deliver(a, a.queue) })
	}
	return a.queue
}

// Attach gives what the processes that a client's session used, and uses from now on, say outside of calls to sink, with the
// name of the connection: changes, log messages, and questions where no call is under way. sink is called by one goroutine at
// a time, in order, and must not call detach. When detach returns it is called no more. A newer Attach for the session takes
// the place of an older one.
func (p *Pool) Attach(session string, sink func(connection string, e upstream.Event)) (detach func()) {
	a := &attachment{sink: sink}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || session == "" {
		return func() {}
	}
	p.attaches++
	a.number = p.attaches
	p.attached[session] = a
	return sync.OnceFunc(func() {
		p.mu.Lock()
		if p.attached[session] == a {
			delete(p.attached, session)
		}
		begun := a.queue != nil
		p.mu.Unlock()
		if begun {
			close(a.leave)
			<-a.left
		}
	})
}

// deliver runs for one attachment.
func (p *Pool) deliver(a *attachment, q *queue.Queue) {
	defer close(a.left)
	defer func() { refuse(q.Close()) }()
	for {
		select {
		case <-p.life.Done():
			return
		case <-a.leave:
			return
		case <-q.Wake:
		}
		list := q.Take()
		for i, it := range list {
			select {
			case <-a.leave:
				refuse(list[i:])
				return
			default:
				a.sink(it.Connection, it.Event)
			}
		}
	}
}

// refuse answers the questions that nobody took.
func refuse(list []queue.Item) {
	for _, it := range list {
		if it.Event.Answer != nil {
			it.Event.Answer(nil, nil)
		}
	}
}

// Tell implements talk.Owner: changes go to watchers and attached sessions, resource updates only to those that subscribed,
// everything else to the attached sessions.
func (s *site) Tell(e upstream.Event) bool {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	to := s.takers(&e)
	if len(to) == 0 {
		return false
	}
	e = cloned(e)
	for q := range to {
		if _, lost := q.Push(queue.Item{Connection: s.key.connection, Event: e}); lost {
			p.drop()
		}
	}
	return true
}

// takers returns the queues that a notification is for. The caller holds mu.
func (s *site) takers(e *upstream.Event) map[*queue.Queue]struct{} {
	to := make(map[*queue.Queue]struct{})
	if e.Method == methodUpdated {
		for h := range s.subscribers(e.Params) {
			if q := s.queueOf(h); q != nil {
				to[q] = struct{}{}
			}
		}
		return to
	}
	for w := range s.watchers {
		if w.sub.Wants(e.Method) {
			to[w.queue] = struct{}{}
		}
	}
	for _, session := range s.sessions {
		if a := s.pool.attached[session]; a != nil {
			if q := s.pool.queueFor(a); q != nil {
				to[q] = struct{}{}
			}
		}
	}
	return to
}

// subscribers returns who subscribed to the resource of an update; if nobody did, all who subscribed to anything, because a
// server may name a part of what was subscribed to.
func (s *site) subscribers(params []byte) map[holder]struct{} {
	uri, _ := uriOf(params)
	if found := s.holders[uri]; len(found) > 0 {
		return found
	}
	all := make(map[holder]struct{})
	for _, some := range s.holders {
		for h := range some {
			all[h] = struct{}{}
		}
	}
	return all
}

func (s *site) queueOf(h holder) *queue.Queue {
	if h.watcher != nil {
		return h.watcher.queue
	}
	if a := s.pool.attached[h.session]; a != nil {
		return s.pool.queueFor(a)
	}
	return nil
}

// Ask implements talk.Owner: the session that was attached last is asked (M-77).
func (s *site) Ask(e upstream.Event) (follow func(upstream.Event)) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	var newest *attachment
	for _, session := range s.sessions {
		if a := p.attached[session]; a != nil && (newest == nil || a.number > newest.number) {
			newest = a
		}
	}
	if newest == nil {
		return nil
	}
	to := p.queueFor(newest)
	if to == nil {
		return nil
	}
	push := func(e upstream.Event) bool {
		queued, lost := to.Push(queue.Item{Connection: s.key.connection, Event: e})
		if lost {
			p.drop()
		}
		return queued
	}
	if !push(cloned(e)) {
		return nil
	}
	return func(e upstream.Event) { push(e) }
}

// cloned returns an event whose bytes outlive the reader's line.
func cloned(e upstream.Event) upstream.Event {
	e.Raw, e.Params, e.ID = bytes.Clone(e.Raw), bytes.Clone(e.Params), bytes.Clone(e.ID)
	return e
}

// Notify sends a notification of the client, such as notifications/roots/list_changed, to all processes that its session
// used, without waiting for them. params is a raw object or nil.
func (p *Pool) Notify(session, method string, params []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sites {
		if s.process != nil && slices.Contains(s.sessions, session) {
			s.process.Notify(method, params)
		}
	}
}

// EndSession forgets a client's session: its subscriptions end, without waiting for the servers. Its calls and its
// attachment go on.
func (p *Pool) EndSession(session string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sites {
		i := slices.Index(s.sessions, session)
		if i < 0 {
			continue
		}
		s.sessions = slices.Delete(s.sessions, i, i+1)
		s.release(holder{session: session})
	}
}
