// SPDX-License-Identifier: Apache-2.0

// Package authserver is the composition root of the authserver: it makes the rooms and runs them. The authserver logs people
// in and issues tokens for gateways, and it keeps and releases upstream credentials; the program penstock-standalone and
// cmd/authserver start it.
package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/outbox"
	"github.com/penstockhq/penstock/authserver/internal/router"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/quota"
	"github.com/penstockhq/penstock/sdk/kit/run"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

const (
	serviceName = "penstock-authserver"

	readHeaderTimeout = 10 * time.Second
	requestTimeout    = 30 * time.Second // of reading a request, and of answering one
	idleTimeout       = 2 * time.Minute
	opsDrain          = time.Second
	closeTimeout      = 5 * time.Second
)

// Server is an authserver. Its methods are safe for concurrent use.
type Server struct {
	c        Config
	health   health
	identity *identity   // set by Run, before anything else
	shared   quota.Store // set by Run, before the rooms are made; nil: this one counts alone

	mu    sync.Mutex // guards what follows
	local map[ident.Role]*localListener
	ended bool
}

// New returns a server. It reads and starts nothing. The fault is Invalid, AUTHSERVER_CONFIG_INVALID.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Server{c: c, local: make(map[ident.Role]*localListener)}, nil
}

// RotateKeyset adds a new primary key to the key file of the settings. Running processes take it up by themselves.
func RotateKeyset(s Settings) error { return envelope.RotateKeyFile(s.Vault.Keyset) }

// Run opens the store and the key file, then serves until ctx is canceled, finishes the calls in flight, and returns nil.
// It refuses to start, with Precondition VAULT_KEY_MISSING, when a stored secret needs a key that is not there (SE-3). It
// is called once.
func (s *Server) Run(ctx context.Context) (err error) {
	var closers run.Closers
	defer func() {
		s.endLocal()
		err = errors.Join(err, closers.Close(ctx, closeTimeout))
	}()
	listeners, err := s.listen(&closers)
	if err != nil {
		return err
	}
	if s.identity, err = openIdentity(ctx, s.c); err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before a control plane could be reached
		}
		return err
	}
	db, err := sqlstore.Open(ctx, s.c.Database.Reveal())
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	closers.Add("store", func(context.Context) error { return db.Close() })
	if err := s.openShared(&closers); err != nil {
		return err
	}
	v, err := s.openVault(ctx, db)
	if err != nil {
		return err
	}
	tasks, err := s.open(ctx, db, v, listeners)
	if err != nil {
		return err
	}
	s.c.Telemetry.Log.InfoContext(ctx, "authserver started", obs.AttrVersion, s.c.Version,
		obs.AttrAddress, listeners.addresses())
	defer s.c.Telemetry.Log.InfoContext(ctx, "authserver stopped")
	return run.Group(ctx, tasks...)
}

// open makes the rooms and returns what runs.
func (s *Server) open(ctx context.Context, db *sqlstore.Store, v *vault.Vault, listeners listening) ([]run.Task, error) {
	l := &link{c: s.c, identity: s.identity, follower: directory.NewFollower(s.c.Gateways.URL), bans: directory.NewBans()}
	a, err := s.openAuthorization(db, v, l)
	if err != nil {
		return nil, err
	}
	if err := a.keys.Start(ctx); err != nil {
		return nil, fmt.Errorf("open the signing keys: %w", err)
	}
	revocations, err := outbox.New(outbox.Config{Store: db, Publisher: l, Log: s.c.Telemetry.Log})
	if err != nil {
		return nil, err
	}
	api, err := credentialapi.New(credentialapi.Config{
		Vault: endingVault{v, a.upstream}, Credentials: resolver{view: l.follower.View, upstream: a.upstream, subjects: a.subjects, exchanger: a.exchanger}, Passwords: a, Issuer: a, Directory: l.release(db), Links: a,
		Log: s.c.Telemetry.Log, Tracer: s.c.Telemetry.Tracer, Meter: s.c.Telemetry.Meter, Propagator: s.c.Telemetry.Propagator,
	})
	if err != nil {
		return nil, err
	}
	inside := &inside{api: api, grants: a.grants, view: l.follower.View, bans: l.bans, log: s.c.Telemetry.Log}
	tidy := &upkeep{store: db, subjects: a.subjects, state: l.follower.State, fresh: l.fresh, now: time.Now, log: s.c.Telemetry.Log}
	leaving := &leavers{follower: l.follower, end: ending{l.follower.State, db.Ended, a.upstream, a.subjects, a.grants, a.forget}.end, log: s.c.Telemetry.Log, retry: leaveRetry}
	tasks := []run.Task{
		{Name: "certificate", Run: s.identity.run},
		{Name: "directory", Run: l.run},
		{Name: "revocations", Run: revocations.Run},
		{Name: "leavers", Run: leaving.run},
		{Name: "upstream revocations", Run: a.upstream.Revoke},
		{Name: "revocations at identity providers", Run: a.subjects.Run},
		{Name: "security events", Run: a.signals.Run},
		{Name: "signing keys", Run: a.keys.Run},
		{Name: "store upkeep", Run: tidy.run},
		{Name: "vault upkeep", Run: v.Run},
		{Name: "health checks", Run: func(ctx context.Context) error { return s.health.watch(ctx, db, v) }},
		{Name: "credential api in memory", Run: func(ctx context.Context) error { return s.serveLocal(ctx, inside) }},
	}
	if listeners.public != nil {
		public, err := s.publicServer(a)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, run.HTTPServer("public", listeners.public, public, s.c.Shutdown.Drain))
	}
	if listeners.credential != nil {
		server, err := s.credentialServer(inside)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, run.HTTPServer("credential api", listeners.credential, server, s.c.Shutdown.Drain))
	}
	if listeners.ops != nil {
		tasks = append(tasks, run.HTTPServer("ops", listeners.ops, s.httpServer(s.opsHandler(l, a)), opsDrain))
	}
	return tasks, nil
}

