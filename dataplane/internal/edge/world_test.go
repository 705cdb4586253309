// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	engUID   = "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c11"
	salesUID = "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c12"
)

// world is a handler with everything it stands on. What the root fills in are fakes that keep state; the rest is real.
type world struct {
	*edge.Handler
	holder   *view.Holder
	sessions *session.Manager
	authn    *authenticator
	calls    *dispatcher
	health   *health
}

type options struct {
	settings  edge.Settings
	telemetry *obs.Telemetry
	limits    session.Limits
	empty     bool // no view yet
}

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w := &world{holder: view.NewHolder(), authn: &authenticator{}, calls: newDispatcher(), health: &health{}}
	w.sessions, err = session.New(session.Config{Keys: keys, Store: session.NewMemory(), Log: log, Limits: o.limits})
	if err != nil {
		t.Fatal(err)
	}
	if o.telemetry == nil {
		o.telemetry = &obs.Telemetry{Log: log, Tracer: tracenoop.NewTracerProvider(), Meter: noop.NewMeterProvider()}
	}
	if len(o.settings.PublicURLs) == 0 {
		o.settings.PublicURLs = []string{"https://gw.example.com"}
		o.settings.AllowedOrigins = []string{"https://app.example.com"}
		o.settings.Loopback = true
	}
	o.settings.Build = "1.2.3"
	w.Handler, err = edge.New(edge.Config{
		View: w.holder, Authenticator: w.authn, Dispatcher: w.calls, Sessions: w.sessions, Health: w.health,
		Telemetry: o.telemetry, Settings: o.settings,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !o.empty {
		w.holder.Publish(firstView().Build("e", 1))
	}
	return w
}

// tool is an assignment whose definition has a schema.
func tool(name, schema string) *view.Tool {
	return &view.Tool{
		Exposed: name, Upstream: name, Name: "srv/" + name, Server: "srv",
		Body: definition(`{"name":"` + name + `","inputSchema":` + schema + `}`),
	}
}

func engGateway(tools ...*view.Tool) *view.Gateway {
	return gateway(compile.Gateway{
		Name: "eng", UID: engUID, DisplayName: "Engineering tools", Instructions: "Ask before you write.",
		Visibility: view.Visibility{Teams: []string{"eng"}}, BearerTokens: true, ListTTL: time.Minute,
	}, tools...)
}

func gateway(g compile.Gateway, tools ...*view.Tool) *view.Gateway {
	return &view.Gateway{Gateway: g, Tools: tools}
}

const anyObject = `{"type":"object"}`

func engTools() []*view.Tool {
	tools := []*view.Tool{tool("region", `{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},`+
		`"n":{"type":"integer","x-mcp-header":"N"},"o":{"type":"object","properties":{"b":{"type":"boolean","x-mcp-header":"B"}}}}}`)}
	for _, name := range []string{"echo", "fail", "progress", "raw-error", "meta", "wait", "down", "slow", "bug", "flood", "denied", "größe", "panic", "nothing", "canceled"} {
		tools = append(tools, tool(name, anyObject))
	}
	return tools
}

// firstView has ada and bob, of whom ada is in team eng, and a gateway for each special case.
func firstView() *view.Builder {
	b := view.From(nil)
	b.PutUser("ada@example.com", &view.User{Name: "ada@example.com", UID: "u-ada"})
	b.PutUser("bob@example.com", &view.User{Name: "bob@example.com", UID: "u-bob"})
	b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng", Members: map[string]struct{}{"ada@example.com": {}}})
	b.PutGateway(engGateway(engTools()...))
	org := view.Visibility{Organization: true}
	b.PutGateway(gateway(compile.Gateway{Name: "sales", UID: salesUID, Visibility: org, BearerTokens: true}))
	b.PutGateway(gateway(compile.Gateway{Name: "keyless", UID: "g-keyless", Visibility: org}))
	b.PutGateway(gateway(compile.Gateway{Name: "fresh", UID: "g-fresh", Visibility: org, BearerTokens: true, MaxStale: time.Minute}))
	return b
}

// authenticator knows people by "Bearer <first name>", takes tokens away on demand, and asks the view who may use what.
type authenticator struct {
	mu      sync.Mutex
	revoked map[string]bool
	expires map[string]time.Time
	err     error // answers everything
}

func (a *authenticator) revoke(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked == nil {
		a.revoked = map[string]bool{}
	}
	a.revoked[token] = true
}

func (a *authenticator) expire(token string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.expires == nil {
		a.expires = map[string]time.Time{}
	}
	a.expires[token] = at
}

func (a *authenticator) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// Authenticate implements edge.Authenticator.
func (a *authenticator) Authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return ident.Principal{}, a.err
	}
	values := r.Header.Values("Authorization")
	if len(values) > 1 || r.URL.Query().Has("access_token") {
		return ident.Principal{}, fault.New(fault.Invalid, "INVALID_REQUEST", "A token stands in one Authorization header.")
	}
	scheme, token, _ := strings.Cut(strings.Join(values, ""), " ")
	if !strings.EqualFold(scheme, "bearer") && g.BearerTokens {
		return ident.Principal{}, fault.New(fault.Unauthenticated, "TOKEN_MISSING", "Authentication required")
	}
	if token == "" && scheme != "" {
		return ident.Principal{}, fault.New(fault.Invalid, "INVALID_REQUEST", "The Authorization header holds no token.")
	}
	if !g.BearerTokens && token == "" {
		return ident.Principal{}, fault.New(fault.Unauthenticated, "GATEWAY_NOT_READY", "No authentication method is configured.")
	}
	at := a.expires[token]
	known := slices.Contains([]string{"ada", "bob"}, token) && g.BearerTokens
	if !known || a.revoked[token] || (!at.IsZero() && !time.Now().Before(at)) {
		return ident.Principal{}, fault.New(fault.Unauthenticated, "TOKEN_INVALID", "The token is invalid or \"expired\".\r\nX: y")
	}
	p := ident.Principal{Kind: ident.KindUser, UID: "u-" + token, Name: token + "@example.com", Method: "bearer_token", Expires: at}
	if !s.MayUse(g, p) {
		return ident.Principal{}, fault.New(fault.Denied, "GATEWAY_ACCESS_DENIED", "You may not use this gateway.")
	}
	return p, nil
}

