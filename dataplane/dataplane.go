// SPDX-License-Identifier: Apache-2.0

// Package dataplane is the composition root of a node: it makes the rooms, fills the interfaces they declare, and runs
// them. It decides nothing itself.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/penstockhq/penstock/dataplane/internal/approval"
	"github.com/penstockhq/penstock/dataplane/internal/audit"
	"github.com/penstockhq/penstock/dataplane/internal/authn"
	"github.com/penstockhq/penstock/dataplane/internal/bridge"
	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/discover"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/explain"
	"github.com/penstockhq/penstock/dataplane/internal/follow"
	"github.com/penstockhq/penstock/dataplane/internal/issuer"
	"github.com/penstockhq/penstock/dataplane/internal/providers"
	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio"
	"github.com/penstockhq/penstock/dataplane/internal/usage"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/run"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/node"
)

const (
	serviceName  = "penstock-dataplane"
	tracerName   = "github.com/penstockhq/penstock/dataplane"
	opsDrain     = time.Second
	closeTimeout = 15 * time.Second
	maxHeader    = 64 << 10 // mcp.md §2.1
)

// Node is a data-plane node. Run is called once.
type Node struct {
	c        Config
	identity *identity // set by Run, before anything else
	draining atomic.Bool
	ready    chan struct{} // closed when everything listens
}

// New returns a node. It reads and starts nothing. The fault is Invalid, DATAPLANE_CONFIG_INVALID.
func New(c Config) (*Node, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Node{c: c, ready: make(chan struct{})}, nil
}

// Ready returns a channel that is closed when the node listens. It answers calls once it has a complete view.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// rooms are the parts of a running node.
type rooms struct {
	holder     *view.Holder
	redis      *redisx.Client // nil: the node is alone
	forwarding *forwarding    // nil: likewise
	rates      *rateLimits
	contexts   *taint.Tracker
	sessions   *session.Manager
	http       *upstream.Pool
	stdio      *stdio.Pool
	credential *credential.Client
	issuer     *issuer.Keeper
	providers  *providers.Keys
	health     *health
	follower   *node.Client
	discoverer *discover.Discoverer
	jobs       *tasks
	usage      *usage.Recorder
	audit      *audit.Recorder
	vectors    *embed.Vectors // nil: tools are searched by words alone
	edge       *edge.Handler
}

// Run loads the last known good configuration, follows a control plane and serves until ctx is canceled; then it refuses
// new requests, finishes the calls in flight, and returns nil.
func (n *Node) Run(ctx context.Context) (err error) {
	var closers run.Closers
	defer func() { err = errors.Join(err, closers.Close(ctx, closeTimeout)) }()
	mcp, err := run.Listen(n.c.MCP.Listen, "mcp.listen")
	if err != nil {
		return err
	}
	closers.Add("mcp.listen", func(context.Context) error { return closeListener(mcp) })
	var ops net.Listener
	if n.c.Ops.Listen != "" {
		if ops, err = run.Listen(n.c.Ops.Listen, "ops.listen"); err != nil {
			return err
		}
		closers.Add("ops.listen", func(context.Context) error { return closeListener(ops) })
	}
	if n.identity, err = n.openIdentity(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before a control plane could be reached
		}
		return err
	}
	r, err := n.open(&closers)
	if err != nil {
		return err
	}
	n.c.Telemetry.Log.InfoContext(ctx, "node started", obs.AttrVersion, n.c.Version, obs.AttrAddress, mcp.Addr().String())
	defer n.c.Telemetry.Log.InfoContext(ctx, "node stopped")
	close(n.ready)
	return n.run(ctx, r, mcp, ops)
}

