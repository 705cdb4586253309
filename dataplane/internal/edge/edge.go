// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/gate"
	"github.com/penstockhq/penstock/dataplane/internal/edge/measure"
	"github.com/penstockhq/penstock/dataplane/internal/edge/metadata"
	"github.com/penstockhq/penstock/dataplane/internal/edge/valid"
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
	// Faults: Unauthenticated with reason TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED, Public being the
	// error_description (RS-3, RS-4); Invalid for a malformed or repeated header or a token in the query (RS-7); Denied if the principal may not
	// use the gateway (RS-6); Unavailable or Exhausted with a time to wait.
	Authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error)
}

// Dispatcher answers what edge does not answer by itself (dispatch room).
type Dispatcher interface {
	// List returns one page of what the caller may see: method is tools/list, prompts/list, resources/list or
	// resources/templates/list. The page is in the form of c.Version; edge adds what a modern result has besides. cursor
	// is nil for the first page, else the client's, decoded. Faults: Invalid for a bad cursor.
	List(ctx context.Context, c call.Caller, method string, cursor *string) (call.Page, error)

	// Call runs a request that an upstream answers and returns when it has ended, within a time of its own (M-49), early
	// only if ctx is canceled. Notifications of the call go to sink, whole and in order, before it returns; sink never
	// waits for the client and keeps no reference. A tool's failed execution is a Reply with isError; the faults left are
	// NotFound for everything that is not there for the caller (RS-21), Invalid, Denied for scopes (RS-5), Exhausted for
	// floods, Unavailable and Timeout for methods other than tools/call, MissingCapability, Canceled and Bug.
	Call(ctx context.Context, c call.Caller, k call.Call, sink func(message []byte) error) (call.Reply, error)

	// Attach has everything that the upstreams of a legacy session send outside of calls delivered, until detach is
	// called: questions go to c.Client.Asker, notifications, mapped for the client, to deliver (M-91).
	Attach(c call.Caller, deliver func(message []byte)) (detach func())

	// Subscribe returns the part of what a modern client wants that it can have (M-29). Faults: MissingCapability.
	Subscribe(c call.Caller, want call.Subscription) (honoured call.Subscription, err error)

	// Watch delivers notifications of an honoured subscription, mapped for the client, until ctx is canceled. That the
	// gateway itself changed is edge's to tell.
	Watch(ctx context.Context, c call.Caller, honoured call.Subscription, deliver func(message []byte))

	// Notify tells the upstreams of a legacy session what its client has told the node, such as
	// notifications/roots/list_changed. params is the raw object, nil if absent, valid until Notify returns.
	Notify(c call.Caller, method string, params []byte)

	// EndSession releases what upstreams hold for a legacy session that has ended.
	EndSession(session string)
}

// RateLimits counts requests (limit room). Its fault is Exhausted with the time to wait (G-50).
type RateLimits interface {
	Request(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal) error
}

// Health says whether this node may serve.
type Health interface {
	// StaleFor is how long the node has had no news from a control plane (D-62); zero while it has.
	StaleFor() time.Duration
	// Skewed reports whether the node's clock differs so much from the control plane's that it cannot tell what has expired.
	Skewed() bool
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
	Issuer        Issuer // nil if no gateway has OAuth
	Dispatcher    Dispatcher
	Sessions      *session.Manager
	Health        Health
	Telemetry     *obs.Telemetry
	Settings      Settings

	// RateLimits are those of gateways; nil: there are none.
	RateLimits RateLimits
	// Peers are the other nodes; nil for a node that is alone.
	Peers Peers
	// Held returns the name of the node that holds the call which the raw requestState of a retry of the principal is about
	// (bridge room), empty if it is about none or is not valid. nil: no call is looked for elsewhere.
	Held func(gatewayUID string, p ident.Principal, state []byte) (node string)
	// Home returns the name of the node where the process or session is that a call needs (dispatch room, M-94), empty if the
	// call can run here. nil: all can.
	Home func(ctx context.Context, c call.Caller, k call.Call) (node string)
	// Presented returns the token of an identity provider that a request was authenticated with, and the name of the provider (authn
	// room); both are empty for principals that proved themselves in another way. nil: no gateway takes such tokens.
	Presented func(r *http.Request, p ident.Principal) (token obs.Secret, provider string)
	// Refused is told of each tools/call of an authenticated principal that does not come to the Dispatcher, for the reason that err
	// gives (G-60). nil: nobody wants to know.
	Refused func(ctx context.Context, c call.Caller, k call.Call, err error)
}

