// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
)

// TestResolveAtCallTime runs calls of one tool for people and machines: the upstream sees the secret of the caller's own connection,
// else that of a team, else the organisation's, as they come and go, and never a person's for anybody else (G-12, UP-2, UP-9).
func TestResolveAtCallTime(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	secret := func(name string) string { return "Bearer " + name + "-5e1f-upstream-secret" }
	connection := func(name, owner string) string {
		return fmt.Sprintf("---\nkind: Connection\nname: %s\nserver: rec\nowner: %s\nsecret_headers: {Authorization: {from_file: %q}}\n", name, owner, "secret/"+secret(name))
	}
	server := func(more string) string {
		return fmt.Sprintf("---\nkind: Server\nname: rec\nstreamable_http: {url: %q}\ncredential: {static_headers: {}}\nvisibility: {organization: {}}\n%s", upstream.URL, more)
	}
	env.Apply(t, users("ada@penstock.test", "bob@penstock.test", "eve@penstock.test")+
		"---\nkind: Team\nname: eng\nmembers: [{user: ada@penstock.test}, {user: bob@penstock.test}]\n"+server("")+connection("shared", organization))
	env.Discover(t, "rec", "shared")
	env.Apply(t, `
kind: Gateway
name: g
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: rec/echo, resolve_at_call_time: {}}
`)
	tokens := map[string]testenv.Token{
		"ada": env.Token(t, testenv.OfUser("ada@penstock.test"), "g"), "bob": env.Token(t, testenv.OfUser("bob@penstock.test"), "g"),
		"eve": env.Token(t, testenv.OfUser("eve@penstock.test"), "g"), "team": env.Token(t, testenv.OfTeam("eng"), "g"),
		"organization": env.Token(t, testenv.OfOrganization(), "g"),
	}
	const refused = "CREDENTIAL_REQUIRES_USER"
	for _, step := range []struct {
		name, apply string
		want        map[string]string // caller to connection, or what the call is refused with
	}{
		{"organisation", "", map[string]string{"ada": "shared", "bob": "shared", "eve": "shared", "team": "shared", "organization": "shared"}},
		{
			"a team's", connection("teams", "{team: eng}"),
			map[string]string{"ada": "teams", "bob": "teams", "eve": "shared", "team": "teams", "organization": "shared"},
		},
		{
			"ada's own", connection("adas", "{user: ada@penstock.test}"),
			map[string]string{"ada": "adas", "bob": "teams", "eve": "shared", "team": "teams", "organization": "shared"},
		},
		{"own ones only", server("own_connections_only: true\n"), map[string]string{"ada": "adas", "team": refused, "organization": refused}},
		{"others again", server(""), map[string]string{"ada": "adas", "bob": "teams", "organization": "shared"}},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.apply != "" {
				env.Apply(t, step.apply)
			}
			env.WaitEnforced(t)
			for caller, want := range step.want {
				upstream.Forget()
				a := client(env, env.Nodes[0], "g", tokens[caller].Text).Call(t, "rec__echo", `{"message":"hi","user":"ada@penstock.test"}`)
				if want == refused {
					if e := resultOf(t, a).Result.StructuredContent.Error; e.Type != refused || len(upstream.Calls()) > 0 {
						t.Errorf("%s: got %s", caller, a.Body)
					}
					continue
				}
				works(t, caller, a, "hi")
				for _, r := range upstream.Calls() {
					if got := r.Header.Get("Authorization"); got != secret(want) {
						t.Errorf("%s: the upstream saw %q, want that of %s", caller, got, want)
					}
				}
			}
		})
	}
	for _, name := range []string{"shared", "teams", "adas"} {
		if strings.Contains(env.Log.String(), strings.TrimPrefix(secret(name), "Bearer ")) {
			t.Errorf("the secret of %s is in the log", name)
		}
	}
}
