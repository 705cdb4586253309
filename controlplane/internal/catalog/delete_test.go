// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// What others need is not deleted; the refusal lists who needs it. A connection is the exception (G-11).
func TestInUse(t *testing.T) {
	const used = "precondition RESOURCE_IN_USE"
	for _, tc := range []struct {
		name  string
		setup func(*org)
		kind  catalog.Kind
		of    string
		want  string
		text  []string
	}{
		{"server with a connection", func(o *org) { o.create(server("s"), connection("c", "s", everybody())) }, catalog.KindServer, "s", used, []string{`connection "c"`}},
		{"server with an assigned tool", func(o *org) {
			o.standard()
			o.create(gateway("gw", seenBy(), pin("files/read", "shared")))
			for _, c := range []string{"shared", "eng-files", "ops-files", "ada-files", "bob-files"} {
				if _, err := o.Delete(o.t.Context(), o.as("root"), catalog.KindConnection, c, "", catalog.WriteOptions{}); err != nil {
					o.t.Fatal(err)
				}
			}
		}, catalog.KindServer, "files", used, []string{`tool "files/read" of gateway "gw"`}},
		{"server with a feature", func(o *org) {
			o.create(server("s"))
			g := gateway("gw", seenBy())
			g.ServerFeatures = []resource.ServerFeature{{Server: "s", Instructions: true}}
			o.create(g)
		}, catalog.KindServer, "s", used, []string{`gateway "gw"`}},
		{"server with tools only", func(o *org) { o.create(server("s")); o.discover("s", tool("x")) }, catalog.KindServer, "s", "", nil},
		{"connection that is pinned", func(o *org) { o.standard(); o.create(gateway("gw", seenBy(), pin("files/read", "shared"))) }, catalog.KindConnection, "shared", "", nil},
		{"gateway that a token lists", func(o *org) { o.create(gateway("gw", seenBy()), token(ownedBy("bob"), "gw")) }, catalog.KindGateway, "gw", "", nil},
		{"team with a connection", func(o *org) { o.standard() }, catalog.KindTeam, "eng", used, []string{`connection "eng-files"`}},
		{"team with a gateway", func(o *org) { o.create(gateway("gw", seenBy("ops", "eng"))) }, catalog.KindTeam, "eng", used, []string{`gateway "gw"`}},
		{"team with a server", func(o *org) {
			s := server("s")
			s.Visibility = seenBy("eng")
			o.create(s)
		}, catalog.KindTeam, "eng", used, []string{`server "s"`}},
		{"team with a token", func(o *org) {
			tok := token(ownedBy("eng"), "gw")
			tok.Name = "t"
			o.create(gateway("gw", seenBy()), tok)
		}, catalog.KindTeam, "eng", used, []string{`bearer token "t"`}},
		{"team of a group", func(o *org) {
			o.create(provider("okta", func(p *catalog.IdentityProvider) {
				p.GroupMappings = []resource.GroupMapping{{Group: "g", Team: "eng"}}
			}))
		}, catalog.KindTeam, "eng", used, []string{`identity provider "okta"`}},
		{"gateway of an OAuth client", func(o *org) { o.create(gateway("gw", seenBy()), client("ci", actsAt("gw"))) }, catalog.KindGateway, "gw", used, []string{`OAuth client "ci"`}},
		{"identity provider", func(o *org) { o.create(provider("okta")) }, catalog.KindIdentityProvider, "okta", "", nil},
		{"OAuth client", func(o *org) { o.create(client("app")) }, catalog.KindOAuthClient, "app", "", nil},
		{"team with members only", func(*org) {}, catalog.KindTeam, "eng", "", nil},
		{"user in a team", func(*org) {}, catalog.KindUser, mail("bob"), used, []string{`team "eng"`, "deactivate the user instead"}},
		{"user with a connection, gateway, server and token", func(o *org) {
			s := server("s")
			s.Visibility = seenBy("edna")
			tok := token(ownedBy("edna"), "gw")
			tok.Name = "t"
			o.create(s, connection("c", "s", ownedBy("edna")), gateway("gw", seenBy("edna")), tok)
		}, catalog.KindUser, mail("edna"), used, []string{`connection "c"`, `gateway "gw"`, `server "s"`, `bearer token "t"`}},
		{"user without anything", func(*org) {}, catalog.KindUser, mail("edna"), "", nil},
		{"tool", func(o *org) { o.standard() }, catalog.KindTool, "files/read", "invalid INVALID_FIELD", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			tc.setup(o)
			_, err := o.Delete(t.Context(), o.as("root"), tc.kind, tc.of, "", catalog.WriteOptions{})
			wantRefusal(t, err, tc.want, tc.text...)
			if tc.want == "" {
				_, err = o.Get(t.Context(), o.as("root"), tc.kind, tc.of)
				wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND")
			}
		})
	}
}

