// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/flight"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/turns"
)

// siteKey tells upstreams apart: one connection with one credential.
type siteKey struct{ key, url string }

// site is what the pool knows of one upstream.
type site struct {
	to    *httpclient.Endpoint
	users atomic.Int32 // keep it from being forgotten
	calls turns.Turns  // under way, for Target.MaxConcurrent
	used  atomic.Int64 // Unix nanoseconds of the last use

	circuit *circuit // shared with the connection's other credentials

	// found is what a probe said, when the view did not know the version or was
	// wrong about it.
	found  atomic.Pointer[finding]
	probed atomic.Int64 // Unix nanoseconds of the last probe
	probe  flight.Flight

	shelf *lease.Shelf[*link.Session]
}

// finding replaces what the view says by what a probe found.
type finding struct{ instead, use link.Speech }

// site returns what is known of the target's upstream. The caller is counted
// in site.users, and takes itself out when it is done.
func (p *Pool) site(t *Target) (*site, error) {
	key := siteKey{t.Key, t.URL}
	p.mu.RLock()
	s, closed := p.sites[key], p.closed
	if s != nil {
		s.users.Add(1)
	}
	p.mu.RUnlock()
	if closed {
		if s != nil {
			s.users.Add(-1)
		}
		return nil, t.Unreachable().Because(httpclient.ErrClosed)
	}
	if s == nil {
		to, err := httpclient.ParseEndpoint(t.URL)
		if err != nil {
			return nil, t.Settings("has an address that cannot be used").Because(err)
		}
		p.mu.Lock()
		if s = p.sites[key]; s == nil {
			s = &site{to: to, shelf: lease.NewShelf[*link.Session](&p.sessions), circuit: p.circuitOf(t)}
			p.sites[key] = s
		}
		s.users.Add(1)
		p.mu.Unlock()
	}
	s.used.Store(time.Now().UnixNano())
	return s, nil
}

// slot returns the place of the sessions that the target may use.
func (s *site) slot(t *Target) *lease.Slot[*link.Session] { return s.shelf.Enter(keyOf(t)) }

// keyOf says who may use the sessions of a target.
func keyOf(t *Target) lease.Key {
	k := lease.Key{Kind: t.PrincipalKind, Principal: t.PrincipalKey, Session: t.Session, Capabilities: string(t.Capabilities)}
	if t.Stateless && !t.Streams() {
		k.Kind, k.Principal = "", ""
	}
	return k
}

// take returns a session of the slot, opening one if there is none that lives.
func (p *Pool) take(ctx context.Context, s *site, t *Target, l *lease.Slot[*link.Session], sp link.Speech) (*lease.Held[*link.Session], error) {
	for {
		h, fresh, err := l.Take(ctx, func(lost *lease.Held[*link.Session]) (*link.Session, error) {
			return p.placed(ctx, s, t, sp, lost)
		})
		if err != nil {
			return nil, err
		}
		if h.Value.Dead() {
			l.Drop(h)
			h.Value.Hush()
			continue
		}
		if !fresh && p.offer(ctx, h) {
			continue
		}
		p.use(ctx, h.Value)
		if fresh {
			if p.attachment(t.Session) != nil {
				p.resume(ctx, h.Value)
			}
			p.joined(h)
			if p.sessions.Load() > int64(p.cfg.MaxSessions) {
				p.evict(ctx)
			}
		}
		return h, nil
	}
}

// open opens a session, and notes if the upstream speaks another transport than
// was thought.
func (p *Pool) open(ctx context.Context, s *site, t *Target, sp link.Speech, purpose link.Purpose) (*link.Session, ServerInfo, error) {
	ses, info, err := p.link.Open(ctx, s.to, t, sp, purpose)
	if err == nil && ses.SSE() && !sp.SSE {
		s.found.Store(&finding{instead: speechOf(t), use: link.Speech{Version: ses.Version(), SSE: true}})
	}
	return ses, info, err
}

// evict ends the session that was longest without use.
func (p *Pool) evict(ctx context.Context) {
	var from *site
	var least int64
	p.mu.RLock()
	for _, s := range p.sites {
		if used, ok := s.shelf.Oldest(); ok && (from == nil || used < least) {
			from, least = s, used
		}
	}
	p.mu.RUnlock()
	if from == nil {
		return
	}
	if ses, ok := from.shelf.Evict(); ok {
		p.finish(ctx, []*link.Session{ses})
	}
}

// finish ends sessions beside the call: now, or when Run comes to it.
func (p *Pool) finish(ctx context.Context, list []*link.Session) {
	if len(list) == 0 {
		return
	}
	for _, ses := range list {
		ses.Hush()
	}
	if p.link.Background(ctx, func(ctx context.Context) { p.deleteSessions(ctx, list) }) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = append(p.ending, list...)
}

// EndSession ends the upstream sessions of a client's session, with DELETE,
// without waiting for it.
func (p *Pool) EndSession(uid string) {
	if uid == "" {
		return
	}
	var list []*link.Session
	p.mu.RLock()
	for _, s := range p.sites {
		list = s.shelf.End(list, uid)
	}
	p.mu.RUnlock()
	p.finish(p.link.Life(), list)
}

// idleSessions takes out the sessions not used for idle before now, and forgets
// sites that nobody uses any more.
func (p *Pool) idleSessions(now time.Time, idle time.Duration) []*link.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.ending
	p.ending = nil
	for key, s := range p.sites {
		var empty bool
		out, empty = s.shelf.Idle(out, now.UnixNano(), int64(idle))
		if empty && s.users.Load() == 0 && s.used.Load() <= now.Add(-idle).UnixNano() {
			delete(p.sites, key)
			p.forget(s.circuit)
		}
	}
	return out
}

// deleters bounds how many sessions are ended at a time.
const deleters = 16

// deleteSessions ends the sessions, several at a time, until ctx ends. Those that other nodes use are left to them.
func (p *Pool) deleteSessions(ctx context.Context, list []*link.Session) {
	work := make(chan *link.Session)
	var group sync.WaitGroup
	for range min(deleters, len(list)) {
		group.Go(func() {
			for ses := range work {
				ses.Hush()
				if p.claim(ctx, ses) {
					ses.Delete(ctx)
				}
			}
		})
	}
	for _, ses := range list {
		if ctx.Err() != nil {
			break
		}
		work <- ses
	}
	close(work)
	group.Wait()
}
