// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// admitGateway checks a gateway against the people, tools and connections it names and computes the names of its tools.
// An assignment that stays as it is is not checked again (G-11, G-18: what was allowed is not cut later), but for the
// pin when the gateway's visibility changes.
func (d *draft) admitGateway(ctx context.Context, before, g *Gateway, p *resource.Problems) error {
	if err := d.references(ctx, g.Visibility, p); err != nil {
		return err
	}
	old := make(map[string]ToolAssignment)
	sameVisibility := false
	if before != nil {
		for _, a := range before.Tools {
			old[a.Tool] = a
		}
		sameVisibility = same(before.Visibility, g.Visibility)
	}
	for _, a := range g.Tools {
		if a.Pinned == nil || !strings.Contains(a.Tool, "/") {
			continue // refused already
		}
		prior, stays := old[a.Tool]
		stays = stays && same(prior, a)
		switch {
		case !stays:
			if err := d.admitAssignment(ctx, g, a, p); err != nil {
				return err
			}
		case !sameVisibility:
			c, err := find[*Connection](ctx, d.desk, KindConnection, a.Pinned.Connection)
			if err != nil {
				return err
			}
			if err := d.admitPin(ctx, g, c, a, p); err != nil {
				return err
			}
		}
	}
	nameTools(g, p)
	return nil
}

// same compares two pieces of a resource by their JSON form, in which equal ones are equal.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func at(a ToolAssignment, field string) string { return "tools[" + a.Tool + "]." + field }

// admitAssignment checks a new or changed assignment.
func (d *draft) admitAssignment(ctx context.Context, g *Gateway, a ToolAssignment, p *resource.Problems) error {
	server, err := find[*Server](ctx, d.desk, KindServer, serverOf(a.Tool))
	if err != nil {
		return err
	}
	if server == nil {
		p.Add(ReasonUnknownReference, at(a, "tool"), "there is no server %q; create the server, then discover its tools", serverOf(a.Tool))
		return nil
	}
	tool, err := find[*Tool](ctx, d.desk, KindTool, a.Tool)
	if err != nil {
		return err
	}
	switch {
	case tool == nil:
		p.Add(ReasonUnknownTool, at(a, "tool"), "the tool %q is not known; discover the server's tools: penstock server discover %s", a.Tool, server.Name)
	case tool.State == resource.ToolRemoved:
		p.Add(ReasonToolRemoved, at(a, "tool"), "the server no longer has the tool %q; leave it out, or discover again: penstock server discover %s", a.Tool, server.Name)
	}
	who, err := d.who(ctx)
	if err != nil {
		return err
	}
	add(p, at(a, "tool"), who.Uses(server))
	c, err := find[*Connection](ctx, d.desk, KindConnection, a.Pinned.Connection)
	if err != nil {
		return err
	}
	if c == nil {
		p.Add(ReasonUnknownReference, at(a, "pinned.connection"), "there is no connection %q; create it first, or in the same apply", a.Pinned.Connection)
		return nil
	}
	if c.Server != server.Name {
		p.Add(ReasonPinOtherServer, at(a, "pinned.connection"), "the connection %q is of the server %q and the tool of %q; pin a connection of %q", c.Name, c.Server, server.Name, server.Name)
		return nil
	}
	add(p, at(a, "pinned.connection"), access.OwnerMayUse(server, c.Owner, d.isMember(ctx)))
	return d.admitPin(ctx, g, c, a, p)
}

// admitPin checks whose connection is pinned where (G-11). A connection that was deleted is nobody's.
func (d *draft) admitPin(ctx context.Context, g *Gateway, c *Connection, a ToolAssignment, p *resource.Problems) error {
	if c == nil {
		return nil
	}
	who, err := d.who(ctx)
	if err != nil {
		return err
	}
	add(p, at(a, "pinned.connection"), access.Pin(g, c, d.isMember(ctx)))
	add(p, at(a, "pinned.connection"), who.Lend(g, c))
	return nil
}

// nameTools computes the names that clients see (G-14, G-26) with the code that nodes share.
func nameTools(g *Gateway, p *resource.Problems) {
	tools := make([]compile.NamedTool, len(g.Tools))
	for i, a := range g.Tools {
		server, upstream, _ := strings.Cut(a.Tool, "/")
		tools[i] = compile.NamedTool{Server: server, Upstream: upstream, Exposed: a.ExposedName}
	}
	prefix := compile.PrefixAlways
	if g.Naming != nil {
		switch g.Naming.Prefix {
		case resource.NamingOnConflict:
			prefix = compile.PrefixOnConflict
		case resource.NamingNever:
			prefix = compile.PrefixNever
		case resource.NamingAlways:
		}
	}
	names, problems := compile.Names(prefix, tools)
	for _, n := range problems {
		a := g.Tools[n.Index]
		if n.Reserved {
			p.Add(ReasonNameReserved, at(a, "exposed_name"), "%q is the name of a tool of the gateway itself; give %q another exposed_name, or let the naming put its server in front", n.Name, a.Tool)
			continue
		}
		p.Add(ReasonNameClash, at(a, "exposed_name"), "%q and %q would both be named %q; give one of them an exposed_name, or let the naming put servers in front", g.Tools[n.Other].Tool, a.Tool, n.Name)
	}
	for i := range g.Tools {
		g.Tools[i].ResolvedName = names[i]
	}
}
