// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Capabilities that nodes announce when they can enforce a feature (D-37).
const (
	// CapabilityOAuth: access tokens of the authserver are accepted on gateways with authentication.oauth.
	CapabilityOAuth = "oauth"
	// CapabilityRequiredScopes: calls of tools with required_scopes need these scopes.
	CapabilityRequiredScopes = "required_scopes"
	// CapabilityRateLimits: what is over a limit of rate_limits is refused.
	CapabilityRateLimits = "rate_limits"
	// CapabilityUpstreamOAuth: calls of a server with credential.oauth carry an access token of the caller's.
	CapabilityUpstreamOAuth = "upstream_oauth"
)

// Enforceable refuses a feature that a live node cannot enforce, naming the node (D-37): Precondition with reason
// NODE_LACKS_CAPABILITY. What was there before is not refused again. Lacking returns the names of the connected nodes
// without a capability.
func Enforceable(before, o resource.Object, lacking func(capability string) []string) error {
	had, wanted := needs(before), needs(o)
	var p resource.Problems
	for _, capability := range []string{CapabilityOAuth, CapabilityRequiredScopes, CapabilityRateLimits, CapabilityUpstreamOAuth} {
		path := wanted[capability]
		if path == "" || had[capability] != "" {
			continue
		}
		if nodes := lacking(capability); len(nodes) > 0 {
			slices.Sort(nodes)
			p.AddKind(fault.Precondition, ReasonNodeLacksCapability, path, "these nodes cannot enforce it yet: %s; update them first", resource.Listed(nodes))
		}
	}
	return p.Err(fmt.Sprintf("%s %q", o.Kind().Label(), o.Metadata().Name))
}

// needs returns the path of the first field that needs a capability, by capability.
func needs(o resource.Object) map[string]string {
	out := make(map[string]string)
	if s, ok := o.(*resource.Server); ok && s.UpstreamOAuth() != nil {
		out[CapabilityUpstreamOAuth] = "credential.oauth"
	}
	g, ok := o.(*resource.Gateway)
	if !ok || g == nil {
		return out
	}
	if g.Authentication != nil && g.Authentication.OAuth != nil {
		out[CapabilityOAuth] = "authentication.oauth"
	}
	if i := slices.IndexFunc(g.Tools, func(a resource.ToolAssignment) bool { return len(a.RequiredScopes) > 0 }); i >= 0 {
		out[CapabilityRequiredScopes] = At(g.Tools[i], "required_scopes")
	}
	if len(g.RateLimits) > 0 {
		out[CapabilityRateLimits] = "rate_limits"
	}
	return out
}
