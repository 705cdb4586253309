// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Registry keeps the sessions that upstreams have for clients' sessions, so that all nodes use the same (M-89, M-92). Each
// has a place in the client's session. Values are sealed; they last as long as the record of the session. Its errors mean
// that it is away: then a node opens sessions of its own (M-88).
type Registry interface {
	// TakePlace returns the session of a place. If there is none, mine says that the caller is to open one and fill the place
	// within lock; else another node does that now.
	TakePlace(ctx context.Context, session, place, token string, lock time.Duration) (value []byte, mine bool, err error)
	// FillPlace ends what TakePlace began with the same token; a nil value means that there is no session. It is false if the
	// time for that is over.
	FillPlace(ctx context.Context, session, place, token string, value []byte) (bool, error)
	// UsePlace notes that a session is in use.
	UsePlace(ctx context.Context, session, place string, value []byte) error
	// DropPlace removes a session that the upstream does not know any more, if it is still the place's.
	DropPlace(ctx context.Context, session, place string, value []byte) error
	// ClaimPlace takes a session out, and reports whether the caller is to end it at the upstream: the client's session has
	// ended and nobody else was to, or it has not been used anywhere for idle, or it is not in its place.
	ClaimPlace(ctx context.Context, session, place string, value []byte, idle time.Duration) (bool, error)
	// Places returns what all places of a client's session hold.
	Places(ctx context.Context, session string) (map[string][]byte, error)
	// Reached returns what [Streams.Reached] was told last, nil if that is not known any more.
	Reached(ctx context.Context, session, place string) ([]byte, error)
}

const (
	// openLock is how long a node may take to open a session before another one tries.
	openLock = 10 * time.Second
	// placeTimeout bounds what is told to the registry beside a call.
	placeTimeout = time.Second
	// firstLook and lastLook are how often a node looks whether another one has opened the session.
	firstLook, lastLook = 20 * time.Millisecond, 250 * time.Millisecond
)

