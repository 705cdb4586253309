// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// put stores a resource as the control plane itself.
func (w *world) put(o catalog.Object) {
	w.t.Helper()
	if _, err := w.catalog.Create(w.t.Context(), catalog.Caller{System: true}, o, catalog.WriteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// server stores a server that takes secret headers.
func (w *world) server(name string, v *resource.Visibility) {
	w.t.Helper()
	w.put(&catalog.Server{
		Meta: catalog.Meta{Name: name}, StreamableHTTP: &resource.StreamableHTTP{URL: "https://" + name + ".example.com/mcp"}, Visibility: v,
		Credential: &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{}},
	})
}

func (w *world) connect(user, server, version string, names ...string) (*directoryv1.ConnectServerResponse, error) {
	return w.client.ConnectServer(w.t.Context(), &directoryv1.ConnectServerRequest{
		UserUid: user, Server: server, CredentialVersion: version, SecretNames: names,
	})
}

// connections returns what there is of a server, in the order of the names.
func (w *world) connections(server string) (out []*catalog.Connection) {
	w.t.Helper()
	page, err := w.catalog.List(w.t.Context(), catalog.Caller{System: true}, catalog.KindConnection, catalog.ListOptions{PageSize: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range page.Objects {
		if c := o.(*catalog.Connection); c.Server == server {
			out = append(out, c)
		}
	}
	return out
}

var slug = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// ConnectServer makes a connection that is the user's, and changes which credential counts; each is one revision, and none if
// nothing differs.
func TestConnectServer(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			long := strings.Repeat("s", 40) + "-" + strings.Repeat("t", 22)
			w.server("gh", nil)
			w.server(long, nil)
			bob, ada := w.user("bob@example.com").UID, w.user("ada@example.com").UID
			for _, server := range []string{"gh", long} {
				before := w.head()
				first, err := w.connect(bob, server, "")
				if err != nil || first.GetRevision() != before+1 || w.last().Actor != "authserver:a1" {
					t.Fatalf("made: %v, %v, by %s", first, err, w.last().Actor)
				}
				if n := first.GetConnection(); !slug.MatchString(n) || len(n) > 63 || strings.Contains(n, "bob") || !strings.HasPrefix(n, server[:2]) {
					t.Errorf("name %q", n)
				}
				got := w.connections(server)
				if len(got) != 1 || got[0].UID != first.GetConnectionUid() || got[0].Name != first.GetConnection() || got[0].Owner.User != "bob@example.com" ||
					got[0].CredentialVersion != "" || len(got[0].SecretNames) != 0 {
					t.Fatalf("stored %+v", got)
				}
				for i, step := range []struct {
					version string
					names   []string
					changes bool
				}{
					{"", nil, false},
					{"v1", []string{"X-B", "Authorization"}, true},
					{"v1", []string{"Authorization", "X-B"}, false},
					{"", nil, false}, // the credential that counts stays
					{"v2", []string{"Authorization"}, true},
				} {
					before := w.head()
					again, err := w.connect(bob, server, step.version, step.names...)
					want := before
					if step.changes {
						want++
					}
					if err != nil || again.GetConnectionUid() != first.GetConnectionUid() || again.GetConnection() != first.GetConnection() || w.head() != want ||
						(again.GetRevision() != 0) != step.changes {
						t.Errorf("step %d: %v, %v, head %d after %d", i, again, err, w.head(), before)
					}
				}
				if c := w.connections(server)[0]; c.CredentialVersion != "v2" || !slices.Equal(c.SecretNames, []string{"Authorization"}) {
					t.Errorf("in the end %+v", c)
				}
			}
			adas, err := w.connect(ada, "gh", "v1", "Authorization") // at once, with a credential
			if err != nil || adas.GetConnectionUid() == "" {
				t.Fatal(err)
			}
			if got := w.connections("gh"); len(got) != 2 || !slices.ContainsFunc(got, func(c *catalog.Connection) bool {
				return c.UID == adas.GetConnectionUid() && c.Owner.User == "ada@example.com" && c.CredentialVersion == "v1"
			}) {
				t.Errorf("stored %+v", got)
			}
		})
	}
}

