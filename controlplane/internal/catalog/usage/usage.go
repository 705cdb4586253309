// SPDX-License-Identifier: Apache-2.0

// Package usage finds out who refers to a resource, so that it is not deleted under them (Precondition,
// RESOURCE_IN_USE), and that old references do not become references to a new one.
//
// It owns which fields refer to which resources. It is called by catalog, for deletions and new gateways. It must
// never decide by who the caller is.
package usage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonInUse (Precondition): others refer to what would be deleted; the text lists them.
const ReasonInUse = "RESOURCE_IN_USE"

// maxFields bounds the fields of one refusal.
const maxFields = 100

// Refuse refuses to delete what others refer to. Connections may be deleted while they are pinned (G-11), gateways while
// tokens list them.
func Refuse(ctx context.Context, d *desk.Desk, o resource.Object) error {
	users, err := of(ctx, d, o)
	if err != nil || len(users) == 0 {
		return err
	}
	hint := "delete or change them first"
	if o.Kind() == resource.KindUser {
		hint += ", or deactivate the user instead"
	}
	f := fault.Newf(fault.Precondition, ReasonInUse, "The %s is in use by %s; %s.", desk.Refer(o), resource.Listed(users), hint)
	for _, u := range users[:min(len(users), maxFields)] {
		f = f.At("name", "in use by "+u)
	}
	return f
}

// of names what refers to a resource.
func of(ctx context.Context, d *desk.Desk, o resource.Object) ([]string, error) {
	name := o.Metadata().Name
	switch o.Kind() {
	case resource.KindServer:
		return ofServer(ctx, d, name)
	case resource.KindTeam:
		users, err := owned(ctx, d, o, func(v *resource.Visibility) bool {
			return v != nil && v.Team != nil && slices.Contains(v.Team.Teams, name)
		})
		if err != nil {
			return nil, err
		}
		approving, err := approved(ctx, d, func(a *resource.Approvers) bool {
			return a.TeamAdmins != nil && slices.Contains(a.TeamAdmins.Teams, name)
		})
		if err != nil {
			return nil, err
		}
		users = append(users, approving...)
		providers, err := desk.All[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider)
		return append(users, matching(providers, func(p *resource.IdentityProvider) bool {
			return slices.ContainsFunc(p.GroupMappings, func(m resource.GroupMapping) bool { return m.Team == name })
		})...), err
	case resource.KindGateway:
		clients, err := desk.All[*resource.OAuthClient](ctx, d, resource.KindOAuthClient)
		return matching(clients, func(c *resource.OAuthClient) bool {
			return c.ClientCredentials != nil && slices.Contains(c.ClientCredentials.Gateways, name)
		}), err
	case resource.KindIdentityProvider:
		return ofProvider(ctx, d, name)
	case resource.KindUser:
		users, err := owned(ctx, d, o, func(v *resource.Visibility) bool {
			return v != nil && v.Personal != nil && v.Personal.Owner == name
		})
		if err != nil {
			return nil, err
		}
		approving, err := approved(ctx, d, func(a *resource.Approvers) bool { return slices.Contains(a.Users, name) })
		if err != nil {
			return nil, err
		}
		users = append(users, approving...)
		teams, err := desk.All[*resource.Team](ctx, d, resource.KindTeam)
		return append(users, matching(teams, func(t *resource.Team) bool {
			return slices.ContainsFunc(t.Members, func(m resource.TeamMember) bool { return m.User == name })
		})...), err
	default:
		return nil, nil
	}
}

// approved names the policies with certain approvers.
func approved(ctx context.Context, d *desk.Desk, ok func(*resource.Approvers) bool) ([]string, error) {
	policies, err := desk.All[*resource.Policy](ctx, d, resource.KindPolicy)
	return matching(policies, func(p *resource.Policy) bool { return p.Approvers != nil && ok(p.Approvers) }), err
}

func ofProvider(ctx context.Context, d *desk.Desk, provider string) ([]string, error) {
	gateways, err := desk.All[*resource.Gateway](ctx, d, resource.KindGateway)
	if err != nil {
		return nil, err
	}
	servers, err := desk.All[*resource.Server](ctx, d, resource.KindServer)
	return slices.Concat(
		matching(gateways, func(g *resource.Gateway) bool {
			a := g.Authentication
			return slices.ContainsFunc(g.Issuers(), func(i resource.JWKSIssuer) bool { return i.IdentityProvider == provider }) ||
				a != nil && a.IDJAG != nil && slices.Contains(a.IDJAG.IdentityProviders, provider)
		}),
		matching(servers, func(s *resource.Server) bool {
			name, _ := s.IdentityProvider()
			return name == provider
		}),
	), err
}

