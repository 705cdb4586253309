// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// What a policy may be (G-30, G-37): all else is refused with the path of the field, and a condition with line and column.
func TestPolicyRules(t *testing.T) {
	const bad = "invalid INVALID_FIELD"
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, "t"+strings.Repeat("x", i))
		}
		return out
	}
	o := newOrg(t)
	for _, tc := range []struct {
		name              string
		edit              func(p *catalog.Policy)
		want, field, text string
	}{
		{name: "the least", edit: func(*catalog.Policy) {}},
		{name: "everything", edit: func(p *catalog.Policy) {
			p.Tools, p.Servers, p.Gateways = []string{"github__*", "*"}, []string{"github"}, []string{"prod-*"}
			p.GatewayLabels, p.Mode, p.Reason, p.Disabled = map[string]string{"env": "prod"}, resource.PolicyShadow, "No.", true
			p.When = `args.n > 1 && "sre" in caller.teams`
		}},
		{name: "no action", edit: func(p *catalog.Policy) { p.Action = "" }, want: bad, field: "action"},
		{name: "action not specified", edit: func(p *catalog.Policy) { p.Action = "POLICY_ACTION_UNSPECIFIED" }, want: bad, field: "action"},
		{name: "unknown action", edit: func(p *catalog.Policy) { p.Action = "STOP" }, want: bad, field: "action"},
		{name: "approval without approvers", edit: func(p *catalog.Policy) { p.Action = resource.PolicyRequireApproval }, want: bad, field: "approvers"},
		{name: "unknown mode", edit: func(p *catalog.Policy) { p.Mode = "MAYBE" }, want: bad, field: "mode"},
		{name: "syntax", edit: func(p *catalog.Policy) { p.When = "true &&\n  args.a = 1" }, want: "invalid POLICY_CONDITION_INVALID", field: "when", text: "line 2, column 10: Syntax error"},
		{name: "unknown field", edit: func(p *catalog.Policy) { p.When = `"a" in caller.team` }, want: "invalid POLICY_CONDITION_INVALID", field: "when", text: "line 1, column 8: caller has no such field"},
		{name: "long condition", edit: func(p *catalog.Policy) { p.When = strings.Repeat(" ", 8189) + "true" }, want: bad, field: "when"},
		{name: "100 tools", edit: func(p *catalog.Policy) { p.Tools = many(100) }},
		{name: "101 tools", edit: func(p *catalog.Policy) { p.Tools = many(101) }, want: bad, field: "tools"},
		{name: "tool with a space", edit: func(p *catalog.Policy) { p.Tools = []string{"a b"} }, want: bad, field: "tools[0]"},
		{name: "tool twice", edit: func(p *catalog.Policy) { p.Tools = []string{"a", "a"} }, want: bad, field: "tools[1]"},
		{name: "empty gateway", edit: func(p *catalog.Policy) { p.Gateways = []string{""} }, want: bad, field: "gateways[0]"},
		{name: "server that is no slug", edit: func(p *catalog.Policy) { p.Servers = []string{"git*"} }, want: bad, field: "servers[0]"},
		{name: "long reason", edit: func(p *catalog.Policy) { p.Reason = strings.Repeat("x", 513) }, want: bad, field: "reason"},
		{name: "reason of two lines", edit: func(p *catalog.Policy) { p.Reason = "a\nb" }, want: bad, field: "reason"},
		{name: "name", edit: func(p *catalog.Policy) { p.Name = "No" }, want: bad, field: "name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &catalog.Policy{Meta: named("p"), Action: resource.PolicyBlock}
			tc.edit(p)
			_, err := o.Create(t.Context(), o.as("root"), p, catalog.WriteOptions{ValidateOnly: true})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want, tc.text)
			wantField(t, err, tc.field)
		})
	}
}

