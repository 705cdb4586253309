// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"slices"

	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Token returns a bearer token by the SHA-256 of its text, nil if there is none or it was taken away.
func (s *Snapshot) Token(hash [sha256.Size]byte) *Token {
	t := s.tokens[hash]
	if t == nil || s.Denied("bearer_token", t.Name) {
		return nil
	}
	return t
}

// TokenNamed returns a bearer token by its name, nil if there is none or it was taken away: of one that was rotated, the form that is
// good for longest. It looks at all tokens.
func (s *Snapshot) TokenNamed(name string) (found *Token) {
	if s.Denied("bearer_token", name) {
		return nil
	}
	for _, t := range s.tokens {
		if t.Name == name && (found == nil || !found.Expires.IsZero() && (t.Expires.IsZero() || t.Expires.After(found.Expires))) {
			found = t
		}
	}
	return found
}

// User returns an active user by e-mail address, nil if there is none, or it is deactivated or taken away.
func (s *Snapshot) User(name string) *User {
	u := s.users[name]
	if u == nil || u.Deactivated || s.Denied("user", name) {
		return nil
	}
	return u
}

// UserByUID returns an active user by uid, nil if there is none, or it is deactivated or taken away.
func (s *Snapshot) UserByUID(uid string) *User {
	name, ok := s.userUIDs[uid]
	if !ok {
		return nil
	}
	return s.User(name)
}

// Account returns the user who has an account at an identity provider. Both are nil and false if nobody has it; refused is true
// if who has it is deactivated or was taken away.
func (s *Snapshot) Account(id Identity) (u *User, refused bool) {
	name, ok := s.identities[id]
	if !ok {
		return nil, false
	}
	u = s.User(name)
	return u, u == nil
}

// Provider returns an identity provider whose tokens gateways may accept, nil if there is none or it was taken away.
func (s *Snapshot) Provider(name string) *Provider {
	p := s.providers[name]
	if p == nil || s.Denied("identity_provider", name) {
		return nil
	}
	return p
}

// Issuers returns the issuers whose tokens the gateway accepts beside the authserver's, in the order of its configuration; nil
// if there are none.
func (s *Snapshot) Issuers(g *Gateway) (list []string) {
	for i := range g.JWKS {
		if p := s.Provider(g.JWKS[i].Provider); p != nil {
			list = append(list, p.Issuer)
		}
	}
	return list
}

// Accepts returns the identity provider with an issuer and which of its tokens the gateway accepts, nil if it is none of the
// gateway's. Issuers are compared byte for byte (JW-1).
func (s *Snapshot) Accepts(g *Gateway, issuer string) (*Provider, *JWKSIssuer) {
	for i := range g.JWKS {
		if p := s.Provider(g.JWKS[i].Provider); p != nil && p.Issuer == issuer {
			return p, &g.JWKS[i]
		}
	}
	return nil, nil
}

// Client returns a registered OAuth client by its client_id, nil if there is none. refused is true if there was one that
// is disabled or was taken away: no token that names it counts.
func (s *Snapshot) Client(id string) (c *Client, refused bool) {
	c = s.clients[id]
	if s.Denied("oauth_client", id) || c != nil && c.Disabled {
		return nil, true
	}
	return c, false
}

// Team returns a team by name, nil if there is none or it was taken away.
func (s *Snapshot) Team(name string) *Team {
	t := s.teams[name]
	if t == nil || s.Denied("team", name) {
		return nil
	}
	return t
}

// Usable reports whether the gateway is neither disabled nor taken away.
func (s *Snapshot) Usable(g *Gateway) bool { return !g.Disabled && !s.Denied("gateway", g.Name) }

// MayUse reports whether the principal may use the gateway now (G-2): it reads people and teams of this snapshot, never
// claims of a token. Service accounts may use what their token lists, which authn has checked.
func (s *Snapshot) MayUse(g *Gateway, p ident.Principal) bool {
	switch p.Kind {
	case ident.KindUser:
		return s.User(p.Name) != nil && s.visibleToUser(g, p.Name)
	case ident.KindTeam:
		if s.Team(p.Name) == nil {
			return false
		}
		return g.Visibility.Organization || slices.Contains(g.Visibility.Teams, p.Name)
	case ident.KindOrganization:
		return g.Visibility.Organization
	case ident.KindServiceAccount:
		return true
	default:
		return false
	}
}