// dispatcher lists what the view has and runs tools by their name. It remembers the calls.
type dispatcher struct {
	mu      sync.Mutex
	seen    []call.Caller
	started chan struct{} // one value for each tool wait that began
	release chan struct{} // closed or fed to let them end
	ended   chan error    // cause of their context, nil if released
}

func newDispatcher() *dispatcher {
	return &dispatcher{started: make(chan struct{}, 512), release: make(chan struct{}), ended: make(chan error, 512)}
}

func (d *dispatcher) last(t *testing.T) call.Caller {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.seen) == 0 {
		t.Fatal("nothing was dispatched")
	}
	return d.seen[len(d.seen)-1]
}

func (d *dispatcher) saw(c call.Caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, c)
}

// ListTools implements edge.Dispatcher.
func (d *dispatcher) ListTools(_ context.Context, c call.Caller, cursor string) ([]byte, error) {
	d.saw(c)
	if cursor != "" && cursor != "next" {
		return nil, fault.New(fault.Invalid, "CURSOR_INVALID", "The cursor is not valid.")
	}
	b := []byte(`{"tools":[`)
	for i, t := range c.Snapshot.Tools(c.Gateway) {
		if i == 2 { // enough for a test
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, t.Body.Bytes()...)
	}
	if cursor == "" {
		return append(b, `],"nextCursor":"next"}`...), nil
	}
	return append(b, `]}`...), nil
}

const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`

// CallTool implements edge.Dispatcher.
func (d *dispatcher) CallTool(ctx context.Context, c call.Caller, t call.Call, sink func([]byte) error) (call.Reply, error) {
	d.saw(c)
	if c.Snapshot.Tool(c.Gateway, t.Name) == nil {
		return call.Reply{}, fault.New(fault.NotFound, "TOOL_NOT_FOUND", "Unknown tool")
	}
	text := func(s string) call.Reply {
		return call.Reply{Result: append(wire.AppendString([]byte(`{"content":[{"type":"text","text":`), s), `}]}`...)}
	}
	switch t.Name {
	case "fail":
		return call.Reply{Result: []byte(`{"content":[{"type":"text","text":"no"}],"isError":true}`), IsError: true}, nil
	case "progress":
		for _, done := range []string{"1", "2"} {
			if t.ProgressToken != nil {
				_ = sink([]byte(progress + string(t.ProgressToken) + `,"progress":` + done + `,` + "\n" + `"total":2}}`))
			}
		}
		return text("done"), nil
	case "raw-error":
		return call.Reply{Error: []byte(`{"code":-32042,"message":"open the link","data":{"elicitations":[]}}`)}, nil
	case "meta":
		return call.Reply{Result: []byte(`{ "_meta" : {"x.example/big":12345678901234567890, ` +
			`"io.modelcontextprotocol/serverInfo":{"name":"upstream","version":"9"}}, "resultType":"complete", "content":[], "extra":1.0 }`)}, nil
	case "wait":
		return d.wait(ctx)
	case "panic":
		panic("tool panics")
	case "nothing":
		return call.Reply{}, nil
	case "canceled":
		return call.Reply{}, fault.New(fault.Canceled, "CANCELED", "An upstream canceled.")
	case "down":
		return call.Reply{}, fault.New(fault.Unavailable, "UPSTREAM_UNAVAILABLE", "The server srv cannot be reached.")
	case "slow":
		return call.Reply{}, context.DeadlineExceeded
	case "bug":
		return call.Reply{}, errors.New("secret detail")
	case "flood":
		return call.Reply{}, fault.New(fault.Exhausted, "FLOOD", "Too many calls.").After(1500 * time.Millisecond)
	case "denied":
		return call.Reply{}, fault.New(fault.Denied, "INSUFFICIENT_SCOPE", "The token lacks a scope.")
	}
	return text(string(t.Message.P.Arguments.Of(t.Body))), nil
}

func (d *dispatcher) wait(ctx context.Context) (call.Reply, error) {
	d.started <- struct{}{}
	select {
	case <-d.release:
		d.ended <- nil
		return call.Reply{Result: []byte(`{"content":[]}`)}, nil
	case <-ctx.Done():
		d.ended <- context.Cause(ctx)
		return call.Reply{}, ctx.Err()
	}
}

type health struct {
	stale    atomic.Int64
	draining atomic.Bool
}

func (h *health) StaleFor() time.Duration { return time.Duration(h.stale.Load()) }
func (h *health) Draining() bool          { return h.draining.Load() }

// definition is a tool's definition kept as it is.
type definition string

func (d definition) Bytes() []byte { return []byte(d) }

func (d definition) Len() int { return len(d) }
