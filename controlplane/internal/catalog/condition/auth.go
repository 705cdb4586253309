// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"context"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// authCondition says how clients can authenticate. Identity providers that are switched off are no way.
func authCondition(ctx context.Context, d *desk.Desk, g *resource.Gateway) (resource.Condition, error) {
	var ways, off []string
	if a := g.Authentication; a != nil && a.OAuth != nil {
		ways = append(ways, "OAuth")
	}
	if a := g.Authentication; a != nil && a.IDJAG != nil {
		ways = append(ways, "identity assertions")
	}
	if a := g.Authentication; a != nil && a.BearerToken != nil {
		ways = append(ways, "bearer tokens")
	}
	for _, i := range g.Issuers() {
		p, err := desk.Find[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider, i.IdentityProvider)
		if err != nil {
			return resource.Condition{}, err
		}
		if p == nil || p.Disabled || !p.GatewayTokens {
			off = append(off, i.IdentityProvider)
			continue
		}
		ways = append(ways, "tokens of "+i.IdentityProvider)
	}
	switch {
	case len(ways) > 0 && len(off) == 0:
		return holds(HasClientAuth, "Clients authenticate with "+strings.Join(ways, " or ")+"."), nil
	case len(ways) > 0:
		return holds(HasClientAuth, "Clients authenticate with "+strings.Join(ways, " or ")+". Tokens of these identity providers do not count now: "+
			resource.Listed(off)+"."), nil
	case len(off) > 0:
		return fails(HasClientAuth, "ProvidersOff", "No client can authenticate: these identity providers are disabled or lack gateway_tokens: %s.", resource.Listed(off)), nil
	default:
		return fails(HasClientAuth, "NoClientAuthentication", "No client can authenticate; set authentication, for example {oauth: {}} or {bearer_token: {}}."), nil
	}
}

// sharedAudiences warns of audiences that other gateways have too (JW-2).
func sharedAudiences(ctx context.Context, d *desk.Desk, g *resource.Gateway) (*resource.Condition, error) {
	var names []string
	err := admission.Sharing(ctx, d, g, func(i resource.JWKSIssuer, _ string, other *resource.Gateway, _ bool) error {
		sees, err := d.Sees(ctx, other)
		if !sees {
			names = appendNew(names, "a gateway that you may not see")
			return err
		}
		names = appendNew(names, other.Name+" ("+i.IdentityProvider+")")
		return err
	})
	if err != nil || len(names) == 0 {
		return nil, err
	}
	c := fails(SeparateAudiences, "AudienceShared", "Tokens for this gateway count on other gateways too: %s.", resource.Listed(names))
	return &c, nil
}
