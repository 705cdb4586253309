// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// The world of the refusals: ada leads eng, with bob; cy leads sales; ed may edit; eve is in no team.
const refusalWorld = `
---
kind: User
name: ed@penstock.test
role: EDITOR
---
kind: Team
name: eng
members: [{user: ada@penstock.test, role: ADMIN}, {user: bob@penstock.test}]
---
kind: Team
name: sales
members: [{user: cy@penstock.test, role: ADMIN}]
---
kind: Server
name: eng-only
streamable_http: {url: URL}
visibility: {team: {teams: [eng]}}
---
kind: Server
name: ada-only
streamable_http: {url: URL}
visibility: {personal: {owner: ada@penstock.test}}
---
kind: Connection
name: of-ada
server: rec
owner: {user: ada@penstock.test}
---
kind: Connection
name: of-eng
server: rec
owner: {team: eng}
---
kind: Connection
name: of-all
server: rec
owner: {organization: {}}
---
kind: Connection
name: eng-only
server: eng-only
owner: {team: eng}
`

// Personal gateways of the refusals.
const (
	ofAda = "{personal: {owner: ada@penstock.test}}"
	ofBob = "{personal: {owner: bob@penstock.test}}"
	ofEve = "{personal: {owner: eve@penstock.test}}"
)

type refusal struct {
	name, as string
	yaml     string
	reason   string // empty: it is allowed
	names    []string
}

// pinRefusals are G-11: whose connection may be pinned where.
func pinRefusals() []refusal {
	row := func(name, as, visibility, connection, reason string) refusal {
		return refusal{name: name, as: as, yaml: gatewayYAML("g", visibility, "rec/echo "+connection), reason: reason, names: []string{connection, `"g"`}}
	}
	root := testenv.AdminEmail
	return []refusal{
		row("user's connection on their personal gateway", "ada@penstock.test", ofAda, "of-ada", ""),
		row("user's connection on another's personal gateway", root, ofBob, "of-ada", "PIN_USER_CONNECTION_OF_OTHER_USER"),
		row("user's connection on a team gateway", "ada@penstock.test", "{team: {teams: [eng]}}", "of-ada", "PIN_USER_CONNECTION_NOT_PERSONAL"),
		row("user's connection on an organisation gateway", root, organization, "of-ada", "PIN_USER_CONNECTION_NOT_PERSONAL"),
		row("team's connection on its gateway", "ada@penstock.test", "{team: {teams: [eng]}}", "of-eng", ""),
		row("team's connection on a member's personal gateway", "bob@penstock.test", ofBob, "of-eng", ""),
		row("team's connection on a stranger's personal gateway", root, ofEve, "of-eng", "PIN_TEAM_CONNECTION_OWNER_NO_MEMBER"),
		row("team's connection on another team's gateway", root, "{team: {teams: [sales]}}", "of-eng", "PIN_TEAM_CONNECTION_OF_OTHER_TEAM"),
		row("team's connection on an organisation gateway", root, organization, "of-eng", "PIN_TEAM_CONNECTION_ON_ORGANIZATION_GATEWAY"),
		row("team's connection on a gateway of two teams, by its admin", "ada@penstock.test", "{team: {teams: [eng, sales]}}", "of-eng", ""),
		row("team's connection on a gateway of two teams, by the other's admin", "cy@penstock.test", "{team: {teams: [eng, sales]}}", "of-eng", "PIN_TEAM_CONNECTION_LENT"),
		row("organisation's connection on a personal gateway", "eve@penstock.test", ofEve, "of-all", ""),
		row("organisation's connection on a team gateway", "cy@penstock.test", "{team: {teams: [sales]}}", "of-all", ""),
		row("organisation's connection on an organisation gateway", "ed@penstock.test", organization, "of-all", ""),
		row("connection of another server", root, organization, "eng-only", "PIN_CONNECTION_OF_OTHER_SERVER"),
		row("connection that does not exist", root, organization, "of-nobody", "UNKNOWN_REFERENCE"),
	}
}

