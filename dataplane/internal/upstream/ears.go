// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Streams says which node has the stream of a client's session: that one hears what the session's upstreams say outside of
// calls, and no other (M-91).
type Streams interface {
	// Where returns the generation of the stream if another node has it, else 0. Arriving is closed when the upstreams are heard
	// for the stream that this node opens just now, or that is over; nil if it opens none. It does not wait.
	Where(session string) (elsewhere int64, arriving <-chan struct{})
	// Look has it found out anew where the stream is: what other nodes tell of it may still be on its way.
	Look(ctx context.Context, session string)
	// Announce has the other nodes told that a place of the session is filled. With wait it returns when the node that has
	// the stream hears the upstream, or after a moment, and reports whether it does.
	Announce(ctx context.Context, session, place string, wait bool) (heard bool)
	// Reached has it noted how far the upstream session of a place was heard, after what it said has been delivered. It does
	// not wait. The value is sealed.
	Reached(session, place string, value []byte)
}

// Reach resolves a connection for the calls of a session.
type Reach func(ctx context.Context, connection string) (Target, error)

// hearWithin bounds how long the credential of an upstream session that another node opened may take, and all else until
// it is heard.
const hearWithin = 20 * time.Second

// tellAgain is how long calls do not wait for a node with a stream that has not answered: it may have died, or hang.
const tellAgain = 5 * time.Second

// announce has other nodes told of a place.
func (p *Pool) announce(ctx context.Context, uid, place string) {
	if p.cfg.Streams != nil {
		p.cfg.Streams.Announce(ctx, uid, place, false)
	}
}

// streamed reports whether the registry has a session, so that another node can hear it.
func (p *Pool) streamed(ses *link.Session) bool {
	return p.cfg.Streams != nil && ses.Kept != nil && ses.Target().Session != ""
}

// elsewhere reports whether another node hears a session.
func (p *Pool) elsewhere(ses *link.Session) bool {
	if !p.streamed(ses) {
		return false
	}
	generation, _ := p.cfg.Streams.Where(ses.Target().Session)
	return generation != 0
}

// arrivesWithin is how long calls wait at most for a stream that begins on this node.
const arrivesWithin = time.Second

// arrive waits while a stream of the client's session begins on this node, until the session is heard for it: a stream that was
// opened for a call meanwhile would begin anew, and not where the node before has stopped. It reports whether it has waited.
func (p *Pool) arrive(ctx context.Context, uid string, coming <-chan struct{}) bool {
	if a := p.attachment(uid); coming == nil && (a == nil || a.isHeard.Load()) {
		return false // as nearly always
	}
	ctx, cancel := context.WithTimeout(ctx, arrivesWithin)
	defer cancel()
	if coming != nil {
		select {
		case <-coming:
		case <-ctx.Done():
		}
	}
	if a := p.attachment(uid); a != nil {
		select {
		case <-a.heard:
		case <-ctx.Done():
		}
	}
	return true
}

// heard is elsewhere, but waits until the session is heard: by the other node, once for each of its streams, or by this one for
// a stream that has just come. What an upstream says before is lost.
func (p *Pool) heard(ctx context.Context, ses *link.Session) bool {
	if !p.streamed(ses) {
		return false
	}
	t := ses.Target()
	generation, coming := p.cfg.Streams.Where(t.Session)
	again := p.arrive(ctx, t.Session, coming)
	if !ses.Looked.Load() && !ses.Looked.Swap(true) && p.attachment(t.Session) == nil {
		p.cfg.Streams.Look(ctx, t.Session)
		again = true
	}
	if again {
		generation, _ = p.cfg.Streams.Where(t.Session)
	}
	if generation == 0 {
		return false
	}
	now := time.Now().UnixNano()
	if ses.Told.Load() == generation || now-ses.Unheard.Load() < int64(tellAgain) {
		return true
	}
	if p.cfg.Streams.Announce(ctx, t.Session, placeOf(t), true) {
		ses.Told.Store(generation)
	} else {
		ses.Unheard.Store(now)
	}
	return true
}

// reached notes how far a session was heard for somebody who is attached: the next to hear it goes on from there.
func (p *Pool) reached(ses *link.Session, eventID string) {
	t := ses.Target()
	if p.cfg.Streams == nil || ses.Kept == nil || t.Session == "" {
		return
	}
	name := placeOf(t)
	p.cfg.Streams.Reached(t.Session, name, p.cfg.Keys.SealBytes(nil, seal.Upstream, reachedOf(ses, name), []byte(eventID)))
}

