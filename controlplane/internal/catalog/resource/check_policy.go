// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	maxSelectors = 100
	maxCondition = 8192
	maxReason    = 512

	minApprovalTTL     = time.Minute
	defaultApprovalTTL = time.Hour
	maxApprovalTTL     = 7 * 24 * time.Hour
)

func (p *Problems) policy(o *Policy) {
	p.text("display_name", o.DisplayName, 128)
	p.selectors(o.Tools, o.Servers, o.Gateways, o.GatewayLabels)
	p.reason(o.Reason)
	switch o.Action {
	case "":
		p.field("action", "it is not set; say what happens to a call: ALLOW, BLOCK, BLOCK_IF_UNTRUSTED or REQUIRE_APPROVAL")
	default:
		p.oneOf("action", string(o.Action), string(PolicyAllow), string(PolicyBlock), string(PolicyBlockIfUntrusted), string(PolicyRequireApproval))
	}
	p.approval(o)
	p.oneOf("mode", string(o.Mode), string(PolicyEnforce), string(PolicyShadow))
	p.condition(o.When)
}

// selectors checks what a policy covers.
func (p *Problems) selectors(tools, servers, gateways []string, labels map[string]string) {
	p.patterns("tools", "on <server>__<upstream name>", "github__*", tools)
	p.patterns("gateways", "on names of gateways", "prod-*", gateways)
	p.count("servers", len(servers), maxSelectors)
	p.unique("servers", servers)
	for i, s := range servers {
		p.slug(fmt.Sprintf("servers[%d]", i), s)
	}
	p.count("gateway_labels", len(labels), 64)
}

// reason checks what a policy says to callers.
func (p *Problems) reason(text string) {
	p.text("reason", text, maxReason)
	if !printable(text) {
		p.field("reason", "it has characters that are not printable; write one line of text")
	}
}

// condition compiles what a policy depends on.
func (p *Problems) condition(when string) {
	if len(when) > maxCondition {
		p.field("when", "it has more than 8,192 bytes")
	} else if when != "" {
		if _, err := condition.Compile(when); err != nil {
			f := fault.From(err)
			p.AddKind(f.Kind, f.Reason, "when", "%s", f.Public)
		}
	}
}

// approval checks who approves the calls that a policy holds, and for how long they wait (G-34).
func (p *Problems) approval(o *Policy) {
	a := o.Approvers
	if o.Action != PolicyRequireApproval {
		if a != nil {
			p.field("approvers", "only a policy with the action REQUIRE_APPROVAL has approvers; leave them out")
		}
		if o.ApprovalTTL != nil {
			p.field("approval_ttl", "only a policy with the action REQUIRE_APPROVAL has it; leave it out")
		}
		return
	}
	if a == nil {
		p.field("approvers", "they are not set; say who approves: {caller: {}}, {team_admins: {}} or {users: [ada@example.com]}")
		return
	}
	set := 0
	for _, is := range []bool{a.Caller != nil, a.TeamAdmins != nil, len(a.Users) > 0} {
		if is {
			set++
		}
	}
	if set != 1 {
		p.field("approvers", "exactly one of caller, team_admins and users must be set")
	}
	p.count("approvers.users", len(a.Users), maxSelectors)
	p.unique("approvers.users", a.Users)
	for i, u := range a.Users {
		if len(u) > maxEmail || !emailRE.MatchString(u) {
			p.field(fmt.Sprintf("approvers.users[%d]", i), "%q is no e-mail address", clip(u))
		}
	}
	if a.TeamAdmins != nil {
		p.count("approvers.team_admins.teams", len(a.TeamAdmins.Teams), maxSelectors)
		p.unique("approvers.team_admins.teams", a.TeamAdmins.Teams)
		for i, t := range a.TeamAdmins.Teams {
			p.slug(fmt.Sprintf("approvers.team_admins.teams[%d]", i), t)
		}
	}
	switch ttl := o.TTL(); {
	case o.ApprovalTTL == nil:
	case a.Caller != nil:
		p.field("approval_ttl", "the caller is asked at once and nothing waits; leave it out")
	case ttl < minApprovalTTL || ttl > maxApprovalTTL:
		p.field("approval_ttl", "it is %s; it is 1 minute (60s) to 7 days (604800s)", *o.ApprovalTTL)
	}
}

// patterns checks patterns of a kind, of which one is an example.
func (p *Problems) patterns(path, on, example string, patterns []string) {
	p.count(path, len(patterns), maxSelectors)
	p.unique(path, patterns)
	for i, pattern := range patterns {
		if !globRE.MatchString(pattern) {
			p.field(fmt.Sprintf("%s[%d]", path, i), "%q is no pattern %s of 1 to 256 printable characters, such as %s", clip(pattern), on, example)
		}
	}
}

// gatewayPolicy checks what a gateway says of its policies.
func (p *Problems) gatewayPolicy(g *Gateway) {
	p.oneOf("default_action", string(g.DefaultAction), string(DefaultAllow), string(DefaultBlock))
	p.oneOf("untrusted_context", string(g.UntrustedContext), string(ContextTrack), string(ContextAlwaysUntrusted), string(ContextNever))
}
