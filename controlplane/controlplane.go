// SPDX-License-Identifier: Apache-2.0

// Package controlplane is the composition root of the control plane: it makes the rooms, fills the interfaces they
// declare, and runs them. It decides nothing itself.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi"
	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/approval/webhook"
	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/directory"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
	"github.com/penstockhq/penstock/controlplane/internal/replicas"
	"github.com/penstockhq/penstock/controlplane/internal/secrets"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

const (
	serviceName  = "penstock-controlplane"
	opsDrain     = time.Second
	closeTimeout = 5 * time.Second
)

// ControlPlane is a control plane. Run is called once.
type ControlPlane struct {
	c     Config
	local *localListener // for a node

	localAuth *localListener // for an authserver
	identity  *identity      // set by Run, before anything else
	address   string         // where others reach the node stream; set by Run

	ready chan struct{} // closed when everything listens and the configuration is loaded
}

// New returns a control plane. It reads and starts nothing. The fault is Invalid, CONTROLPLANE_CONFIG_INVALID.
func New(c Config) (*ControlPlane, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &ControlPlane{c: c, local: newLocalListener(), localAuth: newLocalListener(), ready: make(chan struct{})}, nil
}

// Ready returns a channel that is closed when the admin API and the node stream listen and the configuration is loaded.
func (p *ControlPlane) Ready() <-chan struct{} { return p.ready }

// rooms are the parts of a running control plane.
type rooms struct {
	store   *sqlstore.Store
	catalog *catalog.Catalog
	feed    *feed.Feed
	streams *distribute.Server
	nodes   *nodeapi.Server
	people  *directory.Server
	held    *approval.Service
	audit   *audit.Log

	decisions *webhook.Receiver // nil without the secret of a webhook
	told      *webhook.Sender   // nil without a webhook

	replicas *replicas.Replicas // nil: there is one control plane

	bans    *enroll.Bans
	joining *enroll.Service // nil without a built-in authority
}

// Run opens the store, then serves until ctx is canceled, asks the nodes to leave, finishes the calls in flight, and
// returns nil.
func (p *ControlPlane) Run(ctx context.Context) (err error) {
	var closers run.Closers
	defer func() { err = errors.Join(err, closers.Close(ctx, closeTimeout)) }()
	listeners, err := p.listen(&closers)
	if err != nil {
		return err
	}
	if listeners.nodes != nil {
		p.address = advertised(p.c.Nodes.Advertise, listeners.nodes.Addr())
	}
	if p.identity, err = openIdentity(p.c); err != nil {
		return err
	}
	r, err := p.open(ctx, &closers)
	if err != nil {
		return err
	}
	if err := p.bootstrap(ctx, r.catalog); err != nil {
		return err
	}
	tasks, err := p.tasks(r, listeners)
	if err != nil {
		return err
	}
	p.c.Telemetry.Log.InfoContext(ctx, "control plane started", obs.AttrVersion, p.c.Version)
	defer p.c.Telemetry.Log.InfoContext(ctx, "control plane stopped")
	tasks = append(tasks, run.Task{Name: "start", Run: func(ctx context.Context) error {
		p.announce(ctx, r.feed)
		return nil
	}})
	return run.Group(ctx, tasks...)
}