func ofServer(ctx context.Context, d *desk.Desk, server string) ([]string, error) {
	connections, err := desk.All[*resource.Connection](ctx, d, resource.KindConnection)
	if err != nil {
		return nil, err
	}
	out := matching(connections, func(c *resource.Connection) bool { return c.Server == server })
	assigned, err := d.R.ListPrefix(ctx, resource.KindAssignment, "")
	if err != nil {
		return nil, err
	}
	for _, rec := range assigned {
		gateway, tool, _ := strings.Cut(rec.Name, "/")
		if desk.ServerOf(tool) == server {
			out = append(out, fmt.Sprintf("tool %q of gateway %q", tool, gateway))
		}
	}
	gateways, err := desk.All[*resource.Gateway](ctx, d, resource.KindGateway)
	return append(out, matching(gateways, func(g *resource.Gateway) bool {
		return slices.ContainsFunc(g.ServerFeatures, func(f resource.ServerFeature) bool { return f.Server == server })
	})...), err
}

// owned names what a user or team owns, or what is visible to it by name.
func owned(ctx context.Context, d *desk.Desk, o resource.Object, named func(*resource.Visibility) bool) ([]string, error) {
	connections, err := desk.All[*resource.Connection](ctx, d, resource.KindConnection)
	if err != nil {
		return nil, err
	}
	gateways, err := desk.All[*resource.Gateway](ctx, d, resource.KindGateway)
	if err != nil {
		return nil, err
	}
	servers, err := desk.All[*resource.Server](ctx, d, resource.KindServer)
	if err != nil {
		return nil, err
	}
	tokens, err := Tokens(ctx, d, o)
	if err != nil {
		return nil, err
	}
	return slices.Concat(
		matching(connections, func(c *resource.Connection) bool { return owns(o, c.Owner) }),
		matching(gateways, func(g *resource.Gateway) bool { return named(g.Visibility) }),
		matching(servers, func(s *resource.Server) bool { return named(s.Visibility) }),
		matching(tokens, func(*resource.BearerToken) bool { return true }),
	), nil
}

// Tokens returns the bearer tokens that a user or team owns; none for other resources.
func Tokens(ctx context.Context, d *desk.Desk, o resource.Object) ([]*resource.BearerToken, error) {
	if o.Kind() != resource.KindUser && o.Kind() != resource.KindTeam {
		return nil, nil
	}
	tokens, err := desk.All[*resource.BearerToken](ctx, d, resource.KindBearerToken)
	return slices.DeleteFunc(tokens, func(t *resource.BearerToken) bool { return !owns(o, t.Owner) }), err
}

func owns(o resource.Object, owner *resource.Owner) bool {
	name := o.Metadata().Name
	return owner != nil && (o.Kind() == resource.KindUser && owner.User == name || o.Kind() == resource.KindTeam && owner.Team == name)
}

func matching[T resource.Object](list []T, ok func(T) bool) (out []string) {
	for _, o := range list {
		if ok(o) {
			out = append(out, desk.Refer(o))
		}
	}
	return out
}

// ForgetGateway takes a new gateway's name out of the tokens that list a deleted one of that name: a token's audience
// is a gateway, not a name. A token that is left without gateway goes.
func ForgetGateway(ctx context.Context, d *desk.Draft, gateway string) error {
	tokens, err := desk.All[*resource.BearerToken](ctx, d.Desk, resource.KindBearerToken)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if !slices.Contains(t.Gateways, gateway) {
			continue
		}
		rest := *t
		rest.Gateways = slices.DeleteFunc(slices.Clone(t.Gateways), func(g string) bool { return g == gateway })
		if len(rest.Gateways) == 0 {
			if err := d.Take(ctx, record.Key{Kind: resource.KindBearerToken, Name: t.Name}); err != nil {
				return err
			}
			continue
		}
		rec, err := d.R.Get(ctx, record.Key{Kind: resource.KindBearerToken, Name: t.Name})
		if err != nil {
			return err
		}
		if err := d.Put(ctx, &rest, rec.UID, rec.Lookup); err != nil {
			return err
		}
	}
	return nil
}