// reachedOf binds how far a session was heard to its place and to what the upstream calls it: the next one there begins anew.
func reachedOf(ses *link.Session, place string) string {
	return ses.Target().Session + "/" + place + "/" + ses.ID()
}

// resume has a session that is about to be heard go on from where it was heard last, by whichever node.
func (p *Pool) resume(ctx context.Context, ses *link.Session) {
	if p.cfg.Registry == nil || ses.Kept == nil {
		return
	}
	t := ses.Target()
	name := placeOf(t)
	value, err := p.cfg.Registry.Reached(ctx, t.Session, name)
	if err != nil {
		p.away(ctx, err)
		return
	}
	if value == nil {
		return
	}
	if id, err := p.cfg.Keys.OpenBytes(nil, seal.Upstream, reachedOf(ses, name), value); err == nil {
		ses.After(string(id))
	}
}

// Quiet closes the streams of a client's session, which another node opens now.
func (p *Pool) Quiet(session string) {
	p.eachOf(session, func(h *lease.Held[*link.Session]) {
		if p.elsewhere(h.Value) {
			h.Value.Quiet()
		}
	})
}

// Hear opens the stream of the upstream session in a place, or in all with an empty name, if somebody is attached to the
// client's session, and then calls done, which may be nil. It does not wait.
func (p *Pool) Hear(session, place string, done func(context.Context)) {
	if a := p.attachment(session); a != nil {
		p.hear(a, session, place, done)
	}
}

// hears reports whether hear does anything for who is attached.
func (p *Pool) hears(a *attachment, uid string) bool {
	return p.cfg.Registry != nil && a.reach != nil && uid != ""
}

func (p *Pool) hear(a *attachment, uid, only string, done func(context.Context)) {
	if !p.hears(a, uid) {
		a.allHeard()
		return
	}
	p.link.Spawn(func(context.Context) {
		ctx, cancel := context.WithTimeout(a.life, hearWithin)
		defer cancel()
		if only == "" {
			defer a.allHeard()
			p.eachOf(uid, func(h *lease.Held[*link.Session]) {
				if p.isUnplaced(h.Value) && p.place(ctx, h) {
					return // the other one is joined
				}
				p.resume(ctx, h.Value)
				p.joined(h)
			})
		}
		places, err := p.cfg.Registry.Places(ctx, uid)
		if err != nil {
			p.away(ctx, err)
			return
		}
		p.lost.Store(false)
		for name, value := range places {
			if only != "" && only != name {
				continue
			}
			if err := p.hearPlace(ctx, a, uid, name, value); err != nil {
				p.log.DebugContext(ctx, "upstream session of another node not heard", slog.Any(obs.AttrError, err))
			}
		}
		if done != nil {
			done(ctx)
		}
	})
}

// hearPlace joins the session of a place, on the terms of a call: it is not heard by who could not use it.
func (p *Pool) hearPlace(ctx context.Context, a *attachment, uid, name string, value []byte) error {
	stored, ok := p.stored(uid, name, value)
	if !ok || stored.Connection == "" {
		return nil
	}
	t, err := a.reach(ctx, stored.Connection)
	if err != nil || t.Session != uid || placeOf(&t) != name {
		return err
	}
	s, err := p.site(&t)
	if err != nil {
		return err
	}
	defer s.users.Add(-1)
	l := s.slot(&t)
	var held *lease.Held[*link.Session]
	defer func() { p.finish(ctx, l.Leave(held)) }()
	sp, err := p.speech(ctx, s, &t)
	if err != nil || sp.Version.Era() == wire.Modern {
		return err
	}
	if held, err = p.take(ctx, s, &t, l, sp); err != nil {
		return err
	}
	if kept := held.Value.Kept; kept != nil && !bytes.Equal(kept, value) { // the upstream has lost it, as another node knows
		l.Drop(held)
		held.Value.Hush()
		if held, err = p.take(ctx, s, &t, l, sp); err != nil {
			return err
		}
	}
	p.resume(ctx, held.Value)
	p.joined(held)
	held.Value.Settle(ctx)
	return nil
}
