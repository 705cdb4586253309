// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

type provisionUser = directoryv1.ProvisionUserRequest

func (w *world) provision(r *provisionUser) (*directoryv1.ProvisionUserResponse, error) {
	r.IdentityProvider = "idp"
	return w.client.ProvisionUser(w.t.Context(), r)
}

func (w *world) provisioned(r *provisionUser) *directoryv1.ProvisionedUser {
	w.t.Helper()
	got, err := w.provision(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return got.GetUser()
}

func (w *world) group(r *directoryv1.ProvisionTeamRequest) (*directoryv1.ProvisionTeamResponse, error) {
	r.IdentityProvider = "idp"
	return w.client.ProvisionTeam(w.t.Context(), r)
}

// TestProvisionUser is SC-1: whom the token of an identity provider may make and change, and whom not.
func TestProvisionUser(t *testing.T) {
	const conflict, refused, missing = "AlreadyExists PROVISIONING_CONFLICT", "InvalidArgument PROVISIONING_REFUSED", "NotFound RESOURCE_NOT_FOUND"
	link := func(p *catalog.IdentityProvider) { p.LinkByEmail = true }
	trusted := func(p *catalog.IdentityProvider) { p.LinkByEmail, p.TrustedEmailAddresses = true, true }
	trustedAlone := func(p *catalog.IdentityProvider) { p.TrustedEmailAddresses = true }
	domains := func(p *catalog.IdentityProvider) { p.EmailDomains = []string{"corp.example"} }
	both := func(p *catalog.IdentityProvider) { trusted(p); domains(p) }
	off := func(p *catalog.IdentityProvider) { p.Disabled = true }
	uid := func(w *world, name string) string { return w.user(name).UID }
	for name, store := range stores() {
		for _, tt := range []struct {
			name     string
			provider func(*catalog.IdentityProvider)
			request  func(w *world) *provisionUser
			want     string // e-mail address and whether it is active, or what the refusal says
		}{
			{"new", nil, func(*world) *provisionUser { return &provisionUser{UserName: "New@Example.com", Active: true} }, "new@example.com true"},
			{"new, inactive", nil, func(*world) *provisionUser { return &provisionUser{UserName: "new@example.com"} }, "new@example.com false"},
			{"new, address apart", nil, func(*world) *provisionUser {
				return &provisionUser{UserName: "nn", Email: "N@example.com", Active: true}
			}, "n@example.com true"},
			{"no address", nil, func(*world) *provisionUser { return &provisionUser{UserName: "nn", Active: true} }, refused},
			{"domain not allowed", domains, func(*world) *provisionUser { return &provisionUser{UserName: "new@example.com", Active: true} }, refused},
			{"domain allowed", domains, func(*world) *provisionUser { return &provisionUser{UserName: "new@corp.example", Active: true} }, "new@corp.example true"},
			{"provider off", off, func(*world) *provisionUser { return &provisionUser{UserName: "new@example.com"} }, "PermissionDenied PROVISIONING_NOT_ALLOWED"},

			{"address of an admin", nil, func(*world) *provisionUser { return &provisionUser{UserName: "ada@example.com"} }, conflict},
			{"address of an admin, apart", nil, func(*world) *provisionUser { return &provisionUser{UserName: "x", Email: "ADA@example.com"} }, conflict},
			{"address of an admin, linking alone", link, func(*world) *provisionUser { return &provisionUser{UserName: "ada@example.com"} }, conflict},
			{"address of an admin, trust alone", trustedAlone, func(*world) *provisionUser { return &provisionUser{UserName: "ada@example.com"} }, conflict},
			{"address of an admin, other domain", both, func(*world) *provisionUser { return &provisionUser{UserName: "ada@example.com"} }, conflict},
			{"address of somebody, linked", trusted, func(*world) *provisionUser { return &provisionUser{UserName: "max@example.com", Active: true} }, "max@example.com true"},
			{"the last admin, linked and deactivated", trusted, func(*world) *provisionUser { return &provisionUser{UserName: "ada@example.com"} }, "FailedPrecondition LAST_ADMIN"},
			{"there already, by a login", nil, func(*world) *provisionUser { return &provisionUser{UserName: "bob@example.com"} }, conflict},

			{"linked by a login", nil, func(w *world) *provisionUser { return &provisionUser{Uid: uid(w, "bob@example.com"), UserName: "bob"} }, "bob@example.com false"},
			{"somebody else's", nil, func(w *world) *provisionUser { return &provisionUser{Uid: uid(w, "ada@example.com"), UserName: "ada"} }, missing},
			{"nobody's", nil, func(*world) *provisionUser { return &provisionUser{Uid: "nope", UserName: "x"} }, missing},
			{"an admin's deactivation stays", nil, func(w *world) *provisionUser {
				return &provisionUser{Uid: uid(w, "eve@example.com"), UserName: "eve", Active: true}
			}, "eve@example.com false"},
			{"old etag", nil, func(w *world) *provisionUser {
				return &provisionUser{Uid: uid(w, "bob@example.com"), UserName: "bob", Etag: "old"}
			}, "Aborted ETAG_STALE"},
			{"name of another one", nil, func(w *world) *provisionUser {
				return &provisionUser{Uid: uid(w, "bob@example.com"), UserName: "EVE@example.com"}
			}, conflict},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				w := newWorld(t, store(t), authserver())
				w.provider(tt.provider)
				before := w.head()
				got, err := w.provision(tt.request(w))
				if err != nil {
					if reason(err) != tt.want {
						t.Fatalf("%v, want %s", err, tt.want)
					}
					if w.head() != before {
						t.Error("a refusal changed something")
					}
					return
				}
				if is := fmt.Sprint(got.GetUser().GetEmail(), " ", got.GetUser().GetActive()); is != tt.want {
					t.Fatalf("got %s, want %s", is, tt.want)
				}
				if u := w.user(got.GetUser().GetEmail()); u.Deactivated == got.GetUser().GetActive() || !u.Provisioning.Of("idp") || u.Role == catalog.RoleEditor {
					t.Errorf("stored %+v, %+v", u, u.Provisioning)
				}
				if w.last().Actor != "scim:idp" || got.GetRevision() != before+1 {
					t.Errorf("revision %d after %d by %s", got.GetRevision(), before, w.last().Actor)
				}
			})
		}
	}
}

