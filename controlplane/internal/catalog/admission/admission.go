// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Check checks a resource by itself and against the others. Before is its stored state in normal form, nil for a new
// one. It fills in what admission computes: a gateway's names and scopes.
func Check(ctx context.Context, d *desk.Desk, before, o resource.Object) error {
	problems := resource.Check(o)
	var err error
	switch o := o.(type) {
	case *resource.Server:
		b, _ := before.(*resource.Server)
		err = server(ctx, d, b, o, &problems)
	case *resource.Connection:
		err = connection(ctx, d, before == nil, o, &problems)
	case *resource.Gateway:
		b, _ := before.(*resource.Gateway)
		err = gateway(ctx, d, b, o, &problems)
	case *resource.Team:
		for _, m := range o.Members {
			if err == nil {
				err = userExists(ctx, d, "members["+m.User+"].user", m.User, &problems)
			}
		}
	case *resource.User:
		b, _ := before.(*resource.User)
		err = user(ctx, d, b, o, &problems)
	case *resource.IdentityProvider:
		err = identityProvider(ctx, d, o, &problems)
	case *resource.OAuthClient:
		err = oauthClient(ctx, d, o, &problems)
	case *resource.Policy:
		b, _ := before.(*resource.Policy)
		err = policy(ctx, d, b, o, &problems)
	}
	if err == nil {
		err = d.Failed()
	}
	if err != nil {
		return err
	}
	return problems.Err(desk.Refer(o))
}

// References checks that whom a visibility names exist.
func References(ctx context.Context, d *desk.Desk, v *resource.Visibility, p *resource.Problems) error {
	if v == nil {
		return nil
	}
	if v.Personal != nil {
		return userExists(ctx, d, "visibility.personal.owner", v.Personal.Owner, p)
	}
	if v.Team != nil {
		for i, t := range v.Team.Teams {
			if err := teamExists(ctx, d, fmt.Sprintf("visibility.team.teams[%d]", i), t, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownerExists checks that an owner exists; service accounts are not resources.
func ownerExists(ctx context.Context, d *desk.Desk, o *resource.Owner, p *resource.Problems) error {
	switch {
	case o == nil:
		return nil
	case o.User != "":
		return userExists(ctx, d, "owner.user", o.User, p)
	case o.Team != "":
		return teamExists(ctx, d, "owner.team", o.Team, p)
	default:
		return nil
	}
}

func userExists(ctx context.Context, d *desk.Desk, path, name string, p *resource.Problems) error {
	u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, name)
	if err == nil && u == nil && name != "" {
		p.Add(ReasonUnknownReference, path, "there is no user %q; create the user first, or in the same apply", name)
	}
	return err
}

func teamExists(ctx context.Context, d *desk.Desk, path, name string, p *resource.Problems) error {
	t, err := desk.Find[*resource.Team](ctx, d, resource.KindTeam, name)
	if err == nil && t == nil && name != "" {
		p.Add(ReasonUnknownReference, path, "there is no team %q; create the team first, or in the same apply", name)
	}
	return err
}

// connection checks a connection against its server (G-18 when it is installed) and its owner.
func connection(ctx context.Context, d *desk.Desk, isNew bool, c *resource.Connection, p *resource.Problems) error {
	server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, c.Server)
	if err != nil {
		return err
	}
	if server == nil {
		if c.Server != "" {
			p.Add(ReasonUnknownReference, "server", "there is no server %q; create the server first, or in the same apply", c.Server)
		}
		return nil
	}
	if isNew {
		who, err := d.Who(ctx)
		if err != nil {
			return err
		}
		if err := ownerExists(ctx, d, c.Owner, p); err != nil {
			return err
		}
		add(p, "server", who.Uses(server))
		add(p, "owner", access.OwnerMayUse(server, c.Owner, d.Memberships(ctx)))
		ownerOf(server, c, p)
	}
	return secrets(ctx, d, server, c, p)
}

// add adds a problem that package access found, if it found one.
func add(p *resource.Problems, path string, found *resource.Problem) {
	if found != nil {
		p.AddKind(found.Kind, found.Reason, path, "%s", found.Text)
	}
}

// secrets checks what a connection authenticates with against what its server takes.
func secrets(ctx context.Context, d *desk.Desk, server *resource.Server, c *resource.Connection, p *resource.Problems) error {
	wants := server.Credential
	if server.Made() {
		const text = "Penstock makes the credential of the server %q itself, so its connections hold no secrets; leave it out"
		if len(c.SecretHeaders) > 0 {
			p.Add(ReasonSecretKind, "secret_headers", text, server.Name)
		}
		if len(c.SecretEnv) > 0 {
			p.Add(ReasonSecretKind, "secret_env", text, server.Name)
		}
		return nil
	}
	if len(c.SecretHeaders) > 0 && (wants == nil || wants.StaticHeaders == nil) {
		p.Add(ReasonSecretKind, "secret_headers", "the server %q takes no secret headers; leave them out, or give the server credential: {static_headers: {}}", server.Name)
	}
	if len(c.SecretEnv) > 0 && (wants == nil || wants.StaticEnv == nil) {
		p.Add(ReasonSecretKind, "secret_env", "the server %q takes no secret environment; leave it out, or give the server credential: {static_env: {}}", server.Name)
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.SecretEnv)) {
		if server.Stdio != nil && server.Stdio.Env[name] != "" {
			p.Add(ReasonSecretName, "secret_env."+name, "the server %q sets this variable itself", server.Name)
		}
		// A variable that changes which code runs is as good as the command, which only an ADMIN may choose (G-7).
		if resource.IsLoaderVariable(name) && !who.Unlimited() {
			p.AddKind(fault.Denied, ReasonSecretName, "secret_env."+name, "it changes which code runs on nodes; only an ADMIN may set it")
		}
	}
	return nil
}

// IsAdmin reports whether a user is an active ADMIN.
func IsAdmin(u *resource.User) bool { return u.Role == resource.RoleAdmin && !u.Deactivated }

// NotLastAdmin refuses to leave the organisation without an ADMIN who can mend it.
func NotLastAdmin(ctx context.Context, d *desk.Desk, leaving string) error {
	users, err := desk.All[*resource.User](ctx, d, resource.KindUser)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Name != leaving && IsAdmin(u) {
			return nil
		}
	}
	return fault.Newf(fault.Precondition, ReasonLastAdmin, "%s is the last active ADMIN; give another user the role first.", leaving)
}
