// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// gateway checks a gateway against the people, tools and connections it names and computes the names of its tools.
// An assignment that stays as it is is not checked again (G-11, G-18: what was allowed is not cut later), but for the
// pin when the gateway's visibility changes.
func gateway(ctx context.Context, d *desk.Desk, before, g *resource.Gateway, p *resource.Problems) error {
	if err := References(ctx, d, g.Visibility, p); err != nil {
		return err
	}
	old := make(map[string]resource.ToolAssignment)
	sameVisibility := false
	if before != nil {
		for _, a := range before.Tools {
			old[a.Tool] = a
		}
		sameVisibility = same(before.Visibility, g.Visibility)
	}
	for _, a := range g.Tools {
		if a.Pinned == nil && a.ResolveAtCallTime == nil || !strings.Contains(a.Tool, "/") {
			continue // refused already
		}
		prior, stays := old[a.Tool]
		stays = stays && same(prior, a)
		switch {
		case !stays:
			if err := assignment(ctx, d, g, a, p); err != nil {
				return err
			}
		case !sameVisibility && a.Pinned != nil:
			c, err := desk.Find[*resource.Connection](ctx, d, resource.KindConnection, a.Pinned.Connection)
			if err != nil {
				return err
			}
			if err := pin(ctx, d, g, c, At(a, "pinned.connection"), p); err != nil {
				return err
			}
		}
	}
	if err := assertingProviders(ctx, d, g, p); err != nil {
		return err
	}
	if err := issuers(ctx, d, before, g, p); err != nil {
		return err
	}
	nameTools(g, p)
	g.ScopesSupported = g.Scopes()
	if err := passthrough(ctx, d, before, g, p); err != nil {
		return err
	}
	return features(ctx, d, before, g, sameVisibility, p)
}

// same compares two pieces of a resource by their JSON form, in which equal ones are equal.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// At is the path of a field of an assignment: by the tool, because assignments are sorted.
func At(a resource.ToolAssignment, field string) string { return "tools[" + a.Tool + "]." + field }

// assignment checks a new or changed assignment.
func assignment(ctx context.Context, d *desk.Desk, g *resource.Gateway, a resource.ToolAssignment, p *resource.Problems) error {
	server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, desk.ServerOf(a.Tool))
	if err != nil {
		return err
	}
	if server == nil {
		p.Add(ReasonUnknownReference, At(a, "tool"), "there is no server %q; create the server, then discover its tools", desk.ServerOf(a.Tool))
		return nil
	}
	tool, err := desk.Find[*resource.Tool](ctx, d, resource.KindTool, a.Tool)
	if err != nil {
		return err
	}
	switch {
	case tool == nil:
		p.Add(ReasonUnknownTool, At(a, "tool"), "the tool %q is not known; discover the server's tools: penstock server discover %s", a.Tool, server.Name)
	case tool.State == resource.ToolRemoved:
		p.Add(ReasonToolRemoved, At(a, "tool"), "the server no longer has the tool %q; leave it out, or discover again: penstock server discover %s", a.Tool, server.Name)
	default:
		if err := fixedArguments(ctx, d, tool, a, p); err != nil {
			return err
		}
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	add(p, At(a, "tool"), who.Uses(server))
	if a.Pinned == nil {
		return nil
	}
	c, err := desk.Find[*resource.Connection](ctx, d, resource.KindConnection, a.Pinned.Connection)
	if err != nil {
		return err
	}
	if c == nil {
		p.Add(ReasonUnknownReference, At(a, "pinned.connection"), "there is no connection %q; create it first, or in the same apply", a.Pinned.Connection)
		return nil
	}
	if c.Server != server.Name {
		p.Add(ReasonPinOtherServer, At(a, "pinned.connection"), "the connection %q is of the server %q and the tool of %q; pin a connection of %q", c.Name, c.Server, server.Name, server.Name)
		return nil
	}
	add(p, At(a, "pinned.connection"), access.OwnerMayUse(server, c.Owner, d.Memberships(ctx)))
	return pin(ctx, d, g, c, At(a, "pinned.connection"), p)
}

// pin checks whose connection is pinned where (G-11). A connection that was deleted is nobody's.
func pin(ctx context.Context, d *desk.Desk, g *resource.Gateway, c *resource.Connection, at string, p *resource.Problems) error {
	if c == nil {
		return nil
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	add(p, at, access.Pin(g, c, d.Memberships(ctx)))
	add(p, at, who.Lend(g, c))
	return nil
}

// nameTools computes the names that clients see (G-14, G-26) with the code that nodes share.
func nameTools(g *resource.Gateway, p *resource.Problems) {
	tools := make([]compile.NamedTool, len(g.Tools))
	for i, a := range g.Tools {
		server, upstream, _ := strings.Cut(a.Tool, "/")
		tools[i] = compile.NamedTool{Server: server, Upstream: upstream, Exposed: a.ExposedName}
	}
	names, problems := compile.Names(Prefix(g), tools)
	for _, n := range problems {
		a := g.Tools[n.Index]
		if n.Reserved {
			p.Add(ReasonNameReserved, At(a, "exposed_name"), "%q is the name of a tool of the gateway itself; give %q another exposed_name, or let the naming put its server in front", n.Name, a.Tool)
			continue
		}
		p.Add(ReasonNameClash, At(a, "exposed_name"), "%q and %q would both be named %q; give one of them an exposed_name, or let the naming put servers in front", g.Tools[n.Other].Tool, a.Tool, n.Name)
	}
	for i := range g.Tools {
		g.Tools[i].ResolvedName = names[i]
	}
}

// Prefix is a gateway's naming as package compile has it.
func Prefix(g *resource.Gateway) compile.Prefix {
	if g.Naming == nil {
		return compile.PrefixAlways
	}
	switch g.Naming.Prefix {
	case resource.NamingOnConflict:
		return compile.PrefixOnConflict
	case resource.NamingNever:
		return compile.PrefixNever
	default:
		return compile.PrefixAlways
	}
}