// TestProvisionedLife: a user from its first day to its last, and back (SC-1, SC-2).
func TestProvisionedLife(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			w.provider(nil)
			made := w.provisioned(&provisionUser{UserName: "nina@example.com", ExternalId: "00u1", DisplayName: "Nina", Active: true})
			if _, err := w.provision(&provisionUser{UserName: "x@example.com", ExternalId: "00u1"}); reason(err) != "AlreadyExists PROVISIONING_CONFLICT" {
				t.Errorf("the same externalId: %v", err)
			}
			// The subject is the external identifier: the provider has said whose account it is.
			if in, err := w.login(&directoryv1.LoginUserRequest{Subject: "00u1"}); err != nil || in.GetUserUid() != made.GetUid() {
				t.Errorf("login: %v, %v", in, err)
			}
			group, err := w.group(&directoryv1.ProvisionTeamRequest{DisplayName: "Data & ML", AddMembers: []string{made.GetUid()}})
			if err != nil || !slices.Equal(w.members("data-ml"), []string{"nina@example.com"}) {
				t.Fatalf("group: %v, %v", group, err)
			}
			same := &provisionUser{Uid: made.GetUid(), UserName: "nina@example.com", ExternalId: "00u1", DisplayName: "Nina", Active: true}
			if got, err := w.provision(same); err != nil || got.GetRevision() != 0 {
				t.Errorf("no change: %v, %v", got, err)
			}
			gone := w.provisioned(&provisionUser{Uid: made.GetUid(), UserName: "nina@example.com", ExternalId: "00u1", Deleted: true, Active: true})
			if gone.GetActive() || len(w.members("data-ml")) != 0 {
				t.Errorf("deleted: %v, members %v", gone, w.members("data-ml"))
			}
			if _, err := w.provision(same); reason(err) != "NotFound RESOURCE_NOT_FOUND" {
				t.Errorf("change of one who is deleted: %v", err)
			}
			if _, err := w.login(&directoryv1.LoginUserRequest{Subject: "00u1"}); reason(err) != "PermissionDenied USER_DEACTIVATED" {
				t.Errorf("login of one who is deleted: %v", err)
			}
			list, err := w.client.ListProvisionedUsers(t.Context(), &directoryv1.ListProvisionedUsersRequest{IdentityProvider: "idp", Count: 10})
			if err != nil || list.GetTotal() != 2 || list.GetUsers()[0].GetEmail() != "bob@example.com" || list.GetUsers()[1].GetEmail() != "eve@example.com" {
				t.Errorf("list: %v, %v", list, err)
			}
			back := w.provisioned(&provisionUser{UserName: "nina@example.com", ExternalId: "00u1", Active: true})
			if back.GetUid() != made.GetUid() || !back.GetActive() {
				t.Errorf("back: %v", back)
			}
		})
	}
}

