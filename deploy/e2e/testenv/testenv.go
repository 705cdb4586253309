// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

// Version is the release that all servers are told they are.
const Version = "e2e"

// AdminEmail is the first administrator.
const AdminEmail = "root@penstock.test"

// patience bounds every wait for something that happens by itself. It is far above what is usual, so that a busy machine fails
// no test.
const patience = 30 * time.Second

// Config chooses an environment. The zero value is one node, with links in memory, as in penstock-standalone.
type Config struct {
	// Nodes is the number of nodes, named "node-0" and so on; 0 means 1.
	Nodes int
	// TLS has the servers reach each other over loopback with mutual TLS. More than one node needs it, and so does restarting
	// the control plane or the authserver under a running node. Without it the one node is called "local".
	TLS bool
	// OTLP is where traces and metrics are pushed, host:port; empty is off.
	OTLP string
	// Redis is the one that the authserver and the nodes share; empty is none.
	Redis obs.Secret
	// Forward has the nodes forward requests to each other (mcp.md M-93). It needs TLS and Redis.
	Forward bool
	// Embeddings is the endpoint that re-ranks search_tools, on this machine; the zero value is off.
	Embeddings dataplane.EmbeddingSettings
}

// Env is a running Penstock. Its parts are stopped when the test ends.
type Env struct {
	ControlPlane *Part
	Authserver   *Part
	Nodes        []*Node

	// Dir holds everything the servers write, Log everything they logged, at level debug.
	Dir string
	Log *Log

	// AdminURL is the admin API, AdminToken the bootstrap administrator's token, Admin a client with it: all set once the
	// control plane was started.
	AdminURL, AdminToken string
	Admin                *admin.Client

	// Issuer is the authserver's issuer identifier, where clients and browsers find it. People log in with passwords.
	Issuer string

	// HTTP is for the test's own requests; it keeps connections and follows no redirects.
	HTTP *http.Client

	c     Config
	ports ports
	ca    *tlsxtest.CA

	authserver   *authserver.Server         // in memory only
	controlplane *controlplane.ControlPlane // in memory only

	plane chan *controlplane.ControlPlane // in memory only: takes the control plane to the authserver
}

// Node is one node and where it serves.
type Node struct {
	*Part

	Name string // as the control plane knows it
	URL  string // origin of MCP clients
}

// Gateway returns the URL of a gateway on this node.
func (n *Node) Gateway(name string) string { return n.URL + "/v1/mcp/" + name }

// Start makes an environment, starts all of it and returns when the nodes are ready and follow the control plane.
func Start(t testing.TB, c Config) *Env {
	t.Helper()
	e := New(t, c)
	e.Authserver.Start(t)
	e.ControlPlane.Start(t)
	for _, n := range e.Nodes {
		n.Start(t)
		n.WaitReady(t)
	}
	e.Authserver.WaitReady(t)
	e.WaitEnforced(t)
	return e
}

// New makes an environment of which nothing runs yet: the test starts its parts. In memory the order is authserver, control
// plane, node.
func New(t testing.TB, c Config) *Env {
	t.Helper()
	if c.Nodes == 0 {
		c.Nodes = 1
	}
	if c.Nodes > 1 && !c.TLS {
		t.Fatal("several nodes need TLS: in memory they all have one name")
	}
	e := &Env{c: c, Dir: t.TempDir(), Log: new(Log), HTTP: newHTTPClient()}
	t.Cleanup(e.HTTP.CloseIdleConnections)
	e.ports = freePorts(t, c)
	e.AdminURL, e.Issuer = "http://"+e.ports.admin, "http://"+e.ports.issuer
	if c.TLS {
		e.ca = tlsxtest.NewCA(t, trustDomain)
	}
	e.Authserver = e.newPart(t, "authserver", "authserver", e.ports.authserverOps, e.startAuthserver)
	e.ControlPlane = e.newPart(t, "controlplane", "controlplane", e.ports.controlplaneOps, e.startControlPlane)
	for i, p := range e.ports.nodes {
		n := &Node{Name: "local", URL: "http://" + p.mcp}
		if c.TLS {
			n.Name = nodeName(i)
		}
		n.Part = e.newPart(t, "dataplane", nodeName(i), p.ops, e.startNode(i))
		e.Nodes = append(e.Nodes, n)
	}
	return e
}

// newHTTPClient has a transport of its own, so that the end of a test can close its connections.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, ExpectContinueTimeout: patience},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// connect reads the token that the control plane wrote at its first start and makes the admin client.
func (e *Env) connect(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(e.path("admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	e.AdminToken = strings.TrimSpace(string(text))
	e.Admin = e.AdminAs(t, e.AdminToken)
}

// AdminAs returns a client of the admin API with another token.
func (e *Env) AdminAs(t testing.TB, token string) *admin.Client {
	t.Helper()
	c, err := admin.New(e.AdminURL, token, admin.WithHTTPClient(e.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e *Env) path(name string) string { return filepath.Join(e.Dir, name) }
