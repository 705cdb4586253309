// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// kept is the secrets of connections.
type kept map[string]int

func (k kept) Put(_ context.Context, uid string, _, _ map[string]string) (string, error) {
	k[uid]++
	return fmt.Sprintf("%s/%d", uid, k[uid]), nil
}

func (k kept) PutClientSecret(ctx context.Context, uid, _ string) (string, error) {
	return k.Put(ctx, uid, nil, nil)
}

func (k kept) SetPassword(context.Context, string, string) error { return nil }

func (k kept) CreateConnectLink(context.Context, string, string) (string, time.Time, error) {
	return "", time.Time{}, nil
}

func (k kept) Delete(_ context.Context, uid string) error {
	delete(k, uid)
	return nil
}

// history is a catalog with a past: each call of mark remembers the state.
type history struct {
	*catalog.Catalog

	t      *testing.T
	store  *sqlstore.Store
	states map[catalog.Revision][]string
	vault  kept
}

func newHistory(t *testing.T, dsn string) *history {
	t.Helper()
	h := &history{t: t, store: open(t, sqlstore.Config{DSN: dsn}), states: make(map[catalog.Revision][]string), vault: make(kept)}
	h.Catalog = catalog.New(catalog.Config{Store: h.store, Secrets: h.vault})
	create(t, h.Catalog, &catalog.User{Meta: named("ada@example.com"), Role: catalog.RoleAdmin})
	create(t, h.Catalog, &catalog.User{Meta: named("bob@example.com"), Role: catalog.RoleMember})
	create(t, h.Catalog, &catalog.Team{Meta: named("eng"), Members: []resource.TeamMember{{User: "bob@example.com"}}})
	create(t, h.Catalog, &catalog.Server{
		Meta: named("files"), StreamableHTTP: &resource.StreamableHTTP{URL: "https://files.example.com/mcp"},
		Credential: &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{}},
	})
	h.discover("one")
	h.secret("shared", "first")
	create(t, h.Catalog, gateway("gw", 0))
	create(t, h.Catalog, &catalog.OAuthClient{Meta: named("ci"), DisplayName: "CI", RedirectURIs: []string{"https://ci.example.com/cb"}})
	return h
}

