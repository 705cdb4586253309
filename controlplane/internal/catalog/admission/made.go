// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// server checks a server against the people and teams, the identity provider and the connections that it concerns.
func server(ctx context.Context, d *desk.Desk, before, s *resource.Server, p *resource.Problems) error {
	if err := References(ctx, d, s.Visibility, p); err != nil {
		return err
	}
	if err := exchanging(ctx, d, before, s, p); err != nil {
		return err
	}
	if !s.ServiceAccount() || before != nil && before.ServiceAccount() {
		return nil
	}
	return nobodysOwn(ctx, d, s, p)
}

// exchanging checks the identity provider whose tokens a server's credential is made of. One that is named already is not checked
// again: a provider may be switched off under it, and a condition says so.
func exchanging(ctx context.Context, d *desk.Desk, before, s *resource.Server, p *resource.Problems) error {
	name, at := s.IdentityProvider()
	if before != nil {
		if old, _ := before.IdentityProvider(); old == name {
			return nil
		}
	}
	if name == "" {
		return nil
	}
	provider, err := desk.Find[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider, name)
	switch {
	case err != nil:
		return err
	case provider == nil:
		p.Add(ReasonUnknownReference, at, "there is no identity provider %q; create it first, or in the same apply", name)
	case provider.TokenExchange == nil:
		p.Add(ReasonNoTokenExchange, at, "tokens of people who log in with the identity provider %q are not kept; set token_exchange: {} on it", name)
	}
	return nil
}

// nobodysOwn refuses a service account for a server that people have connections of their own to.
func nobodysOwn(ctx context.Context, d *desk.Desk, s *resource.Server, p *resource.Problems) error {
	connections, err := d.Installed(ctx, s.Name)
	if err != nil {
		return err
	}
	var own []string
	for _, c := range connections {
		if c.Owner != nil && c.Owner.User != "" {
			own = append(own, c.Name)
		}
	}
	if len(own) > 0 {
		p.Add(ReasonServiceAccountOwner, "credential.oauth_client_credentials",
			"its calls run as one service account, and these connections belong to people: %s; delete them first", resource.Listed(own))
	}
	return nil
}

// ownerOf checks whose a connection to a service account may be.
func ownerOf(server *resource.Server, c *resource.Connection, p *resource.Problems) {
	if server.ServiceAccount() && c.Owner != nil && c.Owner.User != "" {
		p.Add(ReasonServiceAccountOwner, "owner.user",
			"calls of the server %q run as one service account, which is nobody's own; let a team or the organisation own the connection", server.Name)
	}
}
