// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// vault is a Secrets that keeps what it is given in memory.
type vault struct {
	mu      sync.Mutex
	n       int
	secrets map[string]map[string]string // "<uid>/<version>" to headers and env
	links   []string                     // "<uid> <server>" of each that was made
	fail    error
}

func (v *vault) Put(_ context.Context, uid string, headers, env map[string]string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return "", v.fail
	}
	v.n++
	version := fmt.Sprintf("v%d", v.n)
	all := maps.Clone(headers)
	if all == nil {
		all = make(map[string]string)
	}
	maps.Copy(all, env)
	v.secrets[uid+"/"+version] = all
	return version, nil
}

func (v *vault) PutClientSecret(ctx context.Context, uid, secret string) (string, error) {
	return v.Put(ctx, uid, map[string]string{"client_secret": secret}, nil)
}

func (v *vault) SetPassword(_ context.Context, uid, password string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return v.fail
	}
	v.secrets["password/"+uid] = map[string]string{"": password}
	return nil
}

func (v *vault) CreateConnectLink(_ context.Context, uid, server string) (string, time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return "", time.Time{}, v.fail
	}
	v.links = append(v.links, uid+" "+server)
	return "https://auth.example.com/connect/" + server, time.Date(2026, 5, 1, 12, 10, 0, 0, time.UTC), nil
}

func (v *vault) Delete(_ context.Context, uid string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return v.fail
	}
	maps.DeleteFunc(v.secrets, func(key string, _ map[string]string) bool { return strings.HasPrefix(key, uid+"/") })
	return nil
}

func (v *vault) size() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.secrets)
}

// fleet is a Status that enforces up to a revision.
type fleet struct{ enforced catalog.Revision }

func (f *fleet) Enforced(rev catalog.Revision) bool { return rev <= f.enforced }

// org is an organisation to test with. Its people are root (ADMIN), edna (EDITOR), ada (MEMBER, admin of the team eng),
// bob (member of eng), eve (MEMBER, admin of ops) and ghost (deactivated, member of eng).
type org struct {
	*catalog.Catalog

	t     *testing.T
	store *memstore.Store
	vault *vault
	fleet *fleet
	now   time.Time
}

var people = []string{"root", "edna", "ada", "bob", "eve", "ghost"} //nolint:gochecknoglobals // names

func mail(name string) string { return name + "@example.com" }

func newOrg(t *testing.T) *org {
	t.Helper()
	o := emptyOrg(t)
	roles := map[string]catalog.Role{"root": catalog.RoleAdmin, "edna": catalog.RoleEditor}
	for _, name := range people {
		o.create(&catalog.User{Meta: named(mail(name)), Role: roles[name], Deactivated: name == "ghost"})
	}
	o.create(&catalog.Team{Meta: named("eng"), Members: []resource.TeamMember{
		{User: mail("ada"), Role: catalog.RoleAdmin}, {User: mail("bob")}, {User: mail("ghost")},
	}})
	o.create(&catalog.Team{Meta: named("ops"), Members: []resource.TeamMember{{User: mail("eve"), Role: catalog.RoleAdmin}}})
	return o
}

// emptyOrg is an organisation without people.
func emptyOrg(t *testing.T) *org {
	t.Helper()
	o := &org{t: t, vault: &vault{secrets: make(map[string]map[string]string)}, fleet: &fleet{enforced: 1 << 40}, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return o.now }
	o.store = memstore.New(clock)
	o.Catalog = catalog.New(catalog.Config{
		Store: o.store, Secrets: o.vault, Status: o.fleet, Now: clock,
		GatewayURL: func(name string) string { return "https://mcp.example.com/v1/mcp/" + name },
	})
	return o
}

func named(name string) catalog.Meta { return catalog.Meta{Name: name} }

// as returns the caller of that name; "system" is the control plane.
func (o *org) as(name string) catalog.Caller {
	if name == "system" {
		return catalog.Caller{System: true}
	}
	u, err := o.Get(o.t.Context(), catalog.Caller{System: true}, catalog.KindUser, mail(name))
	if err != nil {
		o.t.Fatal(err)
	}
	return catalog.Caller{UserUID: u.Metadata().UID, Email: mail(name), Role: u.(*catalog.User).Role}
}

// create stores resources as the control plane itself.
func (o *org) create(objects ...catalog.Object) {
	o.t.Helper()
	for _, x := range objects {
		if _, err := o.Create(o.t.Context(), catalog.Caller{System: true}, x, catalog.WriteOptions{}); err != nil {
			o.t.Fatalf("create %s %q: %v", x.Kind(), x.Metadata().Name, err)
		}
	}
}

// standard adds the server "files" of the organisation with the tools "read" and "write", and connections of it: "shared"
// of the organisation, "eng-files" and "ops-files" of the teams, "ada-files" and "bob-files" of the users.
func (o *org) standard() {
	o.t.Helper()
	o.create(server("files"))
	o.discover("files", tool("read"), tool("write"))
	o.create(
		connection("shared", "files", everybody()), connection("eng-files", "files", ownedBy("eng")), connection("ops-files", "files", ownedBy("ops")),
		connection("ada-files", "files", ownedBy("ada")), connection("bob-files", "files", ownedBy("bob")),
	)
}

