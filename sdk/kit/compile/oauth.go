// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Scopes that have a meaning of their own (RS-19).
const (
	// ScopeMCP lets its bearer list and call; every token for a gateway has it unless somebody asked for less.
	ScopeMCP = "mcp"
	// ScopeAdmin stands for ScopeMCP and for every scope that begins with "mcp:".
	ScopeAdmin = "mcp:admin"
)

// scopePrefix is what the names of scopes under ScopeAdmin begin with.
const scopePrefix = ScopeMCP + ":"

// HasScope reports whether a bearer of granted may do what wanted stands for.
func HasScope(granted []string, wanted string) bool {
	if slices.Contains(granted, wanted) {
		return true
	}
	return (wanted == ScopeMCP || strings.HasPrefix(wanted, scopePrefix)) && slices.Contains(granted, ScopeAdmin)
}

// AddScopes returns the sorted union of scopes, ScopeMCP always in it.
func AddScopes(scopes, more []string) []string {
	all := slices.Concat([]string{ScopeMCP}, scopes, more)
	slices.Sort(all)
	return slices.Compact(all)
}

// Client is an OAuth client that an administrator registered.
type Client struct {
	Name, UID string // Name is the client_id
	Disabled  bool
	// Machine says that the client may act as itself, without a person, at Gateways and with Scopes at most.
	Machine  bool
	Gateways map[string]struct{} // by name
	Scopes   []string            // sorted
}

// MakeOAuthClient reads what a node needs of an OAuth client: whether tokens that it got still count.
func MakeOAuthClient(r *resourcev1.OAuthClient) *Client {
	c := &Client{Name: r.GetName(), UID: r.GetUid(), Disabled: r.GetDisabled()}
	own := r.GetClientCredentials()
	if own == nil {
		return c
	}
	c.Machine, c.Gateways = true, make(map[string]struct{}, len(own.GetGateways()))
	for _, g := range own.GetGateways() {
		c.Gateways[g] = struct{}{}
	}
	if c.Scopes = slices.Sorted(slices.Values(own.GetScopes())); len(c.Scopes) == 0 {
		c.Scopes = []string{ScopeMCP}
	}
	return c
}

// AccessTokens reports whether the gateway accepts access tokens of the authserver, whichever way a client came by them: its
// metadata name the authserver then (RS-1).
func (g *Gateway) AccessTokens() bool { return g.OAuth || g.IDJAG }
