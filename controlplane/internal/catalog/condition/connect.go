// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// unconnected names the servers behind a gateway that are resolved at the call and that no call can be resolved for: there is no
// connection that a call could choose, and nobody who reaches the gateway may make one.
func unconnected(ctx context.Context, d *desk.Desk, g *resource.Gateway) ([]string, error) {
	var names []string
	for _, a := range g.Tools {
		if a.ResolveAtCallTime != nil {
			names = appendNew(names, desk.ServerOf(a.Tool))
		}
	}
	for _, f := range g.ServerFeatures {
		if f.ResolveAtCallTime != nil {
			names = appendNew(names, f.Server)
		}
	}
	var out []string
	for _, name := range names {
		server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, name)
		if err != nil {
			return nil, err
		}
		connections, err := d.Installed(ctx, name)
		if err != nil {
			return nil, err
		}
		if server == nil || slices.ContainsFunc(connections, func(c *resource.Connection) bool { return chosen(server, c) }) {
			continue
		}
		can, err := connects(ctx, d, g, server)
		if err != nil {
			return nil, err
		}
		if !can {
			out = append(out, name)
		}
	}
	return out, nil
}

// chosen reports whether some call could choose the connection (G-12).
func chosen(server *resource.Server, c *resource.Connection) bool {
	own := c.Owner != nil && c.Owner.User != ""
	return (own || !server.OwnConnectionsOnly) && (c.CredentialVersion != "" || !server.NeedsSecret())
}

// connects reports whether somebody who reaches the gateway may connect the server (G-18). Nobody connects a service account.
func connects(ctx context.Context, d *desk.Desk, g *resource.Gateway, server *resource.Server) (bool, error) {
	if server.ServiceAccount() {
		return false, nil
	}
	reaches := func(user string) bool {
		v := g.Visibility
		return v != nil && (v.Organization != nil || v.Personal != nil && v.Personal.Owner == user || v.Team != nil &&
			slices.ContainsFunc(v.Team.Teams, func(team string) bool { return d.Memberships(ctx)(team, user) }))
	}
	users, err := desk.All[*resource.User](ctx, d, resource.KindUser)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(users, func(u *resource.User) bool {
		return !u.Deactivated && reaches(u.Name) && access.OwnerMayUse(server, &resource.Owner{User: u.Name}, d.Memberships(ctx)) == nil
	}), d.Failed()
}
