// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"

	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	maxSelectors = 100
	maxCondition = 8192
	maxReason    = 512
)

func (p *Problems) policy(o *Policy) {
	p.text("display_name", o.DisplayName, 128)
	p.selectors(o.Tools, o.Servers, o.Gateways, o.GatewayLabels)
	p.reason(o.Reason)
	switch o.Action {
	case "":
		p.field("action", "it is not set; say what happens to a call: ALLOW, BLOCK or BLOCK_IF_UNTRUSTED")
	case PolicyRequireApproval:
		p.Add(ReasonNotEnforcedYet, "action", "nodes do not enforce REQUIRE_APPROVAL yet; use BLOCK")
	default:
		p.oneOf("action", string(o.Action), string(PolicyAllow), string(PolicyBlock), string(PolicyBlockIfUntrusted))
	}
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
