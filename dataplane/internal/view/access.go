// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"slices"

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

// User returns an active user by e-mail address, nil if there is none, or it is deactivated or taken away.
func (s *Snapshot) User(name string) *User {
	u := s.users[name]
	if u == nil || u.Deactivated || s.Denied("user", name) {
		return nil
	}
	return u
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

// Tool returns a tool of the gateway by exposed name, nil if there is none or it was taken away: to the caller a
// hidden, an unassigned and an unknown tool are one (RS-21).
func (s *Snapshot) Tool(g *Gateway, exposed string) *Tool {
	t := g.byName[exposed]
	if t == nil || s.toolDenied(g, t) {
		return nil
	}
	return t
}

// Tools returns the tools of the gateway that were not taken away, sorted by exposed name.
func (s *Snapshot) Tools(g *Gateway) []*Tool {
	if s.denied == nil {
		return g.Tools
	}
	return slices.DeleteFunc(slices.Clone(g.Tools), func(t *Tool) bool { return s.toolDenied(g, t) })
}

func (s *Snapshot) toolDenied(g *Gateway, t *Tool) bool {
	if s.denied == nil {
		return false
	}
	return s.Denied("assignment", g.Name+"/"+t.Name) || s.Denied("tool", t.Name) || s.Denied("server", t.Server)
}

// UserUID returns the uid of a user by e-mail address, deactivated or not, empty if there is none.
func (s *Snapshot) UserUID(name string) string {
	if u := s.users[name]; u != nil {
		return u.UID
	}
	return ""
}
