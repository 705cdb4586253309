// SPDX-License-Identifier: Apache-2.0

// Package gateway runs Penstock in this process for the conformance suite, and puts one MCP server behind each gateway.
//
// The programs under deploy/conformance call it. It must never do what an administrator cannot do.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/standalone"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	version = "conformance"
	// patience bounds everything that a server does for the suite's set-up.
	patience = 30 * time.Second
)

// Penstock is a running Penstock.
type Penstock struct {
	mcp    string // origin
	issuer string
	admin  *admin.Client
	end    func() error
}

// Start starts Penstock with everything it keeps in dir, and its log in the file penstock.log there.
func Start(ctx context.Context, dir string) (_ *Penstock, err error) {
	log, err := os.Create(filepath.Join(dir, "penstock.log"))
	if err != nil {
		return nil, err
	}
	telemetry, flush, err := obs.Start(ctx, obs.Config{Service: "penstock-standalone", Version: version, LogLevel: "debug", LogWriter: log})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	c := standalone.Config{Version: version, Telemetry: telemetry}
	if _, err := conf.Load(conf.Program{Name: "conformance", Version: version}, &c.Settings); err != nil {
		return nil, errors.Join(err, flush(ctx), log.Close())
	}
	c.DataDir = filepath.Join(dir, "data")
	for _, addr := range []*string{&c.MCP.Listen, &c.Admin.Listen, &c.Auth.Listen, &c.Ops.DataPlane, &c.Ops.ControlPlane, &c.Ops.Authserver} {
		if *addr, err = proc.FreeAddress(); err != nil {
			return nil, errors.Join(err, flush(ctx), log.Close())
		}
	}
	c.MCP.URL, c.Auth.URL = "http://"+c.MCP.Listen, "http://"+c.Auth.Listen
	c.Egress.AllowLoopback = true // authorization servers of the suite
	all, err := standalone.New(c)
	if err != nil {
		return nil, errors.Join(err, flush(ctx), log.Close())
	}
	// It ends in Stop: what still runs when ctx ends is stopped before it.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- all.Run(running) }()
	p := &Penstock{mcp: c.MCP.URL, issuer: c.Auth.URL, end: func() error {
		cancel()
		err := <-ended
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return errors.Join(err, flush(bound), log.Close())
	}}
	select {
	case <-all.Ready():
	case err := <-ended:
		ended <- nil
		return nil, errors.Join(fmt.Errorf("start Penstock: %w", err), p.end())
	case <-time.After(patience):
		return nil, errors.Join(fmt.Errorf("not ready after %s; see %s", patience, log.Name()), p.end())
	}
	token, err := os.ReadFile(filepath.Join(c.DataDir, "admin.token"))
	if err == nil {
		p.admin, err = admin.New("http://"+c.Admin.Listen, string(bytes.TrimSpace(token)))
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// Stop stops Penstock and returns when it has ended.
func (p *Penstock) Stop() error { return p.end() }

// Server is an MCP server to put behind a gateway.
type Server struct {
	// Name is that of the server, its connection and the gateway.
	Name string
	// URL is its Streamable HTTP endpoint.
	URL string
	// Protocol is the version to speak to it, or AUTO.
	Protocol string
}

// Gateway is what clients of a gateway need.
type Gateway struct {
	// URL is its endpoint.
	URL string
	// Token is a bearer token for it alone.
	Token string
}

// Publish registers a server that needs no credential and puts everything it has on a gateway of its own, without prefixes.
// It returns when the node serves it.
func (p *Penstock) Publish(ctx context.Context, s Server) (Gateway, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.apply(ctx, fmt.Sprintf(`
kind: Server
name: %[1]s
streamable_http: {url: %[2]q}
protocol: %[3]q
tool_changes: ACCEPT
visibility: {organization: {}}
---
kind: Connection
name: %[1]s
server: %[1]s
owner: {organization: {}}
`, s.Name, s.URL, s.Protocol))
	if err != nil {
		return Gateway{}, fmt.Errorf("register %s: %w", s.Name, err)
	}
	found, err := p.admin.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: s.Name})
	if err != nil {
		return Gateway{}, fmt.Errorf("discover %s: %w", s.Name, err)
	}
	var tools strings.Builder
	for _, tool := range found.GetTools() {
		fmt.Fprintf(&tools, "- {tool: %q, pinned: {connection: %s}}\n", tool.GetName(), s.Name)
	}
	err = p.apply(ctx, fmt.Sprintf(`
kind: Gateway
name: %[1]s
visibility: {organization: {}}
authentication: {bearer_token: {}}
naming: {prefix: NEVER}
server_features:
- {server: %[1]s, pinned: {connection: %[1]s}, prompts: true, resources: true, instructions: true}
tools:
%[2]s`, s.Name, tools.String()))
	if err != nil {
		return Gateway{}, fmt.Errorf("make gateway %s: %w", s.Name, err)
	}
	made, err := p.admin.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: s.Name, Gateways: []string{s.Name}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
	}})
	if err != nil {
		return Gateway{}, fmt.Errorf("make a token for %s: %w", s.Name, err)
	}
	// For this revision and not for the head: that may be a deletion for somebody else, and nodes obey those before all else.
	if err := p.enforced(ctx, s.Name, made.GetRevision()); err != nil {
		return Gateway{}, err
	}
	return Gateway{URL: p.mcp + "/v1/mcp/" + s.Name, Token: made.GetToken()}, nil
}

func (p *Penstock) apply(ctx context.Context, yaml string) error {
	_, err := p.applyWith(ctx, yaml, nil)
	return err
}

// applyWith applies a manifest that names secrets, as {from_env: NAME}.
func (p *Penstock) applyWith(ctx context.Context, yaml string, secrets map[string]string) (revision uint64, err error) {
	set, err := manifest.Load([]manifest.Source{{Name: "conformance.yaml", Data: []byte(yaml)}}, manifest.Secrets{
		LookupEnv: func(name string) (string, bool) { value, ok := secrets[name]; return value, ok },
	})
	if err != nil {
		return 0, err
	}
	applied, err := p.admin.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources})
	return applied.GetRevision(), err
}
