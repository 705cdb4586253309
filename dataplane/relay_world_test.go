// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/penstockhq/penstock/dataplane/internal/bridge"
	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// The versions of the two eras that clients and servers speak here.
const (
	modernVersion = "2026-07-28"
	legacyVersion = "2025-11-25"
)

// relayed is everything of a node that a message passes, composed as [Node.open] does, without a control plane to follow:
// edge, sessions, dispatch, bridge and the pool of upstreams are real.
type relayed struct {
	holder  *view.Holder
	pool    *upstream.Pool
	between *bridge.Bridge
	calls   *dispatch.Dispatcher
	edge    *edge.Handler

	keys  *seal.Keyset   // of the fleet; made if nil
	name  string         // of the node
	homes dispatch.Homes // nil: the node is alone

	shared *redisstate.Sessions // nil: likewise
	marks  taint.Store          // of contexts; in memory if nil

	credentials *credential.Client // nil: no server needs any

	upstreamCalls atomic.Int64
}

// anybody lets every request in as one person.
type anybody struct{}

func (anybody) Authenticate(*view.Snapshot, *view.Gateway, *http.Request) (ident.Principal, error) {
	return ident.Principal{Kind: ident.KindUser, UID: "u-ada", Name: "ada@example.com", Scopes: []string{"mcp"}}, nil
}

// well is a node that serves.
type well struct{}

func (well) StaleFor() time.Duration { return 0 }
func (well) Skewed() bool            { return false }
func (well) Draining() bool          { return false }

func newRelayed(t testing.TB, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *relayed {
	t.Helper()
	return newRelayedWith(t, dial, func(*relayed, *edge.Config) {})
}

// newRelayedWith is newRelayed with an edge of another configuration.
func newRelayedWith(
	t testing.TB, dial func(ctx context.Context, network, addr string) (net.Conn, error), adapt func(n *relayed, c *edge.Config),
) *relayed {
	t.Helper()
	n := &relayed{name: "node"}
	n.start(t, dial, adapt)
	return n
}

// start makes the rooms of a node that has a name.
func (n *relayed) start(
	t testing.TB, dial func(ctx context.Context, network, addr string) (net.Conn, error), adapt func(n *relayed, c *edge.Config),
) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if n.keys == nil {
		n.keys, err = seal.Parse(seal.Generate())
		must(err)
	}
	keys := n.keys
	log := slog.New(slog.DiscardHandler)
	n.holder = view.NewHolder()
	own, outward := session.Config{Keys: keys, Store: memstate.NewSessions(), Log: log, Node: n.name}, upstream.Config{Dial: dial, Log: log}
	if n.shared != nil {
		own.Store, own.Fleet, outward.Registry, outward.Keys = n.shared, n.shared, n.shared, keys
	}
	sessions, err := session.New(own)
	must(err)
	outward.Streams = sessions
	n.pool, err = upstream.New(outward)
	must(err)
	sessions.Listens(n.pool)
	processes, err := stdio.New(stdio.Config{ClientVersion: "1", Log: log, Meter: metricnoop.NewMeterProvider(), MaxProcesses: 1})
	must(err)
	route := router{http: n.pool, stdio: processes, credentials: n.credentials, checked: func(string, string) { n.upstreamCalls.Add(1) }}
	between := bridge.New(bridge.Config{Upstream: route, Sealer: states{keys}, Node: n.name, Log: log})
	n.between = between
	var links dispatch.Links
	if n.credentials != nil {
		links = route
	}
	finder, err := search.New(search.Config{})
	must(err)
	if n.marks == nil {
		n.marks = memstate.NewContexts()
	}
	contexts, err := taint.New(taint.Config{Store: n.marks, Keys: keys, Log: log, Meter: metricnoop.NewMeterProvider().Meter("")})
	must(err)
	calls, err := dispatch.New(dispatch.Config{
		Upstream: between, Credentials: route, Links: links, Sealer: sealer{keys, time.Now}, Changed: func(string, string) {}, Log: log,
		Tracer: tracenoop.NewTracerProvider().Tracer(""), Meter: metricnoop.NewMeterProvider().Meter(""), Homes: n.homes, Search: finder,
		Contexts: contexts,
	})
	must(err)
	n.calls = calls
	config := edge.Config{
		View: n.holder, Authenticator: anybody{}, Dispatcher: calls, Sessions: sessions, Health: well{},
		Telemetry: &obs.Telemetry{Log: log, Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider()},
		Settings:  edge.Settings{PublicURLs: []string{"https://gw.example.com"}, Loopback: true, Build: "1.2.3"},
	}
	adapt(n, &config)
	n.edge, err = edge.New(config)
	must(err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = n.pool.Run(ctx) })
	running.Go(func() { _ = processes.Run(ctx) })
	running.Go(func() { _ = sessions.Run(ctx) })
	running.Go(func() { _ = contexts.Run(ctx) })
	t.Cleanup(func() {
		must(between.Close())
		calls.Close()
		must(n.pool.Close(ctx))
		must(processes.Close(ctx))
		stop()
		running.Wait()
	})
}

