// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

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
	// MaxStreams bounds the streams open for messages outside of calls; beyond
	// it sessions do without, and Watch fails. Default 16,384.
	MaxStreams int
	// ProbeTimeout is how long a server may be silent to server/discover or
	// initialize. Default 10 s.
	ProbeTimeout time.Duration
	// CallCeiling ends a call whatever progress it makes. Default 15 min.
	CallCeiling time.Duration
	// CircuitFailures in a row open the circuit of a connection (G-51). Default
	// 5.
	CircuitFailures int
	// CircuitPause is how long it stays open until its trial. Default 2 s.
	CircuitPause time.Duration
	// Registry shares the sessions of clients' sessions with other nodes; nil for
	// a node that is alone. Keys seal what it gets.
	Registry Registry
	Keys     *seal.Keyset
	// Streams says who hears them (M-91); nil for a node that is alone.
	Streams Streams
	// Log may be nil.
	Log *slog.Logger
	// Meter may be nil.
	Meter metric.MeterProvider
}

// Pool is the upstream side of a node. It is safe for concurrent use.
type Pool struct {
	cfg      Config
	http     *httpclient.Client
	link     *link.Engine
	log      *slog.Logger
	dropped  metric.Int64Counter
	sessions atomic.Int64  // on shelves
	gaps     atomic.Uint64 // how often the registry may have lost what it had
	lost     atomic.Bool   // the registry did not answer when it was asked last
	tried    atomic.Int64  // when it was asked beside a call because of that, in Unix nanoseconds

	mu       sync.RWMutex
	sites    map[siteKey]*site
	circuits map[circuitKey]*circuit
	attached map[string]*attachment // by session of the client
	ending   []*link.Session        // to be deleted by Run or Close
	closed   bool
}

// New checks the configuration and returns a Pool. It starts nothing; see
// [Pool.Run].
func New(cfg Config) (*Pool, error) {
	if cfg.Dial == nil {
		return nil, errors.New("upstream pool: Dial is required")
	}
	if cfg.SessionIdle < 0 || cfg.MaxSessions < 0 || cfg.MaxStreams < 0 || cfg.ProbeTimeout < 0 || cfg.CallCeiling < 0 ||
		cfg.CircuitFailures < 0 || cfg.CircuitPause < 0 {
		return nil, errors.New("upstream pool: limits must not be negative")
	}
	if cfg.Registry != nil && cfg.Keys == nil {
		return nil, errors.New("upstream pool: a registry needs keys")
	}
	def(&cfg.ClientName, "penstock")
	def(&cfg.ClientVersion, "0")
	def(&cfg.SessionIdle, 10*time.Minute)
	def(&cfg.MaxSessions, 10_000)
	def(&cfg.MaxStreams, 16_384)
	def(&cfg.ProbeTimeout, 10*time.Second)
	def(&cfg.CallCeiling, 15*time.Minute)
	def(&cfg.CircuitFailures, 5)
	def(&cfg.CircuitPause, 2*time.Second)
	client, err := httpclient.New(httpclient.Config{Dial: cfg.Dial, TLS: cfg.TLS, MaxPerHost: cfg.MaxPerHost})
	if err != nil {
		return nil, fmt.Errorf("upstream pool: %w", err)
	}
	p := &Pool{
		cfg: cfg, http: client, log: cfg.Log, sites: make(map[siteKey]*site), circuits: make(map[circuitKey]*circuit),
		attached: make(map[string]*attachment),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if err := p.instrument(cfg.Meter); err != nil {
		return nil, fmt.Errorf("upstream pool: %w", err)
	}
	p.link = link.New(link.Config{
		HTTP: client, ClientName: cfg.ClientName, ClientVersion: cfg.ClientVersion, ProbeTimeout: cfg.ProbeTimeout,
		CallCeiling: cfg.CallCeiling, MaxStreams: cfg.MaxStreams, Dropped: p.dropped, Attached: p.give, Lost: p.revive,
		Elsewhere: p.elsewhere, Heard: p.heard, Reached: p.reached,
	})
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
	if err = p.observeCircuits(meter); err != nil {
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
			p.deleteSessions(ctx, p.idleSessions(now, p.cfg.SessionIdle))
		}
	}
}

// Close ends all streams, and all upstream sessions with DELETE, as far as ctx
// allows, but those that other nodes can go on with (M-95); it waits for what runs beside calls, and closes the connections. Calls
// that come later fail.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.link.Close()
	all := p.idleSessions(time.Now(), -1000*time.Hour)
	p.deleteSessions(ctx, slices.DeleteFunc(all, func(ses *link.Session) bool {
		if ses.Kept != nil {
			ses.Hush()
		}
		return ses.Kept != nil
	}))
	p.http.Close()
	return nil
}
