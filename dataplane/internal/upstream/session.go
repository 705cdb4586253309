// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/flight"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// siteKey tells upstreams apart: one connection with one credential.
type siteKey struct{ key, url string }

// site is what the pool knows of one upstream.
type site struct {
	to    *httpclient.Endpoint
	users atomic.Int32 // keep it from being forgotten
	calls atomic.Int32 // under way, for Target.MaxConcurrent
	used  atomic.Int64 // Unix nanoseconds of the last use

	// found is what a probe said, when the view did not know the version or was
	// wrong about it.
	found  atomic.Pointer[finding]
	probed atomic.Int64 // Unix nanoseconds of the last probe
	probe  flight.Flight

	mu    sync.Mutex
	slots map[string]*slot // by principal; "" for a stateless server
}

// finding replaces the version of the view by the one that a probe found.
type finding struct{ instead, use wire.Version }

// slot holds the session of one principal with a legacy upstream.
type slot struct {
	session atomic.Pointer[session]
	users   atomic.Int32 // keep it from being forgotten
	opening flight.Flight
}

// session is one legacy session. It is immutable but for used.
type session struct {
	id      string // "" if the server gave none
	version wire.Version
	target  Target // to end it: without it the credential would be missing
	used    atomic.Int64
}

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
		return nil, t.unreachable().Because(httpclient.ErrClosed)
	}
	if s == nil {
		to, err := httpclient.ParseEndpoint(t.URL)
		if err != nil {
			return nil, t.fault(fault.Precondition, ReasonTarget, "has an address that cannot be used").Because(err)
		}
		p.mu.Lock()
		if s = p.sites[key]; s == nil {
			s = &site{to: to, slots: make(map[string]*slot)}
			p.sites[key] = s
		}
		s.users.Add(1)
		p.mu.Unlock()
	}
	s.used.Store(time.Now().UnixNano())
	return s, nil
}

// slot returns the principal's slot and counts the caller in slot.users.
func (s *site) slot(t *Target) *slot {
	principal := t.PrincipalKey
	if t.Stateless {
		principal = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.slots[principal]
	if l == nil {
		l = &slot{}
		s.slots[principal] = l
	}
	l.users.Add(1)
	return l
}

// session returns the principal's session, opening one if there is none.
func (p *Pool) session(ctx context.Context, s *site, t *Target, l *slot, v wire.Version) (*session, error) {
	for {
		if ses := l.session.Load(); ses != nil {
			ses.used.Store(time.Now().UnixNano())
			return ses, nil
		}
		err := l.opening.Do(ctx, func() error {
			if l.session.Load() != nil {
				return nil
			}
			ses, _, err := p.initialize(ctx, s, t, v)
			if err != nil {
				return err
			}
			l.session.Store(ses)
			if p.sessions.Add(1) > int64(p.cfg.MaxSessions) {
				p.evict(ctx, ses)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
}

// forget drops a session that the upstream no longer knows.
func (p *Pool) forget(l *slot, ses *session) {
	if l.session.CompareAndSwap(ses, nil) {
		p.sessions.Add(-1)
	}
}

// evict ends the session that was longest without use, other than keep.
func (p *Pool) evict(ctx context.Context, keep *session) {
	var oldest *session
	var from *slot
	p.eachSlot(func(l *slot) {
		ses := l.session.Load()
		if ses == nil || ses == keep || l.users.Load() > 0 {
			return
		}
		if oldest == nil || ses.used.Load() < oldest.used.Load() {
			oldest, from = ses, l
		}
	})
	if oldest == nil {
		return
	}
	p.forget(from, oldest)
	p.background(ctx, func(ctx context.Context) { p.delete(ctx, oldest) })
}

func (p *Pool) eachSlot(f func(*slot)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, s := range p.sites {
		s.mu.Lock()
		for _, l := range s.slots {
			f(l)
		}
		s.mu.Unlock()
	}
}

// idleSessions takes out the sessions not used since before, and forgets the
// slots and sites that nobody uses any more.
func (p *Pool) idleSessions(before time.Time) []*session {
	limit := before.UnixNano()
	var out []*session
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, s := range p.sites {
		s.mu.Lock()
		for principal, l := range s.slots {
			ses := l.session.Load()
			if l.users.Load() > 0 || ses != nil && ses.used.Load() > limit {
				continue
			}
			if ses != nil {
				p.forget(l, ses)
				out = append(out, ses)
			}
			delete(s.slots, principal)
		}
		if len(s.slots) == 0 && s.users.Load() == 0 && s.used.Load() <= limit {
			delete(p.sites, key)
		}
		s.mu.Unlock()
	}
	return out
}

// deleters bounds how many sessions are ended at a time.
const deleters = 16

// deleteSessions ends the sessions, several at a time, until ctx ends.
func (p *Pool) deleteSessions(ctx context.Context, list []*session) {
	work := make(chan *session)
	var group sync.WaitGroup
	for range min(deleters, len(list)) {
		group.Go(func() {
			for ses := range work {
				p.delete(ctx, ses)
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

// delete ends a session at the upstream. Servers may refuse (405); nothing
// depends on the answer.
func (p *Pool) delete(ctx context.Context, ses *session) {
	if ses.id == "" {
		return
	}
	to, err := httpclient.ParseEndpoint(ses.target.URL)
	if err != nil {
		return // it was parsed before, so this cannot be
	}
	x := p.begin(&site{to: to}, &ses.target, ses.version, ses)
	defer x.done()
	x.Timeout = shortTimeout
	_, _ = x.Delete(ctx)
}