// The connection of several that counts is the one that nodes choose; and a name that is taken is left to whoever has it.
func TestConnectServerThatIsConnected(t *testing.T) {
	w := newWorld(t, memstore.New(nil), authserver())
	w.server("gh", nil)
	bob := &resource.Owner{User: "bob@example.com"}
	for name, owner := range map[string]*resource.Owner{"b": bob, "a": bob, "0": {Organization: &struct{}{}}, "00": {User: "ada@example.com"}} {
		w.put(&catalog.Connection{Meta: catalog.Meta{Name: name}, Server: "gh", Owner: owner})
	}
	got, err := w.connect(w.user("bob@example.com").UID, "gh", "v1", "Authorization")
	if err != nil || got.GetConnection() != "a" {
		t.Errorf("got %v, %v", got, err)
	}
	w.server("jira", nil)
	mia := w.user("max@example.com").UID
	first, err := w.connect(mia, "jira", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.catalog.Delete(t.Context(), catalog.Caller{System: true}, catalog.KindConnection, first.GetConnection(), "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.put(&catalog.Connection{Meta: catalog.Meta{Name: first.GetConnection()}, Server: "gh", Owner: bob})
	second, err := w.connect(mia, "jira", "")
	if err != nil || second.GetConnection() != first.GetConnection()+"-2" || second.GetConnectionUid() == first.GetConnectionUid() {
		t.Errorf("got %v, %v", second, err)
	}
}

// Each refusal of ConnectServer, none of which changes anything.
func TestConnectServerRefuses(t *testing.T) {
	w := newWorld(t, memstore.New(nil), authserver())
	w.server("gh", nil)
	w.server("ops-only", &resource.Visibility{Team: &resource.TeamVisibility{Teams: []string{"ops"}}})
	w.server("adas", &resource.Visibility{Personal: &resource.PersonalVisibility{Owner: "ada@example.com"}})
	bob, eve, mia := w.user("bob@example.com").UID, w.user("eve@example.com").UID, w.user("max@example.com").UID
	before := w.head()
	for _, tt := range []struct{ name, user, server, want string }{
		{"no such server", bob, "jira", "NotFound RESOURCE_NOT_FOUND"},
		{"a server of a team that it is not in (G-18)", mia, "ops-only", "PermissionDenied CONNECT_NOT_ALLOWED"},
		{"another's server (G-18)", bob, "adas", "PermissionDenied CONNECT_NOT_ALLOWED"},
		{"shut out", eve, "gh", "PermissionDenied USER_DEACTIVATED"},
		{"nobody", "uid-of-nobody", "gh", "PermissionDenied USER_DEACTIVATED"},
		{"no user", "", "gh", "InvalidArgument"},
		{"no server", bob, "", "InvalidArgument"},
	} {
		if got, err := w.connect(tt.user, tt.server, "v1"); reason(err) != tt.want {
			t.Errorf("%s: got %v, %v; want %s", tt.name, got, err, tt.want)
		}
	}
	if w.head() != before {
		t.Error("a refusal changed something")
	}
	if _, err := w.connect(bob, "ops-only", "v1"); err != nil {
		t.Errorf("a member of the team: %v", err)
	}
	node := newWorld(t, memstore.New(nil), ident.Workload{TrustDomain: "test", Region: "eu", Role: ident.RoleNode, Name: "n1"})
	if got, err := node.connect(bob, "gh", "v1"); reason(err) != "PermissionDenied WRONG_ROLE" {
		t.Errorf("a node connects: %v, %v", got, err)
	}
}

// Whoever asks at the same moment gets the same connection.
func TestConnectServerAtOnce(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, store(t), authserver())
			w.server("gh", nil)
			bob := w.user("bob@example.com").UID
			var wg sync.WaitGroup
			uids := make([]string, 8)
			for i := range uids {
				wg.Go(func() {
					got, err := w.connect(bob, "gh", fmt.Sprint("v", i))
					if err != nil {
						t.Error(err)
					}
					uids[i] = got.GetConnectionUid()
				})
			}
			wg.Wait()
			if slices.Sort(uids); uids[0] == "" || uids[0] != uids[len(uids)-1] || len(w.connections("gh")) != 1 {
				t.Errorf("connections %v", uids)
			}
		})
	}
}