// run starts the tasks. What calls need outlives the MCP server, which finishes its calls first.
func (n *Node) run(ctx context.Context, r *rooms, mcp, ops net.Listener) error {
	// Detached: the rooms behind calls are stopped when the MCP server has finished, not when ctx ends.
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tasks := []run.Task{
		{Name: "mcp", Run: func(context.Context) error {
			defer stop()
			err := n.serve(ctx, r, mcp)
			n.flushAudit(behind, r.audit)
			return err
		}},
		{Name: "certificate", Run: n.identity.run},
		{Name: "configuration", Run: r.follower.Run},
		{Name: "sessions", Run: r.sessions.Run},
		{Name: "rate limits", Run: r.rates.limiter.Run},
		{Name: "contexts", Run: r.contexts.Run},
		{Name: "http upstreams", Run: r.http.Run},
		{Name: "stdio upstreams", Run: r.stdio.Run},
		{Name: "credentials", Run: r.credential.Run},
		{Name: "issuer", Run: r.issuer.Run},
		{Name: "identity providers", Run: r.providers.Run},
		{Name: "health", Run: r.health.watch},
		{Name: "discovery", Run: r.discoverer.Run},
		{Name: "usage", Run: r.usage.Run},
		{Name: "audit", Run: r.audit.Run},
		run.Memory(func() bool { return r.holder.Load() != nil }),
	}
	tasks = append(append(tasks, r.forwarding.tasks()...), r.embeds()...)
	if ops != nil {
		tasks = append(tasks, run.HTTPServer("ops", ops, &http.Server{Handler: n.opsHandler(r), ReadHeaderTimeout: 10 * time.Second}, opsDrain))
	}
	return run.Group(behind, tasks...)
}

// open makes the rooms.
func (n *Node) open(closers *run.Closers) (*rooms, error) {
	t := n.c.Telemetry
	keys, err := n.keys()
	if err != nil {
		return nil, err
	}
	r := &rooms{holder: view.NewHolder()}
	name, err := n.openShared(r, closers)
	if err != nil {
		return nil, err
	}
	registry, err := n.openSessions(r, keys.seal, name)
	if err != nil {
		return nil, err
	}
	if err := n.openLimits(r, closers); err != nil {
		return nil, err
	}
	if r.contexts, err = n.openContexts(r, keys.seal); err != nil {
		return nil, err
	}
	if err := n.openUpstreams(r, upstream.Config{Registry: registry, Keys: keys.seal, Streams: r.sessions}, closers); err != nil {
		return nil, err
	}
	r.sessions.Listens(r.http)
	client, err := n.credentialClient()
	if err != nil {
		return nil, err
	}
	r.credential, err = credential.New(credential.Config{
		HTTP: client, URL: n.c.Authserver.URL, Log: t.Log, Tracer: t.Tracer, Meter: t.Meter, Propagator: t.Propagator,
	})
	if err != nil {
		return nil, err
	}
	route := router{http: r.http, stdio: r.stdio, credentials: r.credential}
	r.issuer, err = issuer.New(issuer.Config{
		Source: documents{r.credential}.fetch, File: filepath.Join(n.c.Data.Dir, "issuer.json"), Log: t.Log,
	})
	if err != nil {
		return nil, err
	}
	if err := n.openProviders(r); err != nil {
		return nil, err
	}
	if err := n.openFollower(r, route, keys.state); err != nil {
		return nil, err
	}
	if err := n.openAudit(r, name, closers); err != nil {
		return nil, err
	}
	route.checked = r.usage.ConnectionChecked
	between := bridge.New(bridge.Config{
		Upstream: route, Sealer: states{keys.seal}, Node: name, Changed: r.discoverer.Changed, Schema: route.Schema, Log: t.Log,
	})
	closers.Add("bridge", func(context.Context) error { return between.Close() })
	finder, err := n.openSearch(r, closers)
	if err != nil {
		return nil, err
	}
	self, err := n.identity.workload()
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	calls, err := dispatch.New(dispatch.Config{
		Upstream: between, Credentials: route, Links: route, Sealer: sealer{keys.seal, time.Now}, Changed: r.discoverer.Changed, Log: t.Log,
		Homes:      r.forwarding.whereabouts(),
		RateLimits: r.rates, Search: finder, Contexts: r.contexts, Approvals: approval.New(approvals{r.follower}), Node: name,
		Audit: r.audit, Region: self.Region,
		Tracer: t.Tracer.Tracer(tracerName), Meter: t.Meter.Meter(tracerName),
	})
	if err != nil {
		return nil, err
	}
	closers.Add("dispatch", func(context.Context) error { calls.Close(); return nil })
	r.edge, err = n.openEdge(r, calls, between)
	return r, err
}