func (h *history) discover(text string) {
	h.t.Helper()
	raw := make([][]byte, 3)
	for i := range raw {
		raw[i] = fmt.Appendf(nil, `{"name":"tool-%02d","description":%q}`, i, text)
	}
	if _, err := h.RecordDiscovery(h.t.Context(), "files", catalog.Discovery{Tools: raw}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) secret(name, value string) {
	h.t.Helper()
	c := &catalog.Connection{Meta: named(name), Server: "files", Owner: everybody(), SecretHeaders: map[string]string{"X-Key": value}}
	if _, err := h.Create(h.t.Context(), system(), c, catalog.WriteOptions{}); fault.KindOf(err) == fault.AlreadyExists {
		_, err = h.Update(h.t.Context(), system(), c, []string{"secret_headers"}, catalog.WriteOptions{})
		if err != nil {
			h.t.Fatal(err)
		}
	} else if err != nil {
		h.t.Fatal(err)
	}
}

// state is what goes back: all records of the kinds that do, without references to secrets and the uids of what has some.
func (h *history) state() (out []string) {
	h.t.Helper()
	_, err := h.store.Snapshot(h.t.Context(), func(r *catalog.Record) error {
		switch r.Kind {
		case catalog.KindUser, catalog.KindTeam, catalog.KindBearerToken:
			return nil
		case catalog.KindConnection:
			var body map[string]any
			if err := json.Unmarshal(r.Body, &body); err != nil {
				return err
			}
			delete(body, "credential_version")
			delete(body, "secret_names")
			text, err := json.Marshal(body)
			out = append(out, fmt.Sprintf("%s/%s %s", r.Kind, r.Name, text))
			return err
		default:
			out = append(out, fmt.Sprintf("%s/%s %s %s %x", r.Kind, r.Name, r.UID, r.Body, r.Version))
			return nil
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *history) mark() catalog.Revision {
	h.t.Helper()
	head, err := h.store.Head(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	h.states[head.Revision] = h.state()
	return head.Revision
}

func (h *history) rollback(to catalog.Revision) catalog.Applied {
	h.t.Helper()
	before := h.mark()
	out, err := h.Rollback(h.t.Context(), system(), to, catalog.WriteOptions{})
	if err != nil {
		h.t.Fatalf("Rollback to %d: %v", to, err)
	}
	if out.Revision > before+1 {
		h.t.Errorf("a rollback made the revisions after %d up to %d; want one", before, out.Revision)
	}
	if diff := cmp.Diff(h.states[to], h.state()); diff != "" {
		h.t.Errorf("the state after going back to %d differs from what it was (-want +got):\n%s", to, diff)
	}
	return out
}

// A rollback makes one revision whose resources are those of the older one, also back and forth.
func TestRollback(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, dsn(t))
			first := h.mark()
			h.change("gw", 0, 1)
			second := h.mark()
			h.discover("two")
			h.remove(catalog.KindGateway, "gw")
			create(t, h.Catalog, gateway("other", 2))
			h.remove(catalog.KindOAuthClient, "ci")
			third := h.mark()
			h.remove(catalog.KindGateway, "other")
			h.remove(catalog.KindConnection, "shared")
			h.remove(catalog.KindServer, "files")
			fourth := h.mark()
			for _, to := range []catalog.Revision{third, fourth, first, second, fourth, third, first} {
				h.rollback(to)
			}
			out := h.rollback(second)
			want := []catalog.AppliedItem{{Kind: catalog.KindGateway, Name: "gw", Action: catalog.ActionUpdated, ChangedFields: []string{"tools"}}}
			if diff := cmp.Diff(want, out.Items); diff != "" {
				t.Errorf("what changed (-want +got):\n%s", diff)
			}
			if again := h.rollback(second); len(again.Items) != 0 || again.Revision != out.Revision {
				t.Errorf("going back to where one is: %+v", again)
			}
		})
	}
}

func (h *history) change(name string, tools ...int) {
	h.t.Helper()
	if _, err := h.Update(h.t.Context(), system(), gateway(name, tools...), []string{"tools"}, catalog.WriteOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) remove(kind catalog.Kind, name string) {
	h.t.Helper()
	if _, err := h.Delete(h.t.Context(), system(), kind, name, "", catalog.WriteOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) connection(name string) *catalog.Connection {
	h.t.Helper()
	o, err := h.Get(h.t.Context(), system(), catalog.KindConnection, name)
	if err != nil {
		h.t.Fatal(err)
	}
	return o.(*catalog.Connection)
}

// Secrets do not go back: what lives keeps its newest ones, what comes back has none. Nobody is put back into a team, no
// token lives again, and a connection of somebody who is gone stays away.
func TestRollbackGivesNothingBack(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, dsn(t))
			mine := &catalog.Connection{Meta: named("mine"), Server: "files", Owner: &resource.Owner{User: "bob@example.com"}}
			create(t, h.Catalog, mine)
			first := h.mark()
			old := h.connection("shared")
			h.secret("shared", "second")
			h.change("gw", 1)
			if _, err := h.Rollback(t.Context(), system(), first, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			if c := h.connection("shared"); c.CredentialVersion == old.CredentialVersion || c.CredentialVersion == "" {
				t.Errorf("a living connection has the secret %q; want the newest", c.CredentialVersion)
			}
			h.remove(catalog.KindConnection, "shared")
			h.remove(catalog.KindConnection, "mine")
			if _, err := h.Update(t.Context(), system(), &catalog.Team{Meta: named("eng")}, []string{"members"}, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			h.remove(catalog.KindUser, "bob@example.com")
			if len(h.vault) != 0 {
				t.Errorf("secrets are left: %v", h.vault)
			}
			if _, err := h.Rollback(t.Context(), system(), first, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			c := h.connection("shared")
			if c.CredentialVersion != "" || len(c.SecretNames) != 0 || c.UID == old.UID {
				t.Errorf("a connection that came back: %+v; want a new one without secrets", c)
			}
			for _, gone := range []catalog.Key{{Kind: catalog.KindConnection, Name: "mine"}, {Kind: catalog.KindUser, Name: "bob@example.com"}} {
				if _, err := h.Get(t.Context(), system(), gone.Kind, gone.Name); fault.KindOf(err) != fault.NotFound {
					t.Errorf("%s %s: %v; want NotFound", gone.Kind, gone.Name, err)
				}
			}
			team, err := h.Get(t.Context(), system(), catalog.KindTeam, "eng")
			if err != nil || len(team.(*catalog.Team).Members) != 0 {
				t.Errorf("the team has %+v, %v; want nobody", team, err)
			}
			h.secret("shared", "third") // and it can be used again
			if got := h.connection("shared"); got.CredentialVersion == "" || len(h.vault) != 1 {
				t.Errorf("new secrets: %+v, %v", got, h.vault)
			}
		})
	}
}

// What people connected themselves since stays, with what they gave for it, unless its server goes or becomes another one; the
// connections of teams and of the organisation go back.
func TestRollbackLeavesPeoplesOwn(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, dsn(t))
			own := func(name, server string, owner *resource.Owner) {
				t.Helper()
				c := &catalog.Connection{Meta: named(name), Server: server, Owner: owner, SecretHeaders: map[string]string{"X-Key": "given"}}
				if _, err := h.Create(t.Context(), system(), c, catalog.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			server := func() *catalog.Server {
				return &catalog.Server{
					Meta: named("late"), StreamableHTTP: &resource.StreamableHTTP{URL: "https://late.example.com/mcp"},
					Credential: &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{}},
				}
			}
			there := func(name string) bool {
				t.Helper()
				_, err := h.Get(t.Context(), system(), catalog.KindConnection, name)
				if err != nil && fault.KindOf(err) != fault.NotFound {
					t.Fatal(err)
				}
				return err == nil
			}
			bob := &resource.Owner{User: "bob@example.com"}
			without := h.mark()
			create(t, h.Catalog, server())
			with := h.mark()
			own("bobs", "files", bob)
			own("bobs-late", "late", bob)
			own("teams", "files", &resource.Owner{Team: "eng"})
			was := h.connection("bobs")

			roll := func(to catalog.Revision, want ...string) {
				t.Helper()
				out, err := h.Rollback(t.Context(), system(), to, catalog.WriteOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, item := range out.Items {
					if item.Name == "bobs" {
						t.Errorf("%+v", item)
					}
				}
				var got []string
				for _, name := range []string{"bobs", "bobs-late", "teams"} {
					if there(name) {
						got = append(got, name)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("connections after going back to %d (-want +got):\n%s", to, diff)
				}
			}
			roll(with, "bobs", "bobs-late")
			roll(without, "bobs")
			if now := h.connection("bobs"); now.UID != was.UID || now.CredentialVersion != was.CredentialVersion || h.vault[now.UID] != 1 {
				t.Errorf("it is %+v, was %+v; secrets %v", now, was, h.vault)
			}

			create(t, h.Catalog, server()) // another one of the same name
			own("bobs-late", "late", bob)
			roll(with, "bobs")
		})
	}
}

// What a rollback takes away is denied in the fast lane, as any write's is.
func TestRollbackDenies(t *testing.T) {
	h := newHistory(t, sqliteDSN(t))
	first := h.mark()
	h.change("gw", 0, 1)
	create(t, h.Catalog, gateway("late", 2))
	out := h.rollback(first)
	log, err := h.store.Changes(t.Context(), out.Revision-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []catalog.Key{{Kind: catalog.KindAssignment, Name: "gw/files/tool-01"}, {Kind: catalog.KindGateway, Name: "late"}} {
		if !slices.Contains(log[0].Denials, want) {
			t.Errorf("the denials are %v; want %v among them", log[0].Denials, want)
		}
	}
	if !log[0].Atomic {
		t.Error("it is not atomic")
	}
}

// What cannot be done says so and stores nothing.
func TestRollbackRefused(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := open(t, sqlstore.Config{DSN: dsn(t), KeepRevisions: 2, Now: func() time.Time { return now }})
			c := catalog.New(catalog.Config{Store: s})
			create(t, c, &catalog.User{Meta: named("ada@example.com"), Role: catalog.RoleAdmin})
			for i := range 5 {
				create(t, c, &catalog.Server{Meta: named(fmt.Sprintf("s%d", i)), StreamableHTTP: &resource.StreamableHTTP{URL: "https://s.example.com/mcp"}})
			}
			now = now.Add(48 * time.Hour)
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, tc := range []struct {
				to           catalog.Revision
				kind         fault.Kind
				reason, text string
			}{
				{3, fault.Stale, record.ReasonRevisionUnknown, "Revision 3 is no longer kept; the oldest one to go back to is 4."},
				{7, fault.Invalid, "REVISION_AHEAD", "There is no revision 7 yet; the latest is 6."},
			} {
				_, err := c.Rollback(t.Context(), system(), tc.to, catalog.WriteOptions{})
				if f := fault.From(err); err == nil || f.Kind != tc.kind || f.Reason != tc.reason || f.Public != tc.text {
					t.Errorf("to %d: %v; want %s", tc.to, err, tc.text)
				}
			}
			if _, err := c.Rollback(t.Context(), catalog.Caller{}, 4, catalog.WriteOptions{}); fault.KindOf(err) != fault.Denied && fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("by nobody: %v", err)
			}
			out, err := c.Rollback(t.Context(), system(), 4, catalog.WriteOptions{ValidateOnly: true})
			if err != nil || len(out.Items) != 2 || out.Revision != 6 {
				t.Errorf("a trial: %+v, %v; want two deletions and no revision", out, err)
			}
			if list, err := c.Revisions(t.Context(), system(), 0, 1); err != nil || len(list) != 1 || list[0].Revision != 6 ||
				!slices.Equal(list[0].Changed, []string{"server/s4"}) || !strings.HasPrefix(list[0].Actor, "system") {
				t.Errorf("revisions: %+v, %v", list, err)
			}
			if list, err := c.Revisions(t.Context(), system(), 6, 100); err != nil || len(list) != 1 || list[0].Revision != 5 {
				t.Errorf("revisions before 6: %+v, %v; want 5 only, the rest is not kept", list, err)
			}
		})
	}
}