// serverRefusals are G-18: a server's visibility limits who may install it and assign its tools.
func serverRefusals() []refusal {
	installing := func(name, as, server, owner, reason string) refusal {
		return refusal{name: name, as: as, reason: reason, names: []string{server}, yaml: "kind: Connection\nname: new\nserver: " + server + "\nowner: " + owner + "\n"}
	}
	assigning := func(name, as, visibility, reason string) refusal {
		return refusal{name: name, as: as, reason: reason, names: []string{"eng-only"}, yaml: gatewayYAML("g", visibility, "eng-only/echo")}
	}
	root := testenv.AdminEmail
	return []refusal{
		installing("member of the server's team installs", "bob@penstock.test", "eng-only", "{user: bob@penstock.test}", ""),
		installing("team of the server installs", "ada@penstock.test", "eng-only", "{team: eng}", ""),
		installing("other team's admin installs", "cy@penstock.test", "eng-only", "{team: sales}", "SERVER_NOT_VISIBLE"),
		installing("person of no team installs", "eve@penstock.test", "eng-only", "{user: eve@penstock.test}", "SERVER_NOT_VISIBLE"),
		installing("an admin installs for another team", root, "eng-only", "{team: sales}", "OWNER_OUTSIDE_SERVER_VISIBILITY"),
		installing("an admin installs for a person outside", root, "eng-only", "{user: eve@penstock.test}", "OWNER_OUTSIDE_SERVER_VISIBILITY"),
		installing("an admin installs for the organisation", root, "eng-only", "{organization: {}}", "OWNER_OUTSIDE_SERVER_VISIBILITY"),
		installing("owner installs a personal server", "ada@penstock.test", "ada-only", "{user: ada@penstock.test}", ""),
		installing("another installs a personal server", "bob@penstock.test", "ada-only", "{user: bob@penstock.test}", "SERVER_NOT_VISIBLE"),
		assigning("member assigns a tool", "bob@penstock.test", ofBob, ""),
		assigning("person outside assigns a tool", "eve@penstock.test", ofEve, "SERVER_NOT_VISIBLE"),
		assigning("other team's admin assigns a tool", "cy@penstock.test", "{team: {teams: [sales]}}", "SERVER_NOT_VISIBLE"),
		assigning("editor outside assigns a tool", "ed@penstock.test", organization, "SERVER_NOT_VISIBLE"),
	}
}

// TestRefusals checks each refusal of G-11 and G-18 through the admin API, by its reason and by a text that names what is
// concerned, beside what is allowed. Nothing is stored.
func TestRefusals(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	env.Apply(t, users("ada@penstock.test", "bob@penstock.test", "cy@penstock.test", "eve@penstock.test")+
		strings.ReplaceAll(refusalWorld, "URL", `"`+upstream.URL+`"`))
	env.Discover(t, "eng-only", "")
	clients := map[string]*admin.Client{testenv.AdminEmail: env.Admin}
	for _, email := range []string{"ada@penstock.test", "bob@penstock.test", "cy@penstock.test", "eve@penstock.test", "ed@penstock.test"} {
		clients[email] = env.AdminAs(t, env.Token(t, testenv.OfUser(email)).Text)
	}
	before, err := env.Admin.Configuration.GetHead(t.Context(), &adminv1.GetHeadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range append(pinRefusals(), serverRefusals()...) {
		t.Run(tc.name, func(t *testing.T) { checkRefusal(t, clients[tc.as], tc) })
	}
	if after, err := env.Admin.Configuration.GetHead(t.Context(), &adminv1.GetHeadRequest{}); err != nil || after.GetRevision() != before.GetRevision() {
		t.Errorf("revision %d became %d (%v): something was stored", before.GetRevision(), after.GetRevision(), err)
	}
}

func checkRefusal(t *testing.T, as *admin.Client, tc refusal) {
	t.Helper()
	_, err := as.Configuration.Apply(t.Context(), &adminv1.ApplyRequest{Resources: testenv.Manifest(t, tc.yaml), ValidateOnly: true})
	if tc.reason == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	e, ok := admin.AsError(err)
	if !ok || e.Reason != tc.reason {
		t.Fatalf("got %+v, want %s", err, tc.reason)
	}
	for _, name := range tc.names {
		if !strings.Contains(e.Error(), name) {
			t.Errorf("the text does not name %s: %s", name, e)
		}
	}
}