// Deleted servers and gateways come back with the parts that were deleted with them, for 30 days (G-6).
func TestUndelete(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(gateway("gw", seenBy("eng"), pin("files/read", "shared"), pin("files/write", "eng-files")))
	if _, err := o.Update(t.Context(), o.as("ada"), gateway("gw", nil, pin("files/read", "shared"), pin("files/write", "shared")), []string{"tools"}, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Update(t.Context(), o.as("ada"), gateway("gw", nil, pin("files/read", "shared")), []string{"tools"}, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	before := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	remove := func(kind catalog.Kind, name string) {
		t.Helper()
		if _, err := o.Delete(t.Context(), o.as("root"), kind, name, "", catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	undelete := func(who string, kind catalog.Kind, name string) (catalog.Written, error) {
		return o.Undelete(t.Context(), o.as(who), kind, name, catalog.WriteOptions{})
	}
	_, err := undelete("ada", catalog.KindGateway, "gw")
	wantRefusal(t, err, "already_exists RESOURCE_ALREADY_EXISTS", "is not deleted")
	remove(catalog.KindGateway, "gw")
	_, err = undelete("bob", catalog.KindGateway, "gw")
	wantRefusal(t, err, "denied ROLE_REQUIRED")
	_, err = undelete("ada", catalog.KindGateway, "nothing")
	wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND")
	_, err = undelete("ada", catalog.KindTeam, "eng")
	wantRefusal(t, err, "invalid INVALID_FIELD")

	o.now = o.now.Add(30*24*time.Hour - time.Second)
	remove(catalog.KindConnection, "shared") // a pinned connection may be gone (G-11)
	w, err := undelete("ada", catalog.KindGateway, "gw")
	if err != nil {
		t.Fatal(err)
	}
	g := w.Object.(*catalog.Gateway)
	if len(g.Tools) != 1 || g.Tools[0].Tool != "files/read" || g.UID != before.UID || !g.CreateTime.Equal(before.CreateTime) || g.Etag != before.Etag {
		t.Errorf("came back as %+v; was %+v", g, before)
	}

	remove(catalog.KindGateway, "gw")
	o.now = o.now.Add(30*24*time.Hour + time.Second)
	_, err = undelete("ada", catalog.KindGateway, "gw")
	wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND", "30 days")
}

func TestUndeleteServer(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"))
	o.discover("s", tool("x"), tool("y"))
	for _, kind := range []catalog.Kind{catalog.KindServer} {
		if _, err := o.Delete(t.Context(), o.as("edna"), kind, "s", "", catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := o.List(t.Context(), o.as("root"), catalog.KindTool, catalog.ListOptions{})
	if err != nil || len(page.Objects) != 0 {
		t.Fatalf("the deleted server's tools are %v, %v", page.Objects, err)
	}
	if _, err := o.Undelete(t.Context(), o.as("edna"), catalog.KindServer, "s", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get[*catalog.Tool](o, catalog.KindTool, "s/x"); string(got.Definition) != tool("x") {
		t.Errorf("the tool came back with %q", got.Definition)
	}
}

// A gateway whose teams or tools are gone does not come back as something that cannot be.
func TestUndeleteRefused(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(&catalog.Team{Meta: named("tmp")}, gateway("team", seenBy("tmp")), server("s"), connection("c", "s", everybody()))
	o.discover("s", tool("x"))
	o.create(gateway("tools", seenBy(), pin("s/x", "c")))
	for _, x := range []catalog.Key{
		{Kind: catalog.KindGateway, Name: "team"},
		{Kind: catalog.KindTeam, Name: "tmp"},
		{Kind: catalog.KindGateway, Name: "tools"},
		{Kind: catalog.KindConnection, Name: "c"},
		{Kind: catalog.KindServer, Name: "s"},
	} {
		if _, err := o.Delete(t.Context(), o.as("root"), x.Kind, x.Name, "", catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "team", catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_REFERENCE", "team \"tmp\"")
	_, err = o.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "tools", catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_TOOL", "undelete the server \"s\" first")
}

// A token's audience is a gateway and not a name: a new gateway under a deleted one's name is not opened by old tokens.
func TestTokensOfDeletedGateway(t *testing.T) {
	o := newOrg(t)
	one, both := token(ownedBy("bob"), "gw"), token(ownedBy("bob"), "gw", "other")
	one.Name, both.Name = "one", "both"
	o.create(gateway("gw", seenBy()), gateway("other", seenBy()), one, both)
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindGateway, "gw", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "gw", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	diff(t, "gateways after an undelete", []string{"gw", "other"}, get[*catalog.BearerToken](o, catalog.KindBearerToken, "both").Gateways)
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindGateway, "gw", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	o.create(gateway("gw", seenBy()))
	diff(t, "gateways after a new one was made", []string{"other"}, get[*catalog.BearerToken](o, catalog.KindBearerToken, "both").Gateways)
	_, err := o.Get(t.Context(), o.as("root"), catalog.KindBearerToken, "one")
	wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND")
}

// What takes something away is in the change's denials, for the fast lane (D-30).
func TestDenials(t *testing.T) {
	key := func(kind catalog.Kind, name string) []catalog.Key { return []catalog.Key{{Kind: kind, Name: name}} }
	remove := func(kind catalog.Kind, name string) func(*org) error {
		return func(o *org) error {
			_, err := o.Delete(o.t.Context(), o.as("root"), kind, name, "", catalog.WriteOptions{})
			return err
		}
	}
	update := func(x catalog.Object, mask ...string) func(*org) error {
		return func(o *org) error {
			_, err := o.Update(o.t.Context(), o.as("root"), x, mask, catalog.WriteOptions{})
			return err
		}
	}
	for _, tc := range []struct {
		name string
		do   func(*org) error
		want []catalog.Key
	}{
		{"gateway deleted", remove(catalog.KindGateway, "gw"), key(catalog.KindGateway, "gw")},
		{"gateway disabled", update(&catalog.Gateway{Meta: named("gw"), Disabled: true}, "disabled"), key(catalog.KindGateway, "gw")},
		{"gateway described", update(&catalog.Gateway{Meta: named("gw"), Description: "x"}, "description"), nil},
		{"gateway narrowed (D-31)", update(gateway("gw", seenBy("eng")), "visibility"), nil},
		{"assignment removed", update(gateway("gw", nil, pin("files/read", "shared")), "tools"), key(catalog.KindAssignment, "gw/files/write")},
		{"assignment changed", update(gateway("gw", nil, pin("files/read", "shared"), catalog.ToolAssignment{
			Tool: "files/write", Pinned: &resource.Pinned{Connection: "shared"}, Description: "x",
		}), "tools"), nil},
		{"user deactivated", update(&catalog.User{Meta: named(mail("bob")), Deactivated: true}, "deactivated"), key(catalog.KindUser, mail("bob"))},
		{"user deleted", remove(catalog.KindUser, mail("edna")), key(catalog.KindUser, mail("edna"))},
		{"member removed", update(&catalog.Team{Meta: named("eng"), Members: []resource.TeamMember{{User: mail("ada")}, {User: mail("ghost")}}}, "members"), key(catalog.KindTeamMember, "eng/bob@example.com")},
		{"member's role changed", update(&catalog.Team{Meta: named("ops"), Members: []resource.TeamMember{{User: mail("eve")}}}, "members"), nil},
		{"team deleted", remove(catalog.KindTeam, "empty"), key(catalog.KindTeam, "empty")},
		{"token deleted", remove(catalog.KindBearerToken, "tok"), key(catalog.KindBearerToken, "tok")},
		{"connection deleted", remove(catalog.KindConnection, "shared"), key(catalog.KindConnection, "shared")},
		{"server deleted", remove(catalog.KindServer, "unused"), key(catalog.KindServer, "unused")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.standard()
			tok := token(ownedBy("bob"), "gw")
			tok.Name = "tok"
			o.create(server("unused"), &catalog.Team{Meta: named("empty")}, gateway("gw", seenBy(), pin("files/read", "shared"), pin("files/write", "shared")), tok)
			if err := tc.do(o); err != nil {
				t.Fatal(err)
			}
			diff(t, "denials", tc.want, o.last().Denials)
		})
	}
}
