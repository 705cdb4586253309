// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// hub watches the lists of servers while at least one client listens, once for each connection however many listen
// (M-71). Its zero value is ready.
type hub struct {
	mu      sync.Mutex
	watches map[watchKey]*watch
	running sync.WaitGroup
}

// watchKey says what is shared. The principal is empty unless the server is called as the person who calls (UP-9).
type watchKey struct{ server, connection, principal string }

// watch is the subscription to one server's lists.
type watch struct {
	listeners map[*listener]struct{}
	stop      context.CancelFunc
	settled   chan struct{} // closed when the server has taken the subscription, or will not
}

// join has the listener told of changes to the lists of a server, until leave is called. The first to join starts the
// watch, the last to leave ends it. settled is closed when the server has taken the subscription, or will not.
func (d *Dispatcher) join(c *call.Caller, t *target, l *listener) (settled <-chan struct{}, leave func()) {
	h, key := &d.hub, watchKey{server: t.server, connection: t.connection}
	if s := c.Snapshot.Server(t.server); s != nil && s.CallerOnly {
		key.principal = c.Principal.Key()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.watches[key]
	if w == nil {
		if h.watches == nil {
			h.watches = make(map[watchKey]*watch)
		}
		ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // a watch outlives who listens first; the last to leave ends it
		w = &watch{listeners: make(map[*listener]struct{}), stop: stop, settled: make(chan struct{})}
		h.watches[key] = w
		shared := *c
		shared.Passed = nil // of the one that came first
		on := *t
		h.running.Go(func() { d.watchLists(ctx, &shared, on, w) })
	}
	w.listeners[l] = struct{}{}
	return w.settled, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(w.listeners, l)
		if len(w.listeners) == 0 && h.watches[key] == w {
			delete(h.watches, key)
			w.stop()
		}
	}
}

// Close ends all watches of servers and waits for them.
func (d *Dispatcher) Close() {
	d.hub.mu.Lock()
	for _, w := range d.hub.watches {
		w.stop()
	}
	d.hub.mu.Unlock()
	d.hub.running.Wait()
}

// watchLists runs until the watch is stopped. Whoever listens first lends its snapshot; the connection's credential is
// the same for all that share the watch: who else chooses it has it, too. And no capability of a client is offered.
func (d *Dispatcher) watchLists(ctx context.Context, c *call.Caller, t target, w *watch) {
	c.Client = call.Client{}
	settle := sync.OnceFunc(func() { close(w.settled) })
	defer settle()
	o, err := d.lasting(ctx, c, &t)
	c.Presented = call.Presented{}
	if err == nil {
		caps := o.Server.Capabilities
		want := call.Subscription{
			Tools: caps.ToolsChanged, Prompts: caps.PromptsChanged, Resources: caps.ResourcesChanged,
			Established: func() {
				d.relist(c, t.server, t.connection) // it told nobody of what changed while nobody was connected
				settle()
			},
		}
		err = d.Upstream.Watch(ctx, o, want, func(message []byte) { d.listChanged(c, &t, noticeOf(message), w) })
	}
	if err != nil && ctx.Err() == nil {
		d.Log.InfoContext(ctx, "server not watched", slog.String(obs.AttrServer, t.server), obs.Fault(err))
	}
}

// listChanged has the server discovered anew; the change reaches clients with the view. Resources are in no view, so
// clients are told at once.
func (d *Dispatcher) listChanged(c *call.Caller, t *target, method string, w *watch) {
	switch method {
	case noticeTools, noticePrompts:
		d.relist(c, t.server, t.connection)
	case noticeResources:
		d.relist(c, t.server, t.connection) // for templates and authorities
		d.hub.mu.Lock()
		defer d.hub.mu.Unlock()
		for l := range w.listeners {
			l.resourcesChanged(t.server)
		}
	}
}

// relist has a server discovered anew, where what it shows over the connection says what it has. One that is called as the person who
// calls is discovered over a person's own connection, or by an administrator who names one.
func (d *Dispatcher) relist(c *call.Caller, server, connection string) {
	found := c.Snapshot.Connection(connection)
	if s := c.Snapshot.Server(server); s != nil && s.CallerOnly && (found == nil || found.OwnerKind != compile.OwnerUser) {
		return
	}
	if found == nil || c.Gateway.Lists(found) {
		d.Changed(server, connection)
	}
}

// watchable reports whether a server can tell of changes to its lists.
func watchable(s *view.Server) bool {
	return s != nil && (s.Capabilities.ToolsChanged || s.Capabilities.PromptsChanged || s.Capabilities.ResourcesChanged)
}
