// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// conditionCase breaks one condition of the gateway "g" and mends it.
type conditionCase struct {
	condition, reason string
	says              string // what the message must name, so that a person can mend it
	warns             bool   // the gateway stays ready
	spoil, fix        func(t *testing.T)
	answers           func(t *testing.T, c *rawclient.Client) // how the gateway that is not ready answers; nil if calls go on
}

// TestConditions makes each status condition of a gateway false and true again, as the API and `penstock describe` show them,
// and asks the gateway meanwhile: one that is not ready answers with what is missing (G-3, G-13).
func TestConditions(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	cli := buildCLI(t)
	upstream := recorder.Start(t)
	env.Apply(t, users("ada@penstock.test")+"---\nkind: Team\nname: eng\nmembers: [{user: ada@penstock.test}]\n")
	install(t, env, "rec", upstream.URL)
	const team = "{team: {teams: [eng]}}"
	gateway(t, env, "g", team, "rec/echo")
	token := env.Token(t, testenv.OfUser("ada@penstock.test"), "g")
	env.WaitEnforced(t)

	cases := slices.Concat(clientConditions(env, team), credentialConditions(env, team), []conditionCase{nodeCondition(env)})
	for _, tc := range cases {
		t.Run(tc.condition+" "+tc.reason, func(t *testing.T) {
			checkConditions(t, env, cli, conditionCase{})
			c := client(env, env.Nodes[0], "g", token.Text)
			works(t, "before", c.Call(t, "rec__echo", `{"message":"hello"}`), "hello")
			tc.spoil(t)
			if tc.condition != "Enforced" {
				env.WaitEnforced(t)
			}
			checkConditions(t, env, cli, tc)
			if tc.answers != nil {
				tc.answers(t, c)
			}
			tc.fix(t)
			env.WaitEnforced(t)
			checkConditions(t, env, cli, conditionCase{})
			works(t, "after", c.Call(t, "rec__echo", `{"message":"hello"}`), "hello")
		})
	}
}

// clientConditions are those of the gateway's clients.
func clientConditions(env *testenv.Env, team string) []conditionCase {
	whole := func(t *testing.T) { gateway(t, env, "g", team, "rec/echo") }
	return []conditionCase{
		{
			condition: "HasTools", reason: "NoToolsAssigned", says: "tool", fix: whole,
			spoil: func(t *testing.T) { gateway(t, env, "g", team) },
			answers: func(t *testing.T, c *rawclient.Client) {
				if got := names(t, c.Modern(t, "tools/list", noArguments, nil)); len(got) > 0 {
					t.Errorf("lists %v", got)
				}
				unknownTool("rec__echo").check(t, "call", c.Modern(t, "tools/call", callEcho, nil))
			},
		},
		{
			condition: "HasClientAuth", reason: "NoClientAuthentication", says: "authentication", fix: whole,
			spoil: func(t *testing.T) {
				env.Apply(t, strings.Replace(gatewayYAML("g", team, "rec/echo"), "authentication: {bearer_token: {}}", "authentication: {}", 1))
			},
			answers: func(t *testing.T, c *rawclient.Client) {
				// With a token exactly as with an unknown one (ST-12); without, no challenge that sends a client looking.
				wantBadToken().check(t, "with a token", c.Modern(t, "tools/list", noArguments, nil))
				anonymous := *c
				anonymous.Token = ""
				want{401, "Bearer", problem("unauthorized", "No authentication method is configured for this gateway", "gateway_not_ready")}.
					check(t, "without a token", anonymous.Modern(t, "tools/list", noArguments, nil))
			},
		},
		{
			condition: "Visible", reason: "NoMembers", says: "eng",
			spoil: func(t *testing.T) { env.Apply(t, "kind: Team\nname: eng\nmembers: []\n") },
			fix:   func(t *testing.T) { env.Apply(t, "kind: Team\nname: eng\nmembers: [{user: ada@penstock.test}]\n") },
			answers: func(t *testing.T, c *rawclient.Client) {
				wantAccessDenied().check(t, "list", c.Modern(t, "tools/list", noArguments, nil))
			},
		},
	}
}

