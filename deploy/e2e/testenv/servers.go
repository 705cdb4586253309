// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

const (
	trustDomain = "penstock.test"
	region      = "eu"
	drain       = 5 * time.Second
	maxStale    = 24 * time.Hour
)

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// issue makes the certificate of a server once; later starts find it.
func (e *Env) issue(t testing.TB, role ident.Role, name string) tlsx.Files {
	t.Helper()
	return e.ca.Issue(t, filepath.Join(e.Dir, "tls", name), ident.Workload{Region: region, Role: role, Name: name})
}

func sqlite(path string) obs.Secret { return obs.Secret("sqlite://" + filepath.ToSlash(path)) }

func (e *Env) startAuthserver(t testing.TB, p *Part) (server, <-chan struct{}) {
	t.Helper()
	c := authserver.Config{Version: Version, Telemetry: p.telemetry}
	c.Database = sqlite(e.path("authserver.db"))
	c.Vault.Keyset, c.Vault.CreateKeyset = e.path("vault.keyset"), true
	c.Public.Listen, c.Issuer, c.Gateways.URL = e.ports.issuer, e.Issuer, e.Nodes[0].URL
	c.Data.Dir, c.Login.LocalUsers, c.Egress.AllowLoopback = e.path("authserver"), true, true
	c.Ops.Listen, c.Shutdown.Drain = e.ports.authserverOps, drain
	c.Redis.URL = e.c.Redis
	if _, err := conf.Load(conf.Program{Name: "authserver"}, &c.OAuth); err != nil { // the defaults
		t.Fatal(err)
	}
	if e.c.TLS {
		f := e.issue(t, ident.RoleAuthserver, "authserver")
		c.Credential.Listen, c.ControlPlane.Endpoints = e.ports.credential, []string{e.ports.nodeStream}
		c.TLS = authserver.TLSSettings{Cert: f.Cert, Key: f.Key, CA: f.CA, TrustDomain: trustDomain}
	} else {
		e.plane = make(chan *controlplane.ControlPlane, 1)
		c.ControlPlane.Endpoints, c.DialControlPlane = []string{controlplane.LocalEndpoint}, dialWhenMade(e.plane)
	}
	s, err := authserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.authserver = s
	return s, nil
}

// dialWhenMade leads to the control plane, which is made after the authserver that follows it.
func dialWhenMade(plane <-chan *controlplane.ControlPlane) func(context.Context) ([]grpc.DialOption, error) {
	return func(ctx context.Context) ([]grpc.DialOption, error) {
		select {
		case p := <-plane:
			return p.LocalAuthserver(), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (e *Env) startControlPlane(t testing.TB, p *Part) (server, <-chan struct{}) {
	t.Helper()
	c := controlplane.Config{Version: Version, Telemetry: p.telemetry}
	c.Database = sqlite(e.path("controlplane.db"))
	c.Admin.Listen, c.Ops.Listen = e.ports.admin, e.ports.controlplaneOps
	c.Gateways.URL = e.Nodes[0].URL
	c.Bootstrap.Email, c.Bootstrap.TokenFile = AdminEmail, e.path("admin.token")
	c.Shutdown.Drain = drain
	c.Approvals.Keyset, c.Approvals.CreateKeyset = e.path("approvals.keyset"), true
	if e.c.TLS {
		f := e.issue(t, ident.RoleControlPlane, "controlplane")
		c.Nodes.Listen, c.Authserver.URL = e.ports.nodeStream, "https://"+e.ports.credential
		c.TLS = controlplane.TLSSettings{Cert: f.Cert, Key: f.Key, CA: f.CA, TrustDomain: trustDomain}
	} else {
		c.Authserver.URL, c.Credentials = authserver.LocalURL, e.authserver.Local(ident.RoleControlPlane)
	}
	s, err := controlplane.New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.controlplane = s
	if !e.c.TLS {
		e.plane <- s
	}
	return s, s.Ready()
}

func (e *Env) startNode(i int) func(testing.TB, *Part) (server, <-chan struct{}) {
	return func(t testing.TB, p *Part) (server, <-chan struct{}) {
		t.Helper()
		c := dataplane.Config{Version: Version, Telemetry: p.telemetry}
		c.MCP.Listen, c.MCP.URL, c.MCP.ChatGPTCompat = e.ports.nodes[i].mcp, e.Nodes[i].URL, true
		c.Ops.Listen, c.Shutdown.Drain = e.ports.nodes[i].ops, drain
		c.Data.Dir = e.path(nodeName(i))
		c.SealKeyset = sealKeyset
		c.Redis.URL = e.c.Redis
		if e.c.Forward {
			c.Forward.Listen = "127.0.0.1:0"
		}
		c.Upstream.AllowLoopback, c.Upstream.MaxProcesses = true, 64
		c.Search.Embeddings, c.Egress.AllowLoopback = e.c.Embeddings, e.c.Embeddings.URL != ""
		c.Revocation.MaxStale = maxStale
		if e.c.TLS {
			f := e.issue(t, ident.RoleNode, nodeName(i))
			c.ControlPlane.Endpoints, c.Authserver.URL = []string{e.ports.nodeStream}, "https://"+e.ports.credential
			c.TLS = dataplane.TLSSettings{Cert: f.Cert, Key: f.Key, CA: f.CA, TrustDomain: trustDomain}
		} else {
			c.ControlPlane.Endpoints, c.DialControlPlane = []string{controlplane.LocalEndpoint}, e.controlplane.Local()
			c.Authserver.URL, c.Credentials = authserver.LocalURL, e.authserver.Local(ident.RoleNode)
		}
		s, err := dataplane.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return s, s.Ready()
	}
}

// sealKeyset is the keyset that all nodes of the fleet share: session ids of one open on another.
const sealKeyset = obs.Secret("ZTJlLXRlc3Qtc2VhbC1rZXlzZXQtb2YtMzItYnl0ZXM=")