// Who may approve, and for how long a call waits (G-34).
func TestPolicyApprovers(t *testing.T) {
	const bad, unknown, nobody = "invalid INVALID_FIELD", "invalid UNKNOWN_REFERENCE", "invalid POLICY_WITHOUT_APPROVER"
	o := newOrg(t)
	gone := &catalog.User{Meta: named("gone@example.com"), Deactivated: true}
	o.create(gone)
	o.create(&catalog.Team{Meta: named("idle"), Members: []resource.TeamMember{{User: "gone@example.com", Role: resource.RoleAdmin}}})
	ttl := func(d time.Duration) *resource.Duration { return (*resource.Duration)(&d) }
	caller, own := &struct{}{}, &resource.TeamAdmins{}
	users := func(list ...string) *resource.Approvers { return &resource.Approvers{Users: list} }
	teams := func(list ...string) *resource.Approvers {
		return &resource.Approvers{TeamAdmins: &resource.TeamAdmins{Teams: list}}
	}
	for _, tc := range []struct {
		name        string
		action      resource.PolicyAction
		approvers   *resource.Approvers
		ttl         *resource.Duration
		want, field string
	}{
		{name: "caller", approvers: &resource.Approvers{Caller: caller}},
		{name: "admins of the caller's teams", approvers: &resource.Approvers{TeamAdmins: own}, ttl: ttl(time.Minute)},
		{name: "admins of a team", approvers: teams("eng"), ttl: ttl(7 * 24 * time.Hour)},
		{name: "users, in capitals", approvers: users("Root@Example.com")},
		{name: "one of them deactivated", approvers: users("gone@example.com", "root@example.com")},
		{name: "none", want: bad, field: "approvers"},
		{name: "nothing set", approvers: &resource.Approvers{}, want: bad, field: "approvers"},
		{name: "two set", approvers: &resource.Approvers{Caller: caller, TeamAdmins: own}, want: bad, field: "approvers"},
		{name: "with another action", action: resource.PolicyBlock, approvers: teams("eng"), want: bad, field: "approvers"},
		{name: "time with another action", action: resource.PolicyBlock, ttl: ttl(time.Hour), want: bad, field: "approval_ttl"},
		{name: "time where the caller is asked", approvers: &resource.Approvers{Caller: caller}, ttl: ttl(time.Hour), want: bad, field: "approval_ttl"},
		{name: "too short", approvers: teams("eng"), ttl: ttl(time.Minute - 1), want: bad, field: "approval_ttl"},
		{name: "too long", approvers: teams("eng"), ttl: ttl(7*24*time.Hour + 1), want: bad, field: "approval_ttl"},
		{name: "no address", approvers: users("root"), want: bad, field: "approvers.users[0]"},
		{name: "user twice", approvers: users("root@example.com", "ROOT@example.com"), want: bad, field: "approvers.users[1]"},
		{name: "no team's name", approvers: teams("E n g"), want: bad, field: "approvers.team_admins.teams[0]"},
		{name: "unknown user", approvers: users("nobody@example.com"), want: unknown, field: "approvers.users[0]"},
		{name: "unknown team", approvers: teams("nothing"), want: unknown, field: "approvers.team_admins.teams[0]"},
		{name: "all deactivated", approvers: users("gone@example.com"), want: nobody, field: "approvers.users"},
		{name: "no active admin", approvers: teams("idle"), want: nobody, field: "approvers.team_admins.teams"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &catalog.Policy{Meta: named("p"), Action: resource.PolicyRequireApproval, Approvers: tc.approvers, ApprovalTTL: tc.ttl}
			if tc.action != "" {
				p.Action = tc.action
			}
			_, err := o.Create(t.Context(), o.as("root"), p, catalog.WriteOptions{ValidateOnly: true})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}

// Who approves is not deleted under a policy, and what becomes of approvers is no reason to refuse another change of it.
func TestApproversInUse(t *testing.T) {
	o := newOrg(t)
	o.create(&catalog.User{Meta: named("zoe@example.com")})
	o.create(&catalog.Team{Meta: named("desk"), Members: []resource.TeamMember{{User: "zoe@example.com", Role: resource.RoleAdmin}}})
	held := func(name string, a resource.Approvers) {
		o.create(&catalog.Policy{Meta: named(name), Action: resource.PolicyRequireApproval, Approvers: &a})
	}
	held("people", resource.Approvers{Users: []string{"zoe@example.com"}})
	held("teams", resource.Approvers{TeamAdmins: &resource.TeamAdmins{Teams: []string{"desk"}}})
	_, err := o.Delete(t.Context(), o.as("root"), catalog.KindUser, "zoe@example.com", "", catalog.WriteOptions{})
	wantRefusal(t, err, "precondition RESOURCE_IN_USE", `policy "people"`)
	_, err = o.Delete(t.Context(), o.as("root"), catalog.KindTeam, "desk", "", catalog.WriteOptions{})
	wantRefusal(t, err, "precondition RESOURCE_IN_USE", `policy "teams"`)
	_, err = o.Update(t.Context(), o.as("root"), &catalog.User{Meta: named("zoe@example.com"), Deactivated: true}, []string{"deactivated"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	for _, name := range []string{"people", "teams"} {
		_, err = o.Update(t.Context(), o.as("root"), &catalog.Policy{Meta: named(name), Reason: "x"}, []string{"reason"}, catalog.WriteOptions{})
		wantRefusal(t, err, "")
	}
}

// What a gateway may say of its policies.
func TestGatewayPolicyFields(t *testing.T) {
	o := newOrg(t)
	for _, tc := range []struct {
		name        string
		action      resource.DefaultAction
		context     resource.UntrustedContext
		want, field string
	}{
		{name: "allow, always", action: resource.DefaultAllow, context: resource.ContextAlwaysUntrusted},
		{name: "block, never", action: resource.DefaultBlock, context: resource.ContextNever},
		{name: "unspecified", action: "DEFAULT_ACTION_UNSPECIFIED", context: "UNTRUSTED_CONTEXT_UNSPECIFIED"},
		{name: "unknown action", action: "STOP", want: "invalid INVALID_FIELD", field: "default_action"},
		{name: "unknown context", context: "MAYBE", want: "invalid INVALID_FIELD", field: "untrusted_context"},
		{name: "tracked", context: resource.ContextTrack},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := gateway("g", seenBy())
			g.DefaultAction, g.UntrustedContext = tc.action, tc.context
			_, err := o.Create(t.Context(), o.as("root"), g, catalog.WriteOptions{ValidateOnly: true})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}

// TestPolicyCapability is D-37: nodes that would let calls through which a policy or a default refuses are named.
func TestPolicyCapability(t *testing.T) {
	o := newOrg(t)
	fleet := &lacking{}
	c := catalog.New(catalog.Config{Store: o.store, Secrets: o.vault, Nodes: fleet, Now: func() time.Time { return o.now }})
	create := func(object catalog.Object) error {
		_, err := c.Create(t.Context(), o.as("root"), object, catalog.WriteOptions{})
		return err
	}
	policy := func(name string) *catalog.Policy {
		return &catalog.Policy{Meta: named(name), Action: resource.PolicyBlock}
	}
	wantRefusal(t, create(policy("early")), "")
	fleet.old = true
	err := create(policy("new"))
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "action")
	g := gateway("g", seenBy())
	g.DefaultAction = resource.DefaultBlock
	err = create(g)
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "default_action")
	g.DefaultAction, g.UntrustedContext = resource.DefaultAllow, resource.ContextTrack
	err = create(g)
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "untrusted_context")
	g.UntrustedContext = "" // the default is untrusted to old nodes, which refuses more
	wantRefusal(t, create(g), "")
	_, err = c.Update(t.Context(), o.as("root"), &catalog.Policy{Meta: named("early"), Reason: "x"}, []string{"reason"}, catalog.WriteOptions{})
	wantRefusal(t, err, "") // it was there before
	held := &catalog.Policy{Meta: named("early"), Action: resource.PolicyRequireApproval, Approvers: &resource.Approvers{Caller: &struct{}{}}}
	_, err = c.Update(t.Context(), o.as("root"), held, []string{"action", "approvers"}, catalog.WriteOptions{})
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old") // policies they know, but not approvals
	wantField(t, err, "action")
}

// TestPolicyFactsCapability is D-37 for conditions that read what the first nodes with policies do not know.
func TestPolicyFactsCapability(t *testing.T) {
	for _, tc := range []struct{ when, field string }{
		{`caller.claims.tenant == "acme"`, "when"},
		{`tool.labels["tier"] == "1"`, "when"},
		{`args.x == 1 || request . region != "eu"`, "when"},
		{`args.claims == "caller.claims"`, ""},
		{``, ""},
	} {
		o := newOrg(t)
		c := catalog.New(catalog.Config{Store: o.store, Secrets: o.vault, Nodes: lackingFacts{}, Now: func() time.Time { return o.now }})
		_, err := c.Create(t.Context(), o.as("root"), &catalog.Policy{Meta: named("p"), Action: resource.PolicyBlock, When: tc.when}, catalog.WriteOptions{})
		if tc.field == "" {
			wantRefusal(t, err, "")
			continue
		}
		wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
		wantField(t, err, tc.field)
	}
}

// lackingFacts is a fleet with a node that knows policies and not the facts that came later.
type lackingFacts struct{}

// Lacking implements catalog.Capabilities.
func (lackingFacts) Lacking(capability string) []string {
	if capability == "policy_facts" {
		return []string{"node-old"}
	}
	return nil
}

// LackingAuthservers implements catalog.Capabilities.
func (lackingFacts) LackingAuthservers(string) []string { return nil }
