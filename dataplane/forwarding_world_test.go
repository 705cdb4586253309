// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/dataplane/internal/forward/home"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

// pair is two nodes of a region, a and b, with one server behind them. Each has its own listener for clients and for the other
// node, mutual TLS between them; what they share is the board and the keyset.
type pair struct {
	t      *testing.T
	origin *origin
	a, b   *fleetNode
	board  *memstate.Nodes
	homes  *memstate.Homes
	ca     *tlsxtest.CA
	keys   *seal.Keyset
}

// fleetNode is a node of a fleet, without a control plane.
type fleetNode struct {
	relayed
	pair       *pair
	web        *httptest.Server
	forwarding *forwarding
	draining   atomic.Bool
	serving    *http.Server // for the other node
	stop       context.CancelFunc
}

func (n *fleetNode) StaleFor() time.Duration { return 0 }
func (n *fleetNode) Skewed() bool            { return false }
func (n *fleetNode) Draining() bool          { return n.draining.Load() }

// byName knows people by "Bearer <name>", and asks the view who may use what.
type byName struct{}

func (byName) Authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ident.Principal{}, fault.New(fault.Unauthenticated, "TOKEN_MISSING", "Authentication required")
	}
	p := ident.Principal{Kind: ident.KindUser, UID: "u-" + name, Name: name, Method: "bearer_token", Scopes: []string{"mcp"}}
	if !s.MayUse(g, p) {
		return p, fault.New(fault.Denied, "GATEWAY_ACCESS_DENIED", "You may not use this gateway.")
	}
	return p, nil
}

func newPair(t *testing.T, legacy bool) *pair {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, board: memstate.NewNodes(), homes: memstate.NewHomes(), ca: tlsxtest.NewCA(t, "penstock.test"), keys: keys, origin: newOrigin(t, legacy)}
	p.a, p.b = p.node("node-a"), p.node("node-b")
	for _, n := range []*fleetNode{p.a, p.b} { // both are on the board before one reads it
		n.begin()
	}
	p.publish(func(*view.Builder) {}, p.a, p.b)
	return p
}

// node starts a node.
func (p *pair) node(name string) *fleetNode {
	p.t.Helper()
	self := ident.Workload{TrustDomain: "penstock.test", Region: "eu", Role: ident.RoleNode, Name: name}
	n := &fleetNode{relayed: relayed{keys: p.keys, name: name}, pair: p}
	log, files := slog.New(slog.DiscardHandler), p.ca.Files(p.t, self)
	must := func(err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	f := &forwarding{listener: l, within: 5 * time.Second}
	f.registry = forward.NewRegistry(p.board, forward.Node{Name: name, Address: l.Addr().String(), Generation: 1}, log)
	f.client, err = forward.NewClient(forward.ClientConfig{
		Registry: f.registry, Self: self, TLS: files, Log: log, Meter: metricnoop.NewMeterProvider(),
	})
	must(err)
	f.server, err = forward.NewServer(forward.ServerConfig{
		Self: self, TLS: files, Log: log, Draining: n.draining.Load,
		Serve: func(w http.ResponseWriter, r *http.Request, c forward.Carried) {
			n.edge.ServeForwarded(w, r, c.GatewayUID, c.Principal)
		},
	})
	must(err)
	f.homes = home.New(p.homes, name, log)
	n.forwarding, n.homes = f, f.homes
	n.start(p.t, new(net.Dialer).DialContext, func(r *relayed, c *edge.Config) {
		c.Health, c.Authenticator = n, byName{}
		f.offer(c, r.between, r.calls)
	})
	must(p.board.Announce(p.t.Context(), f.registry.Self(), forward.Lease))
	return n
}

// begin has the node serve, until the test ends.
func (n *fleetNode) begin() {
	p, f := n.pair, n.forwarding
	n.serving = f.server.HTTP()
	n.web = httptest.NewServer(n.edge)
	var running sync.WaitGroup
	running.Go(func() {
		if err := n.serving.ServeTLS(f.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			p.t.Error(err)
		}
	})
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.WithoutCancel(p.t.Context()))
	for _, task := range []func(context.Context) error{f.registry.Run, f.homes.Run} {
		running.Go(func() {
			if err := task(ctx); err != nil {
				p.t.Error(err)
			}
		})
	}
	p.t.Cleanup(func() {
		n.stop()
		n.web.CloseClientConnections()
		n.web.Close()
		_ = n.serving.Close()
		if err := f.client.Close(); err != nil {
			p.t.Error(err)
		}
		running.Wait()
	})
}

