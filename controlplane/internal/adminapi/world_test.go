// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi"
	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The people of the tests, by role.
const (
	adminUser  = "admin@example.com"
	editorUser = "editor@example.com"
	memberUser = "member@example.com"
)

// Definitions that the upstream has: one stays, one changes.
const (
	echoTool     = `{"name":"echo","inputSchema":{"type":"object"}}`
	changedTool  = `{"name":"changed","inputSchema":{"type":"object"}}`
	changedLater = `{"name":"changed","inputSchema":{"type":"object"},"description":"new"}`
)

// Instructions that the server everything has at the first discovery and later.
const (
	instructionsFirst = "Be brief."
	instructionsLater = "Be brief.\nAnd kind."
)

// world is an admin API on the real catalog, behind a real port.
type world struct {
	url      string
	catalog  *catalog.Catalog
	store    *memstore.Store
	fleet    *fleet
	upstream *upstream
	secrets  *vault

	audit     *book
	explainer *explainer
	approvals *approval.Service
	tokens    map[string]string // by user
}

// fleet is a set of nodes that all enforce everything.
type fleet struct{ nodes []adminapi.Node }

// WaitEnforced implements adminapi.Fleet.
func (f *fleet) WaitEnforced(context.Context, catalog.Revision, bool) (adminapi.Enforcement, error) {
	e := adminapi.Enforcement{Enforced: true}
	for _, n := range f.nodes {
		e.Enforcing = append(e.Enforcing, n.Name)
	}
	return e, nil
}

// Nodes implements adminapi.Fleet.
func (f *fleet) Nodes(context.Context) ([]adminapi.Node, error) { return f.nodes, nil }

// upstream is what nodes find when they discover servers.
type upstream struct {
	mu    sync.Mutex
	tools map[string][][]byte // by server
	err   error
	also  catalog.Discovery // what is found besides tools
}

// Discover implements adminapi.Discoverer.
func (u *upstream) Discover(_ context.Context, s *catalog.Server, _ *catalog.Connection) (catalog.Discovery, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return catalog.Discovery{}, u.err
	}
	found := u.also
	found.ProtocolVersion, found.ServerInfo, found.Tools = "2025-11-25", []byte(`{"name":"x","version":"1"}`), u.tools[s.Name]
	return found, nil
}

// setAlso sets what is found besides tools.
func (u *upstream) setAlso(d catalog.Discovery) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.also = d
}

func (u *upstream) set(server string, err error, tools ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
	u.tools[server] = nil
	for _, t := range tools {
		u.tools[server] = append(u.tools[server], []byte(t))
	}
}

// vault keeps secrets in memory.
type vault struct {
	mu   sync.Mutex
	kept map[string]map[string]string // connection uid → headers
}

// Put implements catalog.Secrets.
func (v *vault) Put(_ context.Context, uid string, headers, _ map[string]string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kept[uid] = headers
	return "v1", nil
}

// PutClientSecret implements catalog.Secrets.
func (v *vault) PutClientSecret(ctx context.Context, uid, secret string) (string, error) {
	return v.Put(ctx, uid, map[string]string{"client_secret": secret}, nil)
}

// SetPassword implements catalog.Secrets.
func (v *vault) SetPassword(ctx context.Context, uid, password string) error {
	_, err := v.Put(ctx, uid, map[string]string{"password": password}, nil)
	return err
}

// CreateConnectLink implements catalog.Secrets.
func (v *vault) CreateConnectLink(_ context.Context, uid, server string) (string, time.Time, error) {
	return "https://auth.example.com/connect/" + uid + "-" + server, linkEnd(), nil
}

func linkEnd() time.Time { return time.Date(2026, 5, 1, 12, 10, 0, 0, time.UTC) }

// Delete implements catalog.Secrets.
func (v *vault) Delete(_ context.Context, uid string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.kept, uid)
	return nil
}

// newWorld starts a control plane with one user of each role, a token for each, an HTTP server with two tools, an organisation
// connection and an organisation gateway.
func newWorld(t *testing.T, change ...func(*adminapi.Config)) *world {
	t.Helper()
	w := &world{
		store: memstore.New(nil), fleet: &fleet{nodes: []adminapi.Node{{Name: "node-1", Connected: true}}},
		upstream: &upstream{tools: map[string][][]byte{}}, secrets: &vault{kept: map[string]map[string]string{}}, tokens: map[string]string{},
		audit: &book{}, explainer: &explainer{},
	}
	w.catalog = catalog.New(catalog.Config{
		Rollouts: w.store,
		Store:    w.store, Secrets: w.secrets,
		GatewayURL: func(name string) string { return "http://127.0.0.1:8080/v1/mcp/" + name },
	})
	w.approvals = newApprovals(t, w)
	config := adminapi.Config{
		Approvals: w.approvals, Explainer: w.explainer,
		Catalog: w.catalog, Log: w.store, Fleet: w.fleet, Discoverer: w.upstream, Logger: slog.New(slog.DiscardHandler),
		Enrollment: door{}, Audit: w.audit,
	}
	for _, c := range change {
		c(&config)
	}
	h, err := adminapi.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.url = serve(t, h)
	w.people(t)
	w.resources(t)
	return w
}

