// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Whose connection may be pinned where (G-11): each row and each refusal with its own reason and a text that names
// gateway and connection.
func TestPins(t *testing.T) {
	for _, tc := range []struct {
		name, who, connection string
		visibility            *resource.Visibility
		want                  string
	}{
		{"organisation's on everybody's", "edna", "shared", seenBy(), ""},
		{"organisation's on a team's", "ada", "shared", seenBy("eng"), ""},
		{"organisation's on a personal one", "bob", "shared", seenBy("bob"), ""},
		{"team's on its team's", "ada", "eng-files", seenBy("eng"), ""},
		{"team's on a personal one of a member", "bob", "eng-files", seenBy("bob"), ""},
		{"team's on everybody's", "edna", "eng-files", seenBy(), "invalid PIN_TEAM_CONNECTION_ON_ORGANIZATION_GATEWAY"},
		{"team's on another team's", "root", "ops-files", seenBy("eng"), "invalid PIN_TEAM_CONNECTION_OF_OTHER_TEAM"},
		{"team's on a personal one of somebody else", "eve", "eng-files", seenBy("eve"), "invalid PIN_TEAM_CONNECTION_OWNER_NO_MEMBER"},
		{"team's on one of two teams, by its admin", "ada", "eng-files", seenBy("eng", "ops"), ""},
		{"team's on one of two teams, by an ADMIN", "root", "eng-files", seenBy("eng", "ops"), ""},
		{"team's on one of two teams, by the other's admin", "eve", "eng-files", seenBy("eng", "ops"), "denied PIN_TEAM_CONNECTION_LENT"},
		{"user's on their own", "bob", "bob-files", seenBy("bob"), ""},
		{"user's on their own, by an ADMIN", "root", "bob-files", seenBy("bob"), ""},
		{"user's on another's", "bob", "ada-files", seenBy("bob"), "invalid PIN_USER_CONNECTION_OF_OTHER_USER"},
		{"user's on their team's", "ada", "ada-files", seenBy("eng"), "invalid PIN_USER_CONNECTION_NOT_PERSONAL"},
		{"user's on everybody's", "root", "ada-files", seenBy(), "invalid PIN_USER_CONNECTION_NOT_PERSONAL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.standard()
			_, err := o.Create(t.Context(), o.as(tc.who), gateway("gw", tc.visibility, pin("files/read", tc.connection)), catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			if tc.want != "" {
				wantRefusal(t, err, tc.want, "gateway \"gw\"", "connection \""+tc.connection+"\"", "tools[files/read].pinned.connection", ";")
			}
		})
	}
}

