// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// identityProvider checks that an issuer has one identity provider, so that an account is known by one (AZ-24), and that
// the teams of its groups exist.
func identityProvider(ctx context.Context, d *desk.Desk, o *resource.IdentityProvider, p *resource.Problems) error {
	all, err := desk.All[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Name != o.Name && other.Issuer == o.Issuer {
			p.Add(ReasonIssuerTaken, "issuer", "the identity provider %q has this issuer already; change that one", other.Name)
		}
	}
	for i, m := range o.GroupMappings {
		if err := teamExists(ctx, d, fmt.Sprintf("group_mappings[%d].team", i), m.Team, p); err != nil {
			return err
		}
	}
	return nil
}

// assertingProviders checks that the identity providers whose assertions count at a gateway exist (JAG-14). That one of them
// asserts nothing, because its id_jag is not set, is no mistake: it may be switched off for a time.
func assertingProviders(ctx context.Context, d *desk.Desk, g *resource.Gateway, p *resource.Problems) error {
	if g.Authentication == nil || g.Authentication.IDJAG == nil {
		return nil
	}
	for i, name := range g.Authentication.IDJAG.IdentityProviders {
		o, err := desk.Find[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider, name)
		if err != nil {
			return err
		}
		if o == nil && name != "" {
			p.Add(ReasonUnknownReference, fmt.Sprintf("authentication.id_jag.identity_providers[%d]", i), "there is no identity provider %q; create it first, or in the same apply", name)
		}
	}
	return nil
}

// oauthClient checks that the gateways a client may use as itself exist (TK-19).
func oauthClient(ctx context.Context, d *desk.Desk, c *resource.OAuthClient, p *resource.Problems) error {
	if c.ClientCredentials == nil {
		return nil
	}
	for i, name := range c.ClientCredentials.Gateways {
		g, err := desk.Find[*resource.Gateway](ctx, d, resource.KindGateway, name)
		if err != nil {
			return err
		}
		if g == nil && name != "" {
			p.Add(ReasonUnknownReference, fmt.Sprintf("client_credentials.gateways[%d]", i), "there is no gateway %q; create the gateway first, or in the same apply", name)
		}
	}
	return nil
}

// user checks that no account is another user's too (AZ-24), and that an ADMIN is left.
func user(ctx context.Context, d *desk.Desk, before, u *resource.User, p *resource.Problems) error {
	if before != nil && IsAdmin(before) && !IsAdmin(u) {
		if err := NotLastAdmin(ctx, d, u.Name); err != nil {
			return err
		}
	}
	if before != nil && same(before.Identities, u.Identities) || before == nil && len(u.Identities) == 0 {
		return nil
	}
	owners, err := d.Identities(ctx)
	if err != nil {
		return err
	}
	if before != nil {
		for _, id := range before.Identities {
			delete(owners, id)
		}
	}
	for i, id := range u.Identities {
		if owner := owners[id]; owner != "" && owner != u.Name {
			p.Add(ReasonIdentityTaken, fmt.Sprintf("identities[%d]", i), "the account is of the user %q; take it away there first", owner)
			continue
		}
		owners[id] = u.Name
	}
	return nil
}
