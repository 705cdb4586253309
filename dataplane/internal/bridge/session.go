// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// maxUpdates and maxUpdate bound the updates that wait for a session to listen (M-91), in number and bytes.
	maxUpdates = 64
	maxUpdate  = 16 << 10
	// maxURIs is how many resources of modern upstreams a session may subscribe to (mcp.md §2.1).
	maxURIs = 256
)

// sessionState is what the bridge keeps of a legacy session.
type sessionState struct {
	mu       sync.Mutex
	over     bool
	attached *attachment
	life     func() (context.Context, *Bridge) // of attached
	updates  []update
	watched  map[string]*watched // by connection
}

// watched is what the session subscribed to at one modern upstream.
type watched struct {
	outbound *call.Outbound
	uris     []string
	stop     context.CancelFunc // ends the stream, nil while nobody listens
	before   context.CancelFunc // ends the stream before it, which goes on until the new one is established
}

// quiet ends the streams.
func (w *watched) quiet() {
	for _, stop := range [...]context.CancelFunc{w.stop, w.before} {
		if stop != nil {
			stop()
		}
	}
	w.stop, w.before = nil, nil
}

// attach makes a the one who listens, and gives it what was kept.
func (s *sessionState) attach(ctx context.Context, b *Bridge, a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet()
	s.attached = a
	s.life = func() (context.Context, *Bridge) { return ctx, b }
	for _, u := range s.updates {
		a.give(u.connection, u.message)
	}
	s.updates = nil
	for connection := range s.watched {
		s.listen(connection)
	}
}

// detach ends what a listens to, unless another has taken its place.
func (s *sessionState) detach(a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached == a {
		s.quiet()
		s.attached, s.life = nil, nil
	}
}

// end forgets the session.
func (s *sessionState) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.quiet()
	s.watched, s.updates = nil, nil
}

// quiet ends all streams. s.mu is held.
func (s *sessionState) quiet() {
	for _, w := range s.watched {
		w.quiet()
	}
}

// listen opens the stream of a connection for who is attached, in place of an older one. s.mu is held. The channel gets
// nil when the server has taken the subscription, or why it does not; it is nil if there is nothing to open.
func (s *sessionState) listen(connection string) (established <-chan error) {
	w := s.watched[connection]
	if w == nil || s.attached == nil {
		return nil
	}
	if len(w.uris) == 0 {
		w.quiet()
		delete(s.watched, connection)
		return nil
	}
	if w.before != nil {
		w.before()
	}
	parent, b := s.life()
	ctx, cancel := context.WithCancel(parent)
	w.before, w.stop = w.stop, cancel
	old := w.before
	outcome := make(chan error, 1)
	a, o := s.attached, w.outbound
	want := call.Subscription{URIs: slices.Clone(w.uris), Established: sync.OnceFunc(func() {
		if old != nil {
			old()
		}
		outcome <- nil
	})}
	a.watching.Go(func() {
		defer cancel()
		err := b.cfg.Upstream.Watch(ctx, o, want, func(e call.Event) error {
			if e.ID == nil && e.Method == updated {
				a.give(connection, e.Raw)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.WarnContext(ctx, "resources are not watched", slog.String(obs.AttrConnection, connection), obs.Fault(err))
		}
		select {
		case outcome <- err:
		default: // it was established
		}
	})
	return outcome
}

// subscribe adds a URI to what is watched over the connection of o, or takes it away. full says that there are too many.
// The channel is that of listen.
func (s *sessionState) subscribe(o *call.Outbound, uri string, on bool) (established <-chan error, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, false
	}
	w := s.watched[o.Connection.Name]
	if w == nil {
		w = &watched{}
		s.watched[o.Connection.Name] = w
	}
	w.outbound = o // the newest credential
	at := slices.Index(w.uris, uri)
	switch {
	case on == (at >= 0):
		return nil, false
	case on && s.count() >= maxURIs:
		return nil, true
	case on:
		w.uris = append(w.uris, uri)
	default:
		w.uris = slices.Delete(w.uris, at, at+1)
	}
	return s.listen(o.Connection.Name), false
}

func (s *sessionState) count() (n int) {
	for _, w := range s.watched {
		n += len(w.uris)
	}
	return n
}

// aside gives a notification that came with a call to who is attached, or keeps it if it is an update.
func (s *sessionState) aside(connection string, e call.Event) {
	s.mu.Lock()
	a := s.attached
	if a == nil && e.Method == updated && len(e.Raw) <= maxUpdate && !s.over {
		uri := uriOf(e.Params)
		s.updates = slices.DeleteFunc(s.updates, func(u update) bool { return u.of(connection, uri) })
		if len(s.updates) == maxUpdates {
			s.updates = slices.Delete(s.updates, 0, 1)
		}
		s.updates = append(s.updates, newUpdate(connection, uri, e.Raw))
	}
	s.mu.Unlock()
	if a != nil {
		a.give(connection, e.Raw)
	}
}
