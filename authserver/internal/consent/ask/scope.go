// SPDX-License-Identifier: Apache-2.0

package ask

import (
	"slices"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// Scopes with a meaning of their own.
const (
	scopeDefault = "mcp"
	scopeOffline = "offline_access"
)

// Scopes returns what a client gets of the scopes it asked for at a gateway, sorted: requested ∩ allowed ∩ client (AZ-8). A
// scope that the gateway does not have is an error; one that the client may not have is left out. No scope asked for is
// "mcp" asked for (ours: what more a tool needs, a challenge names). "offline_access" has no meaning at a gateway and goes to
// whoever may have refresh tokens.
func Scopes(asked []string, g *directory.Gateway, c *clients.Client) ([]string, *oauthfault.Error) {
	var granted []string
	offline, named := false, false
	for _, s := range asked {
		switch {
		case s == scopeOffline:
			offline = slices.Contains(c.Grants, "refresh_token")
		case !slices.Contains(g.Scopes, s):
			return nil, oauthfault.New(oauthfault.InvalidScope, "The gateway has no such scope. Ask for the scopes that its metadata lists.")
		default:
			named = true
			if allowed(c, s) {
				granted = append(granted, s)
			}
		}
	}
	if !named && allowed(c, scopeDefault) {
		granted = append(granted, scopeDefault)
	}
	if len(granted) == 0 {
		return nil, oauthfault.New(oauthfault.InvalidScope, "The client may not have any of these scopes.")
	}
	if offline {
		granted = append(granted, scopeOffline)
	}
	slices.Sort(granted)
	return slices.Compact(granted), nil
}

func allowed(c *clients.Client, scope string) bool {
	return len(c.Scopes) == 0 || slices.Contains(c.Scopes, scope)
}