// publish gives nodes a view: the server behind one gateway that ada and bob may use.
func (p *pair) publish(change func(*view.Builder), nodes ...*fleetNode) {
	p.t.Helper()
	b := view.From(nil)
	for _, name := range []string{"ada", "bob"} {
		b.PutUser(name, &view.User{Name: name, UID: "u-" + name})
	}
	s := &view.Server{Name: "srv", URL: p.origin.url, Protocol: modernVersion}
	if p.origin.legacy {
		s.Protocol = legacyVersion
	}
	p.a.putServer(b, s, aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`))
	change(b)
	for _, n := range nodes {
		n.holder.Publish(b.Build("e", uint64(time.Now().UnixNano())))
	}
}

// kill takes a node away from the others, as a lost machine.
func (n *fleetNode) kill() {
	_ = n.serving.Close()
	n.stop()
}

// drain is what a node does on SIGTERM, but for ending.
func (n *fleetNode) drain() {
	n.draining.Store(true)
	n.forwarding.drain(n.pair.t.Context())
	n.edge.Drain()
}

// caller is a client of the pair: it sends to whichever node it likes.
type caller struct {
	t       *testing.T
	pair    *pair
	name    string
	session string
	modern  bool
}

func (p *pair) caller(name string) *caller { return &caller{t: p.t, pair: p, name: name} }

// send makes a request at a node.
func (c *caller) send(ctx context.Context, at *fleetNode, method, path, body string, header ...string) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, at.web.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Authorization", "Bearer "+c.name)
	if c.session != "" {
		r.Header.Set("Mcp-Session-Id", c.session)
	}
	if c.modern {
		r.Header.Set("Mcp-Protocol-Version", modernVersion)
		r.Header.Set("Mcp-Method", "tools/call")
		r.Header.Set("Mcp-Name", "srv__echo")
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	resp, err := at.web.Client().Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// do sends a message and reads its answer to the end.
func (c *caller) do(at *fleetNode, body string, header ...string) rsReply {
	c.t.Helper()
	return c.read(c.send(c.t.Context(), at, "POST", "/v1/mcp/srv", body, header...)) //nolint:bodyclose // read closes it
}

func (c *caller) read(resp *http.Response) rsReply {
	c.t.Helper()
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return rsReply{resp.StatusCode, resp.Header, string(text)}
}

// initialize opens a legacy session at a node.
func (c *caller) initialize(at *fleetNode) {
	c.t.Helper()
	got := c.do(at, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+legacyVersion+`","capabilities":`+declaredForms+
		`,"clientInfo":{"name":"c","version":"1"}}}`)
	if c.session = got.header.Get("Mcp-Session-Id"); c.session == "" {
		c.t.Fatalf("no session: %+v", got)
	}
}

// eventStream is one of events.
type eventStream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Reader
}

func (c *caller) stream(resp *http.Response) *eventStream {
	c.t.Helper()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		c.t.Fatalf("no stream: %+v", c.read(resp))
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	return &eventStream{c.t, resp, bufio.NewReader(resp.Body)}
}

// event returns the id and the data of the next event that has data.
func (s *eventStream) event() (id, data string) {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ends: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if text, ok := strings.CutPrefix(line, "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok && text != "" {
			return id, text
		}
	}
}
