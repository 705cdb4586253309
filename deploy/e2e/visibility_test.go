// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestVisibility checks who may use a gateway of each visibility, to the last byte of each answer (G-2, G-4, RS-6, RS-9). All
// tokens and sessions are made while the gateways are open to the organisation: what counts is what holds at the request.
func TestVisibility(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	env.Apply(t, users("owner@penstock.test", "member@penstock.test", "stranger@penstock.test", "gone@penstock.test")+`
---
kind: Team
name: eng
members: [{user: owner@penstock.test, role: ADMIN}, {user: member@penstock.test}, {user: gone@penstock.test}]
---
kind: Team
name: sales
members: [{user: stranger@penstock.test}]
`)
	visibilities := map[string]string{
		"personal": "{personal: {owner: owner@penstock.test}}", "team": "{team: {teams: [eng]}}", "organization": organization,
	}
	for name := range visibilities {
		gateway(t, env, name, organization, "rec/echo")
	}
	tokens := visibilityTokens(t, env, slices.Collect(maps.Keys(visibilities)))
	env.WaitEnforced(t)
	clients := make(map[string]*rawclient.Client) // by gateway and principal, each with a session
	for name := range visibilities {
		for principal, token := range tokens {
			c := client(env, env.Nodes[0], name, token.Text)
			if a := c.Initialize(t); a.Status != http.StatusOK || c.Session() == "" {
				t.Fatalf("initialize before the change: %d %s", a.Status, a.Body)
			}
			clients[name+" "+principal] = c
		}
	}
	for name, visibility := range visibilities {
		gateway(t, env, name, visibility, "rec/echo")
	}
	env.Apply(t, "kind: User\nname: gone@penstock.test\ndeactivated: true\n")
	env.WaitEnforced(t)

	tools := listOf(t, env, upstream, "echo")
	for _, row := range visibilityTable() {
		for name, allowed := range map[string]string{"personal": row.personal, "team": row.team, "organization": row.organization} {
			t.Run(row.principal+" at "+name, func(t *testing.T) {
				checkVisibility(t, clients[name+" "+row.principal], name, allowed, tools)
			})
		}
	}
	t.Run("the session of another principal", func(t *testing.T) { // RS-11
		mine := clients["team member"]
		a := clients["team owner"].Send(t, rawclient.Request{
			Header: http.Header{"Mcp-Session-Id": {mine.Session()}}, Body: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		})
		want{status: http.StatusNotFound, body: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Invalid session ID"}}`}.check(t, "list", a)
	})
	t.Run("two gateways of one server", func(t *testing.T) { checkTwoGateways(t, env) })
}

// visibilityTokens makes a token for all gateways for each principal of the table.
func visibilityTokens(t *testing.T, env *testenv.Env, gateways []string) map[string]testenv.Token {
	t.Helper()
	tokens := make(map[string]testenv.Token)
	for principal, owner := range map[string]*resourcev1.Owner{
		"owner": testenv.OfUser("owner@penstock.test"), "member": testenv.OfUser("member@penstock.test"),
		"other team": testenv.OfUser("stranger@penstock.test"), "admin who is no member": testenv.OfUser(testenv.AdminEmail),
		"deactivated": testenv.OfUser("gone@penstock.test"), "team token": testenv.OfTeam("eng"), "organisation token": testenv.OfOrganization(),
	} {
		tokens[principal] = env.Token(t, owner, gateways...)
	}
	return tokens
}

type visibilityRow struct{ principal, personal, team, organization string }

// The outcomes of the table.
const (
	yes  = "may use it"
	no   = "may not"
	dead = "has a dead token"
)

func visibilityTable() []visibilityRow {
	return []visibilityRow{
		{"owner", yes, yes, yes},
		{"member", no, yes, yes},
		{"other team", no, no, yes},
		{"admin who is no member", no, no, yes},
		{"deactivated", dead, dead, dead},
		{"team token", no, yes, yes},
		{"organisation token", no, no, yes},
	}
}

// checkVisibility makes each kind of request. tools is the array that a list holds.
func checkVisibility(t *testing.T, c *rawclient.Client, gateway, allowed, tools string) {
	t.Helper()
	result := func(body string) want {
		switch allowed {
		case yes:
			return want{status: http.StatusOK, body: `{"jsonrpc":"2.0","id":1,"result":` + body + `}`}
		case no:
			return wantAccessDenied()
		default:
			return wantBadToken()
		}
	}
	info := `{"name":"` + gateway + `","version":"` + testenv.Version + `"}`
	modern := `{"resultType":"complete","ttlMs":60000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":` + info + `},`
	call := `{"name":"rec__echo","arguments":{"message":"hello"}}`

	result(`{"tools":`+tools+`}`).check(t, "list", c.Legacy(t, "tools/list", noArguments))
	result(`{"_meta":{},"content":[{"type":"text","text":"hello"}]}`).check(t, "call", c.Legacy(t, "tools/call", call))
	result(modern+`"supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"capabilities":{"tools":{"listChanged":true}}}`).
		check(t, "modern discover", c.Modern(t, "server/discover", noArguments, nil))
	result(modern+`"tools":`+tools+`}`).check(t, "modern list", c.Modern(t, "tools/list", noArguments, nil))
	result(`{"_meta":{"io.modelcontextprotocol/serverInfo":`+info+`},"content":[{"type":"text","text":"hello"}],"resultType":"complete"}`).
		check(t, "modern call", c.Modern(t, "tools/call", call, nil))
	result(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":`+info+`}`).
		check(t, "initialize", c.Initialize(t))
}

// listOf returns the tools array that a gateway owes: the upstream's own bytes, with the exposed name.
func listOf(t *testing.T, env *testenv.Env, upstream *recorder.Server, tools ...string) string {
	t.Helper()
	direct := &rawclient.Client{HTTP: env.HTTP, URL: upstream.URL}
	direct.Initialize(t)
	var list struct {
		Result struct{ Tools []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(direct.Legacy(t, "tools/list", noArguments).Last()), &list); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, text := range list.Result.Tools {
		for _, name := range tools {
			if upstreamName := fmt.Sprintf(`"name":%q`, name); strings.Contains(string(text), upstreamName) {
				texts = append(texts, strings.Replace(string(text), upstreamName, fmt.Sprintf(`"name":"rec__%s"`, name), 1))
			}
		}
	}
	if len(texts) != len(tools) {
		t.Fatalf("the upstream lists %v, which has not %v", list.Result.Tools, tools)
	}
	return "[" + strings.Join(texts, ",") + "]"
}

// checkTwoGateways puts one server behind two gateways with different tools: neither lists nor calls the other's, and the
// answer is that to a tool that never was (G-1, G-10, RS-21).
func checkTwoGateways(t *testing.T, env *testenv.Env) {
	t.Helper()
	gateway(t, env, "first", organization, "rec/echo", "rec/steps")
	gateway(t, env, "second", organization, "rec/fail")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "first", "second")
	env.WaitEnforced(t)
	for _, tc := range []struct {
		gateway          string
		assigned, hidden []string
	}{
		{"first", []string{"rec__echo", "rec__steps"}, []string{"rec__fail", "fail", "rec/fail"}},
		{"second", []string{"rec__fail"}, []string{"rec__echo", "rec__steps", "echo", "rec__hold"}},
	} {
		c := client(env, env.Nodes[0], tc.gateway, token.Text)
		c.Initialize(t)
		for era, list := range map[string]rawclient.Answer{
			"legacy": c.Legacy(t, "tools/list", noArguments), "modern": c.Modern(t, "tools/list", noArguments, nil),
		} {
			if diff := cmp.Diff(tc.assigned, names(t, list)); diff != "" {
				t.Errorf("%s list of %s (-want +got):\n%s", era, tc.gateway, diff)
			}
		}
		for _, name := range append(tc.hidden, "never-was") {
			call := `{"name":"` + name + `","arguments":{}}`
			unknownTool(name).check(t, "legacy call of "+name, c.Legacy(t, "tools/call", call))
			unknownTool(name).check(t, "modern call of "+name, c.Modern(t, "tools/call", call, nil))
		}
	}
}
