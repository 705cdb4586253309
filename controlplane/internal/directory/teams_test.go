// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
)

// TestTeams: the groups of a login decide about the teams that the provider maps, and about no others. What they take away
// is a denial.
func TestTeams(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			w.provider(func(p *catalog.IdentityProvider) {
				p.JustInTimeUsers = true
				p.GroupMappings = []resource.GroupMapping{{Group: "Engineers", Team: "eng"}, {Group: "Leads", Team: "eng"}, {Group: "Operators", Team: "ops"}}
			})
			login := func(subject string, known bool, groups ...string) *directoryv1.LoginUserResponse {
				t.Helper()
				got, err := w.login(&directoryv1.LoginUserRequest{
					Subject: subject, Email: subject + "@example.com", EmailVerified: true, Groups: groups, GroupsKnown: known,
				})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			want := func(eng, ops string) {
				t.Helper()
				if got := strings.Join(w.members("eng"), " "); got != eng {
					t.Errorf("eng has %q, want %q", got, eng)
				}
				if got := strings.Join(w.members("ops"), " "); got != ops {
					t.Errorf("ops has %q, want %q", got, ops)
				}
				if got := w.members("own"); !slices.Equal(got, []string{"bob@example.com"}) {
					t.Errorf("a team that is not mapped has %v", got)
				}
			}
			if got := login("bob", false); got.GetRevision() != 0 {
				t.Error("groups that are not known changed something")
			}
			want("", "bob@example.com")
			before := w.head()
			if got := login("bob", true, "Leads", "engineers"); got.GetRevision() != before+1 || w.head() != before+1 {
				t.Errorf("two teams in revision %d after %d", got.GetRevision(), before)
			}
			want("bob@example.com", "")
			denials := w.last().Denials
			if !slices.Equal(denials, []catalog.Key{{Kind: catalog.KindTeamMember, Name: "ops/bob@example.com"}}) {
				t.Errorf("denied: %v", denials)
			}
			if got := login("bob", true, "Engineers"); got.GetRevision() != 0 {
				t.Error("another group of the same team changed something")
			}
			before = w.head()
			if got := login("new", true, "Operators", "Engineers", "Unknown"); got.GetRevision() != before+1 || w.head() != before+1 {
				t.Errorf("a user and its teams in revision %d after %d", got.GetRevision(), before)
			}
			want("bob@example.com new@example.com", "new@example.com")
			login("bob", true)
			want("new@example.com", "new@example.com")
		})
	}
}

// TestFullTeam: a team without room left keeps nobody from logging in.
func TestFullTeam(t *testing.T) {
	w := newWorld(t, memstore.New(nil), authserver())
	w.provider(func(p *catalog.IdentityProvider) {
		p.GroupMappings = []resource.GroupMapping{{Group: "All", Team: "eng"}, {Group: "All", Team: "own"}}
	})
	full := &catalog.Team{Meta: catalog.Meta{Name: "eng"}}
	var people []catalog.Object
	for i := range 10_000 {
		name := fmt.Sprintf("u%d@example.com", i)
		people = append(people, &catalog.User{Meta: catalog.Meta{Name: name}})
		full.Members = append(full.Members, resource.TeamMember{User: name})
	}
	for _, part := range [][]catalog.Object{people, {full}} {
		if _, err := w.catalog.Apply(t.Context(), catalog.Caller{System: true}, part, catalog.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.login(&directoryv1.LoginUserRequest{Subject: "bob", Groups: []string{"All"}, GroupsKnown: true})
	if err != nil || got.GetUser() != "bob@example.com" || got.GetRevision() != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if n := len(w.members("eng")); n != 10_000 {
		t.Errorf("the team has %d members", n)
	}
	got, err = w.login(&directoryv1.LoginUserRequest{Subject: "bob", GroupsKnown: true})
	if err != nil || got.GetRevision() == 0 || len(w.members("own")) != 0 {
		t.Errorf("without the group: %v, %v", got, err)
	}
}

// TestFirstLoginsAtOnce: two first logins of an account at the same moment make one user, also with different addresses.
func TestFirstLoginsAtOnce(t *testing.T) {
	const logins = 6
	for name, store := range stores() {
		for _, addresses := range []int{1, logins} {
			t.Run(fmt.Sprint(name, "/", addresses), func(t *testing.T) {
				w := newWorld(t, store(t), authserver())
				w.provider(func(p *catalog.IdentityProvider) { p.JustInTimeUsers = true })
				before := w.head()
				uids := make([]string, logins)
				var wg sync.WaitGroup
				for i := range logins {
					wg.Go(func() {
						// A login that lost too often is refused as such, and people try again.
						for uids[i] == "" && t.Context().Err() == nil {
							got, err := w.login(&directoryv1.LoginUserRequest{
								Subject: "new", Email: fmt.Sprintf("new%d@example.com", i%addresses), EmailVerified: true,
							})
							if err != nil && status.Code(err) != codes.Aborted {
								t.Error(err)
								return
							}
							uids[i] = got.GetUserUid()
						}
					})
				}
				wg.Wait()
				if len(slices.Compact(uids)) != 1 || w.head() != before+1 {
					t.Errorf("users %v in %d revisions", uids, w.head()-before)
				}
			})
		}
	}
}

// TestKnownLoginOnlyReads: a login that changes nothing does not wait for who writes.
func TestKnownLoginOnlyReads(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			w.provider(func(p *catalog.IdentityProvider) {
				p.GroupMappings = []resource.GroupMapping{{Group: "Operators", Team: "ops"}}
			})
			_, _, err := w.store.Write(t.Context(), "test", func(catalog.Tx) error {
				got, err := w.login(&directoryv1.LoginUserRequest{
					Subject: "bob", Email: "bob@example.com", Groups: []string{"Operators"}, GroupsKnown: true,
				})
				if err == nil && got.GetUser() != "bob@example.com" {
					t.Errorf("logged in is %v", got)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