func (s *Snapshot) visibleToUser(g *Gateway, user string) bool {
	if g.Visibility.Organization {
		return true
	}
	if g.Visibility.Owner != "" {
		return g.Visibility.Owner == user
	}
	for _, name := range g.Visibility.Teams {
		if t := s.Team(name); t != nil {
			if _, member := t.Members[user]; member && !s.Denied("team_member", name+"/"+user) {
				return true
			}
		}
	}
	return false
}

// Teams calls fn for each team of a principal that was not taken away: those that a person is a member of, or the one whose
// token it is.
func (s *Snapshot) Teams(p ident.Principal, fn func(*Team)) {
	switch p.Kind {
	case ident.KindTeam:
		if t := s.Team(p.Name); t != nil {
			fn(t)
		}
	case ident.KindUser:
		for _, name := range s.memberships[p.Name] {
			if t := s.Team(name); t != nil && !s.Denied("team_member", name+"/"+p.Name) {
				fn(t)
			}
		}
	default: // an organisation or a machine is in no team
	}
}

// Tool returns a tool of the gateway by exposed name, nil if there is none or it was taken away: to the caller a
// hidden, an unassigned and an unknown tool are one (RS-21).
func (s *Snapshot) Tool(g *Gateway, exposed string) *Tool {
	t := g.byName[exposed]
	if t == nil || s.toolDenied(g, t) {
		return nil
	}
	return t
}

// ToolToRun returns the tool of the gateway that a run_tool names: by exposed name, or by what its server calls it where that is
// the name of one tool only. It is nil if there is none, or it was taken away (G-23).
func (s *Snapshot) ToolToRun(g *Gateway, name string) (found *Tool) {
	if t := s.Tool(g, name); t != nil {
		return t
	}
	for _, t := range g.Tools {
		if t.Upstream != name || s.toolDenied(g, t) {
			continue
		}
		if found != nil {
			return nil
		}
		found = t
	}
	return found
}

// Tools returns the tools of the gateway that were not taken away, sorted by exposed name.
func (s *Snapshot) Tools(g *Gateway) []*Tool {
	taken := s.Taken(g)
	if taken == nil {
		return g.Tools
	}
	left := make([]*Tool, 0, len(g.Tools))
	for i, t := range g.Tools {
		if !taken[i] {
			left = append(left, t)
		}
	}
	return left
}

// Taken tells for each of the gateway's tools, in their order, whether a denial takes it away; nil if none is. It is made once for a
// gateway and a set of denials: whoever looks at all of 10,000 tools would spend milliseconds on it each time (P-11).
func (s *Snapshot) Taken(g *Gateway) []bool {
	if s.denied == nil {
		return nil
	}
	if made, ok := s.taken.Load(g); ok {
		taken, _ := made.([]bool)
		return taken
	}
	taken := make([]bool, len(g.Tools))
	for i, t := range g.Tools {
		taken[i] = s.toolDenied(g, t)
	}
	if !slices.Contains(taken, true) {
		taken = nil
	}
	s.taken.Store(g, taken)
	return taken
}

func (s *Snapshot) toolDenied(g *Gateway, t *Tool) bool {
	if s.denied == nil {
		return false
	}
	return s.Denied("assignment", g.Name+"/"+t.Name) || s.Denied("tool", t.Name) || s.Denied("server", t.Server)
}

// ClientUID returns the uid of a registered OAuth client, refused or not, empty if there is none.
func (s *Snapshot) ClientUID(id string) string {
	if c := s.clients[id]; c != nil {
		return c.UID
	}
	return ""
}

// OwnConnections returns the connections that are a person's own, by e-mail address, in no order.
func (s *Snapshot) OwnConnections(name string) (list []*Connection) {
	for _, c := range s.connections {
		if c.OwnerKind == compile.OwnerUser && c.Owner == name {
			list = append(list, c)
		}
	}
	return list
}

// UserUID returns the uid of a user by e-mail address, deactivated or not, empty if there is none.
func (s *Snapshot) UserUID(name string) string {
	if u := s.users[name]; u != nil {
		return u.UID
	}
	return ""
}
