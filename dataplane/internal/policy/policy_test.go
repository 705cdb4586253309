// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/policy"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

type body string

func (b body) Bytes() []byte { return []byte(b) }
func (b body) Len() int      { return len(b) }

// quiet fails the test for a condition that fails.
type quiet struct{ t testing.TB }

func (quiet) Would(*compile.Policy) {}

func (q quiet) Failed(p *compile.Policy, err error) { q.t.Errorf("%s: %v", p.Name, err) }

// TestFacts: every name of a condition is what it says, whoever calls (G-32).
func TestFacts(t *testing.T) {
	ada := ident.Principal{
		Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", Method: "oauth", ClientID: "cli", TokenID: "t1",
		Claims: []byte(`{"tenant":"acme"}`),
	}
	team := ident.Principal{Kind: ident.KindTeam, UID: "t", Name: "sre", Method: "bearer_token", TokenID: "t2"}
	organization := ident.Principal{Kind: ident.KindOrganization, UID: ident.OrganizationUID}
	machine := ident.Principal{Kind: ident.KindServiceAccount, UID: "ci", Name: "ci"}
	for _, tc := range []struct {
		name, when string
		caller     ident.Principal
		denied     []view.Key
		want       bool
	}{
		{name: "person", when: `caller.user == "u1" && caller.email == "ada@example.com"`, caller: ada, want: true},
		{name: "person's teams", when: `"eng" in caller.teams && "sre" in caller.teams && size(caller.teams) == 2`, caller: ada, want: true},
		{name: "person's teams without a denied one", when: `caller.teams == ["eng"]`, caller: ada, denied: []view.Key{{Kind: "team_member", Name: "sre/ada@example.com"}}, want: true},
		{name: "person's role", when: `caller.roles == ["EDITOR"]`, caller: ada, want: true},
		{name: "person's credential", when: `caller.auth_method == "oauth" && caller.client_id == "cli" && caller.token_id == "t1"`, caller: ada, want: true},
		{name: "team", when: `caller.teams == ["sre"] && caller.user == "" && caller.email == "" && caller.roles == []`, caller: team, want: true},
		{name: "organisation", when: `caller.teams == [] && caller.user == ""`, caller: organization, want: true},
		{name: "service account", when: `caller.teams == [] && caller.user == ""`, caller: machine, want: true},
		{name: "tool", when: `tool.server == "db" && tool.name == "query" && tool.annotations.readOnlyHint == true`, caller: ada, want: true},
		{name: "arguments", when: `args.env == "prod"`, caller: ada, want: true},
		{name: "gateway", when: `gateway.name == "eng" && gateway.labels.env == "prod"`, caller: ada, want: true},
		{name: "context", when: `context.untrusted && context.sources == ["web"]`, caller: ada, want: true},
		{name: "request", when: `request.headers["x-ticket"] == "T-1" && request.time == timestamp("2026-11-30T12:00:00Z")`, caller: ada, want: true},
		{name: "claims", when: `caller.claims.tenant == "acme"`, caller: ada, want: true},
		{name: "claims of a token that has none", when: `caller.claims.tenant == "acme"`, caller: team},
		{name: "labels of the server", when: `tool.labels.tier == "1" && !(tool.labels.other == "1")`, caller: ada, want: true},
		{name: "region", when: `request.region == "eu"`, caller: ada, want: true},
		{name: "what is not so", when: `tool.name == "drop"`, caller: ada},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := compile.MakePolicy(&resourcev1.Policy{Name: "p", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: tc.when})
			if err != nil {
				t.Fatal(err)
			}
			b := view.From(nil)
			b.PutUser("ada@example.com", &view.User{Name: "ada@example.com", UID: "u1", Role: "EDITOR"})
			for _, name := range []string{"eng", "sre"} {
				b.PutTeam(name, &view.Team{Name: name, UID: name, Members: map[string]struct{}{"ada@example.com": {}}})
			}
			b.PutPolicy("p", p)
			b.PutServer("db", &view.Server{Name: "db", Labels: map[string]string{"tier": "1"}})
			tool := &view.Tool{Exposed: "q", Upstream: "query", Name: "db/query", Server: "db", Body: body(`{"name":"query","annotations":{"readOnlyHint":true}}`)}
			b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "g", Labels: map[string]string{"env": "prod"}}, Tools: []*view.Tool{tool}})
			h := view.NewHolder()
			h.Publish(b.Build("e", 1))
			h.Deny(2, tc.denied)
			s := h.Load()
			d := policy.Decide(&policy.Input{
				Snapshot: s, Gateway: s.Gateway("eng"), Tool: tool, Caller: tc.caller, Arguments: []byte(`{"env":"prod"}`),
				Region: "eu", Untrusted: true, Sources: []string{"web"}, Headers: map[string][]string{"X-Ticket": {"T-1"}},
				Time: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
			}, quiet{t})
			if got := d.Action == compile.ActionBlock; got != tc.want {
				t.Errorf("%s: matched %t, want %t", tc.when, got, tc.want)
			}
		})
	}
}

