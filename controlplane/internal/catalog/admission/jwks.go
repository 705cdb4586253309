// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// issuers checks the identity providers whose tokens count on a gateway. An entry that stays as it is is not checked again: a
// provider may be switched off under it, and what was allowed to be shared is not taken back by another gateway's write.
func issuers(ctx context.Context, d *desk.Desk, before, g *resource.Gateway, p *resource.Problems) error {
	old := make(map[string]resource.JWKSIssuer)
	if before != nil {
		for _, i := range before.Issuers() {
			old[i.IdentityProvider] = i
		}
	}
	for _, i := range g.Issuers() {
		prior, there := old[i.IdentityProvider]
		if there && same(prior, i) {
			continue
		}
		if i.SharedAudience && !prior.SharedAudience {
			who, err := d.Who(ctx)
			if err != nil {
				return err
			}
			if !who.Unlimited() {
				p.AddKind(fault.Denied, ReasonSharedAudience, resource.IssuerAt(i, "shared_audience"), "tokens for one gateway would count on others; only an ADMIN may allow it")
			}
		}
		provider, err := desk.Find[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider, i.IdentityProvider)
		if err != nil {
			return err
		}
		switch at := resource.IssuerAt(i, "identity_provider"); {
		case provider == nil && i.IdentityProvider != "":
			p.Add(ReasonUnknownReference, at, "there is no identity provider %q; create it first, or in the same apply", i.IdentityProvider)
			continue
		case provider == nil: // refused already
			continue
		case !provider.GatewayTokens:
			p.Add(ReasonNoGatewayTokens, at, "gateways may not accept tokens of the identity provider %q; set gateway_tokens: true on it", provider.Name)
		}
		if !i.AcceptIDTokens && slices.Contains(i.Audiences, provider.ClientID) {
			p.Add(ReasonAudienceOfLogin, resource.IssuerAt(i, "audiences"),
				"%q is the client_id of Penstock at %q, which ID tokens have as audience; have the provider issue tokens for this gateway, or set accept_id_tokens", provider.ClientID, provider.Name)
		}
	}
	if before != nil && same(before.Issuers(), g.Issuers()) {
		return nil
	}
	return audiences(ctx, d, g, p)
}

// audiences refuses an audience that another gateway has, unless both allow that (JW-2).
func audiences(ctx context.Context, d *desk.Desk, g *resource.Gateway, p *resource.Problems) error {
	return Sharing(ctx, d, g, func(i resource.JWKSIssuer, audience string, other *resource.Gateway, allows bool) error {
		if i.SharedAudience && allows {
			return nil
		}
		name := "another gateway"
		if sees, err := d.Sees(ctx, other); err != nil {
			return err
		} else if sees {
			name = "the gateway \"" + other.Name + "\""
		}
		p.Add(ReasonAudienceTaken, resource.IssuerAt(i, "audiences"),
			"%s accepts tokens of %q for %q already; have the provider issue tokens for this gateway alone, or set shared_audience: true on both", name, i.IdentityProvider, audience)
		return nil
	})
}

// Sharing calls fn for each audience of a gateway that another gateway has too, of the same identity provider; allows says
// whether the other one allows it.
func Sharing(
	ctx context.Context, d *desk.Desk, g *resource.Gateway, fn func(i resource.JWKSIssuer, audience string, other *resource.Gateway, allows bool) error,
) error {
	if len(g.Issuers()) == 0 {
		return nil
	}
	all, err := desk.All[*resource.Gateway](ctx, d, resource.KindGateway)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Name == g.Name {
			continue
		}
		for _, theirs := range other.Issuers() {
			for _, i := range g.Issuers() {
				if i.IdentityProvider != theirs.IdentityProvider {
					continue
				}
				for _, a := range i.Audiences {
					if !slices.Contains(theirs.Audiences, a) {
						continue
					}
					if err := fn(i, a, other, theirs.SharedAudience); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// restoredIssuers checks that the identity providers of a gateway that comes back are still there, and that no other gateway has
// taken its audiences.
func restoredIssuers(ctx context.Context, d *desk.Desk, g *resource.Gateway, p *resource.Problems) error {
	for _, i := range g.Issuers() {
		provider, err := desk.Find[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider, i.IdentityProvider)
		if err != nil {
			return err
		}
		if provider == nil {
			p.Add(ReasonUnknownReference, resource.IssuerAt(i, "identity_provider"), "the identity provider is gone; create %q again first", i.IdentityProvider)
		}
	}
	return audiences(ctx, d, g, p)
}
