// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
)

// tryAgain is how often a registry that is away is asked beside calls.
const tryAgain = time.Second

// Missed says that the registry may have lost what it had: sessions are looked up in it anew before they are used.
func (p *Pool) Missed() { p.gaps.Add(1) }

// isUnplaced reports whether a session may not be what the registry has in its place.
func (p *Pool) isUnplaced(ses *link.Session) bool {
	if p.cfg.Registry == nil || ses.Target().Session == "" || ses.Kept != nil && ses.Checked.Load() == p.gaps.Load() {
		return false
	}
	_, ok := ses.Stored()
	return ok
}

// offer has the registry take a session that it does not have, since it was away or has lost it, and reports whether another one
// is used in its stead: without that this node would be the only one to use it, and the node with the client's stream would not
// hear it (M-88). Calls wait for it only when the registry is known to be back.
func (p *Pool) offer(ctx context.Context, h *lease.Held[*link.Session]) (replaced bool) {
	if !p.isUnplaced(h.Value) {
		return false
	}
	if !p.lost.Load() {
		ctx, cancel := context.WithTimeout(ctx, placeTimeout)
		defer cancel()
		return p.place(ctx, h)
	}
	now, tried := time.Now().UnixNano(), p.tried.Load()
	if now-tried >= int64(tryAgain) && p.tried.CompareAndSwap(tried, now) {
		p.link.Background(ctx, func(ctx context.Context) { p.place(ctx, h) })
	}
	return false
}

// place puts a session in its place, or has the one there used in its stead, and reports whether it has.
func (p *Pool) place(ctx context.Context, h *lease.Held[*link.Session]) (replaced bool) {
	t, gap := h.Value.Target(), p.gaps.Load()
	name, token := placeOf(t), rand.Text()
	value, mine, err := p.cfg.Registry.TakePlace(ctx, t.Session, name, token, openLock)
	if err != nil {
		p.away(ctx, err)
		return false
	}
	p.lost.Store(false)
	switch kept := h.Value.Kept; {
	case kept == nil:
		return (mine || value != nil) && p.exchange(ctx, h, name, token, value)
	case mine:
		put, err := p.cfg.Registry.FillPlace(ctx, t.Session, name, token, kept)
		if err != nil {
			p.away(ctx, err)
		}
		if put {
			h.Value.Checked.Store(gap)
			p.announce(ctx, t.Session, name)
		}
		return false
	case bytes.Equal(kept, value):
		h.Value.Checked.Store(gap)
		return false
	}
	return value != nil && p.exchange(ctx, h, name, token, value)
}

// exchange has another session used in the stead of one: that of a value of the registry, or, without one, the same as it is
// when the registry has it.
func (p *Pool) exchange(ctx context.Context, h *lease.Held[*link.Session], name, token string, value []byte) bool {
	t := h.Value.Target()
	s, err := p.site(t)
	if err != nil {
		return false // the pool is closing
	}
	defer s.users.Add(-1)
	l := s.slot(t)
	defer func() { p.finish(ctx, l.Leave(nil)) }()
	var ses *link.Session
	if value == nil {
		stored, _ := h.Value.Stored()
		ses, _ = p.link.Adopt(s.to, t, stored)
		p.fill(ctx, t, token, ses)
	} else {
		ses = p.adopt(s, t, name, value)
	}
	if ses == nil || ses.Kept == nil { // the registry is away again
		return false
	}
	next, ok := l.Replace(h, ses)
	if !ok {
		return false // the session has ended meanwhile
	}
	ses.Restore(ctx, h.Value)
	h.Value.Hush() // what is under way on it goes on
	p.joined(next)
	if h.Value.ID() != ses.ID() { // else another call has put it there just now
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ending = append(p.ending, h.Value)
	}
	return true
}
