// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// install is what connections are found by when a call chooses one.
type install struct {
	server string
	kind   compile.OwnerKind
	owner  string // e-mail address or team; empty for the organisation
}

func installOf(c *Connection) install { return install{c.Server, c.OwnerKind, c.Owner} }

// moveInstalled keeps the index from owners to connections. Lists of earlier views are not written.
func (b *Builder) moveInstalled(before, after *Connection) {
	if before == nil && after == nil {
		return
	}
	own(b, installMap, &b.next.installed)
	if before != nil {
		k := installOf(before)
		rest := slices.DeleteFunc(slices.Clone(b.next.installed[k]), func(c *Connection) bool { return c == before })
		if b.next.installed[k] = rest; len(rest) == 0 {
			delete(b.next.installed, k)
		}
	}
	if after != nil && after.OwnerKind != 0 {
		k := installOf(after)
		list := append(slices.Clone(b.next.installed[k]), after)
		slices.SortFunc(list, func(x, y *Connection) int { return strings.Compare(x.Name, y.Name) })
		b.next.installed[k] = list
	}
}

// Choose returns the connection of a server that a principal's calls at a gateway run with where the gateway chooses it at the
// call (G-12): the caller's own; else one of a team of the caller, of a team that the gateway is visible to before others, then
// by the team's name; else the organisation's. Of several that one owner has it is the first by name. A server may allow people's
// own only. A principal without a person never gets a person's connection (UP-2).
//
// Connections that still lack the secret which the server asks for are passed over, so that one that was begun and never finished
// is in nobody's way; where there is no other, the first of them is returned. It is nil if there is none at all.
func (s *Snapshot) Choose(g *Gateway, server *Server, p ident.Principal) *Connection {
	var bare *Connection // the first without its secret
	if p.Kind == ident.KindUser {
		if c := s.usable(server, compile.OwnerUser, p.Name, &bare); c != nil {
			return c
		}
	}
	if server.OwnOnly {
		return bare
	}
	var of *Connection
	var nearest *Team
	s.Teams(p, func(t *Team) {
		if nearest != nil && !g.prefers(t, nearest) {
			return
		}
		if c := s.usable(server, compile.OwnerTeam, t.Name, &bare); c != nil {
			of, nearest = c, t
		}
	})
	if of != nil {
		return of
	}
	if c := s.usable(server, compile.OwnerOrganization, "", &bare); c != nil {
		return c
	}
	return bare
}

// usable returns the first connection of an owner that has what its server needs, and else notes the first that has not.
func (s *Snapshot) usable(server *Server, kind compile.OwnerKind, owner string, bare **Connection) *Connection {
	for _, c := range s.installed[install{server.Name, kind, owner}] {
		switch {
		case s.Denied("connection", c.Name):
		case !server.NeedsSecret || server.Version(c) != "":
			return c
		case *bare == nil:
			*bare = c
		}
	}
	return nil
}

// prefers reports whether connections of the team a come before those of b.
func (g *Gateway) prefers(a, b *Team) bool {
	near, far := slices.Contains(g.Visibility.Teams, a.Name), slices.Contains(g.Visibility.Teams, b.Name)
	if near != far {
		return near
	}
	return a.Name < b.Name
}

// MayRunWith reports whether a principal's calls could choose the connection, now or when those before it were gone (G-12).
func (s *Snapshot) MayRunWith(server *Server, c *Connection, p ident.Principal) bool {
	if c == nil || c.Server != server.Name || s.Denied("connection", c.Name) {
		return false
	}
	switch c.OwnerKind {
	case compile.OwnerUser:
		return p.Kind == ident.KindUser && c.Owner == p.Name
	case compile.OwnerTeam:
		in := false
		s.Teams(p, func(t *Team) { in = in || t.Name == c.Owner })
		return in && !server.OwnOnly
	case compile.OwnerOrganization:
		return !server.OwnOnly
	default:
		return false
	}
}

// Connects reports whether the person p can mend the connection by connecting the server: if it is the one that this sets, the
// first by name of the person's own.
func (s *Snapshot) Connects(c *Connection, p ident.Principal) bool {
	if p.Kind != ident.KindUser || c.OwnerKind != compile.OwnerUser || c.Owner != p.Name {
		return false
	}
	own := s.installed[installOf(c)]
	return len(own) > 0 && own[0] == c
}

// Rechosen reports whether a principal's calls at a gateway run with other connections than they did under the snapshot was.
func (s *Snapshot) Rechosen(was *Snapshot, g *Gateway, p ident.Principal) bool {
	return slices.ContainsFunc(g.atCall, func(name string) bool {
		before, now := was.Server(name), s.Server(name)
		if before == nil || now == nil {
			return before != now
		}
		return was.Choose(g, before, p) != s.Choose(g, now, p)
	})
}

// Lists reports whether what a server shows over a connection of the gateway is what it has: a person is shown their own, which is
// the server's to nobody else. At a personal gateway nobody else is concerned.
func (g *Gateway) Lists(c *Connection) bool {
	return c.OwnerKind != compile.OwnerUser || g.Visibility.Owner != ""
}
