// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Notifications that mean something to dispatch.
const (
	noticeTools     = "notifications/tools/list_changed"
	noticePrompts   = "notifications/prompts/list_changed"
	noticeResources = "notifications/resources/list_changed"
	noticeUpdated   = "notifications/resources/updated"
)

// noticeOfResources is the whole message.
const noticeOfResources = `{"jsonrpc":"2.0","method":"` + noticeResources + `"}`

// debounce is how long after a change of a server's resources clients are told: several changes at once are told once
// (M-71).
const debounce = 200 * time.Millisecond

// listener is a client that listens for what servers tell outside of calls.
type listener struct {
	gateway *view.Gateway
	deliver func(message []byte)

	mu      sync.Mutex
	pending *time.Timer // until resources/list_changed is told; nil if it is not due
	ended   bool
}

// resourcesChanged tells the client after a moment that resources of a server changed, if the gateway shows them.
func (l *listener) resourcesChanged(server string) {
	shown := slices.ContainsFunc(l.gateway.ResourceFeatures(), func(f compile.Feature) bool { return f.Server == server })
	l.mu.Lock()
	defer l.mu.Unlock()
	if !shown || l.pending != nil || l.ended {
		return
	}
	l.pending = time.AfterFunc(debounce, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pending = nil
		if !l.ended {
			l.deliver([]byte(noticeOfResources))
		}
	})
}

// end delivers what is pending, since whoever listens next will not hear of it, and nothing any more after that.
func (l *listener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending != nil && l.pending.Stop() {
		l.deliver([]byte(noticeOfResources))
	}
	l.ended = true
}

// tell delivers a message unless the listener has ended.
func (l *listener) tell(message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended && message != nil {
		l.deliver(message)
	}
}

// Attach has everything that the upstreams of a legacy session send outside of calls delivered until detach is called,
// which waits for a delivery that is under way (M-91).
func (d *Dispatcher) Attach(c call.Caller, deliver func(message []byte)) (detach func()) {
	l := &listener{gateway: c.Gateway, deliver: deliver}
	_, leave := d.joinAll(&c, l)
	client := c.Client
	if client.Asker != nil {
		client.Asker = sessionAsker{Asker: client.Asker, d: d, caller: &c}
	}
	client.Reach = func(ctx context.Context, connection string) (*call.Outbound, error) {
		return d.reach(ctx, &c, connection)
	}
	stop := d.Upstream.Attach(c.Client.Session, client, c.Version, func(connection string, message []byte) {
		found := c.Snapshot.Connection(connection)
		if found == nil {
			return // of yesterday: what its server is called is not known any more
		}
		e := d.ear(&c, c.Snapshot.Server(found.Server), connection)
		e.listener = l
		l.tell(e.hear(message))
	})
	return func() {
		stop()
		leave()
		l.end()
	}
}

// reach resolves a connection that the gateway leads to, or may for this caller.
func (d *Dispatcher) reach(ctx context.Context, c *call.Caller, connection string) (*call.Outbound, error) {
	t := target{what: "gateway", connection: connection}
	found := c.Snapshot.Connection(connection)
	leads := func(server, pinned string, atCall bool) {
		if pinned == connection {
			t.server = server
		} else if s := c.Snapshot.Server(server); atCall && s != nil && c.Snapshot.MayRunWith(s, found, c.Principal) {
			t.server = server
		}
	}
	for _, f := range c.Gateway.Features {
		leads(f.Server, f.Connection, f.AtCall)
	}
	for _, tool := range c.Gateway.Tools {
		leads(tool.Server, tool.Connection, tool.AtCall)
	}
	return d.lasting(ctx, c, &t)
}

// joinAll listens to all servers of the gateway that can tell of changes.
func (d *Dispatcher) joinAll(c *call.Caller, l *listener) (settled []<-chan struct{}, leave func()) {
	var leaves []func()
	for _, t := range behind(c) {
		one, leave := d.join(c, &t, l)
		settled, leaves = append(settled, one), append(leaves, leave)
	}
	return settled, func() {
		for _, leave := range leaves {
			leave()
		}
	}
}

// behind returns the servers of the gateway that can be watched, each with the connection it is read with. One that is
// resolved at the call is watched with what the caller's calls run with, if there is such a connection.
func behind(c *call.Caller) (found []target) {
	seen := make(map[string]struct{})
	note := func(name, connection string, atCall bool) {
		if _, known := seen[name]; known || connection == "" && !atCall || c.Snapshot.Denied("server", name) {
			return
		}
		seen[name] = struct{}{}
		server := c.Snapshot.Server(name)
		if !watchable(server) {
			return
		}
		t := target{what: "gateway", server: name, connection: connection, atCall: atCall}
		if atCall {
			if _, _, err := locate(c, &t); err != nil {
				return
			}
			t.atCall = false // who shares the watch shares the connection
		}
		found = append(found, t)
	}
	for _, f := range c.Gateway.Features {
		note(f.Server, f.Connection, f.AtCall)
	}
	for _, t := range c.Gateway.Tools {
		note(t.Server, t.Connection, t.AtCall)
	}
	return found
}

// Subscribe returns the part of a subscription that can be had: lists that the gateway declares, and resources that lead
// to a server that can watch them (M-29).
func (d *Dispatcher) Subscribe(c call.Caller, want call.Subscription) (call.Subscription, error) {
	caps := c.Gateway.Capabilities
	got := call.Subscription{
		Tools: want.Tools, Prompts: want.Prompts && caps.Prompts, Resources: want.Resources && caps.Resources,
	}
	for _, uri := range want.URIs {
		f, _, ok := c.Gateway.RouteURI(uri)
		if !ok || c.Snapshot.Denied("server", f.Server) {
			continue
		}
		if s := c.Snapshot.Server(f.Server); s != nil && s.Capabilities.ResourcesWatched {
			got.URIs = append(got.URIs, uri)
		}
	}
	got.TaskIDs = d.watchedTasks(&c, want.TaskIDs)
	return got, nil
}

