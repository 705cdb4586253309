// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Who may create what, and so update and delete it (gateway.md G-5, G-7). The columns are the callers of org.
func TestRoles(t *testing.T) {
	const ok, no = "", "denied ROLE_REQUIRED"
	all := func(want string) map[string]string {
		return map[string]string{"root": want, "edna": want, "ada": want, "bob": want, "eve": want}
	}
	only := func(allowed ...string) map[string]string {
		m := all(no)
		for _, name := range allowed {
			m[name] = ok
		}
		return m
	}
	for _, tc := range []struct {
		name string
		make func() catalog.Object
		want map[string]string
	}{
		{"user", func() catalog.Object { return &catalog.User{Meta: named("new@example.com")} }, only("root")},
		{"team", func() catalog.Object { return &catalog.Team{Meta: named("new")} }, only("root")},
		{"HTTP server", func() catalog.Object { return server("new") }, only("root", "edna")},
		{"stdio server", func() catalog.Object { return stdioServer("new") }, only("root")},
		{"connection of the organisation", func() catalog.Object { return connection("new", "files", everybody()) }, only("root", "edna")},
		{"connection of eng", func() catalog.Object { return connection("new", "files", ownedBy("eng")) }, only("root", "ada")},
		{"connection of ops", func() catalog.Object { return connection("new", "files", ownedBy("ops")) }, only("root", "eve")},
		{"connection of bob", func() catalog.Object { return connection("new", "files", ownedBy("bob")) }, only("root", "bob")},
		{"gateway of the organisation", func() catalog.Object { return gateway("new", seenBy()) }, only("root", "edna")},
		{"gateway of eng", func() catalog.Object { return gateway("new", seenBy("eng")) }, only("root", "ada")},
		{"gateway of eng and ops", func() catalog.Object { return gateway("new", seenBy("eng", "ops")) }, only("root", "ada", "eve")},
		{"gateway of bob", func() catalog.Object { return gateway("new", seenBy("bob")) }, only("root", "bob")},
		{"token of bob", func() catalog.Object { return token(ownedBy("bob"), "open") }, only("root", "bob")},
		{"token of eng", func() catalog.Object { return token(ownedBy("eng"), "open") }, only("root", "ada")},
		{"token of the organisation", func() catalog.Object { return token(everybody(), "open") }, only("root")},
		{"token of a service account", func() catalog.Object { return token(&resource.Owner{ServiceAccount: "ci"}, "open") }, only("root")},
	} {
		for who, want := range tc.want {
			t.Run(tc.name+" by "+who, func(t *testing.T) {
				o := newOrg(t)
				o.standard()
				o.create(gateway("open", seenBy()))
				w, err := o.Create(t.Context(), o.as(who), tc.make(), catalog.WriteOptions{})
				wantRefusal(t, err, want)
				if want != ok {
					o.create(tc.make())
					return
				}
				made := w.Object
				if made.Kind() != catalog.KindBearerToken {
					made.Metadata().Labels = map[string]string{"a": "b"}
					_, err = o.Update(t.Context(), o.as(who), made, []string{"labels"}, catalog.WriteOptions{})
					wantRefusal(t, err, ok)
				}
				_, err = o.Delete(t.Context(), o.as(who), made.Kind(), made.Metadata().Name, "", catalog.WriteOptions{})
				wantRefusal(t, err, ok)
			})
		}
	}
}

// Who may update and delete what exists: those who do not see it get not_found, those who see it and do not manage it
// are denied.
func TestRolesOnExisting(t *testing.T) {
	const ok, no, none = "", "denied ROLE_REQUIRED", "not_found RESOURCE_NOT_FOUND"
	for _, tc := range []struct {
		kind   catalog.Kind
		name   string
		update map[string]string
		remove map[string]string // nil: like update
	}{
		{
			catalog.KindUser, "bob@example.com",
			map[string]string{"root": ok, "edna": none, "ada": none, "bob": ok, "eve": none},
			map[string]string{"root": "precondition RESOURCE_IN_USE", "edna": none, "bob": no},
		},
		{
			catalog.KindTeam, "eng",
			map[string]string{"root": ok, "edna": no, "ada": ok, "bob": no, "eve": none},
			map[string]string{"root": "precondition RESOURCE_IN_USE", "ada": no, "bob": no, "eve": none},
		},
		{
			catalog.KindServer, "files",
			map[string]string{"root": ok, "edna": ok, "ada": no, "bob": no},
			map[string]string{"root": "precondition RESOURCE_IN_USE", "edna": "precondition RESOURCE_IN_USE", "ada": no},
		},
		{catalog.KindServer, "local", map[string]string{"root": ok, "edna": no, "ada": no}, nil},
		{catalog.KindServer, "hidden", map[string]string{"root": ok, "edna": ok, "ada": none, "eve": no}, nil},
		{catalog.KindConnection, "shared", map[string]string{"root": ok, "edna": ok, "ada": no, "bob": no}, nil},
		{catalog.KindConnection, "eng-files", map[string]string{"root": ok, "edna": none, "ada": ok, "bob": no, "eve": none}, nil},
		{catalog.KindConnection, "bob-files", map[string]string{"root": ok, "edna": none, "ada": none, "bob": ok}, nil},
		{catalog.KindGateway, "open", map[string]string{"root": ok, "edna": ok, "ada": no, "bob": no}, nil},
		{catalog.KindGateway, "eng", map[string]string{"root": ok, "edna": none, "ada": ok, "bob": no, "eve": none}, nil},
		{catalog.KindGateway, "bob", map[string]string{"root": ok, "edna": none, "ada": none, "bob": ok}, nil},
	} {
		check := func(doing string, want map[string]string, do func(*org, string) error) {
			for who, refused := range want {
				t.Run(string(tc.kind)+" "+tc.name+" "+doing+" by "+who, func(t *testing.T) {
					o := newOrg(t)
					o.standard()
					local, hidden := stdioServer("local"), server("hidden")
					hidden.Visibility = seenBy("ops")
					o.create(local, hidden, gateway("open", seenBy()), gateway("eng", seenBy("eng")), gateway("bob", seenBy("bob")))
					wantRefusal(t, do(o, who), refused)
				})
			}
		}
		check("updated", tc.update, func(o *org, who string) error {
			x, err := catalog.NewObject(tc.kind)
			if err != nil {
				return err
			}
			x.Metadata().Name, x.Metadata().Labels = tc.name, map[string]string{"a": "b"}
			_, err = o.Update(o.t.Context(), o.as(who), x, nil, catalog.WriteOptions{})
			return err
		})
		if tc.remove == nil {
			tc.remove = tc.update
		}
		check("deleted", tc.remove, func(o *org, who string) error {
			_, err := o.Delete(o.t.Context(), o.as(who), tc.kind, tc.name, "", catalog.WriteOptions{})
			return err
		})
	}
}