// people makes the users and their tokens.
func (w *world) people(t *testing.T) {
	t.Helper()
	ctx, system := t.Context(), catalog.Caller{System: true}
	for user, role := range map[string]catalog.Role{adminUser: catalog.RoleAdmin, editorUser: catalog.RoleEditor, memberUser: catalog.RoleMember} {
		u := &catalog.User{Role: role}
		u.Name = user
		if _, err := w.catalog.Create(ctx, system, u, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for user, name := range map[string]string{adminUser: "of-admin", editorUser: "of-editor", memberUser: "of-member"} {
		token := &catalog.BearerToken{AdminAPI: true, Owner: &resource.Owner{User: user}}
		token.Name = name
		made, err := w.catalog.Create(ctx, system, token, catalog.WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[user] = made.Token
	}
}

// resources makes what the tests read and change.
func (w *world) resources(t *testing.T) {
	t.Helper()
	c, ctx := w.client(t, adminUser), t.Context()
	w.upstream.set("everything", nil, echoTool, changedTool)
	w.upstream.setAlso(catalog.Discovery{Instructions: instructionsFirst})
	_, err := c.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Server{Server: httpServer("everything")}},
		{Resource: &adminv1.ManifestResource_Connection{Connection: orgConnection("shared", "everything")}},
		{Resource: &adminv1.ManifestResource_Server{Server: httpServer("unused")}},
		{Resource: &adminv1.ManifestResource_Server{Server: httpServer("gone")}},
		{Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: "crew", Members: []*resourcev1.TeamMember{{User: memberUser}}}}},
		{Resource: &adminv1.ManifestResource_User{User: &resourcev1.User{Name: "leaver@example.com"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"}); err != nil {
		t.Fatal(err)
	}
	w.upstream.set("everything", nil, echoTool, changedLater)
	w.upstream.setAlso(catalog.Discovery{Instructions: instructionsLater})
	for _, err := range []error{
		failed(c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"})),
		failed(c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("eng")})),
		failed(c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("gone")})),
		failed(c.Gateways.DeleteGateway(ctx, &adminv1.DeleteGatewayRequest{Name: "gone"})),
		failed(c.Servers.DeleteServer(ctx, &adminv1.DeleteServerRequest{Name: "gone"})),
		failed(c.IdentityProviders.CreateIdentityProvider(ctx, &adminv1.CreateIdentityProviderRequest{IdentityProvider: provider("okta")})),
		failed(c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("robots")})),
		failed(c.OAuthClients.CreateOAuthClient(ctx, &adminv1.CreateOAuthClientRequest{OauthClient: machine("ci")})),
		failed(c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: rule("no-writes", "")})),
		failed(c.ResultPolicies.CreateResultPolicy(ctx, &adminv1.CreateResultPolicyRequest{ResultPolicy: resultRule("no-results")})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// failed is the error of a call.
func failed[S any](_ S, err error) error { return err }

// hashOf is the address of a definition's bytes.
func hashOf(definition string) string {
	sum := sha256.Sum256([]byte(definition))
	return hex.EncodeToString(sum[:])
}

// client returns a client with the token of a user; of nobody if user is empty.
func (w *world) client(t *testing.T, user string) *admin.Client {
	t.Helper()
	c, err := admin.New(w.url, w.tokens[user], admin.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve runs the handler on a loopback port as the control plane does, and returns its URL.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := adminapi.Server(h)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func httpServer(name string) *resourcev1.Server {
	return &resourcev1.Server{
		Name:       name,
		Transport:  &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://" + name + ".example.com/mcp"}},
		Credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_StaticHeaders{StaticHeaders: &resourcev1.StaticHeaders{}}},
		Visibility: everybody(),
	}
}

func stdioServer(name string) *resourcev1.Server {
	s := httpServer(name)
	s.Transport = &resourcev1.Server_Stdio{Stdio: &resourcev1.Stdio{Command: "/usr/bin/true"}}
	s.Credential = nil
	return s
}

// turnedStdio is the update that makes a command of an HTTP server.
func turnedStdio(name string) *resourcev1.Server {
	return &resourcev1.Server{
		Name: name, Transport: stdioServer(name).GetTransport(),
		Credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_None{None: &resourcev1.NoCredential{}}},
	}
}

func orgConnection(name, server string) *resourcev1.Connection {
	return &resourcev1.Connection{
		Name: name, Server: server, SecretHeaders: map[string]string{"Authorization": "Bearer s3cret"},
		Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
	}
}

func userConnection(name, user string) *resourcev1.Connection {
	c := orgConnection(name, "everything")
	c.Owner = userOwner(user)
	return c
}

func userOwner(user string) *resourcev1.Owner {
	return &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: user}}
}

func orgGateway(name string) *resourcev1.Gateway {
	return &resourcev1.Gateway{
		Name: name, Visibility: everybody(), Authentication: &resourcev1.Authentication{BearerToken: &resourcev1.BearerTokenAuthentication{}},
		Tools: []*resourcev1.ToolAssignment{{
			Tool: "everything/echo", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "shared"}},
		}},
	}
}

func personalGateway(name, user string) *resourcev1.Gateway {
	g := orgGateway(name)
	g.Visibility = &resourcev1.Visibility{Kind: &resourcev1.Visibility_Personal{Personal: &resourcev1.PersonalVisibility{Owner: user}}}
	return g
}

func everybody() *resourcev1.Visibility {
	return &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}
}

// unreachable is how a node reports a server that does not answer.
func unreachable() error {
	return fault.New(fault.Unavailable, "UPSTREAM_UNREACHABLE", "Server everything did not answer: connection refused.")
}

// door lets everybody in and out.
type door struct{}

func (door) CreateJoinToken(context.Context, adminapi.Workload, time.Duration, string) (adminapi.JoinToken, error) {
	return adminapi.JoinToken{Token: "pjt_x"}, nil
}

func (door) BanWorkload(context.Context, adminapi.Workload, string, string) (string, error) {
	return "spiffe://td/node/n1", nil
}