// announce closes ready when the configuration is loaded: before, nodes are sent away.
func (p *ControlPlane) announce(ctx context.Context, f *feed.Feed) {
	for {
		changed := f.Changed()
		if f.Ready() {
			close(p.ready)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// open makes the rooms.
func (p *ControlPlane) open(ctx context.Context, closers *run.Closers) (*rooms, error) {
	log := p.c.Telemetry.Log
	late := &guard{}
	store, err := sqlstore.OpenConfig(ctx, sqlstore.Config{DSN: p.c.Database.Reveal(), Log: log, Guard: late.check})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	closers.Add("store", func(context.Context) error { return store.Close() })
	client, err := p.credentialClient()
	if err != nil {
		return nil, err
	}
	vault, err := secrets.New(secrets.Config{HTTP: client, URL: p.c.Authserver.URL})
	if err != nil {
		return nil, err
	}
	live := &nodes{}
	keep := p.c.Audit.Retention
	if keep == 0 { // a control plane that was made without kit/conf
		keep = auditRetention
	}
	r := &rooms{store: store, bans: enroll.NewBans(store, log)}
	r.audit = audit.New(audit.Config{Store: store, Keep: keep, Log: log, Now: time.Now})
	if err := r.bans.Load(ctx); err != nil {
		return nil, fmt.Errorf("read the bans: %w", err)
	}
	if a := p.identity.authority; a != nil {
		if r.joining, err = enroll.New(enroll.Config{Store: known{store}, Authority: a, Log: log, Now: time.Now}); err != nil {
			return nil, err
		}
	}
	r.catalog = catalog.New(catalog.Config{
		Store: store, Rollouts: store, Secrets: vault, Status: live, Nodes: live,
		GatewayURL: func(name string) string { return strings.TrimSuffix(p.c.Gateways.URL, "/") + "/v1/mcp/" + name },
	})
	r.feed = feed.New(feed.Config{Store: store, Log: log, Meter: p.c.Telemetry.Meter})
	late.feed.Store(r.feed)
	fellows := p.newFellows(store)
	r.streams = distribute.New(distribute.Config{
		Rollouts: store,
		Feed:     r.feed, Log: log, Now: time.Now, Notes: store, Revocations: revocations{store}, Meter: p.c.Telemetry.Meter,
		Replica: fellows.id, Others: fellows, DrainWindow: p.c.Nodes.Drain, MaxAge: p.c.Nodes.MaxAge, HelloRate: float64(p.c.Nodes.HelloRate),
	})
	live.streams = r.streams
	r.nodes = nodeapi.New(dispatcher{r.streams, fellows}, fellows, r.catalog, log)
	if err := p.openReplicas(r, fellows); err != nil {
		return nil, err
	}
	if err := p.openApprovals(ctx, r); err != nil {
		return nil, err
	}
	if r.people, err = directory.New(directory.Config{Users: r.catalog, Provisioner: r.catalog, Peer: authserver, Log: log}); err != nil {
		return nil, err
	}
	return r, nil
}

// credentialClient returns the client of the credential API: in memory, or mutual TLS.
func (p *ControlPlane) credentialClient() (*http.Client, error) {
	if p.c.Credentials != nil {
		return p.c.Credentials, nil
	}
	config, err := tlsx.Client(p.identity.source, p.c.TLS.TrustDomain, ident.RoleAuthserver)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS to the authserver: %w", err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}, nil
}

// bootstrap makes the first administrator and writes the token to its file. An administrator that exists is left alone;
// if the file is gone, a new token is made, because whoever may write that file may administer.
func (p *ControlPlane) bootstrap(ctx context.Context, c *catalog.Catalog) error {
	path := p.c.Bootstrap.TokenFile
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	token, created, err := c.Bootstrap(ctx, p.c.Bootstrap.Email)
	if err == nil && !created {
		token, err = p.adminToken(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("make the first administrator: %w", err)
	}
	if err := writeSecret(path, token); err != nil {
		return fmt.Errorf("write bootstrap.token_file: %w", err)
	}
	p.c.Telemetry.Log.InfoContext(ctx, "administrator token written", obs.AttrPath, path)
	return nil
}

// adminToken makes another token for the administrator of the settings.
func (p *ControlPlane) adminToken(ctx context.Context, c *catalog.Catalog) (string, error) {
	written, err := c.Create(ctx, catalog.Caller{System: true}, &catalog.BearerToken{
		DisplayName: "Administrator", Owner: &resource.Owner{User: p.c.Bootstrap.Email}, AdminAPI: true,
	}, catalog.WriteOptions{})
	return written.Token, err
}

// writeSecret writes a file that only its owner can read, wholly or not at all.
func writeSecret(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// tasks lists what runs.
func (p *ControlPlane) tasks(r *rooms, l listening) ([]run.Task, error) {
	api, err := adminapi.New(adminapi.Config{
		Catalog: r.catalog, Log: r.store, Fleet: markedFleet{fleet{r.streams}, r.bans}, Discoverer: discoverer{r.nodes},
		Explainer: explainer{r.nodes, r.streams}, Approvals: r.held,
		Enrollment: workloads{r.store, r.bans, p.identity}, Audit: r.audit, Logger: p.c.Telemetry.Log,
		Tracer: p.c.Telemetry.Tracer, Meter: p.c.Telemetry.Meter, Ready: readiness(r.feed), Origins: p.c.Admin.Origins,
	})
	if err != nil {
		return nil, err
	}
	tasks := []run.Task{
		{Name: "store upkeep", Run: r.store.Run},
		{Name: "audit", Run: r.audit.Run},
		{Name: "secret upkeep", Run: func(ctx context.Context) error { return p.sweepSecrets(ctx, r.catalog) }},
		{Name: "feed", Run: r.feed.Run},
		{Name: "bans", Run: r.bans.Run},
		{Name: "own certificate", Run: p.identity.run},
		run.Memory(r.feed.Ready),
		{Name: "node ledger", Run: r.streams.Run},
		p.replicasTask(r),
		run.HTTPServer("admin api", l.admin, adminapi.Server(r.withDecisions(api)), p.c.Shutdown.Drain),
		p.grpcServer("node stream in memory", p.local, enroll.Local(localNode(p.c.TLS.TrustDomain)), r),
		p.grpcServer("node stream of the authserver in memory", p.localAuth, enroll.Local(localAuthserver(p.c.TLS.TrustDomain)), r),
	}
	tasks = append(tasks, r.approvalTasks()...)
	if l.nodes != nil {
		secured := tlsx.Server
		if r.joining != nil {
			secured = tlsx.ServerAskingOnly // who joins has no certificate yet; the guard of the calls refuses it all else
		}
		config, err := secured(p.identity.source, p.c.TLS.TrustDomain, ident.RoleNode, ident.RoleAuthserver, ident.RoleControlPlane)
		if err != nil {
			return nil, fmt.Errorf("set up mutual TLS: %w", err)
		}
		tasks = append(tasks, p.grpcServer("node stream", l.nodes, credentials.NewTLS(config), r))
	}
	if l.ops != nil {
		ready := readiness(r.feed)
		tasks = append(tasks, run.HTTPServer("ops", l.ops, &http.Server{
			ReadHeaderTimeout: 10 * time.Second,
			Handler: obs.Ops(obs.OpsConfig{
				Service: serviceName, Version: p.c.Version, Metrics: p.c.Telemetry.Metrics,
				Checks: map[string]obs.Check{
					"feed":     func() (string, error) { return fmt.Sprintf("revision %d", r.feed.Head().Revision), ready() },
					"database": func() (string, error) { return "", ping(r.store) },
				},
			}),
		}, opsDrain))
	}
	return tasks, nil
}

// sweepEvery is how often secrets of deleted connections are looked for.
const sweepEvery = time.Hour

// sweepSecrets removes what deleted connections left at the authserver: at the start, then every hour. A sweep that fails
// is done by the next one.
func (p *ControlPlane) sweepSecrets(ctx context.Context, c *catalog.Catalog) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := c.SweepSecrets(ctx); err != nil && ctx.Err() == nil {
			p.c.Telemetry.Log.WarnContext(ctx, "secrets not swept", obs.Fault(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func ping(s *sqlstore.Store) error {
	// A readiness check has no caller's context, and must end.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := s.Head(ctx)
	return err
}

// readiness says whether the configuration is loaded.
func readiness(f *feed.Feed) func() error {
	return func() error {
		if f.Ready() {
			return nil
		}
		// A readiness check has no caller's context; nothing waits here.
		if err := f.Lost(context.Background()); err != nil {
			return err
		}
		return fault.New(fault.Unavailable, "NOT_LOADED", "the configuration is not loaded yet")
	}
}

// window is what a node may send before it is read: reports are small. It does not grow, for which the library would send a ping
// with every message.
const window = 64 << 10

// grpcServer serves the node stream, penstock.node.v1 and penstock.directory.v1 on one listener.
func (p *ControlPlane) grpcServer(name string, l net.Listener, creds credentials.TransportCredentials, r *rooms) run.Task {
	server := grpc.NewServer(grpc.Creds(creds), grpc.ForceServerCodecV2(distribute.Codec()),
		grpc.ChainUnaryInterceptor(p.recoverUnary, r.bans.Unary), grpc.ChainStreamInterceptor(p.recoverStream, r.bans.Stream),
		grpc.MaxRecvMsgSize(maxReport), grpc.ReadBufferSize(4<<10),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	r.streams.Register(server)
	r.nodes.Register(server)
	nodeapi.NewAudit(r.audit, p.c.Telemetry.Log).Register(server)
	r.people.Register(server)
	nodeapi.NewApprovals(r.held, p.c.Telemetry.Log).Register(server)
	if r.replicas != nil {
		r.replicas.Register(server)
	}
	if r.joining != nil {
		r.joining.Register(server)
	}
	return run.Task{Name: name, Run: func(ctx context.Context) error {
		stopped := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(stopped)
			r.streams.Drain()
			hurry := time.AfterFunc(p.c.Nodes.Drain+p.c.Shutdown.Drain, server.Stop)
			defer hurry.Stop()
			server.GracefulStop()
		})
		err := server.Serve(l)
		if !stop() {
			<-stopped
		}
		if ctx.Err() == nil {
			return err
		}
		return nil // stopped as asked
	}}
}

// maxReport is the largest message a node may send: a discovery of 10 MiB of tools.
const maxReport = 64 << 20
