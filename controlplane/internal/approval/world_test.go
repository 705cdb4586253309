// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engines are the databases that everything must hold on.
func engines() map[string]func(*testing.T) string {
	return map[string]func(*testing.T) string{
		"SQLite": func(t *testing.T) string {
			t.Helper()
			return "sqlite://" + filepath.Join(t.TempDir(), "controlplane.db")
		},
		"PostgreSQL": func(t *testing.T) string { t.Helper(); return pgtest.New(t) },
	}
}

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// org is an organisation on a database: people, the teams eng (ada is its admin) and ops (bob is), the gateway main with the tool
// demo/echo, and policies that hold its calls.
type org struct {
	*approval.Service

	t       *testing.T
	dsn     string
	keyFile string
	keys    *envelope.KeyFile
	clock   *clock
	store   *sqlstore.Store
	catalog *catalog.Catalog
	users   map[string]string // e-mail address to UID
	gateway string            // UID
}

const (
	ada, bob, cyd, eve, root = "ada@example.com", "bob@example.com", "cyd@example.com", "eve@example.com", "root@example.com"
)

func newOrg(t *testing.T, dsn string) *org {
	t.Helper()
	o := &org{t: t, dsn: dsn, clock: &clock{at: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}, users: make(map[string]string)}
	o.keyFile = filepath.Join(t.TempDir(), "keyset.json")
	o.must(envelope.CreateKeyFile(o.keyFile))
	var err error
	o.keys, err = envelope.OpenKeyFile(o.keyFile)
	o.must(err)
	o.store, o.Service = o.replica(false)
	o.catalog = catalog.New(catalog.Config{Store: o.store, Now: o.clock.now})
	for _, name := range []string{ada, bob, cyd, eve, root} {
		u := &catalog.User{Meta: resource.Meta{Name: name}}
		if name == root {
			u.Role = resource.RoleAdmin
		}
		o.users[name] = o.create(u).Metadata().UID
	}
	member := func(user string, role resource.Role) resource.TeamMember {
		return resource.TeamMember{User: user, Role: role}
	}
	o.create(&catalog.Team{Meta: resource.Meta{Name: "eng"}, Members: []resource.TeamMember{member(ada, resource.RoleAdmin), member(cyd, ""), member(bob, "")}})
	o.create(&catalog.Team{Meta: resource.Meta{Name: "ops"}, Members: []resource.TeamMember{member(bob, resource.RoleAdmin)}})
	everybody := &resource.Visibility{Organization: &struct{}{}}
	o.create(&catalog.Server{Meta: resource.Meta{Name: "demo"}, StreamableHTTP: &resource.StreamableHTTP{URL: "https://demo.example.com/mcp"}, Visibility: everybody})
	_, err = o.catalog.RecordDiscovery(t.Context(), "demo", catalog.Discovery{ProtocolVersion: "2025-11-25", Tools: [][]byte{
		[]byte(`{"name":"echo","inputSchema":{"type":"object"}}`), []byte(`{"name":"other","inputSchema":{"type":"object"}}`),
	}})
	o.must(err)
	o.create(&catalog.Connection{Meta: resource.Meta{Name: "demo"}, Server: "demo", Owner: &resource.Owner{Organization: &struct{}{}}})
	o.gateway = o.newGateway().Metadata().UID
	o.policy("admins", resource.Approvers{TeamAdmins: &resource.TeamAdmins{}})
	return o
}

// newGateway makes the gateway.
func (o *org) newGateway() catalog.Object {
	o.t.Helper()
	return o.create(&catalog.Gateway{
		Meta: resource.Meta{Name: "main"}, Visibility: &resource.Visibility{Organization: &struct{}{}},
		Authentication: &resource.Authentication{BearerToken: &struct{}{}},
		Tools:          []resource.ToolAssignment{{Tool: "demo/echo", Pinned: &resource.Pinned{Connection: "demo"}}},
	})
}

// replica returns another control plane on the database, whose service runs if it is asked to.
func (o *org) replica(tell bool) (*sqlstore.Store, *approval.Service) {
	o.t.Helper()
	store, err := sqlstore.OpenConfig(o.t.Context(), sqlstore.Config{DSN: o.dsn, Now: o.clock.now})
	o.must(err)
	o.t.Cleanup(func() { o.must(store.Close()) })
	s, err := approval.New(approval.Config{
		Store: store.Approvals(o.keys), Resources: store, Log: slog.New(slog.DiscardHandler), Now: o.clock.now, Tell: tell,
	})
	o.must(err)
	return store, s
}

func (o *org) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *org) create(object catalog.Object) catalog.Object {
	o.t.Helper()
	w, err := o.catalog.Create(o.t.Context(), catalog.Caller{System: true}, object, catalog.WriteOptions{})
	o.must(err)
	return w.Object
}

func (o *org) update(object catalog.Object, mask ...string) {
	o.t.Helper()
	_, err := o.catalog.Update(o.t.Context(), catalog.Caller{System: true}, object, mask, catalog.WriteOptions{})
	o.must(err)
}

func (o *org) remove(kind catalog.Kind, name string) {
	o.t.Helper()
	_, err := o.catalog.Delete(o.t.Context(), catalog.Caller{System: true}, kind, name, "", catalog.WriteOptions{})
	o.must(err)
}

func (o *org) policy(name string, a resource.Approvers) {
	o.t.Helper()
	o.create(&catalog.Policy{Meta: resource.Meta{Name: name}, Action: resource.PolicyRequireApproval, Approvers: &a})
}

// request is a call of cyd.
func (o *org) request(change ...func(*approval.Request)) approval.Request {
	r := approval.Request{
		Gateway: "main", GatewayUID: o.gateway, Tool: "demo/echo", Policy: "admins", Arguments: []byte(`{"a":1,"b":2}`), Node: "n1",
		Caller: approval.Caller{Kind: "user", UID: o.users[cyd], Name: cyd, AuthMethod: "bearer_token", ClientID: "c1"},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// hold asks about a call and checks the answer, "STATE" or "RUN run".
func (o *org) hold(want string, change ...func(*approval.Request)) string {
	o.t.Helper()
	h, err := o.Hold(o.t.Context(), o.request(change...))
	o.must(err)
	if got := answer(h); got != want {
		o.t.Errorf("held: %s, want %s", got, want)
	}
	return h.ID
}

func answer(h approval.Held) string {
	if h.Run {
		return string(h.State) + " run"
	}
	return string(h.State)
}

// decide decides about a call by somebody; want is a reason, empty for none.
func (o *org) decide(id, by string, approve bool, want string) {
	o.t.Helper()
	_, err := o.Decide(o.t.Context(), approval.Decision{ID: id, By: by, Approve: approve, How: approval.HowAPI, Reason: "because"}, nil)
	if got := reasonOf(err); got != want {
		o.t.Errorf("%s decides: %v, want %q", by, err, want)
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f.Reason
	}
	return err.Error()
}

func meta(name string) resource.Meta { return resource.Meta{Name: name} }