// TestProvisionedInactiveHolds: what the provider says holds against manifests and rollbacks, and is refused by name (SC-2).
func TestProvisionedInactiveHolds(t *testing.T) {
	w := newWorld(t, memstore.New(nil), authserver())
	w.provider(nil)
	made := w.provisioned(&provisionUser{UserName: "nina@example.com", Active: true})
	before := w.head()
	w.provisioned(&provisionUser{Uid: made.GetUid(), UserName: "nina@example.com"})
	root := catalog.Caller{System: true}
	manifest := []catalog.Object{&catalog.User{Meta: catalog.Meta{Name: "nina@example.com"}, Role: catalog.RoleEditor}}
	if _, err := w.catalog.Apply(t.Context(), root, manifest, catalog.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if u := w.user("nina@example.com"); !u.Deactivated || u.Role != catalog.RoleEditor {
		t.Errorf("after a manifest: %+v", u)
	}
	_, err := w.catalog.Update(t.Context(), root, &catalog.User{Meta: catalog.Meta{Name: "nina@example.com"}}, []string{"deactivated"}, catalog.WriteOptions{})
	if err == nil || !strings.Contains(err.Error(), "activate the user there") {
		t.Errorf("by name: %v", err)
	}
	if _, err := w.catalog.Rollback(t.Context(), root, catalog.Revision(before), catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if u := w.user("nina@example.com"); !u.Deactivated || !u.Provisioning.Inactive {
		t.Errorf("after a rollback: %+v", u)
	}
}

// TestSignal is SF-1: a security event deactivates whom the provider made or linked, and changes nothing else. SCIM takes it back
// where it provisions the user, an administrator where it does not.
func TestSignal(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			w.provider(nil)
			made := w.provisioned(&provisionUser{UserName: "nina@example.com", ExternalId: "00u1", DisplayName: "Nina", Active: true})
			bob := w.user("bob@example.com") // has logged in with it
			for _, uid := range []string{made.GetUid(), bob.UID} {
				got, err := w.provision(&provisionUser{Uid: uid, UserName: "-", Signal: true})
				if err != nil || got.GetUser().GetActive() || got.GetRevision() == 0 {
					t.Fatalf("%v, %v", got, err)
				}
				if again, err := w.provision(&provisionUser{Uid: uid, UserName: "-", Signal: true}); err != nil || again.GetRevision() != 0 {
					t.Errorf("once more: %v, %v", again, err)
				}
				if on, err := w.provision(&provisionUser{Uid: uid, UserName: "-", Active: true, Signal: true}); err != nil || on.GetUser().GetActive() {
					t.Errorf("an event has activated: %v, %v", on, err)
				}
			}
			nina := w.user("nina@example.com")
			if p := nina.Provisioning; p == nil || !p.Inactive || p.ExternalID != "00u1" || p.Name != "nina@example.com" || nina.DisplayName != "Nina" || nina.EndTime.IsZero() {
				t.Errorf("provisioned: %+v, %+v", nina, p)
			}
			if now := w.user("bob@example.com"); !now.Deactivated || now.Provisioning != nil || now.DisplayName != bob.DisplayName || now.EndTime.IsZero() {
				t.Errorf("linked: %+v", now)
			}
			back := w.provisioned(&provisionUser{Uid: made.GetUid(), UserName: "nina@example.com", ExternalId: "00u1", Active: true})
			if !back.GetActive() {
				t.Error("SCIM does not take it back")
			}
			_, err := w.catalog.Update(t.Context(), catalog.Caller{System: true}, &catalog.User{Meta: catalog.Meta{Name: "bob@example.com"}}, []string{"deactivated"}, catalog.WriteOptions{})
			if err != nil || w.user("bob@example.com").Deactivated {
				t.Errorf("an administrator does not take it back: %v", err)
			}
			for name, tt := range map[string]struct{ uid, want string }{
				"nobody":          {"nope", "NotFound RESOURCE_NOT_FOUND"},
				"somebody else's": {w.user("max@example.com").UID, "NotFound RESOURCE_NOT_FOUND"},
				"without a user":  {"", "InvalidArgument PROVISIONING_REFUSED"},
			} {
				if _, err := w.provision(&provisionUser{Uid: tt.uid, UserName: "somebody@example.com", Signal: true}); reason(err) != tt.want {
					t.Errorf("%s: %v, want %s", name, err, tt.want)
				}
			}
		})
	}
}

