// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// FeatureAt is the path of a field of a server feature: by the server, because features are sorted.
func FeatureAt(f resource.ServerFeature, field string) string {
	return "server_features[" + f.Server + "]." + field
}

// features checks what a gateway shows of servers besides tools, as assignments are checked: one that stays as it is is
// not checked again, but for the pin when the gateway's visibility changes (G-11, G-18).
func features(ctx context.Context, d *desk.Desk, before, g *resource.Gateway, sameVisibility bool, p *resource.Problems) error {
	old := make(map[string]resource.ServerFeature)
	if before != nil {
		for _, f := range before.ServerFeatures {
			old[f.Server] = f
		}
	}
	for _, f := range g.ServerFeatures {
		prior, stays := old[f.Server]
		stays = stays && same(prior, f)
		switch {
		case !stays:
			if err := feature(ctx, d, g, f, p); err != nil {
				return err
			}
		case !sameVisibility && f.Pinned != nil:
			c, err := desk.Find[*resource.Connection](ctx, d, resource.KindConnection, f.Pinned.Connection)
			if err != nil {
				return err
			}
			if err := pin(ctx, d, g, c, FeatureAt(f, "pinned.connection"), p); err != nil {
				return err
			}
		}
	}
	if before != nil && same(before.ServerFeatures, g.ServerFeatures) && same(before.Naming, g.Naming) {
		return nil // prompts that clash since a discovery are no reason to refuse another change
	}
	clashes, err := PromptClashes(ctx, d, g)
	for _, c := range clashes {
		p.Add(ReasonPromptClash, FeatureAt(resource.ServerFeature{Server: c.Server}, "prompts"),
			"another server has a prompt named %q too; let the naming put servers in front, or turn the prompts of one of them off", c.Upstream)
	}
	return err
}

// feature checks a new or changed feature.
func feature(ctx context.Context, d *desk.Desk, g *resource.Gateway, f resource.ServerFeature, p *resource.Problems) error {
	server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, f.Server)
	if err != nil {
		return err
	}
	if server == nil {
		if f.Server != "" { // refused already
			p.Add(ReasonUnknownReference, FeatureAt(f, "server"), "there is no server %q; create the server first, or in the same apply", f.Server)
		}
		return nil
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	add(p, FeatureAt(f, "server"), who.Uses(server))
	if f.Pinned == nil {
		return nil
	}
	at := FeatureAt(f, "pinned.connection")
	c, err := desk.Find[*resource.Connection](ctx, d, resource.KindConnection, f.Pinned.Connection)
	if err != nil {
		return err
	}
	if c == nil {
		p.Add(ReasonUnknownReference, at, "there is no connection %q; create it first, or in the same apply", f.Pinned.Connection)
		return nil
	}
	if c.Server != server.Name {
		p.Add(ReasonPinOtherServer, at, "the connection %q is of the server %q; pin a connection of %q", c.Name, c.Server, server.Name)
		return nil
	}
	add(p, at, access.OwnerMayUse(server, c.Owner, d.Memberships(ctx)))
	return pin(ctx, d, g, c, at, p)
}

// PromptClashes returns the prompts of a gateway with naming NEVER that would have one name with another, sorted by
// server: nodes put prefixes on all of them.
func PromptClashes(ctx context.Context, d *desk.Desk, g *resource.Gateway) ([]compile.NamedTool, error) {
	if Prefix(g) != compile.PrefixNever {
		return nil, nil
	}
	var prompts []compile.NamedTool
	for _, f := range g.ServerFeatures {
		server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, f.Server)
		if err != nil {
			return nil, err
		}
		if server == nil || server.Status == nil || !f.Prompts {
			continue
		}
		for _, listed := range server.Status.Prompts {
			prompts = append(prompts, compile.NamedTool{Server: f.Server, Upstream: listed.Name})
		}
	}
	_, clash := compile.PromptNames(compile.PrefixNever, prompts)
	out := make([]compile.NamedTool, len(clash))
	for i, index := range clash {
		out[i] = prompts[index]
	}
	return out, nil
}