// Roles are for an ADMIN to give (G-7), whoever the user is.
func TestUserFields(t *testing.T) {
	for _, tc := range []struct {
		name, who, target, field, want string
	}{
		{"own display name", "bob", "bob", "display_name", ""},
		{"own role", "bob", "bob", "role", "denied ROLE_REQUIRED"},
		{"own state", "bob", "bob", "deactivated", "denied ROLE_REQUIRED"},
		{"another's display name", "bob", "ada", "display_name", "not_found RESOURCE_NOT_FOUND"},
		{"role by an EDITOR", "edna", "edna", "role", "denied ROLE_REQUIRED"},
		{"role by an ADMIN", "root", "bob", "role", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			u := &catalog.User{Meta: named(mail(tc.target)), DisplayName: "x", Role: catalog.RoleAdmin, Deactivated: true}
			_, err := o.Update(t.Context(), o.as(tc.who), u, []string{tc.field}, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// What callers see in lists (G-4, G-7): an ADMIN everything, others what is visible to them.
func TestSees(t *testing.T) {
	for _, tc := range []struct {
		kind catalog.Kind
		want map[string][]string
	}{
		{catalog.KindUser, map[string][]string{"bob": {"bob@example.com"}, "edna": {"edna@example.com"}}},
		{catalog.KindTeam, map[string][]string{"root": {"eng", "ops"}, "edna": {"eng", "ops"}, "bob": {"eng"}, "eve": {"ops"}}},
		{catalog.KindServer, map[string][]string{"root": {"files", "hidden"}, "edna": {"files", "hidden"}, "bob": {"files"}, "eve": {"files", "hidden"}}},
		{catalog.KindTool, map[string][]string{"root": {"files/read", "files/write", "hidden/x"}, "bob": {"files/read", "files/write"}}},
		{catalog.KindConnection, map[string][]string{
			"root": {"ada-files", "bob-files", "eng-files", "ops-files", "shared"},
			"edna": {"shared"}, "bob": {"bob-files", "eng-files", "shared"}, "eve": {"ops-files", "shared"},
		}},
		{catalog.KindGateway, map[string][]string{"root": {"bob", "eng", "open"}, "edna": {"open"}, "bob": {"bob", "eng", "open"}, "ada": {"eng", "open"}, "eve": {"open"}}},
		{catalog.KindBearerToken, map[string][]string{"root": {"bob-token", "eng-token"}, "bob": {"bob-token"}, "ada": {"eng-token"}, "eve": {}}},
	} {
		for who, want := range tc.want {
			t.Run(string(tc.kind)+" by "+who, func(t *testing.T) {
				o := newOrg(t)
				o.standard()
				hidden := server("hidden")
				hidden.Visibility = seenBy("ops")
				o.create(hidden, gateway("open", seenBy()), gateway("eng", seenBy("eng")), gateway("bob", seenBy("bob")))
				o.discover("hidden", tool("x"))
				for _, owner := range []string{"bob", "eng"} {
					tok := token(ownedBy(owner), "open")
					tok.Name = owner + "-token"
					o.create(tok)
				}
				page, err := o.List(t.Context(), o.as(who), tc.kind, catalog.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				got := []string{}
				for _, x := range page.Objects {
					got = append(got, x.Metadata().Name)
				}
				diff(t, "names", want, got)
				for _, name := range want {
					if _, err := o.Get(t.Context(), o.as(who), tc.kind, name); err != nil {
						t.Errorf("get what the list has: %v", err)
					}
				}
			})
		}
	}
}

func token(owner *resource.Owner, gateways ...string) *catalog.BearerToken {
	return &catalog.BearerToken{Owner: owner, Gateways: gateways}
}