// Watch delivers the notifications of an honoured subscription until ctx is canceled. That the gateway itself changed is
// edge's to tell. honoured.Established is called when every server has taken its part, or will not.
func (d *Dispatcher) Watch(ctx context.Context, c call.Caller, honoured call.Subscription, deliver func(message []byte)) {
	l := &listener{gateway: c.Gateway, deliver: deliver}
	defer l.end()
	var settled []<-chan struct{}
	if honoured.Tools || honoured.Prompts || honoured.Resources {
		lists, leave := d.joinAll(&c, l)
		defer leave()
		settled = lists
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, part := range append(parts(&c, honoured.URIs), d.taskParts(&c, honoured.TaskIDs)...) {
		taken := make(chan struct{})
		settled = append(settled, taken)
		watching.Go(func() { d.watchResources(ctx, &c, part, l, sync.OnceFunc(func() { close(taken) })) })
	}
	for _, one := range settled {
		select {
		case <-one:
		case <-ctx.Done():
		}
	}
	if honoured.Established != nil {
		honoured.Established()
	}
	<-ctx.Done()
}

// part is the resources of one server that a client subscribes to.
type part struct {
	target
	uris, tasks []string // as the server calls them
}

// parts sorts URIs by the servers that they lead to.
func parts(c *call.Caller, uris []string) (found []part) {
	at := make(map[string]int)
	for _, uri := range uris {
		f, upstream, ok := c.Gateway.RouteURI(uri)
		if !ok {
			continue
		}
		i, known := at[f.Server]
		if !known {
			i = len(found)
			at[f.Server] = i
			found = append(found, part{target: target{what: "resource", server: f.Server, connection: f.Connection, atCall: f.AtCall}})
		}
		found[i].uris = append(found[i].uris, upstream)
	}
	return found
}

func (d *Dispatcher) watchResources(ctx context.Context, c *call.Caller, p part, l *listener, settle func()) {
	defer settle()
	o, err := d.lasting(ctx, c, &p.target)
	if err == nil {
		e := d.ear(c, o.Server, p.connection)
		e.listener = l
		want := call.Subscription{URIs: p.uris, TaskIDs: p.tasks, Established: settle}
		err = d.Upstream.Watch(ctx, o, want, func(message []byte) { l.tell(e.hear(message)) })
	}
	if err != nil && ctx.Err() == nil {
		d.Log.InfoContext(ctx, "resources not watched", slog.String(obs.AttrServer, p.server), obs.Fault(err))
	}
}

// Notify tells the upstreams of a session what its client has told the node.
func (d *Dispatcher) Notify(c call.Caller, method string, params []byte) {
	d.Upstream.Notify(c.Client.Session, method, params, c.Passed)
}

// EndSession releases what upstreams hold for a session.
func (d *Dispatcher) EndSession(session string) { d.Upstream.EndSession(session) }

// ear hears what one server tells a client.
type ear struct {
	d          *Dispatcher
	caller     *call.Caller
	server     *view.Server // nil if it is gone
	connection string
	listener   *listener // for changes of lists; nil during a call, on whose stream they have no place (M-91)
	of         *target   // of the call; nil for none
}

func (d *Dispatcher) ear(c *call.Caller, server *view.Server, connection string) ear {
	return ear{d: d, caller: c, server: server, connection: connection}
}

// sink maps the notifications of a call.
func (e ear) sink(next func([]byte) error) func([]byte) error {
	return func(message []byte) error {
		if message = e.hear(message); message == nil {
			return nil
		}
		return next(message)
	}
}

// hear returns the message as the client gets it, nil if it does not: changes of lists lead to a discovery, and reach
// clients by way of the view.
func (e ear) hear(message []byte) []byte {
	if e.server == nil {
		return nil
	}
	switch noticeOf(message) {
	case noticeTools, noticePrompts:
		e.d.relist(e.caller, e.server.Name, e.connection)
		return nil
	case noticeResources:
		e.d.relist(e.caller, e.server.Name, e.connection)
		if e.listener != nil {
			e.listener.resourcesChanged(e.server.Name)
		}
		return nil
	}
	names := e.d.names(e.caller, e.server, e.connection)
	if e.of != nil {
		names = e.d.namesOf(e.caller, e.server, e.of)
	}
	exposed, err := names.Message(message)
	if err != nil {
		return nil // what cannot be read, no client can either
	}
	if e.listener == nil || !tells(message) {
		return exposed
	}
	ctx := context.Background() //nolint:forbidigo // of no request: the server speaks on its own
	out, err := e.d.aside(ctx, e.caller, e.server.Name).message(exposed)
	if err != nil {
		e.d.Log.InfoContext(ctx, "message not delivered", slog.String(obs.AttrServer, e.server.Name), obs.Fault(err))
	}
	return out
}

// tells reports whether a notification says more than that something has changed.
func tells(message []byte) bool {
	method := wire.Get(message, "method")
	return !wire.EqualString(method, noticeUpdated) && !wire.EqualString(method, "notifications/elicitation/complete")
}

// noticeOf returns the method of a notification if it is one that dispatch acts on, else "".
func noticeOf(message []byte) string {
	var m wire.Message
	if wire.Scan(message, &m) != nil {
		return ""
	}
	method := m.Method.Of(message)
	for _, known := range [...]string{noticeTools, noticePrompts, noticeResources} {
		if wire.EqualString(method, known) {
			return known
		}
	}
	return ""
}