// A change of visibility checks the pins again; one of anything else does not, so nothing that was allowed is cut.
func TestPinsAfterwards(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(gateway("gw", seenBy("eng"), pin("files/read", "eng-files"), pin("files/write", "shared")))
	g := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	g.Visibility = seenBy()
	_, err := o.Update(t.Context(), o.as("root"), g, []string{"visibility"}, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid PIN_TEAM_CONNECTION_ON_ORGANIZATION_GATEWAY")
	if _, err := o.Delete(t.Context(), o.as("ada"), catalog.KindConnection, "eng-files", "", catalog.WriteOptions{}); err != nil {
		t.Fatalf("a pinned connection can be deleted (G-11): %v", err)
	}
	g = get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	if len(g.Tools) != 2 {
		t.Fatalf("the assignment is gone with its connection: %v", g.Tools)
	}
	g.Description = "still there"
	_, err = o.Update(t.Context(), o.as("ada"), g, nil, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	g.Etag = "" // it is of the state before
	g.Tools[0].Description = "changed"
	_, err = o.Update(t.Context(), o.as("ada"), g, []string{"tools"}, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_REFERENCE", "eng-files")
}

// A server's visibility limits who may install connections of it and assign its tools (G-18), for the caller and for the
// owner of the connection.
func TestServerVisibility(t *testing.T) {
	for _, tc := range []struct {
		name   string
		server *resource.Visibility
		who    string
		make   func() catalog.Object
		want   string
	}{
		{"install within", seenBy("eng"), "bob", func() catalog.Object { return connection("c", "s", ownedBy("bob")) }, ""},
		{"install from outside", seenBy("ops"), "bob", func() catalog.Object { return connection("c", "s", ownedBy("bob")) }, "denied SERVER_NOT_VISIBLE"},
		{"install from outside, as ADMIN for an owner within", seenBy("eng"), "root", func() catalog.Object { return connection("c", "s", ownedBy("bob")) }, ""},
		{"install for an owner outside", seenBy("ops"), "root", func() catalog.Object { return connection("c", "s", ownedBy("bob")) }, "invalid OWNER_OUTSIDE_SERVER_VISIBILITY"},
		{"install for a team outside", seenBy("ops"), "root", func() catalog.Object { return connection("c", "s", ownedBy("eng")) }, "invalid OWNER_OUTSIDE_SERVER_VISIBILITY"},
		{"install for a team of which it is", seenBy("eng", "ops"), "ada", func() catalog.Object { return connection("c", "s", ownedBy("eng")) }, ""},
		{"install for the organisation", seenBy("eng"), "root", func() catalog.Object { return connection("c", "s", everybody()) }, "invalid OWNER_OUTSIDE_SERVER_VISIBILITY"},
		{"install of a personal server", seenBy("bob"), "bob", func() catalog.Object { return connection("c", "s", ownedBy("bob")) }, ""},
		{"install of a personal server by another", seenBy("bob"), "ada", func() catalog.Object { return connection("c", "s", ownedBy("ada")) }, "denied SERVER_NOT_VISIBLE"},
		{"assign within", seenBy("eng"), "ada", func() catalog.Object { return gateway("gw", seenBy("eng"), pin("s/x", "inside")) }, ""},
		{"assign as ADMIN", seenBy("eng"), "root", func() catalog.Object { return gateway("gw", seenBy("eng"), pin("s/x", "inside")) }, ""},
		{"assign from outside", seenBy("eng"), "eve", func() catalog.Object { return gateway("gw", seenBy("eve"), pin("s/x", "inside")) }, "denied SERVER_NOT_VISIBLE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			s := server("s")
			o.create(s)
			o.discover("s", tool("x"))
			if tc.make().Kind() == catalog.KindGateway {
				o.create(connection("inside", "s", ownedBy("eng")))
			}
			s.Visibility = tc.server
			if _, err := o.Update(t.Context(), o.as("root"), s, []string{"visibility"}, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err := o.Create(t.Context(), o.as(tc.who), tc.make(), catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// Narrowing a server's visibility cuts nothing and shows as a condition that is no part of Ready (G-18).
func TestNarrowedServer(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(gateway("gw", seenBy(), pin("files/read", "shared")))
	s := server("files")
	s.Visibility = seenBy("eng")
	if _, err := o.Update(t.Context(), o.as("root"), s, []string{"visibility"}, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	g := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	got := conditions(g)
	diff(t, "conditions", map[string]string{"WithinServerVisibility": "ServerNarrowed"}, got)
	g.Description = "x"
	_, err := o.Update(t.Context(), o.as("edna"), g, nil, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	g.Etag, g.Tools = "", append(g.Tools, pin("files/write", "shared"))
	_, err = o.Update(t.Context(), o.as("edna"), g, []string{"tools"}, catalog.WriteOptions{})
	wantRefusal(t, err, "denied SERVER_NOT_VISIBLE")
}

// conditions returns the reasons of the conditions that do not hold.
func conditions(g *catalog.Gateway) map[string]string {
	out := make(map[string]string)
	for _, c := range g.Status.Conditions {
		if !c.Status {
			out[c.Type] = c.Reason
		}
	}
	return out
}

// What a gateway's tools must be, and what is not enforced yet and so refused.
func TestAssignments(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(server("gone"), server("other"))
	o.discover("gone", tool("x"), tool("old"))
	o.discover("gone", tool("x"))
	o.create(connection("gone", "gone", everybody()))
	with := func(change func(*catalog.ToolAssignment)) catalog.ToolAssignment {
		a := pin("files/read", "shared")
		change(&a)
		return a
	}
	for _, tc := range []struct {
		name string
		a    catalog.ToolAssignment
		want string
		text string
	}{
		{"pinned", pin("files/read", "shared"), "", ""},
		{"unknown server", pin("nowhere/read", "shared"), "invalid UNKNOWN_REFERENCE", "there is no server \"nowhere\""},
		{"unknown tool", pin("files/delete", "shared"), "invalid UNKNOWN_TOOL", "penstock server discover files"},
		{"removed tool", pin("gone/old", "gone"), "invalid TOOL_REMOVED", "no longer has"},
		{"unknown connection", pin("files/read", "nothing"), "invalid UNKNOWN_REFERENCE", "there is no connection \"nothing\""},
		{"connection of another server", pin("gone/x", "shared"), "invalid PIN_CONNECTION_OF_OTHER_SERVER", "pin a connection of \"gone\""},
		{"no server in the name", pin("read", "shared"), "invalid INVALID_FIELD", "<server>/<upstream name>"},
		{"no mode", with(func(a *catalog.ToolAssignment) { a.Pinned = nil }), "invalid INVALID_FIELD", "pinned: {connection: NAME}"},
		{"resolve at call time (G-12)", atCall("files/read"), "", ""},
		{"resolve at call time, unknown server", atCall("nowhere/read"), "invalid UNKNOWN_REFERENCE", "there is no server \"nowhere\""},
		{"resolve at call time, unknown tool", atCall("files/delete"), "invalid UNKNOWN_TOOL", "penstock server discover files"},
		{"both modes", with(func(a *catalog.ToolAssignment) { a.ResolveAtCallTime = &struct{}{} }), "invalid INVALID_FIELD", "exactly one of pinned and resolve_at_call_time"},
		{"required scopes", with(func(a *catalog.ToolAssignment) { a.RequiredScopes = []string{"mcp", "mcp:files:write"} }), "", ""},
		{"scope of another service", with(func(a *catalog.ToolAssignment) { a.RequiredScopes = []string{"write"} }), "invalid INVALID_FIELD", "required_scopes"},
		{"scope with a quote", with(func(a *catalog.ToolAssignment) { a.RequiredScopes = []string{`mcp:a"b`} }), "invalid INVALID_FIELD", "required_scopes"},
		{"scope without a word", with(func(a *catalog.ToolAssignment) { a.RequiredScopes = []string{"mcp:"} }), "invalid INVALID_FIELD", "required_scopes"},
		{"scope twice", with(func(a *catalog.ToolAssignment) { a.RequiredScopes = []string{"mcp:a", "mcp:a"} }), "invalid INVALID_FIELD", "listed twice"},
		{"exposed name with a dot", with(func(a *catalog.ToolAssignment) { a.ExposedName = "a.b" }), "invalid INVALID_FIELD", "exposed_name"},
		{"reserved exposed name (G-26)", with(func(a *catalog.ToolAssignment) { a.ExposedName = "search_tools" }), "invalid TOOL_NAME_RESERVED", "exposed_name"},
		{"other reserved exposed name (G-26)", with(func(a *catalog.ToolAssignment) { a.ExposedName = "run_tool" }), "invalid TOOL_NAME_RESERVED", "exposed_name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as("root"), gateway("gw", seenBy(), tc.a), catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want, tc.text)
		})
	}
	_, err := o.Create(t.Context(), o.as("root"), gateway("gw", seenBy(), pin("files/read", "shared"), pin("files/read", "shared")), catalog.WriteOptions{})
	wantRefusal(t, err, "invalid INVALID_FIELD", "assigned twice")
}

// Names are computed when a gateway is written and kept with its assignments (G-14); compile has the rules.
func TestNames(t *testing.T) {
	for _, tc := range []struct {
		name   string
		naming resource.NamingPrefix
		tools  []catalog.ToolAssignment
		want   map[string]string
		refuse string
	}{
		{"default", "", []catalog.ToolAssignment{pin("files/read", "shared")}, map[string]string{"files/read": "files__read"}, ""},
		{"always", resource.NamingAlways, []catalog.ToolAssignment{pin("files/read", "shared")}, map[string]string{"files/read": "files__read"}, ""},
		{"never", resource.NamingNever, []catalog.ToolAssignment{pin("files/read", "shared")}, map[string]string{"files/read": "read"}, ""},
		{
			"on conflict", resource.NamingOnConflict,
			[]catalog.ToolAssignment{pin("files/read", "shared"), pin("disk/read", "disk"), pin("files/write", "shared")},
			map[string]string{"files/read": "files__read", "disk/read": "disk__read", "files/write": "write"},
			"",
		},
		{"never, clashing", resource.NamingNever, []catalog.ToolAssignment{pin("files/read", "shared"), pin("disk/read", "disk")}, nil, "invalid TOOL_NAME_CLASH"},
		{"never, reserved", resource.NamingNever, []catalog.ToolAssignment{pin("disk/run_tool", "disk")}, nil, "invalid TOOL_NAME_RESERVED"},
		{"chosen", "", []catalog.ToolAssignment{{Tool: "files/read", Pinned: &resource.Pinned{Connection: "shared"}, ExposedName: "cat"}}, map[string]string{"files/read": "cat"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.standard()
			o.create(server("disk"), connection("disk", "disk", everybody()))
			o.discover("disk", tool("read"), tool("run_tool"))
			g := gateway("gw", seenBy(), tc.tools...)
			g.Naming = &resource.Naming{Prefix: tc.naming}
			_, err := o.Create(t.Context(), o.as("edna"), g, catalog.WriteOptions{})
			wantRefusal(t, err, tc.refuse)
			if tc.refuse != "" {
				return
			}
			got := make(map[string]string)
			for _, a := range get[*catalog.Gateway](o, catalog.KindGateway, "gw").Tools {
				got[a.Tool] = a.ResolvedName
			}
			diff(t, "names", tc.want, got)
		})
	}
}

// Each condition of G-3 made false, with a reason and a text that says how to mend it, and true again.
func TestConditions(t *testing.T) {
	update := func(o *org, x catalog.Object, mask ...string) {
		t.Helper()
		if _, err := o.Update(t.Context(), o.as("system"), x, mask, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name          string
		spoil, repair func(*org)
		want          map[string]string
	}{
		{
			"HasTools", func(o *org) { update(o, gateway("gw", seenBy("eng")), "tools") },
			func(o *org) { update(o, gateway("gw", nil, pin("files/read", "secret")), "tools") },
			map[string]string{"HasTools": "NoToolsAssigned"},
		},
		{
			"HasClientAuth", func(o *org) { update(o, &catalog.Gateway{Meta: named("gw")}, "authentication") },
			func(o *org) { update(o, gateway("gw", nil), "authentication") },
			map[string]string{"HasClientAuth": "NoClientAuthentication"},
		},
		{
			"Visible, disabled", func(o *org) { update(o, &catalog.Gateway{Meta: named("gw"), Disabled: true}, "disabled") },
			func(o *org) { update(o, &catalog.Gateway{Meta: named("gw")}, "disabled") },
			map[string]string{"Visible": "Disabled"},
		},
		{
			"Visible, nobody in the team", func(o *org) { update(o, &catalog.Team{Meta: named("eng")}, "members") },
			func(o *org) {
				update(o, &catalog.Team{Meta: named("eng"), Members: []resource.TeamMember{{User: mail("bob")}}}, "members")
			},
			map[string]string{"Visible": "NoMembers"},
		},
		{
			"Visible, only deactivated members", func(o *org) {
				update(o, &catalog.Team{Meta: named("eng"), Members: []resource.TeamMember{{User: mail("ghost")}}}, "members")
			},
			func(o *org) { update(o, &catalog.User{Meta: named(mail("ghost"))}, "deactivated") },
			map[string]string{"Visible": "NoMembers"},
		},
		{
			"Visible, owner deactivated", func(o *org) { update(o, gateway("gw", seenBy("ghost")), "visibility") },
			func(o *org) { update(o, &catalog.User{Meta: named(mail("ghost"))}, "deactivated") },
			map[string]string{"Visible": "OwnerInactive"},
		},
		{
			"CredentialsResolvable, connection deleted", func(o *org) {
				if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindConnection, "secret", "", catalog.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			func(o *org) {
				c := connection("secret", "files", everybody())
				c.SecretHeaders = map[string]string{"Authorization": "Bearer x"}
				o.create(c)
			},
			map[string]string{"CredentialsResolvable": "ConnectionMissing"},
		},
		{
			"CredentialsResolvable, no credential", func(o *org) {
				o.create(connection("empty", "files", everybody()))
				update(o, gateway("gw", nil, pin("files/read", "empty")), "tools")
			},
			func(o *org) {
				c := connection("empty", "files", everybody())
				c.SecretHeaders = map[string]string{"Authorization": "Bearer x"}
				update(o, c, "secret_headers")
			},
			map[string]string{"CredentialsResolvable": "CredentialMissing"},
		},
		{
			"Enforced", func(o *org) { o.fleet.enforced = 3 }, func(o *org) { o.fleet.enforced = 1 << 40 },
			map[string]string{"Enforced": "NotEnforcedYet"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(secretServer("files"))
			o.discover("files", tool("read"))
			c := connection("secret", "files", everybody())
			c.SecretHeaders = map[string]string{"Authorization": "Bearer x"}
			o.create(c, gateway("gw", seenBy("eng"), pin("files/read", "secret")))
			read := func() *catalog.Gateway { return get[*catalog.Gateway](o, catalog.KindGateway, "gw") }
			diff(t, "at first, failing conditions", map[string]string{}, conditions(read()))
			tc.spoil(o)
			tc.want["Ready"] = "NotReady"
			g := read()
			diff(t, "spoilt, failing conditions", tc.want, conditions(g))
			for _, c := range g.Status.Conditions {
				if c.Message == "" || c.Reason == "" || c.Message[len(c.Message)-1] != '.' {
					t.Errorf("condition %s has reason %q and text %q", c.Type, c.Reason, c.Message)
				}
			}
			tc.repair(o)
			diff(t, "repaired, failing conditions", map[string]string{}, conditions(read()))
			if url := g.Status.URL; url != "https://mcp.example.com/v1/mcp/gw" {
				t.Errorf("URL is %q", url)
			}
		})
	}
}

// A gateway of the organisation is visible to somebody as long as there is an active user.
func TestNobodyActive(t *testing.T) {
	o := emptyOrg(t)
	o.create(&catalog.User{Meta: named("a@example.com"), Deactivated: true}, gateway("gw", seenBy()))
	diff(t, "failing conditions", map[string]string{"HasTools": "NoToolsAssigned", "Visible": "NoUsers", "Ready": "NotReady"},
		conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw")))
	o.create(&catalog.User{Meta: named("b@example.com")})
	diff(t, "failing conditions", map[string]string{"HasTools": "NoToolsAssigned", "Ready": "NotReady"},
		conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw")))
}

// An assignment that is taken away counts for Enforced too, though nothing of the gateway itself changed.
func TestEnforcedAfterUnassigning(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(gateway("gw", seenBy(), pin("files/read", "shared"), pin("files/write", "shared")))
	o.fleet.enforced = o.head()
	g := gateway("gw", seenBy(), pin("files/read", "shared"))
	w, err := o.Update(t.Context(), o.as("edna"), g, []string{"tools"}, catalog.WriteOptions{})
	if err != nil || !w.Changed {
		t.Fatalf("changed %v, %v", w.Changed, err)
	}
	diff(t, "failing conditions", map[string]string{"Enforced": "NotEnforcedYet", "Ready": "NotReady"}, conditions(w.Object.(*catalog.Gateway)))
}