func (n *Node) openEdge(r *rooms, calls *dispatch.Dispatcher, between *bridge.Bridge) (*edge.Handler, error) {
	callers, err := n.openAuthn(r)
	if err != nil {
		return nil, err
	}
	front := edge.Config{
		View: r.holder, Authenticator: callers, Issuer: r.issuer, Dispatcher: calls, Sessions: r.sessions,
		Health: r.health, Telemetry: n.c.Telemetry, RateLimits: r.rates, Presented: authn.Presented, Refused: calls.Refused,
		Settings: edge.Settings{
			PublicURLs: []string{n.c.MCP.URL}, Loopback: onLoopback(n.c.MCP.Listen), AllowedOrigins: n.c.MCP.Origins,
			ChatGPTCompat: n.c.MCP.ChatGPTCompat, Build: n.c.Version,
		},
	}
	r.forwarding.offer(&front, between, calls)
	served, err := edge.New(front)
	if err != nil {
		return nil, err
	}
	r.jobs.explainer = explain.New(explain.Config{
		View: r.holder, Front: served, Callers: callers, Limits: r.rates, Calls: calls, Now: time.Now,
	})
	return served, nil
}

func (n *Node) openAuthn(r *rooms) (*authn.Authenticator, error) {
	refused, err := authFailures(n.c.Telemetry)
	if err != nil {
		return nil, err
	}
	return authn.New(authn.Config{
		Now: time.Now, Used: r.usage.TokenUsed, Failed: refused, Issuer: r.issuer, Providers: r.providers, Resources: edge.Resources(n.c.MCP.URL),
		StaleFor: r.health.StaleFor, MaxStale: n.c.Revocation.MaxStale,
	})
}

func (n *Node) openUpstreams(r *rooms, c upstream.Config, closers *run.Closers) (err error) {
	guard := egress.Policy{AllowLoopback: n.c.Upstream.AllowLoopback, AllowPrivate: n.c.Upstream.AllowPrivate}
	c.Dial, c.ClientVersion, c.Log, c.Meter = guard.DialContext, n.c.Version, n.c.Telemetry.Log, n.c.Telemetry.Meter
	if r.http, err = upstream.New(c); err != nil {
		return err
	}
	closers.Add("http upstreams", r.http.Close)
	r.stdio, err = stdio.New(stdio.Config{
		ClientVersion: n.c.Version, Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter, MaxProcesses: n.c.Upstream.MaxProcesses,
	})
	if err != nil {
		return err
	}
	closers.Add("stdio upstreams", r.stdio.Close)
	return nil
}

// openFollower makes what follows the control plane and what reports to it.
func (n *Node) openFollower(r *rooms, route router, stateKey []byte) (err error) {
	dial, err := n.dialOptions()
	if err != nil {
		return err
	}
	compiler := follow.New(r.holder, denials{r.holder, r.credential, r.stdio})
	r.jobs = &tasks{log: n.c.Telemetry.Log}
	r.follower, err = node.New(node.Config{
		Endpoints: n.c.ControlPlane.Endpoints, DialOptions: dial, Dir: filepath.Join(n.c.Data.Dir, "state"), SealKey: stateKey,
		Applier: compiler, Revocations: revocations{compiler, r.issuer}.take, Tasks: r.jobs.run, Build: n.c.Version,
		Capabilities: follow.Features(), Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter,
	})
	if err != nil {
		return err
	}
	r.health = &health{node: n, follower: r.follower}
	reports := reporter{r.follower}
	r.discoverer = discover.New(discover.Config{Lister: route, Reporter: reports, View: r.holder, Log: n.c.Telemetry.Log})
	r.jobs.discoverer, r.jobs.reports = r.discoverer, reports
	r.usage = usage.New(reports, n.c.Telemetry.Log, time.Now)
	return nil
}

// dialOptions returns how the control plane is dialed: in memory, or mutual TLS.
func (n *Node) dialOptions() ([]grpc.DialOption, error) {
	if n.c.DialControlPlane != nil {
		return n.c.DialControlPlane, nil
	}
	config, err := tlsx.Client(n.identity.source, n.c.TLS.TrustDomain, ident.RoleControlPlane)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS to the control plane: %w", err)
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}, nil
}

// credentialClient returns the client of the credential API: in memory, or mutual TLS.
func (n *Node) credentialClient() (*http.Client, error) {
	if n.c.Credentials != nil {
		return n.c.Credentials, nil
	}
	config, err := tlsx.Client(n.identity.source, n.c.TLS.TrustDomain, ident.RoleAuthserver)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS to the authserver: %w", err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}, nil
}

// closeListener closes a listener that its HTTP server has closed already, unless starting failed before.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || (ip != nil && ip.IsLoopback()))
}
