// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Token checks a new bearer token: by itself, that its owner is alive, and that the owner has a right to each gateway
// (ST-5; nodes check it again at each use).
func Token(ctx context.Context, d *desk.Desk, t *resource.BearerToken) error {
	p := resource.Check(t)
	if err := ownerExists(ctx, d, t.Owner, &p); err != nil {
		return err
	}
	if t.Owner != nil && t.Owner.User != "" {
		u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, t.Owner.User)
		if err != nil {
			return err
		}
		if u != nil && u.Deactivated {
			p.Add(resource.ReasonInvalidField, "owner.user", "%s is deactivated, so the token would be dead", u.Name)
		}
	}
	for i, name := range t.Gateways {
		path := fmt.Sprintf("gateways[%d]", i)
		g, err := desk.Find[*resource.Gateway](ctx, d, resource.KindGateway, name)
		if err != nil {
			return err
		}
		if g == nil {
			p.Add(ReasonUnknownReference, path, "there is no gateway %q; create the gateway first", name)
			continue
		}
		add(&p, path, access.TokenReaches(t.Owner, g, d.Memberships(ctx)))
	}
	if err := d.Failed(); err != nil {
		return err
	}
	return p.Err(desk.Refer(t))
}

// Restored checks that what is brought back still has what it names, but for pinned connections (G-11).
func Restored(ctx context.Context, d *desk.Desk, o resource.Object) error {
	var p resource.Problems
	switch o := o.(type) {
	case *resource.Server:
		if err := References(ctx, d, o.Visibility, &p); err != nil {
			return err
		}
		if err := exchanging(ctx, d, nil, o, &p); err != nil {
			return err
		}
	case *resource.Gateway:
		if err := References(ctx, d, o.Visibility, &p); err != nil {
			return err
		}
		if err := restoredIssuers(ctx, d, o, &p); err != nil {
			return err
		}
		for _, f := range o.ServerFeatures {
			server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, f.Server)
			if err != nil {
				return err
			}
			if server == nil {
				p.Add(ReasonUnknownReference, FeatureAt(f, "server"), "the server is gone; undelete the server %q first", f.Server)
			}
		}
		for _, a := range o.Tools {
			tool, err := desk.Find[*resource.Tool](ctx, d, resource.KindTool, a.Tool)
			if err != nil {
				return err
			}
			if tool == nil {
				p.Add(ReasonUnknownTool, At(a, "tool"), "the tool is gone with its server; undelete the server %q first", desk.ServerOf(a.Tool))
			}
		}
	}
	return p.Err(desk.Refer(o))
}
