// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/gate"
	"github.com/penstockhq/penstock/dataplane/internal/edge/measure"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Authenticator says who sends a request (authn room).
type Authenticator interface {
	// Authenticate returns the principal of a request to a gateway that it may use. It reads the headers and the query
	// of r, never the body, and may be called again for the same request later, with a newer snapshot.
	//
	// Faults: Unauthenticated with reason TOKEN_MISSING or TOKEN_INVALID, Public being the error_description (RS-3,
	// RS-4); Invalid for a malformed or repeated header or a token in the query (RS-7); Denied if the principal may not
	// use the gateway (RS-6); Unavailable or Exhausted with a time to wait.
	Authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error)
}

// Dispatcher answers what edge does not answer by itself (dispatch room).
type Dispatcher interface {
	// ListTools returns one page of the tools that the caller may see, as a raw result object in the form of c.Version
	// whose members are tools and, if there are more, nextCursor, and no others: edge adds what a modern result has
	// besides. cursor is empty for the first page. Faults: Invalid for a bad cursor.
	ListTools(ctx context.Context, c call.Caller, cursor string) (result []byte, err error)

	// CallTool runs a tool call and returns when it has ended, within a time of its own (M-49), early only if ctx is
	// canceled. Notifications of the call go to sink, whole and in order, before it returns; sink never waits for the
	// client and keeps no reference. A failed execution is a Reply with isError; the faults left are NotFound for every
	// tool that is not there for the caller (RS-21), Invalid, Denied for scopes (RS-5), Exhausted for floods, Canceled
	// and Bug.
	CallTool(ctx context.Context, c call.Caller, t call.Call, sink func(message []byte) error) (call.Reply, error)
}

// Health says whether this node may serve.
type Health interface {
	// StaleFor is how long the node has had no news from a control plane (D-62); zero while it has.
	StaleFor() time.Duration
	// Draining reports whether the node is shutting down.
	Draining() bool
}

// Limits bound what clients may take of a node; zero fields take the defaults of mcp.md §2.1.
type Limits struct {
	Body     int64 // request body in bytes; 4 MiB
	InFlight int   // requests in flight per principal and gateway; 256
	Streams  int   // GET streams per principal and gateway; 32
}

// Config is what [New] needs.
type Config struct {
	View          *view.Holder
	Authenticator Authenticator
	Dispatcher    Dispatcher
	Sessions      *session.Manager
	Health        Health
	Telemetry     *obs.Telemetry
	Settings      Settings
}

// Settings are what an operator decides about the edge.
type Settings struct {
	// PublicURLs, AllowedOrigins and Loopback are those of [gate.Config].
	PublicURLs     []string
	AllowedOrigins []string
	Loopback       bool
	// ChatGPTCompat adds error and error_description to the challenge of a request without a token (RS-3).
	ChatGPTCompat bool
	// Build is the version that clients see as serverInfo.version.
	Build  string
	Limits Limits
}

// Handler serves everything on the MCP port of a node. It is safe for concurrent use.
type Handler struct {
	view     *view.Holder
	authn    Authenticator
	dispatch Dispatcher
	sessions *session.Manager
	health   Health
	log      *slog.Logger
	gate     *gate.Gate
	limits   Limits
	compat   bool
	build    string
	complete []byte // resultType of a finished result

	answers  *answer.Pool
	crowd    *crowd.Crowd
	measure  *measure.Instruments
	requests sync.Pool // of *request
	idPrefix string
	lastID   atomic.Uint64

	drainOnce sync.Once
	draining  chan struct{}
}

// New returns a handler. It starts nothing.
func New(c Config) (*Handler, error) {
	if c.View == nil || c.Authenticator == nil || c.Dispatcher == nil || c.Sessions == nil || c.Health == nil || c.Telemetry == nil {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "the edge needs all parts of its Config")
	}
	gate, err := gate.New(gate.Config{
		PublicURLs: c.Settings.PublicURLs, AllowedOrigins: c.Settings.AllowedOrigins, Loopback: c.Settings.Loopback,
	})
	if err != nil {
		return nil, err
	}
	h := &Handler{
		view: c.View, authn: c.Authenticator, dispatch: c.Dispatcher, sessions: c.Sessions, health: c.Health,
		log: c.Telemetry.Log, gate: gate, limits: c.Settings.Limits.orDefault(), compat: c.Settings.ChatGPTCompat,
		build: c.Settings.Build, complete: []byte(`"complete"`), draining: make(chan struct{}), idPrefix: newIDPrefix(),
	}
	if h.measure, err = measure.New(c.Telemetry); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	h.answers = answer.NewPool(func() { h.measure.Dropped.Add(1) })
	h.crowd = crowd.New(crowd.Count{Requests: h.limits.InFlight, Streams: h.limits.Streams})
	h.requests.New = func() any { return new(request) }
	return h, nil
}

func (l Limits) orDefault() Limits {
	if l.Body == 0 {
		l.Body = 4 << 20
	}
	if l.InFlight == 0 {
		l.InFlight = 256
	}
	if l.Streams == 0 {
		l.Streams = 32
	}
	return l
}

// Drain refuses new requests with 503 and ends GET streams, asking their clients to reconnect (M-95). Calls in flight
// go on: the server that owns the handler waits for them. It may be called more than once, as by
// http.Server.RegisterOnShutdown.
func (h *Handler) Drain() { h.drainOnce.Do(func() { close(h.draining) }) }

// isDraining reports whether the node is shutting down, by either sign.
func (h *Handler) isDraining() bool {
	select {
	case <-h.draining:
		return true
	default:
		return h.health.Draining()
	}
}

// mcpPath is what the URL path of every gateway starts with.
const mcpPath = "/v1/mcp/"

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer h.end(x)
	if !h.gate.HostAllowed(r.Host) {
		x.problem(http.StatusForbidden, "forbidden", "This host name is not served here.", "HOST_NOT_ALLOWED")
		return
	}
	name, isMCP := strings.CutPrefix(r.URL.Path, mcpPath)
	if !isMCP {
		x.elsewhere()
		return
	}
	if !h.gate.CrossOrigin(w, r) {
		x.problem(http.StatusForbidden, "forbidden", "Pages of this origin may not call this gateway.", "ORIGIN_NOT_ALLOWED")
		return
	}
	if !x.findGateway(strings.TrimSuffix(name, "/")) {
		return
	}
	if r.Method == http.MethodOptions {
		x.preflight()
		return
	}
	if x.authenticate() {
		x.route()
	}
}

// begin takes a request from the pool; end gives it back.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *request {
	x, _ := h.requests.Get().(*request)
	x.h, x.w, x.r, x.started = h, w, r, time.Now()
	h.measure.InFlight.Add(1)
	return x
}

func (h *Handler) end(x *request) {
	h.measure.InFlight.Add(-1)
	h.measure.Request(x.r.Context(), x.status)
	if h.log.Enabled(x.r.Context(), slog.LevelDebug) {
		h.log.LogAttrs(x.r.Context(), slog.LevelDebug, "request answered",
			slog.String(obs.AttrRequestID, x.requestID()), slog.String(obs.AttrMethod, x.method),
			slog.Int(obs.AttrStatus, x.status), slog.Duration(obs.AttrDuration, time.Since(x.started)))
	}
	x.reset()
	h.requests.Put(x)
}