// TestProvisionTeam is SC-1 and SC-3: which teams an identity provider may make and change, and who is in them.
func TestProvisionTeam(t *testing.T) {
	const conflict, refused, missing = "AlreadyExists PROVISIONING_CONFLICT", "InvalidArgument PROVISIONING_REFUSED", "NotFound RESOURCE_NOT_FOUND"
	type request = directoryv1.ProvisionTeamRequest
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			w.provider(func(p *catalog.IdentityProvider) {
				p.GroupMappings = []resource.GroupMapping{{Group: "Operators", Team: "ops"}}
			})
			bob, ada := w.user("bob@example.com").UID, w.user("ada@example.com").UID
			nina := w.provisioned(&provisionUser{UserName: "nina@example.com", Active: true}).GetUid()
			g, err := w.group(&request{DisplayName: "Group One", ExternalId: new("g1")})
			if err != nil {
				t.Fatal(err)
			}
			one := g.GetTeam().GetUid()
			eng := func() string {
				o, err := w.catalog.Get(t.Context(), catalog.Caller{System: true}, catalog.KindTeam, "eng")
				if err != nil {
					t.Fatal(err)
				}
				return o.Metadata().UID
			}()
			for _, tt := range []struct {
				name    string
				request *request
				want    string // members of group-one, or the refusal
			}{
				{"no name", &request{}, refused},
				{"name that makes none", &request{DisplayName: "***"}, refused},
				{"the same name", &request{DisplayName: "GROUP one"}, conflict},
				{"the same external identifier", &request{DisplayName: "Two", ExternalId: new("g1")}, conflict},
				{"name of a team that is not the provider's", &request{DisplayName: "Eng"}, conflict},
				{"team that is not the provider's", &request{Uid: eng, DisplayName: "x"}, missing},
				{"member that is not the provider's", &request{Uid: one, AddMembers: []string{ada}}, refused},
				{"member that is nobody", &request{Uid: one, AddMembers: []string{"nope"}}, refused},
				{"add", &request{Uid: one, AddMembers: []string{bob, bob}}, "[bob@example.com]"},
				{"add another", &request{Uid: one, AddMembers: []string{nina}}, "[bob@example.com nina@example.com]"},
				{"remove", &request{Uid: one, RemoveMembers: []string{bob, "nope"}}, "[nina@example.com]"},
				{"replace", &request{Uid: one, ReplaceMembers: true, AddMembers: []string{bob}}, "[bob@example.com]"},
				{"replace by nobody", &request{Uid: one, ReplaceMembers: true}, "[]"},
			} {
				if _, err := w.group(tt.request); err != nil {
					if reason(err) != tt.want {
						t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
					}
				} else if got := fmt.Sprint(w.members("group-one")); got != tt.want {
					t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
				}
			}

			// A mapped team is taken over with its members; those that are not the provider's stay, whatever it says.
			if _, err := w.catalog.Update(t.Context(), catalog.Caller{System: true}, &catalog.Team{Meta: catalog.Meta{Name: "ops"}, Members: []resource.TeamMember{
				{User: "bob@example.com", Role: catalog.RoleAdmin}, {User: "ada@example.com"},
			}}, []string{"members"}, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			ops, err := w.group(&request{DisplayName: "Operators"})
			if err != nil || !slices.Equal(ops.GetTeam().GetMembers(), []string{bob}) {
				t.Fatalf("mapped team: %v, %v", ops, err)
			}
			if _, err := w.group(&request{Uid: ops.GetTeam().GetUid(), ReplaceMembers: true, AddMembers: []string{nina}}); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(w.members("ops")); got != "[ada@example.com nina@example.com]" {
				t.Errorf("members %s", got)
			}
			// A manifest that lists no members leaves them, and so do logins.
			if _, err := w.catalog.Apply(t.Context(), catalog.Caller{System: true}, []catalog.Object{&catalog.Team{Meta: catalog.Meta{Name: "ops"}}}, catalog.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.login(&directoryv1.LoginUserRequest{Subject: "bob", Groups: []string{"Operators"}, GroupsKnown: true}); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(w.members("ops")); got != "[ada@example.com nina@example.com]" {
				t.Errorf("members after a login %s", got)
			}
			// Given up: one with nobody else in it goes, the other one stays.
			for _, uid := range []string{one, ops.GetTeam().GetUid()} {
				if got, err := w.group(&request{Uid: uid, Deleted: true}); err != nil || got.GetTeam() != nil {
					t.Errorf("given up: %v, %v", got, err)
				}
			}
			if got := fmt.Sprint(w.members("ops")); got != "[ada@example.com]" {
				t.Errorf("members of a team that was given up: %s", got)
			}
			list, err := w.client.ListProvisionedTeams(t.Context(), &directoryv1.ListProvisionedTeamsRequest{IdentityProvider: "idp", Count: 10})
			if err != nil || list.GetTotal() != 0 {
				t.Errorf("left: %v, %v", list, err)
			}
		})
	}
}

