// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Target is one upstream, resolved for one call. It is immutable.
type Target struct {
	// Server and Connection are names for errors and logs.
	Server, Connection string
	// URL is the server's Streamable HTTP endpoint.
	URL string
	// Version is the protocol version found by discovery, from the view. Empty
	// means not known: the first call probes (M-2).
	Version wire.Version
	// Header holds the resolved credential and the server's extra headers. It
	// wins over what clients pass through.
	Header http.Header
	// Key is the identity of connection and credential: it separates pools.
	Key string
	// PrincipalKey owns upstream sessions, unless Stateless (M-59).
	PrincipalKey string
	// Stateless says that the server keeps nothing about its callers, so that
	// they may share a session.
	Stateless bool
	// CallTimeout is restarted by progress (M-49). Default 60 s.
	CallTimeout time.Duration
	// MaxResponse bounds one message of the upstream in bytes. Default 10 MiB.
	MaxResponse int64
	// MaxConcurrent bounds calls under way for Key on this node; 0 is no bound.
	MaxConcurrent int
}

// Request is one request to send.
type Request struct {
	// Method is the MCP method, for example "tools/call".
	Method string
	// Params is the raw params object, already with the upstream's names; nil
	// if absent. Reserved _meta keys and the progress token in it are replaced
	// here (M-12, M-61).
	Params []byte
	// ProgressToken is the client's raw token, nil if it sent none. Only then
	// are progress notifications relayed (M-50).
	ProgressToken []byte
	// ClientVersion is the version of the client's side. A modern client's
	// logLevel passes to a modern upstream.
	ClientVersion wire.Version
	// Traceparent is sent as header, and in _meta to modern upstreams; empty
	// for none (M-56).
	Traceparent string
	// Passthrough are the client's headers that the gateway lets through
	// (G-40). What an upstream must not get from a client is dropped again.
	Passthrough http.Header
	// Idempotent says that running the request twice does no harm.
	Idempotent bool
}

// EventKind tells what an [Event] is.
type EventKind uint8

const (
	// Notification is a message without id from the upstream.
	Notification EventKind = iota
	// ServerRequest is a question of the upstream to the client. While no client
	// capabilities are declared upstream (M-59) the pool answers all of them by
	// itself, so no sink gets one.
	ServerRequest
)

// Event is one message that came before the response. It is valid until the
// sink returns.
type Event struct {
	Kind EventKind
	// Method is the method of the message, for example
	// "notifications/progress".
	Method string
	// Raw is the whole message, with the client's progress token.
	Raw []byte
}

// Result is the answer of an upstream; one of the two is set. The caller owns
// the bytes. They are as the upstream sent them: wire/convert makes them fit
// for a client.
type Result struct {
	// Raw is the result object.
	Raw []byte
	// Error is the JSON-RPC error object.
	Error []byte
}

// ServerInfo is what an upstream says about itself. Objects are raw JSON, nil
// where it said nothing.
type ServerInfo struct {
	// Version is the version to use with it from now on.
	Version      wire.Version
	Capabilities []byte
	ServerInfo   []byte
	Instructions string
}

// Config makes a [Pool].
type Config struct {
	// Dial opens connections; required. In production the guarded dialer of
	// kit/egress.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is for https upstreams; nil means the system's roots.
	TLS *tls.Config
	// ClientName and ClientVersion are the clientInfo that upstreams see.
	// Defaults "penstock" and "0".
	ClientName, ClientVersion string
	// MaxPerHost bounds the HTTP connections for one Key. Default 512.
	MaxPerHost int
	// SessionIdle is how long an unused upstream session is kept. Default
	// 10 min.
	SessionIdle time.Duration
	// MaxSessions bounds the upstream sessions kept; beyond it the longest idle
	// one is ended. Default 10,000.
	MaxSessions int
	// ProbeTimeout is how long a server may be silent to server/discover or
	// initialize. Default 10 s.
	ProbeTimeout time.Duration
	// CallCeiling ends a call whatever progress it makes. Default 15 min.
	CallCeiling time.Duration
	// Log may be nil.
	Log *slog.Logger
	// Meter may be nil.
	Meter metric.MeterProvider
}

const (
	defaultCallTimeout = 60 * time.Second
	defaultMaxResponse = 10 << 20
	// shortTimeout bounds what is sent beside a call: cancellations, answers to
	// an upstream's questions, the end of sessions.
	shortTimeout = 2 * time.Second
	// maxBackground bounds such requests under way; beyond it they are dropped.
	maxBackground = 64
)

