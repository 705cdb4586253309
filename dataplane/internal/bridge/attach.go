// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Attach has everything that the upstreams of a legacy session say outside of calls delivered, until detach is called:
// questions go to c.Asker, notifications to deliver, with the name of the connection that they came from, one at a time.
// c and v are those of the session. When detach returns, deliver is called no more. Log messages are not filtered here:
// the level of a session changes while it is attached. An Attach takes the place of an older one of the session.
func (b *Bridge) Attach(session string, c call.Client, v wire.Version, deliver func(connection string, message []byte)) (detach func()) {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // it outlives the request that attaches; detach ends it
	s := b.session(session)
	d := &desk{client: c, offered: c.Capabilities, version: v}
	a := &attachment{deliver: deliver}
	s.attach(ctx, b, a)
	part := b.cfg.Upstream.Attach(session, b.offering(c.Reach), func(connection string, e call.Event) {
		switch {
		case e.ID != nil:
			d.ask(ctx, connection, e)
		case e.Method == "notifications/cancelled":
			d.takeBack(connection, e.Params)
		case e.Method == "notifications/elicitation/complete" && !question.KnowsURL(c.Capabilities, v):
		case e.Method == "notifications/tasks/status" && v != wire.V20251125:
		default:
			a.give(connection, e.Raw)
		}
	})
	return sync.OnceFunc(func() {
		part()
		s.detach(a)
		cancel()
		d.close()
		a.close()
	})
}

// offering is reach, with what the session's calls declare.
func (b *Bridge) offering(reach call.Reach) call.Reach {
	if reach == nil {
		return nil
	}
	return func(ctx context.Context, connection string) (*call.Outbound, error) {
		o, err := reach(ctx, connection)
		if err != nil {
			return nil, err
		}
		b.setOffer(o, wire.Version(o.Server.Protocol).Era())
		return o, nil
	}
}

// attachment is who hears what a session's upstreams say outside of calls.
type attachment struct {
	watching sync.WaitGroup

	mu      sync.Mutex
	deliver func(connection string, message []byte)
}

func (a *attachment) give(connection string, message []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deliver != nil {
		a.deliver(connection, message)
	}
}

func (a *attachment) close() {
	a.mu.Lock()
	a.deliver = nil
	a.mu.Unlock()
	a.watching.Wait()
}

// aside takes a notification that came with a call and is about the server (M-91): a client that listens hears of it on
// its own stream; else list notices are dropped, and the newest update of each resource is kept for it.
func (b *Bridge) aside(o *call.Outbound, e call.Event) {
	if e.Method != updated && b.cfg.Changed != nil && o.Gateway.Lists(o.Connection) {
		b.cfg.Changed(o.Server.Name, o.Connection.Name)
	}
	if o.Client.Session == "" {
		return
	}
	b.session(o.Client.Session).aside(o.Connection.Name, e)
}

// Watch delivers the notifications of a modern client's subscription at one upstream, whatever its era, until ctx ends;
// then it returns nil. The fault is that of an upstream which cannot do it. Tasks are watched at modern upstreams only;
// nothing else wanted, it returns at once.
func (b *Bridge) Watch(ctx context.Context, o *call.Outbound, want call.Subscription, deliver func(message []byte)) error {
	if wire.Version(o.Server.Protocol).Era() == wire.Legacy {
		want.TaskIDs = nil
	}
	if !want.Tools && !want.Prompts && !want.Resources && len(want.URIs) == 0 && len(want.TaskIDs) == 0 {
		return nil
	}
	own := *o
	own.Offer = nil // nobody can be asked over a subscription
	if len(want.TaskIDs) > 0 {
		b.setOffer(&own, wire.Modern)
	}
	return b.cfg.Upstream.Watch(ctx, &own, want, func(e call.Event) error {
		switch {
		case e.ID != nil:
			refuse(e)
		case isWatched(e.Method, &want):
			deliver(e.Raw)
		}
		return nil
	})
}

func isWatched(method string, want *call.Subscription) bool {
	switch method {
	case "notifications/tools/list_changed":
		return want.Tools
	case "notifications/prompts/list_changed":
		return want.Prompts
	case "notifications/resources/list_changed":
		return want.Resources
	case updated:
		return len(want.URIs) > 0
	case "notifications/tasks":
		return len(want.TaskIDs) > 0
	}
	return false
}

// isSubscription reports whether a legacy method has become a stream of its own.
func isSubscription(method string) bool {
	return method == "resources/subscribe" || method == "resources/unsubscribe"
}

// updated is the notification about one resource.
const updated = "notifications/resources/updated"

// establishing is how long a client waits at most until a server has taken its subscription.
const establishing = 5 * time.Second

// subscribe notes what a legacy client wants to hear of a modern upstream (mcp.md section 4): while its session is
// attached, the node listens there.
func (b *Bridge) subscribe(ctx context.Context, o *call.Outbound) (call.Reply, error) {
	var m wire.Message
	if err := wire.ScanParams(o.Params, &m); err != nil {
		return call.Reply{}, err
	}
	uri, ok := wire.DecodeString(m.P.URI.Of(o.Params))
	if !ok || o.Client.Session == "" {
		return call.Reply{Error: wire.AppendErrorObject(nil, wire.CodeInvalidParams, "params.uri must be a string", nil)}, nil
	}
	own, on := kept(o), o.Method == "resources/subscribe"
	own.Params, own.Method, own.Offer, own.Passed = nil, "", nil, nil
	s := b.session(o.Client.Session)
	established, full := s.subscribe(own, uri, on)
	if full {
		return call.Reply{Error: wire.AppendErrorObject(nil, wire.CodeInternal, "Too many subscriptions", nil)}, nil
	}
	done := call.Reply{Result: []byte(`{}`), Version: wire.Latest}
	if established == nil || !on {
		return done, nil
	}
	late := time.NewTimer(establishing)
	defer late.Stop()
	select {
	case err := <-established:
		if err != nil {
			s.subscribe(own, uri, false)
			return call.Reply{}, err
		}
	case <-late.C: // it goes on trying
	case <-ctx.Done():
	}
	return done, nil
}

// session returns what is known of a legacy session.
func (b *Bridge) session(uid string) *sessionState {
	if s, ok := b.sessions.Load(uid); ok {
		return s.(*sessionState) //nolint:forcetypeassert // nothing else is stored
	}
	s, _ := b.sessions.LoadOrStore(uid, &sessionState{watched: make(map[string]*watched)})
	return s.(*sessionState) //nolint:forcetypeassert // nothing else is stored
}

// uriOf returns the URI of a resource's update.
func uriOf(params []byte) string {
	var m wire.Message
	if wire.ScanParams(params, &m) != nil {
		return ""
	}
	uri, _ := wire.DecodeString(m.P.URI.Of(params))
	return uri
}

// update is a resource's update that waits for somebody to listen.
type update struct {
	connection, uri string
	message         []byte
}

func (u update) of(connection, uri string) bool { return u.connection == connection && u.uri == uri }

func newUpdate(connection, uri string, raw []byte) update {
	return update{connection, uri, bytes.Clone(raw)}
}
