// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Capabilities that nodes announce when they can enforce a feature (D-37).
const (
	// CapabilityOAuth: access tokens of the authserver are accepted on gateways with authentication.oauth.
	CapabilityOAuth = "oauth"
	// CapabilityRequiredScopes: calls of tools with required_scopes need these scopes.
	CapabilityRequiredScopes = "required_scopes"
	// CapabilityJWKS: tokens of identity providers are accepted on gateways with authentication.jwks.
	CapabilityJWKS = "jwks"
	// CapabilityRateLimits: what is over a limit of rate_limits is refused.
	CapabilityRateLimits = "rate_limits"
	// CapabilityIDJAG: access tokens that were got by an identity assertion are accepted on gateways with
	// authentication.id_jag, and nowhere else.
	CapabilityIDJAG = "id_jag"
	// CapabilityPassthroughHeaders: HTTP servers get the headers of clients that passthrough_headers lists.
	CapabilityPassthroughHeaders = "passthrough_headers"
	// CapabilityTokenRotation: a bearer token is accepted as it was before its rotation until previous_expire_time. Other nodes
	// accept only the new one.
	CapabilityTokenRotation = "token_rotation"
	// CapabilityResolveAtCallTime: calls of tools and features with resolve_at_call_time run with a connection of their caller.
	CapabilityResolveAtCallTime = "resolve_at_call_time"
	// CapabilityUpstreamOAuth: calls of a server with credential.oauth carry an access token of the caller's.
	CapabilityUpstreamOAuth = "upstream_oauth"
	// CapabilityClientCredentials: calls of a server with credential.oauth_client_credentials carry its service account's token.
	CapabilityClientCredentials = "client_credentials"
	// CapabilityTokenExchange: calls of a server with credential.token_exchange carry what the caller's token is exchanged for, and
	// never that token.
	CapabilityTokenExchange = "token_exchange"
	// CapabilityCallerIDPToken: calls of a server with credential.caller_idp_token carry a token that the identity provider gave for
	// the caller.
	CapabilityCallerIDPToken = "caller_idp_token"
	// CapabilityPolicies: policies and the default_action of gateways decide tool calls.
	CapabilityPolicies = "policies"
	// CapabilityResultPolicies: result policies decide what is delivered.
	CapabilityResultPolicies = "result_policies"
	// CapabilityUntrustedContexts: contexts of gateways with untrusted_context TRACK are untrusted after an untrusted result. To other
	// nodes they always are, so that the default needs nothing.
	CapabilityUntrustedContexts = "untrusted_contexts"
	// CapabilityApprovals: calls that a policy with REQUIRE_APPROVAL matches wait for a person.
	CapabilityApprovals = "approvals"
	// CapabilityPolicyFacts: conditions of policies may read caller.claims, tool.labels and request.region.
	CapabilityPolicyFacts = "policy_facts"
	// CapabilityFixedArguments: calls of tools with fixed_arguments get these, whatever their callers send.
	CapabilityFixedArguments = "fixed_arguments"
	// CapabilityLoadToolsWhenNeeded: gateways with load_tools_when_needed list search_tools and run_tool in place of their tools.
	CapabilityLoadToolsWhenNeeded = "load_tools_when_needed"
	// CapabilitySharedSignals: the security events of an identity provider with shared_signals are taken. Authservers alone do.
	CapabilitySharedSignals = "shared_signals"
)

// Fleet knows what the connected nodes and authservers can do.
type Fleet interface {
	// Lacking returns the names of the connected nodes without a capability.
	Lacking(capability string) []string
	// LackingAuthservers returns those of the connected authservers.
	LackingAuthservers(capability string) []string
}

// needed reports who needs a capability: nodes, and authservers where they make the credential; or these alone.
func needed(capability string) (byNodes, byAuthservers bool) {
	switch capability {
	case CapabilityUpstreamOAuth, CapabilityClientCredentials, CapabilityTokenExchange, CapabilityCallerIDPToken:
		return true, true
	case CapabilitySharedSignals:
		return false, true
	default:
		return true, false
	}
}

// Enforceable refuses a feature that a live node or authserver knows nothing of, naming it (D-37): Precondition with reason
// NODE_LACKS_CAPABILITY or AUTHSERVER_LACKS_CAPABILITY. What was there before is not refused again.
func Enforceable(before, o resource.Object, fleet Fleet) error {
	had, wanted := needs(before), needs(o)
	var p resource.Problems
	for _, capability := range []string{
		CapabilityOAuth, CapabilityIDJAG, CapabilityJWKS, CapabilityRequiredScopes, CapabilityRateLimits, CapabilityPassthroughHeaders,
		CapabilityResolveAtCallTime, CapabilityUpstreamOAuth, CapabilityClientCredentials, CapabilityTokenExchange, CapabilityCallerIDPToken,
		CapabilitySharedSignals, CapabilityPolicies, CapabilityApprovals, CapabilityLoadToolsWhenNeeded, CapabilityResultPolicies,
		CapabilityUntrustedContexts, CapabilityFixedArguments, CapabilityPolicyFacts,
	} {
		path := wanted[capability]
		if path == "" || had[capability] != "" {
			continue
		}
		var nodes, authservers []string
		byNodes, byAuthservers := needed(capability)
		if byNodes {
			nodes = fleet.Lacking(capability)
		}
		if byAuthservers {
			authservers = fleet.LackingAuthservers(capability)
		}
		if len(nodes) > 0 {
			slices.Sort(nodes)
			p.AddKind(fault.Precondition, ReasonNodeLacksCapability, path, "these nodes cannot enforce it yet: %s; update them first", resource.Listed(nodes))
		}
		if len(authservers) > 0 {
			slices.Sort(authservers)
			p.AddKind(fault.Precondition, ReasonAuthserverLacksCapability, path, "these authservers do not know it yet: %s; update them first", resource.Listed(authservers))
		}
	}
	return p.Err(fmt.Sprintf("%s %q", o.Kind().Label(), o.Metadata().Name))
}