func (o *org) discover(name string, tools ...string) catalog.DiscoveryOutcome {
	o.t.Helper()
	raw := make([][]byte, len(tools))
	for i, t := range tools {
		raw[i] = []byte(t)
	}
	out, err := o.RecordDiscovery(o.t.Context(), name, catalog.Discovery{
		ProtocolVersion: "2025-11-25", ServerInfo: []byte(`{"name":"example","version":"1.2"}`), Tools: raw,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// tool returns a definition as servers send it.
func tool(name string) string {
	return fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"}}`, name)
}

func server(name string) *catalog.Server {
	return &catalog.Server{Meta: named(name), StreamableHTTP: &resource.StreamableHTTP{URL: "https://" + name + ".example.com/mcp"}}
}

func secretServer(name string) *catalog.Server {
	s := server(name)
	s.Credential = &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{}}
	return s
}

func stdioServer(name string) *catalog.Server {
	return &catalog.Server{
		Meta: named(name), Stdio: &resource.Stdio{Command: "mcp-files", Env: map[string]string{"MODE": "ro"}},
		Credential: &resource.ServerCredential{StaticEnv: &struct{}{}},
	}
}

func connection(name, server string, owner *resource.Owner) *catalog.Connection {
	return &catalog.Connection{Meta: named(name), Server: server, Owner: owner}
}

func everybody() *resource.Owner { return &resource.Owner{Organization: &struct{}{}} }

// ownedBy returns a team or a person as an owner.
func ownedBy(name string) *resource.Owner {
	if slices.Contains(people, name) {
		return &resource.Owner{User: mail(name)}
	}
	return &resource.Owner{Team: name}
}

// seenBy returns a visibility: of everybody without names, of a person, or of teams.
func seenBy(names ...string) *resource.Visibility {
	switch {
	case len(names) == 0:
		return &resource.Visibility{Organization: &struct{}{}}
	case slices.Contains(people, names[0]):
		return &resource.Visibility{Personal: &resource.PersonalVisibility{Owner: mail(names[0])}}
	default:
		return &resource.Visibility{Team: &resource.TeamVisibility{Teams: names}}
	}
}

func bearer() *resource.Authentication {
	return &resource.Authentication{BearerToken: &struct{}{}}
}

func gateway(name string, v *resource.Visibility, tools ...catalog.ToolAssignment) *catalog.Gateway {
	return &catalog.Gateway{Meta: named(name), Visibility: v, Authentication: bearer(), Tools: tools}
}

func pin(tool, connection string) catalog.ToolAssignment {
	return catalog.ToolAssignment{Tool: tool, Pinned: &resource.Pinned{Connection: connection}}
}

func atCall(tool string) catalog.ToolAssignment {
	return catalog.ToolAssignment{Tool: tool, ResolveAtCallTime: &struct{}{}}
}

// get returns a resource as the control plane sees it.
func get[T catalog.Object](o *org, kind catalog.Kind, name string) T {
	o.t.Helper()
	x, err := o.Get(o.t.Context(), catalog.Caller{System: true}, kind, name)
	if err != nil {
		o.t.Fatalf("get %s %q: %v", kind, name, err)
	}
	return x.(T)
}

// last returns the newest change.
func (o *org) last() catalog.Change {
	o.t.Helper()
	head, err := o.store.Head(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	log, err := o.store.Changes(o.t.Context(), head.Revision-1, 1)
	if err != nil {
		o.t.Fatal(err)
	}
	return log[0]
}

func (o *org) head() catalog.Revision {
	o.t.Helper()
	head, err := o.store.Head(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return head.Revision
}

// refusal is what a test wants of an error: "" for none, else "kind REASON", for example "denied ROLE_REQUIRED".
func refusal(err error) string {
	if err == nil {
		return ""
	}
	f := fault.From(err)
	return f.Kind.String() + " " + f.Reason
}

// wantRefusal fails the test unless err is the wanted refusal and its text has all the parts.
func wantRefusal(t *testing.T, err error, want string, parts ...string) {
	t.Helper()
	if got := refusal(err); got != want {
		t.Fatalf("got %q (%v); want %q", got, err, want)
	}
	for _, part := range parts {
		if err != nil && !strings.Contains(fault.From(err).Public, part) {
			t.Errorf("the text %q does not have %q", fault.From(err).Public, part)
		}
	}
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

var errDown = errors.New("the vault is down")

// wantField fails the test unless the refusal names a field, if one is wanted.
func wantField(t *testing.T, err error, path string) {
	t.Helper()
	if path == "" {
		return
	}
	for _, f := range fault.From(err).Fields {
		if f.Path == path && f.Problem != "" {
			return
		}
	}
	t.Errorf("no problem of %q among %v", path, fault.From(err).Fields)
}
