// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// unsaid takes a notification that nobody here listens to and that came with no call: the stream of the client's session may be
// on another node, which this one is about to learn, or on its way here. It is false if it is dropped.
func (p *Pool) unsaid(ses *link.Session, e peer.Event) bool {
	t := ses.Target()
	if t.Session == "" || e.Method == noticeProgress || e.Method == noticeCancelled {
		return false // those belong to requests, which are over
	}
	if !p.unheard.Keep(t.Session, t.Connection, e.Raw) {
		return false
	}
	if p.cfg.Streams != nil && p.cfg.Streams.Elsewhere(t.Session) != 0 {
		p.sayKept(t.Session)
	}
	return true
}

// Notifications about requests.
const (
	noticeProgress  = "notifications/progress"
	noticeCancelled = "notifications/cancelled"
)

// sayKept has the node with the stream of a session told what is kept for it here.
func (p *Pool) sayKept(session string) {
	kept := p.unheard.Take(session)
	if len(kept) == 0 || p.cfg.Streams == nil {
		return
	}
	p.link.Background(p.link.Life(), func(ctx context.Context) {
		for _, m := range kept {
			p.cfg.Streams.Say(ctx, session, m.Connection, m.Raw)
		}
	})
}

// Said gives what another node has heard to who is attached to a client's session, or keeps it until somebody is.
func (p *Pool) Said(session, connection string, message []byte) {
	if e, ok := notificationOf(message); ok && !p.give(session, connection, e) {
		p.unheard.Keep(session, connection, message)
	}
}

// giveKept gives what is kept for a session to who has just been attached.
func (p *Pool) giveKept(a *attachment, session string) {
	for _, m := range p.unheard.Take(session) {
		if e, ok := notificationOf(m.Raw); ok {
			a.give(m.Connection, e)
		}
	}
}

func notificationOf(message []byte) (e Event, ok bool) {
	var m wire.Message
	if wire.Scan(message, &m) != nil || m.Kind != wire.Notification {
		return e, false
	}
	method, ok := wire.DecodeString(m.Method.Of(message))
	return Event{Kind: peer.Notification, Method: method, Params: m.Params.Of(message), Raw: message}, ok
}