// needs returns the path of the first field that needs a capability, by capability.
func needs(o resource.Object) map[string]string {
	out := make(map[string]string)
	if s, ok := o.(*resource.Server); ok && s != nil && s.Credential != nil {
		switch c := s.Credential; {
		case c.OAuth != nil:
			out[CapabilityUpstreamOAuth] = "credential.oauth"
		case c.OAuthClientCredentials != nil:
			out[CapabilityClientCredentials] = "credential.oauth_client_credentials"
		case c.TokenExchange != nil:
			out[CapabilityTokenExchange] = "credential.token_exchange"
		case c.CallerIDPToken != nil:
			out[CapabilityCallerIDPToken] = "credential.caller_idp_token"
		}
	}
	if p, ok := o.(*resource.IdentityProvider); ok && p != nil && p.SharedSignals != nil {
		out[CapabilitySharedSignals] = "shared_signals"
	}
	if p, ok := o.(*resource.Policy); ok && p != nil {
		out[CapabilityPolicies] = "action"
		if p.Action == resource.PolicyRequireApproval {
			out[CapabilityApprovals] = "action"
		}
		if readsNewFacts(p.When) {
			out[CapabilityPolicyFacts] = "when"
		}
	}
	if p, ok := o.(*resource.ResultPolicy); ok && p != nil {
		out[CapabilityResultPolicies] = "mark"
		if readsNewFacts(p.When) {
			out[CapabilityPolicyFacts] = "when"
		}
	}
	g, ok := o.(*resource.Gateway)
	if !ok || g == nil {
		return out
	}
	if g.Authentication != nil && g.Authentication.OAuth != nil {
		out[CapabilityOAuth] = "authentication.oauth"
	}
	if g.Authentication != nil && g.Authentication.IDJAG != nil {
		out[CapabilityIDJAG] = "authentication.id_jag"
	}
	if len(g.Issuers()) > 0 {
		out[CapabilityJWKS] = "authentication.jwks"
	}
	if i := slices.IndexFunc(g.Tools, func(a resource.ToolAssignment) bool { return len(a.RequiredScopes) > 0 }); i >= 0 {
		out[CapabilityRequiredScopes] = At(g.Tools[i], "required_scopes")
	}
	if i := slices.IndexFunc(g.ServerFeatures, func(f resource.ServerFeature) bool { return f.ResolveAtCallTime != nil }); i >= 0 {
		out[CapabilityResolveAtCallTime] = FeatureAt(g.ServerFeatures[i], "resolve_at_call_time")
	}
	if i := slices.IndexFunc(g.Tools, func(a resource.ToolAssignment) bool { return a.ResolveAtCallTime != nil }); i >= 0 {
		out[CapabilityResolveAtCallTime] = At(g.Tools[i], "resolve_at_call_time")
	}
	if i := slices.IndexFunc(g.Tools, func(a resource.ToolAssignment) bool { return len(a.FixedArguments) > 0 }); i >= 0 {
		out[CapabilityFixedArguments] = At(g.Tools[i], "fixed_arguments")
	}
	if len(g.RateLimits) > 0 {
		out[CapabilityRateLimits] = "rate_limits"
	}
	if g.DefaultAction == resource.DefaultBlock {
		out[CapabilityPolicies] = "default_action"
	}
	if g.UntrustedContext == resource.ContextTrack {
		out[CapabilityUntrustedContexts] = "untrusted_context"
	}
	if len(g.PassthroughHeaders) > 0 {
		out[CapabilityPassthroughHeaders] = "passthrough_headers"
	}
	if g.LoadToolsWhenNeeded {
		out[CapabilityLoadToolsWhenNeeded] = "load_tools_when_needed"
	}
	return out
}

// readsNewFacts reports whether a condition reads something that the first nodes with policies do not know: they would take it for a
// condition that cannot be read.
func readsNewFacts(when string) bool {
	if when == "" {
		return false
	}
	c, err := condition.Compile(when)
	return err == nil && (c.Names(condition.NameClaims) || c.Names(condition.NameToolLabels) || c.Names(condition.NameRegion)) // else refused already
}

// Rotatable refuses a rotation that leaves the old secret of a token good for a while when a live node would not accept it any
// more (D-37, ST-6). Lacking is that of [Fleet].
func Rotatable(token string, lacking func(capability string) []string) error {
	nodes := lacking(CapabilityTokenRotation)
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(nodes)
	var p resource.Problems
	p.AddKind(fault.Precondition, ReasonNodeLacksCapability, "overlap", "these nodes would refuse the old secret at once: %s; update them first, or rotate with an overlap of 0", resource.Listed(nodes))
	return p.Err(fmt.Sprintf("bearer token %q", token))
}
