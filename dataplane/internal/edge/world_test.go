// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
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

	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/view"
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
	rates     edge.RateLimits
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
	w.sessions, err = session.New(session.Config{Keys: keys, Store: memstate.NewSessions(), Log: log, Limits: o.limits})
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
		Telemetry: o.telemetry, Settings: o.settings, RateLimits: o.rates,
		Presented: func(r *http.Request, _ ident.Principal) (obs.Secret, string) {
			return obs.Secret(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")), "okta"
		},
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
	for _, name := range []string{"echo", "fail", "progress", "raw-error", "meta", "wait", "down", "slow", "bug", "flood", "denied", "größe", "panic", "nothing", "canceled", "question", "steps", "wait-flood"} {
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
	putFull(b)
	return b
}

// putFull adds gateways that show all that a server can have, and one that lets other methods through.
func putFull(b *view.Builder) {
	all := compile.Capabilities{
		Prompts: true, PromptsChanged: true, Resources: true, ResourcesChanged: true, ResourcesWatched: true, Tools: true,
		Completions: true, Logging: true, Tasks: true,
		Extensions: map[string][]byte{compile.ExtensionTasks: []byte(`{}`), "io.modelcontextprotocol/ui": []byte(`{"mimeTypes":["text/html"]}`)},
	}
	old := all
	old.Extensions = nil
	b.PutServer("all", &view.Server{Name: "all", Protocol: modern, Capabilities: all, Instructions: "Be kind.", Prompts: []compile.Listed{{Name: "greet", Body: []byte(`{"name":"greet"}`)}}})
	b.PutServer("old", &view.Server{Name: "old", Protocol: newest, Capabilities: old})
	var tools []*view.Tool
	for name := range special() {
		tools = append(tools, tool(name, anyObject))
	}
	tools = append(tools, tool("client", anyObject), tool("needs-forms", anyObject), tool("echo", anyObject),
		tool("bad-headers", `{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}`))
	b.PutGateway(gateway(compile.Gateway{
		Name: "full", UID: "g-full", Visibility: view.Visibility{Organization: true}, BearerTokens: true, ListTTL: time.Minute,
		Extensions: []string{compile.ExtensionTasks, "io.modelcontextprotocol/ui"}, Instructions: "All of it.",
		Features: []compile.Feature{
			{Server: "all", Connection: "all", Prompts: true, Resources: true, Instructions: true},
			{Server: "old", Connection: "old", Prompts: true, Resources: true},
		},
	}, append(tools, &view.Tool{Exposed: "of-old", Upstream: "of-old", Name: "old/of-old", Server: "old", Body: definition(`{"name":"of-old"}`)})...))
	b.PutGateway(gateway(compile.Gateway{
		Name: "open", UID: "g-open", Visibility: view.Visibility{Organization: true}, BearerTokens: true, Passthrough: true,
	}))
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
	p := ident.Principal{Kind: ident.KindUser, UID: "u-" + token, Name: token + "@example.com", Method: "bearer_token", Expires: at, Scopes: []string{"mcp"}}
	if !s.MayUse(g, p) {
		return ident.Principal{}, fault.New(fault.Denied, "GATEWAY_ACCESS_DENIED", "You may not use this gateway.")
	}
	return p, nil
}

type health struct {
	stale    atomic.Int64
	draining atomic.Bool
	skewed   atomic.Bool
}

func (h *health) StaleFor() time.Duration { return time.Duration(h.stale.Load()) }
func (h *health) Skewed() bool            { return h.skewed.Load() }
func (h *health) Draining() bool          { return h.draining.Load() }

// definition is a tool's definition kept as it is.
type definition string

func (d definition) Bytes() []byte { return []byte(d) }

func (d definition) Len() int { return len(d) }