// placeOf names the place of a target's session: nobody gets there who would not have got the session on one node (lease.Key).
// It is a digest because it stands in the clear: what it holds are names and versions, no secrets.
func placeOf(t *Target) string {
	k := keyOf(t)
	owner := k.Principal
	if k.Kind != "" {
		owner = k.Kind + ":" + owner
	}
	sum := sha256.New()
	for _, part := range []string{t.Key, t.URL, owner, k.Capabilities} {
		length := []byte{byte(len(part) >> 24), byte(len(part) >> 16), byte(len(part) >> 8), byte(len(part))}
		_, _ = sum.Write(length) // a hash never fails
		_, _ = sum.Write([]byte(part))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// placed opens the session of a slot, or goes on with the one that another node has opened. lost is the one before.
func (p *Pool) placed(ctx context.Context, s *site, t *Target, sp link.Speech, lost *lease.Held[*link.Session]) (*link.Session, error) {
	if lost != nil {
		p.drop(ctx, lost.Value)
	}
	token, ses := p.reserve(ctx, s, t, sp)
	if ses == nil {
		var err error
		ses, _, err = p.open(ctx, s, t, sp, link.Purpose{})
		p.fill(ctx, t, token, ses)
		if err != nil {
			return nil, err
		}
	}
	if lost != nil {
		ses.Restore(ctx, lost.Value)
	}
	return ses, nil
}

// reserve returns the session that another node has opened, or the token by which this one is to fill the place; neither if
// there is no place, or the registry is away.
func (p *Pool) reserve(ctx context.Context, s *site, t *Target, sp link.Speech) (token string, ses *link.Session) {
	if p.cfg.Registry == nil || t.Session == "" || sp.SSE {
		return "", nil
	}
	name, token := placeOf(t), rand.Text()
	late := time.NewTimer(openLock + time.Second)
	defer late.Stop()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		value, mine, err := p.cfg.Registry.TakePlace(ctx, t.Session, name, token, openLock)
		if err == nil {
			p.lost.Store(false)
		}
		switch {
		case err != nil:
			p.away(ctx, err)
			return "", nil
		case mine:
			return token, nil
		case value != nil:
			if ses := p.adopt(s, t, name, value); ses != nil {
				return "", ses
			}
			if err := p.cfg.Registry.DropPlace(ctx, t.Session, name, value); err != nil {
				p.away(ctx, err)
				return "", nil
			}
			continue
		}
		look := time.NewTimer(pause)
		select {
		case <-look.C:
		case <-late.C:
			look.Stop()
			return "", nil
		case <-ctx.Done():
			look.Stop()
			return "", nil // what follows sees that too
		}
	}
}

// adopt opens a value of the registry; nil if it cannot be used.
func (p *Pool) adopt(s *site, t *Target, name string, value []byte) *link.Session {
	gap := p.gaps.Load()
	stored, ok := p.stored(t.Session, name, value)
	if !ok {
		return nil
	}
	ses, ok := p.link.Adopt(s.to, t, stored)
	if !ok {
		return nil
	}
	ses.Kept = value
	ses.Checked.Store(gap)
	ses.Noted.Store(time.Now().UnixNano())
	return ses
}

// stored opens a value of the registry.
func (p *Pool) stored(session, name string, value []byte) (stored link.Stored, ok bool) {
	plain, err := p.cfg.Keys.OpenBytes(nil, seal.Upstream, session+"/"+name, value)
	return stored, err == nil && json.Unmarshal(plain, &stored) == nil
}

// fill gives the session that was opened to the registry, or takes the reservation back if ses is nil or cannot be shared.
func (p *Pool) fill(ctx context.Context, t *Target, token string, ses *link.Session) {
	gap := p.gaps.Load()
	if token == "" {
		return
	}
	name := placeOf(t)
	var value []byte
	if ses != nil {
		if stored, ok := ses.Stored(); ok {
			plain, _ := json.Marshal(stored) // strings and a bool
			value = p.cfg.Keys.SealBytes(nil, seal.Upstream, t.Session+"/"+name, plain)
		}
	}
	// Detached: others wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), placeTimeout)
	defer cancel()
	kept, err := p.cfg.Registry.FillPlace(ctx, t.Session, name, token, value)
	if err != nil {
		p.away(ctx, err)
	}
	if kept && ses != nil && value != nil {
		ses.Kept = value
		ses.Checked.Store(gap)
		ses.Noted.Store(time.Now().UnixNano())
		p.announce(ctx, t.Session, name)
	}
}

// drop removes a session that the upstream does not know any more.
func (p *Pool) drop(ctx context.Context, ses *link.Session) {
	if ses.Kept == nil {
		return
	}
	t := ses.Target()
	if err := p.cfg.Registry.DropPlace(ctx, t.Session, placeOf(t), ses.Kept); err != nil {
		p.away(ctx, err)
	}
}

// use notes from time to time that a session is in use, beside the call: other nodes do not end it as idle.
func (p *Pool) use(ctx context.Context, ses *link.Session) {
	if ses.Kept == nil {
		return
	}
	now, noted := time.Now().UnixNano(), ses.Noted.Load()
	if now-noted < int64(p.cfg.SessionIdle/2) || !ses.Noted.CompareAndSwap(noted, now) {
		return
	}
	p.link.Background(ctx, func(ctx context.Context) {
		t := ses.Target()
		if err := p.cfg.Registry.UsePlace(ctx, t.Session, placeOf(t), ses.Kept); err != nil {
			p.away(ctx, err)
		}
	})
}

// claim reports whether this node is to end a session at the upstream. If the registry is away it is: another node that
// uses the session finds out, and opens a new one.
func (p *Pool) claim(ctx context.Context, ses *link.Session) bool {
	if ses.Kept == nil {
		return true
	}
	t := ses.Target()
	mine, err := p.cfg.Registry.ClaimPlace(ctx, t.Session, placeOf(t), ses.Kept, lease.Patience*p.cfg.SessionIdle)
	if err != nil {
		p.away(ctx, err)
		return true
	}
	return mine
}

// away notes that the registry could not be asked.
func (p *Pool) away(ctx context.Context, err error) {
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) { // else it was not its fault
		p.lost.Store(true)
	}
	p.log.DebugContext(ctx, "registry of upstream sessions unavailable", slog.Any(obs.AttrError, err))
}