// credentialConditions are those of what calls run with.
func credentialConditions(env *testenv.Env, team string) []conditionCase {
	return []conditionCase{
		{
			condition: "CredentialsResolvable", reason: "ConnectionMissing", says: "rec",
			spoil: func(t *testing.T) {
				if _, err := env.Admin.Connections.DeleteConnection(t.Context(), &adminv1.DeleteConnectionRequest{Name: "rec"}); err != nil {
					t.Fatal(err)
				}
			},
			fix: func(t *testing.T) {
				env.Apply(t, "kind: Connection\nname: rec\nserver: rec\nowner: {organization: {}}\n")
			},
			answers: func(t *testing.T, c *rawclient.Client) {
				r := resultOf(t, c.Call(t, "rec__echo", noArguments))
				if !r.Result.IsError || !strings.Contains(r.text(), `connection "rec"`) || r.Result.StructuredContent.Error.Type != "CONNECTION_MISSING" {
					t.Errorf("a call without connection gives %+v", r)
				}
			},
		},
		{
			condition: "CredentialsResolvable", reason: "CredentialMissing", says: "rec",
			spoil: func(t *testing.T) { serverIs(t, env, "{organization: {}}", "static_headers") },
			fix:   func(t *testing.T) { serverIs(t, env, "{organization: {}}", "none") },
			answers: func(t *testing.T, c *rawclient.Client) {
				r := resultOf(t, c.Call(t, "rec__echo", noArguments))
				if !r.Result.IsError || !strings.Contains(r.text(), `"rec"`) || r.Result.StructuredContent.Error.Type != "CREDENTIAL_MISSING" {
					t.Errorf("a call without credential gives %+v", r)
				}
			},
		},
		{ // G-18: what was assigned stays
			condition: "WithinServerVisibility", reason: "ServerNarrowed", says: "rec", warns: true,
			spoil: func(t *testing.T) { serverIs(t, env, team, "none") },
			fix:   func(t *testing.T) { serverIs(t, env, "{organization: {}}", "none") },
			answers: func(t *testing.T, c *rawclient.Client) {
				works(t, "call", c.Call(t, "rec__echo", `{"message":"hello"}`), "hello")
			},
		},
	}
}

func nodeCondition(env *testenv.Env) conditionCase {
	return conditionCase{
		condition: "Enforced", reason: "NotEnforcedYet", says: "nodes",
		spoil: func(t *testing.T) { env.Nodes[0].Stop(t) },
		fix: func(t *testing.T) {
			env.Nodes[0].Start(t)
			env.Nodes[0].WaitReady(t)
		},
	}
}

// serverIs changes the server's visibility and the kind of its credential.
func serverIs(t *testing.T, env *testenv.Env, visibility, credential string) {
	t.Helper()
	got, err := env.Admin.Servers.GetServer(t.Context(), &adminv1.GetServerRequest{Name: "rec"})
	if err != nil {
		t.Fatal(err)
	}
	env.Apply(t, fmt.Sprintf("kind: Server\nname: rec\nstreamable_http: {url: %q}\nvisibility: %s\ncredential: {%s: {}}\n",
		got.GetServer().GetStreamableHttp().GetUrl(), visibility, credential))
}

// checkConditions checks that all conditions hold, or all but the broken one and Ready, as the API says it and as the CLI shows it.
func checkConditions(t *testing.T, env *testenv.Env, cli string, broken conditionCase) {
	t.Helper()
	all := []string{"HasTools", "HasClientAuth", "Visible", "CredentialsResolvable", "Enforced", "Ready"}
	if broken.warns {
		all = append(all, broken.condition)
	}
	got, err := env.Admin.Gateways.GetGateway(t.Context(), &adminv1.GetGatewayRequest{Name: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if want := env.Nodes[0].Gateway("g"); got.GetGateway().GetStatus().GetUrl() != want {
		t.Errorf("url is %q, want %q", got.GetGateway().GetStatus().GetUrl(), want)
	}
	described := describe(t, env, cli, "g")
	conditions := got.GetGateway().GetStatus().GetConditions()
	if len(conditions) != len(all) {
		t.Errorf("%d conditions: %v", len(conditions), conditions)
	}
	for _, name := range all {
		i := slices.IndexFunc(conditions, func(c *resourcev1.Condition) bool { return c.GetType() == name })
		if i < 0 {
			t.Errorf("no condition %s", name)
			continue
		}
		c, reason, word := conditions[i], "OK", "yes"
		switch {
		case name == broken.condition:
			reason, word = broken.reason, "no"
		case name == "Ready" && broken.condition != "" && !broken.warns:
			reason, word = "NotReady", "no"
		}
		if c.GetStatus() != (word == "yes") || c.GetReason() != reason {
			t.Errorf("with %s broken: %s is %t (%s: %s)", broken.condition, name, c.GetStatus(), c.GetReason(), c.GetMessage())
		}
		if name == broken.condition && !strings.Contains(c.GetMessage(), broken.says) {
			t.Errorf("%s does not name %q: %s", name, broken.says, c.GetMessage())
		}
		if !regexp.MustCompile(`(?m)^` + name + ` +` + word + ` +` + reason + ` `).MatchString(described) {
			t.Errorf("penstock describe does not show %s %s %s:\n%s", name, word, reason, described)
		}
	}
}

// buildCLI builds the penstock command.
func buildCLI(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "penstock")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/penstockhq/penstock/sdk/cmd/penstock").CombinedOutput(); err != nil {
		t.Fatalf("build the CLI: %v\n%s", err, out)
	}
	return path
}

func describe(t *testing.T, env *testenv.Env, cli, gateway string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), cli, "describe", "gateway", gateway)
	command.Env = environment(map[string]string{"PENSTOCK_ADDR": env.AdminURL, "PENSTOCK_TOKEN": env.AdminToken, "HOME": t.TempDir()})
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("penstock describe: %v\n%s", err, out)
	}
	return string(out)
}