// Settings are what an operator decides about the edge.
type Settings struct {
	// PublicURLs, AllowedOrigins and Loopback are those of [gate.Config]. The first public URL is the one that metadata
	// and challenges name.
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
	issuer   Issuer
	origin   string // of all URLs that clients are told
	dispatch Dispatcher
	sessions *session.Manager
	health   Health
	rates    RateLimits
	peers    Peers
	held     func(gatewayUID string, p ident.Principal, state []byte) string
	home     func(ctx context.Context, c call.Caller, k call.Call) string
	shown    func(r *http.Request, p ident.Principal) (obs.Secret, string)
	refused  func(ctx context.Context, c call.Caller, k call.Call, err error)
	log      *slog.Logger
	gate     *gate.Gate
	limits   Limits
	compat   bool
	build    string

	answers  *answer.Pool
	valid    valid.Checker
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
		view: c.View, authn: c.Authenticator, issuer: c.Issuer, dispatch: c.Dispatcher, sessions: c.Sessions, health: c.Health,
		rates: c.RateLimits, peers: c.Peers, held: c.Held, home: c.Home, shown: c.Presented, refused: c.Refused,
		log: c.Telemetry.Log, gate: gate, limits: c.Settings.Limits.orDefault(), compat: c.Settings.ChatGPTCompat,
		build: c.Settings.Build, draining: make(chan struct{}), idPrefix: newIDPrefix(),
	}
	if len(c.Settings.PublicURLs) > 0 {
		h.origin = Origin(c.Settings.PublicURLs[0])
	}
	if h.measure, err = measure.New(c.Telemetry); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	h.answers = answer.NewPool(func() { h.measure.Dropped.Add(1) })
	h.crowd = crowd.New(crowd.Count{Requests: h.limits.InFlight, Streams: h.limits.Streams})
	h.sessions.OnEnd(func(s *session.Session) { h.dispatch.EndSession(s.Key()) })
	h.requests.New = func() any { return &request{work: new(work)} }
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

// Drain ends GET streams, asking their clients to reconnect (M-95), and has every client that still sends on an open
// connection come back on another. Calls go on: the server that owns the handler waits for them. It may be called more than
// once, as by http.Server.RegisterOnShutdown.
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
const mcpPath = metadata.Gateways

// Origin returns an origin in the form that URLs of gateways have, canonical or not (AZ-6): scheme and host in lower case,
// without the default port.
func Origin(raw string) string {
	u, err := url.Parse(strings.ToLower(strings.TrimSuffix(raw, "/")))
	if err != nil {
		return raw
	}
	if port := u.Port(); (u.Scheme == "https" && port == "443") || (u.Scheme == "http" && port == "80") {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Scheme + "://" + u.Host
}

// Resources returns what the canonical resource of every gateway begins with; its name follows.
func Resources(raw string) string { return Origin(raw) + mcpPath }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer h.end(x)
	if !h.gate.HostAllowed(r.Host) {
		x.problem(http.StatusForbidden, "forbidden", "This host name is not served here.", "HOST_NOT_ALLOWED")
		return
	}
	if !x.path() {
		x.elsewhere()
		return
	}
	if !h.gate.CrossOrigin(w, r) {
		x.problem(http.StatusForbidden, "forbidden", "Pages of this origin may not call this gateway.", "ORIGIN_NOT_ALLOWED")
		return
	}
	if !x.findGateway(strings.TrimSuffix(x.named, "/")) {
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

// path reads how the path names a gateway; false if it names none.
func (x *request) path() (isMCP bool) {
	x.named, isMCP = strings.CutPrefix(x.r.URL.Path, mcpPath)
	x.named, x.toMessages = strings.CutSuffix(x.named, pathMessages)
	return isMCP
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