// Pool is the upstream side of a node. It is safe for concurrent use.
type Pool struct {
	cfg     Config
	http    *httpclient.Client
	log     *slog.Logger
	dropped metric.Int64Counter

	clientInfo []byte // raw object
	agent      string // User-Agent
	ids        atomic.Int64
	messengers sync.Pool
	sessions   atomic.Int64

	mu     sync.RWMutex
	sites  map[siteKey]*site
	closed bool
	group  sync.WaitGroup // background requests
	slots  chan struct{}  // bounds them
}

// New checks the configuration and returns a Pool. It starts nothing; see
// [Pool.Run].
func New(cfg Config) (*Pool, error) {
	if cfg.Dial == nil {
		return nil, errors.New("upstream pool: Dial is required")
	}
	if cfg.SessionIdle < 0 || cfg.MaxSessions < 0 || cfg.ProbeTimeout < 0 || cfg.CallCeiling < 0 {
		return nil, errors.New("upstream pool: limits must not be negative")
	}
	def(&cfg.ClientName, "penstock")
	def(&cfg.ClientVersion, "0")
	def(&cfg.SessionIdle, 10*time.Minute)
	def(&cfg.MaxSessions, 10_000)
	def(&cfg.ProbeTimeout, 10*time.Second)
	def(&cfg.CallCeiling, 15*time.Minute)
	client, err := httpclient.New(httpclient.Config{Dial: cfg.Dial, TLS: cfg.TLS, MaxPerHost: cfg.MaxPerHost})
	if err != nil {
		return nil, fmt.Errorf("upstream pool: %w", err)
	}
	p := &Pool{
		cfg: cfg, http: client, log: cfg.Log,
		sites: make(map[siteKey]*site), slots: make(chan struct{}, maxBackground),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.messengers.New = func() any { return &messenger{} }
	info := wire.AppendString([]byte(`{"name":`), cfg.ClientName)
	info = wire.AppendString(append(info, `,"version":`...), cfg.ClientVersion)
	p.clientInfo = append(info, '}')
	p.agent = cfg.ClientName + "/" + cfg.ClientVersion
	if err := p.instrument(cfg.Meter); err != nil {
		return nil, fmt.Errorf("upstream pool: %w", err)
	}
	return p, nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// instrument makes the metrics of the room.
func (p *Pool) instrument(provider metric.MeterProvider) error {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter("github.com/penstockhq/penstock/dataplane/internal/upstream")
	var err error
	p.dropped, err = meter.Int64Counter("penstock_upstream_dropped_messages_total",
		metric.WithDescription("Messages of upstreams that belong to no request, and cancellations not sent."))
	if err != nil {
		return err
	}
	_, err = meter.Int64ObservableGauge(obs.MetricUpstreamPoolUsed,
		metric.WithDescription("HTTP connections to upstreams in use."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(p.http.Stats().Active))
			return nil
		}))
	if err != nil {
		return err
	}
	_, err = meter.Int64ObservableGauge("penstock_upstream_sessions",
		metric.WithDescription("Upstream sessions open."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(p.sessions.Load())
			return nil
		}))
	return err
}

// Run ends idle sessions and connections until ctx is cancelled and then
// returns nil. What is open then is ended by [Pool.Close].
func (p *Pool) Run(ctx context.Context) error {
	tick := time.NewTicker(min(p.cfg.SessionIdle, time.Minute) / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.http.Sweep()
			p.deleteSessions(ctx, p.idleSessions(now.Add(-p.cfg.SessionIdle)))
		}
	}
}

// Close ends all upstream sessions with DELETE, as far as ctx allows, waits for
// what runs beside calls, and closes the connections. Calls that come later
// fail.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.group.Wait()
	p.deleteSessions(ctx, p.idleSessions(time.Now().Add(time.Hour)))
	p.http.Close()
	return nil
}

// background runs f beside the call that asks for it, under a context of its
// own that ends after shortTimeout. Close waits for it. If too many run or the
// pool is closing, f is dropped and counted.
func (p *Pool) background(ctx context.Context, f func(context.Context)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if !p.closed {
		select {
		case p.slots <- struct{}{}:
			// Detached: it is sent because the call's context has ended.
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), shortTimeout)
			p.group.Go(func() {
				defer func() { cancel(); <-p.slots }()
				f(short)
			})
			return
		default:
		}
	}
	p.dropped.Add(ctx, 1)
}