// openVault opens the key file, or makes it where the settings allow that and no secret can depend on another one.
func (s *Server) openVault(ctx context.Context, secrets store.Secrets) (*vault.Vault, error) {
	path := s.c.Vault.Keyset
	keys, err := envelope.OpenKeyFile(path)
	if fault.KindOf(err) == fault.Precondition && errors.Is(err, os.ErrNotExist) {
		keys, err = s.createKeyFile(ctx, secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("open the key file %s: %w", path, err)
	}
	v, err := vault.New(vault.Config{Secrets: secrets, KMS: keys, Log: s.c.Telemetry.Log})
	if err != nil {
		return nil, err
	}
	if err := v.Check(ctx); err != nil {
		return nil, fmt.Errorf("check the key file %s: %w", path, err)
	}
	return v, nil
}

func (s *Server) createKeyFile(ctx context.Context, secrets store.Secrets) (*envelope.KeyFile, error) {
	ids, err := secrets.SecretKeyIDs(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 {
		// What is stored may be of another authserver that starts: it made the file before it sealed anything.
		if keys, err := envelope.OpenKeyFile(s.c.Vault.Keyset); !errors.Is(err, os.ErrNotExist) {
			return keys, err
		}
		return nil, fault.New(fault.Precondition, envelope.ReasonKeyMissing,
			"The key file (vault.keyset) is missing, and stored secrets cannot be opened without it: put it back.")
	}
	if !s.c.Vault.CreateKeyset {
		return nil, fault.New(fault.Precondition, envelope.ReasonKeyMissing,
			"The key file (vault.keyset) is missing. Nothing is stored yet: set vault.create_keyset to make one.")
	}
	switch err := envelope.CreateKeyFile(s.c.Vault.Keyset); {
	case err == nil:
		s.c.Telemetry.Log.InfoContext(ctx, "key file created", obs.AttrPath, s.c.Vault.Keyset)
	case !errors.Is(err, os.ErrExist): // else another authserver that starts made it just now
		return nil, err
	}
	return envelope.OpenKeyFile(s.c.Vault.Keyset)
}

// listening is what the server listens on; nil is off.
type listening struct{ public, credential, ops net.Listener }

func (l listening) addresses() []string {
	var list []string
	for _, one := range []net.Listener{l.public, l.credential, l.ops} {
		if one != nil {
			list = append(list, one.Addr().String())
		}
	}
	return list
}

// listen takes or opens the listeners first of all, because a port in use is what goes wrong most often.
func (s *Server) listen(closers *run.Closers) (listening, error) {
	l := listening{public: s.c.PublicListener, credential: s.c.CredentialListener, ops: s.c.OpsListener}
	for _, one := range []struct {
		at            *net.Listener
		addr, setting string
	}{
		{&l.public, s.c.Public.Listen, "public.listen"}, {&l.credential, s.c.Credential.Listen, "credential.listen"}, {&l.ops, s.c.Ops.Listen, "ops.listen"},
	} {
		if *one.at == nil && one.addr != "" {
			opened, err := run.Listen(one.addr, one.setting)
			if err != nil {
				return listening{}, err
			}
			*one.at = opened
		}
		if opened := *one.at; opened != nil {
			closers.Add(one.setting, func(context.Context) error { return closeListener(opened) })
		}
	}
	return l, nil
}

// closeListener closes a listener that its HTTP server has closed already, unless starting failed before.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// publicServer serves clients and browsers.
func (s *Server) publicServer(a *authorization) (*http.Server, error) {
	proxies, _ := s.c.proxies() // Validate has read them
	h, err := router.New(router.Config{
		Issuer: s.c.Issuer, Routes: a.routes(), TrustedProxies: proxies, Limiter: a.limiter,
		Log: s.c.Telemetry.Log, Meter: s.c.Telemetry.Meter,
	})
	if err != nil {
		return nil, fmt.Errorf("make the routes: %w", err)
	}
	server := s.httpServer(h)
	server.WriteTimeout = requestTimeout
	return server, nil
}

// credentialServer serves nodes and control planes.
func (s *Server) credentialServer(i *inside) (*http.Server, error) {
	config, err := tlsx.Server(s.identity.source, s.c.TLS.TrustDomain, ident.RoleNode, ident.RoleControlPlane)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS: %w", err)
	}
	h, err := i.handler(credentialapi.FromTLS)
	if err != nil {
		return nil, err
	}
	server := s.httpServer(h)
	server.TLSConfig = config
	server.WriteTimeout = requestTimeout
	return server, nil
}

// httpServer returns a server without a limit on answering: a profile takes as long as was asked for.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.c.Telemetry.Log.Handler(), slog.LevelWarn),
	}
}

func (s *Server) opsHandler(l *link, a *authorization) http.Handler {
	checks := s.health.checks()
	checks["directory"] = l.check
	checks["signing keys"] = func() (string, error) { return "", a.keys.Check() }
	return obs.Ops(obs.OpsConfig{
		Service: serviceName, Version: s.c.Version, Checks: checks, Metrics: s.c.Telemetry.Metrics,
	})
}