// TestProvisioningCallers: only authservers provision, and a request must obey its contract.
func TestProvisioningCallers(t *testing.T) {
	node := ident.Workload{TrustDomain: "test", Region: "eu", Role: ident.RoleNode, Name: "n1"}
	for _, tt := range []struct {
		who  ident.Workload
		user string
		want string
	}{{node, "x@example.com", "PermissionDenied WRONG_ROLE"}, {authserver(), "", codes.InvalidArgument.String()}} {
		w := newWorld(t, memstore.New(nil), tt.who)
		w.provider(nil)
		if _, err := w.provision(&provisionUser{UserName: tt.user}); reason(err) != tt.want {
			t.Errorf("user: %v, want %s", err, tt.want)
		}
		_, err := w.group(&directoryv1.ProvisionTeamRequest{DisplayName: strings.Repeat("x", 300)})
		if status.Code(err) == codes.OK {
			t.Error("team: no refusal")
		}
		_, err = w.client.ListProvisionedUsers(t.Context(), &directoryv1.ListProvisionedUsersRequest{IdentityProvider: "idp", Count: 1001})
		if status.Code(err) == codes.OK {
			t.Error("users: no refusal")
		}
		_, err = w.client.ListProvisionedTeams(t.Context(), &directoryv1.ListProvisionedTeamsRequest{IdentityProvider: "idp", Count: 1001})
		if status.Code(err) == codes.OK {
			t.Error("teams: no refusal")
		}
	}
}