func TestDefault(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		d := policy.Decide(&policy.Input{Gateway: &view.Gateway{Gateway: compile.Gateway{BlockUnmatched: blocks}}}, quiet{t})
		if got := d.Action == compile.ActionBlock; got != blocks || d.Policy != nil {
			t.Errorf("default to block %t: %v", blocks, d)
		}
	}
}

// TestForeseen: what policies refuse whatever a call says is known before it; what depends on arguments or headers is not.
func TestForeseen(t *testing.T) {
	const (
		allow, block = resourcev1.PolicyAction_POLICY_ACTION_ALLOW, resourcev1.PolicyAction_POLICY_ACTION_BLOCK
		approve      = resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL
		untrusted    = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED
	)
	type rules = []*resourcev1.Policy
	for _, tc := range []struct {
		name    string
		g       compile.Gateway
		rules   rules
		context bool // untrusted
		want    string
	}{
		{name: "nothing"},
		{name: "for everybody", rules: rules{{Name: "a", Action: block}}, want: "a"},
		{name: "for the caller", rules: rules{{Name: "a", Action: block, When: `caller.email == "ada@example.com"`}}, want: "a"},
		{name: "for another", rules: rules{{Name: "a", Action: block, When: `caller.email == "bob@example.com"`}}},
		{name: "on arguments", rules: rules{{Name: "a", Action: block, When: `args.x == 1`}}},
		{name: "on headers", rules: rules{{Name: "a", Action: block, When: `request.headers["x"] != "1"`}}},
		{name: "on arguments and the caller", rules: rules{{Name: "a", Action: block, When: `args.x == 1 || caller.email != ""`}}},
		{name: "the strictest of two", rules: rules{{Name: "a", Action: allow}, {Name: "b", Action: block}}, want: "b"},
		{name: "another one on arguments", rules: rules{{Name: "a", Action: allow, When: `args.x == 1`}, {Name: "b", Action: block}}, want: "b"},
		{name: "approval", rules: rules{{Name: "a", Action: approve, Approvers: &resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}}}},
		{name: "shadow", rules: rules{{Name: "a", Action: block, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW}}},
		{name: "another tool", rules: rules{{Name: "a", Action: block, Tools: []string{"db__other"}}}},
		{name: "untrusted", rules: rules{{Name: "a", Action: untrusted}}, context: true, want: "a"},
		{name: "trusted", rules: rules{{Name: "a", Action: untrusted}}},
		{name: "a condition that fails", rules: rules{{Name: "a", Action: block, When: `caller.claims.x > 1`}}, want: "a"},
		{name: "default", g: compile.Gateway{BlockUnmatched: true}, want: "default"},
		{name: "default, allowed", g: compile.Gateway{BlockUnmatched: true}, rules: rules{{Name: "a", Action: allow}}},
		{name: "default, perhaps allowed", g: compile.Gateway{BlockUnmatched: true}, rules: rules{{Name: "a", Action: allow, When: `args.x == 1`}}},
		{name: "default, another allowed", g: compile.Gateway{BlockUnmatched: true}, rules: rules{{Name: "a", Action: allow, Tools: []string{"db__other"}}}, want: "default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := view.From(nil)
			for _, r := range tc.rules {
				p, err := compile.MakePolicy(r)
				if err != nil {
					t.Fatal(err)
				}
				b.PutPolicy(r.GetName(), p)
			}
			tool := &view.Tool{Exposed: "q", Upstream: "query", Name: "db/query", Server: "db", Body: body(`{"name":"query"}`)}
			tc.g.Name, tc.g.UID = "eng", "g"
			b.PutGateway(&view.Gateway{Gateway: tc.g, Tools: []*view.Tool{tool}})
			h := view.NewHolder()
			h.Publish(b.Build("e", 1))
			d, ok := policy.Foreseen(&policy.Input{
				Snapshot: h.Load(), Gateway: h.Load().Gateway("eng"), Tool: tool, Untrusted: tc.context,
				Caller: ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", Claims: []byte(`{"x":"a"}`)},
			})
			got := ""
			if ok {
				got = "default"
				if d.Policy != nil {
					got = d.Policy.Name
				}
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
