// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/directory"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const issuer = "https://idp.example.com"

// world is a control plane as far as an authserver sees its directory.
type world struct {
	t       *testing.T
	store   catalog.Store
	catalog *catalog.Catalog
	client  directoryv1.DirectoryServiceClient
}

// stores are what everything must hold on.
func stores() map[string]func(*testing.T) catalog.Store {
	open := func(t *testing.T, dsn string) catalog.Store {
		t.Helper()
		s, err := sqlstore.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	return map[string]func(*testing.T) catalog.Store{
		"memory": func(*testing.T) catalog.Store { return memstore.New(nil) },
		"SQLite": func(t *testing.T) catalog.Store {
			t.Helper()
			return open(t, "sqlite://"+filepath.Join(t.TempDir(), "controlplane.db"))
		},
		"PostgreSQL": func(t *testing.T) catalog.Store { t.Helper(); return open(t, pgtest.New(t)) },
	}
}

// newWorld serves a directory that a workload calls, with some people: ada (ADMIN, without account), bob (with an account),
// eve (deactivated, with an account), zoe (deactivated) and max (with 16 accounts elsewhere), and the teams eng, ops and own.
func newWorld(t *testing.T, store catalog.Store, who ident.Workload) *world {
	t.Helper()
	w := &world{t: t, store: store, catalog: catalog.New(catalog.Config{Store: store})}
	d, err := directory.New(directory.Config{Users: w.catalog, Provisioner: w.catalog, Log: slog.New(slog.DiscardHandler), Peer: func(ctx context.Context) (string, error) {
		w, err := enroll.Peer(ctx, ident.RoleAuthserver)
		return w.Name, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer(grpc.Creds(enroll.Local(who)))
	d.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///directory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	w.client = directoryv1.NewDirectoryServiceClient(conn)
	most := make([]resource.Identity, 16)
	for i := range most {
		most[i] = resource.Identity{Issuer: "https://other.example.com", Subject: fmt.Sprint(i)}
	}
	people := []catalog.Object{
		&catalog.User{Meta: catalog.Meta{Name: "max@example.com"}, Identities: most},
		&catalog.User{Meta: catalog.Meta{Name: "ada@example.com"}, Role: catalog.RoleAdmin},
		&catalog.User{Meta: catalog.Meta{Name: "bob@example.com"}, DisplayName: "Bob", Identities: []resource.Identity{{Issuer: issuer, Subject: "bob"}}},
		&catalog.User{Meta: catalog.Meta{Name: "eve@example.com"}, Deactivated: true, Identities: []resource.Identity{{Issuer: issuer, Subject: "eve"}}},
		&catalog.User{Meta: catalog.Meta{Name: "zoe@example.com"}, Deactivated: true},
		&catalog.Team{Meta: catalog.Meta{Name: "eng"}},
		&catalog.Team{Meta: catalog.Meta{Name: "ops"}, Members: []resource.TeamMember{{User: "bob@example.com", Role: catalog.RoleAdmin}}},
		&catalog.Team{Meta: catalog.Meta{Name: "own"}, Members: []resource.TeamMember{{User: "bob@example.com"}}},
	}
	if _, err := w.catalog.Apply(t.Context(), catalog.Caller{System: true}, people, catalog.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// provider stores the identity provider "idp" with what it may do.
func (w *world) provider(change func(*catalog.IdentityProvider)) {
	w.t.Helper()
	p := &catalog.IdentityProvider{Meta: catalog.Meta{Name: "idp"}, Issuer: issuer, ClientID: "penstock"}
	if change != nil {
		change(p)
	}
	if _, err := w.catalog.Create(w.t.Context(), catalog.Caller{System: true}, p, catalog.WriteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) login(r *directoryv1.LoginUserRequest) (*directoryv1.LoginUserResponse, error) {
	r.IdentityProvider = "idp"
	return w.client.LoginUser(w.t.Context(), r)
}

func (w *world) head() uint64 {
	w.t.Helper()
	h, err := w.store.Head(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return uint64(h.Revision)
}

func (w *world) user(name string) *catalog.User {
	w.t.Helper()
	o, err := w.catalog.Get(w.t.Context(), catalog.Caller{System: true}, catalog.KindUser, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return o.(*catalog.User)
}

// members returns the members of a team, sorted.
func (w *world) members(team string) (names []string) {
	w.t.Helper()
	o, err := w.catalog.Get(w.t.Context(), catalog.Caller{System: true}, catalog.KindTeam, team)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range o.(*catalog.Team).Members {
		names = append(names, m.User)
	}
	slices.Sort(names)
	return names
}

// last returns the newest change.
func (w *world) last() catalog.Change {
	w.t.Helper()
	list, err := w.store.Changes(w.t.Context(), catalog.Revision(w.head()-1), 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return list[0]
}

func authserver() ident.Workload {
	return ident.Workload{TrustDomain: "test", Role: ident.RoleAuthserver, Name: "a1"}
}

// reason returns the code and the reason of a refusal.
func reason(err error) string {
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return fmt.Sprint(s.Code(), " ", info.GetReason())
		}
	}
	return s.Code().String()
}

// TestLoginUser is the whole table of decisions about an account (AZ-24).
func TestLoginUser(t *testing.T) {
	const notAllowed, deactivated = "PermissionDenied LOGIN_NOT_ALLOWED", "PermissionDenied USER_DEACTIVATED"
	jit := func(p *catalog.IdentityProvider) { p.JustInTimeUsers = true }
	link := func(p *catalog.IdentityProvider) { p.LinkByEmail = true }
	both := func(p *catalog.IdentityProvider) { p.JustInTimeUsers, p.LinkByEmail = true, true }
	domains := func(p *catalog.IdentityProvider) { both(p); p.EmailDomains = []string{"corp.example"} }
	trusted := func(p *catalog.IdentityProvider) { both(p); p.TrustedEmailAddresses = true }
	trustedAlone := func(p *catalog.IdentityProvider) { p.TrustedEmailAddresses = true }
	trustedDomains := func(p *catalog.IdentityProvider) { domains(p); p.TrustedEmailAddresses = true }
	off := func(p *catalog.IdentityProvider) { both(p); p.Disabled = true }
	type request = directoryv1.LoginUserRequest
	verified := func(subject, email string) *request {
		return &request{Subject: subject, Email: email, EmailVerified: true, DisplayName: "Somebody"}
	}
	tests := []struct {
		name     string
		provider func(*catalog.IdentityProvider)
		login    *request
		want     string // user, or what the refusal says
		changes  bool
	}{
		{"known by the account", nil, verified("bob", "bob@example.com"), "bob@example.com", false},
		{"known by the account, without address", nil, &request{Subject: "bob"}, "bob@example.com", false},
		{"known by the account, with another address", both, verified("bob", "new@example.com"), "bob@example.com", false},
		{"known by the account, with another's address", both, verified("bob", "ada@example.com"), "bob@example.com", false},
		{"the account's case matters", jit, &request{Subject: "BOB"}, notAllowed, false},
		{"known and shut out", both, verified("eve", "eve@example.com"), deactivated, false},
		{"shut out by address", both, verified("other", "zoe@example.com"), deactivated, false},
		{"provider off", off, verified("bob", "bob@example.com"), notAllowed, false},

		{"unknown, nothing allowed", nil, verified("new", "new@example.com"), notAllowed, false},
		{"unknown, made", jit, verified("new", "New@Example.com"), "new@example.com", true},
		{"unknown, address not verified", jit, &request{Subject: "new", Email: "new@example.com"}, notAllowed, false},
		{"unknown, no address", jit, &request{Subject: "new", EmailVerified: true}, notAllowed, false},
		{"unknown, address is none", jit, verified("new", "not an address"), notAllowed, false},
		{"unknown, address trusted", trusted, &request{Subject: "new", Email: "New@example.com"}, "new@example.com", true},
		{"unknown, address trusted, nothing allowed", trustedAlone, &request{Subject: "new", Email: "new@example.com"}, notAllowed, false},
		{"unknown, provider trusted, no address", trusted, &request{Subject: "new"}, notAllowed, false},
		{"unknown, provider trusted, address is none", trusted, &request{Subject: "new", Email: "not an address"}, notAllowed, false},
		{"unknown, address trusted, domain allowed", trustedDomains, &request{Subject: "new", Email: "new@corp.example"}, "new@corp.example", true},
		{"unknown, only linking allowed", link, verified("new", "new@example.com"), notAllowed, false},
		{"unknown, domain allowed", domains, verified("new", "new@Corp.Example"), "new@corp.example", true},
		{"unknown, domain not allowed", domains, verified("new", "new@sub.corp.example"), notAllowed, false},
		{"unknown, domain within the name", domains, verified("new", "new@corp.example@evil.example"), notAllowed, false},

		{"address of an admin, linking off", jit, verified("ada", "ada@example.com"), notAllowed, false},
		{"address of an admin, linking on", link, verified("ada", "ADA@example.com"), "ada@example.com", true},
		{"address of an admin, not verified", both, &request{Subject: "ada", Email: "ada@example.com"}, notAllowed, false},
		{"address of an admin, domain not allowed", domains, verified("ada", "ada@example.com"), notAllowed, false},
		{"address of an admin, trusted", trusted, &request{Subject: "ada", Email: "ada@example.com"}, "ada@example.com", true},
		{"address of an admin, trusted, linking off", trustedAlone, &request{Subject: "ada", Email: "ada@example.com"}, notAllowed, false},
		{"address of an admin, trusted, domain not allowed", trustedDomains, &request{Subject: "ada", Email: "ada@example.com"}, notAllowed, false},
		{"shut out by a trusted address", trusted, &request{Subject: "other", Email: "zoe@example.com"}, deactivated, false},
		{"trusted address of a user with another account there", trusted, &request{Subject: "bob2", Email: "bob@example.com"}, notAllowed, false},
		{"address of a user with as many accounts as there may be", both, verified("max", "max@example.com"), notAllowed, false},
		{"address of a user with another account there", both, verified("bob2", "bob@example.com"), notAllowed, false},
	}
	for name, store := range stores() {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				w := newWorld(t, store(t), authserver())
				w.provider(tt.provider)
				before := w.head()
				got, err := w.login(tt.login)
				if strings.Contains(tt.want, " ") {
					if reason(err) != tt.want {
						t.Fatalf("got %v, %v; want %s", got, err, tt.want)
					}
					if w.head() != before {
						t.Error("a refusal changed something")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				u := w.user(tt.want)
				if got.GetUser() != tt.want || got.GetUserUid() != u.UID {
					t.Errorf("got %v, want %s %s", got, tt.want, u.UID)
				}
				if !slices.Contains(u.Identities, resource.Identity{Issuer: issuer, Subject: tt.login.GetSubject()}) {
					t.Errorf("accounts %v", u.Identities)
				}
				switch {
				case !tt.changes && (got.GetRevision() != 0 || w.head() != before):
					t.Errorf("revision %d, head %d after %d", got.GetRevision(), w.head(), before)
				case tt.changes && (got.GetRevision() != before+1 || w.head() != before+1 || w.last().Actor != "authserver:a1"):
					t.Errorf("revision %d after %d by %s", got.GetRevision(), before, w.last().Actor)
				}
				again, err := w.login(tt.login)
				if err != nil || again.GetRevision() != 0 || again.GetUserUid() != got.GetUserUid() {
					t.Errorf("the same login again: %v, %v", again, err)
				}
			})
		}
	}
}

// TestDisplayName is taken when a user is made, as far as it is fit for a name, and left alone afterwards.
func TestDisplayName(t *testing.T) {
	w := newWorld(t, memstore.New(nil), authserver())
	w.provider(func(p *catalog.IdentityProvider) { p.JustInTimeUsers = true })
	for i, tt := range []struct{ given, want string }{
		{" Nina\u0000 N\u202e. ", "Nina N."}, {strings.Repeat("ü", 128), strings.Repeat("ü", 128)}, {"", ""},
	} {
		email := fmt.Sprintf("u%d@example.com", i)
		for _, name := range []string{tt.given, "Another"} {
			_, err := w.login(&directoryv1.LoginUserRequest{Subject: email, Email: email, EmailVerified: true, DisplayName: name})
			if err != nil {
				t.Fatal(err)
			}
		}
		if u := w.user(email); u.DisplayName != tt.want || u.Role != catalog.RoleMember {
			t.Errorf("%q of role %s, want %q", u.DisplayName, u.Role, tt.want)
		}
	}
}

// TestCallers: only authservers log people in, and a request must obey its contract.
func TestCallers(t *testing.T) {
	node := ident.Workload{TrustDomain: "test", Region: "eu", Role: ident.RoleNode, Name: "n1"}
	w := newWorld(t, memstore.New(nil), node)
	w.provider(nil)
	if got, err := w.login(&directoryv1.LoginUserRequest{Subject: "bob"}); reason(err) != "PermissionDenied WRONG_ROLE" {
		t.Errorf("a node logs bob in: %v, %v", got, err)
	}
	w = newWorld(t, memstore.New(nil), authserver())
	if got, err := w.login(&directoryv1.LoginUserRequest{Subject: "bob"}); reason(err) != "PermissionDenied LOGIN_NOT_ALLOWED" {
		t.Errorf("without the provider: %v, %v", got, err)
	}
	if got, err := w.login(&directoryv1.LoginUserRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without a subject: %v, %v", got, err)
	}
}