// putServer adds a server of one version, with one gateway of its name in front of it that shows everything, one called
// "<name>-named" at which resources carry the server's name, and one called "<name>-searched" that loads tools when needed.
func (n *relayed) putServer(b *view.Builder, s *view.Server, tools ...*view.Tool) {
	s.Questions = compile.Questions{Sampling: true, Elicitation: true, Roots: true}
	s.Capabilities = compile.Capabilities{
		Tools: true, Prompts: true, Resources: true, ResourcesWatched: true, ResourcesChanged: true, Completions: true, Logging: true,
	}
	b.PutServer(s.Name, s)
	b.PutConnection(s.Name, &view.Connection{Name: s.Name, UID: "c-" + s.Name, Server: s.Name})
	for _, name := range []string{s.Name, s.Name + "-named", s.Name + "-searched"} {
		b.PutGateway(&view.Gateway{
			Gateway: compile.Gateway{
				Name: name, UID: "g-" + name, Visibility: view.Visibility{Organization: true}, BearerTokens: true, AlwaysURIs: name == s.Name+"-named", LoadToolsWhenNeeded: name == s.Name+"-searched",
				Features: []compile.Feature{{Server: s.Name, Connection: s.Name, Prompts: true, Resources: true}},
			},
			Tools: tools,
		})
	}
}

// aTool is a tool of a server, whose name clients see with a prefix.
func aTool(server, name, definition string) *view.Tool {
	return &view.Tool{
		Exposed: server + compile.Separator + name, Upstream: name, Name: server + "/" + name, Server: server, Connection: server,
		Body: rawBody(definition),
	}
}

// rawBody is a definition kept as it is.
type rawBody string

func (d rawBody) Bytes() []byte { return []byte(d) }
func (d rawBody) Len() int      { return len(d) }

// origin is an MCP server that answers with exactly the bytes that a test gives. It opens a session if it is a legacy one.
type origin struct {
	t      testing.TB
	legacy bool
	url    string

	listen func(in *inbound) // answers GET; nil is 405

	mu      sync.Mutex
	answer  func(in *inbound) // requests but those of the session itself
	got     []received        // requests and responses since the last take
	replies chan received     // responses to its own requests
}

// received is what the server was sent.
type received struct {
	method, id             string
	params, result, refuse string // raw
	header                 http.Header
}

// inbound is a request that waits for its answer.
type inbound struct {
	received
	w http.ResponseWriter
	r *http.Request
}

func newOrigin(t testing.TB, legacy bool) *origin {
	t.Helper()
	o := &origin{t: t, legacy: legacy, replies: make(chan received, 16)}
	web := httptest.NewServer(o)
	t.Cleanup(web.Close)
	o.url = web.URL + "/mcp"
	return o
}

// take returns what the server was sent since the last time.
func (o *origin) take() []received {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := o.got
	o.got = nil
	return got
}

// answers sets what is done with requests from now on.
func (o *origin) answers(f func(in *inbound)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer, o.got = f, nil
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		if o.listen == nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		o.listen(&inbound{w: w, r: r})
		return
	case http.MethodDelete:
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node gave the request up
	}
	var m struct {
		Method                    string
		ID, Params, Result, Error json.RawMessage
	}
	if err := json.Unmarshal(body, &m); err != nil {
		o.t.Errorf("the node sent %q: %v", body, err)
		return
	}
	in := &inbound{received{m.Method, string(m.ID), string(m.Params), string(m.Result), string(m.Error), r.Header.Clone()}, w, r}
	switch {
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "upstream-session")
		in.result(`{"protocolVersion":"` + legacyVersion + `","capabilities":{"tools":{},"prompts":{},"resources":{}},"serverInfo":{"name":"s","version":"1"}}`)
	case m.Method == "server/discover":
		in.result(`{"resultType":"complete","supportedVersions":["` + modernVersion + `"],"capabilities":{"tools":{},"prompts":{},"resources":{}},"ttlMs":0,"cacheScope":"private"}`)
	case m.Method == "logging/setLevel":
		in.result(`{}`)
	case m.Method == "":
		o.replies <- in.received
		w.WriteHeader(http.StatusAccepted)
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	default:
		o.mu.Lock()
		o.got = append(o.got, in.received)
		answer := o.answer
		o.mu.Unlock()
		answer(in)
	}
}

// result answers with one JSON document, whose result is raw.
func (in *inbound) result(raw string) {
	in.w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(in.w, `{"jsonrpc":"2.0","id":`+in.id+`,"result":`+raw+`}`)
}

// fault answers with a JSON-RPC error object.
func (in *inbound) fault(raw string) {
	in.w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(in.w, `{"jsonrpc":"2.0","error":`+raw+`,"id":`+in.id+`}`)
}

// event sends one message on the answer, which becomes a stream with the first. Line breaks between tokens become lines of
// the event.
func (in *inbound) event(raw string) {
	if in.w.Header().Get("Content-Type") == "" {
		in.w.Header().Set("Content-Type", "text/event-stream")
	}
	text := strings.NewReplacer("\r\n", "\ndata: ", "\n", "\ndata: ", "\r", "\ndata: ").Replace(raw)
	_, _ = io.WriteString(in.w, "data: "+text+"\n\n")
	in.w.(http.Flusher).Flush()
}

// last ends the stream with the response.
func (in *inbound) last(raw string) {
	in.event(`{"jsonrpc":"2.0","id":` + in.id + `,"result":` + raw + `}`)
}
