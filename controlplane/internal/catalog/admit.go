// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// admit checks a resource by itself and against the others. Before is its stored state in normal form, nil for a new
// one. It fills in what admission computes: a gateway's names.
func (d *draft) admit(ctx context.Context, before, o Object) error {
	problems := resource.Check(o)
	var err error
	switch o := o.(type) {
	case *Server:
		err = d.references(ctx, o.Visibility, &problems)
	case *Connection:
		err = d.admitConnection(ctx, before == nil, o, &problems)
	case *Gateway:
		b, _ := before.(*Gateway)
		err = d.admitGateway(ctx, b, o, &problems)
	case *Team:
		for _, m := range o.Members {
			if err == nil {
				err = d.userExists(ctx, "members["+m.User+"].user", m.User, &problems)
			}
		}
	case *User:
		b, _ := before.(*User)
		if b != nil && isAdmin(b) && !isAdmin(o) {
			err = d.notLastAdmin(ctx, o.Name)
		}
	}
	if err == nil {
		err = d.failed
	}
	if err != nil {
		return err
	}
	return problems.Err(fmt.Sprintf("%s %q", label(o.Kind()), o.Metadata().Name))
}

// references checks that whom a visibility names exist.
func (d *draft) references(ctx context.Context, v *resource.Visibility, p *resource.Problems) error {
	if v == nil {
		return nil
	}
	if v.Personal != nil {
		return d.userExists(ctx, "visibility.personal.owner", v.Personal.Owner, p)
	}
	if v.Team != nil {
		for i, t := range v.Team.Teams {
			if err := d.teamExists(ctx, fmt.Sprintf("visibility.team.teams[%d]", i), t, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownerExists checks that an owner exists; service accounts are not resources.
func (d *draft) ownerExists(ctx context.Context, o *resource.Owner, p *resource.Problems) error {
	switch {
	case o == nil:
		return nil
	case o.User != "":
		return d.userExists(ctx, "owner.user", o.User, p)
	case o.Team != "":
		return d.teamExists(ctx, "owner.team", o.Team, p)
	default:
		return nil
	}
}

func (d *draft) userExists(ctx context.Context, path, name string, p *resource.Problems) error {
	u, err := find[*User](ctx, d.desk, KindUser, name)
	if err == nil && u == nil && name != "" {
		p.Add(ReasonUnknownReference, path, "there is no user %q; create the user first, or in the same apply", name)
	}
	return err
}

func (d *draft) teamExists(ctx context.Context, path, name string, p *resource.Problems) error {
	t, err := find[*Team](ctx, d.desk, KindTeam, name)
	if err == nil && t == nil && name != "" {
		p.Add(ReasonUnknownReference, path, "there is no team %q; create the team first, or in the same apply", name)
	}
	return err
}

// admitConnection checks a connection against its server (G-18 when it is installed) and its owner.
func (d *draft) admitConnection(ctx context.Context, isNew bool, c *Connection, p *resource.Problems) error {
	server, err := find[*Server](ctx, d.desk, KindServer, c.Server)
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
		who, err := d.who(ctx)
		if err != nil {
			return err
		}
		if err := d.ownerExists(ctx, c.Owner, p); err != nil {
			return err
		}
		add(p, "server", who.Uses(server))
		add(p, "owner", access.OwnerMayUse(server, c.Owner, d.isMember(ctx)))
	}
	return d.admitSecrets(ctx, server, c, p)
}

// add adds a problem that package access found, if it found one.
func add(p *resource.Problems, path string, found *resource.Problem) {
	if found != nil {
		p.AddKind(found.Kind, found.Reason, path, "%s", found.Text)
	}
}

func (d *draft) admitSecrets(ctx context.Context, server *Server, c *Connection, p *resource.Problems) error {
	wants := server.Credential
	if len(c.SecretHeaders) > 0 && (wants == nil || wants.StaticHeaders == nil) {
		p.Add(ReasonSecretKind, "secret_headers", "the server %q takes no secret headers; leave them out, or give the server credential: {static_headers: {}}", server.Name)
	}
	if len(c.SecretEnv) > 0 && (wants == nil || wants.StaticEnv == nil) {
		p.Add(ReasonSecretKind, "secret_env", "the server %q takes no secret environment; leave it out, or give the server credential: {static_env: {}}", server.Name)
	}
	who, err := d.who(ctx)
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

func isAdmin(u *User) bool { return u.Role == RoleAdmin && !u.Deactivated }

// notLastAdmin refuses to leave the organisation without an ADMIN who can mend it.
func (d *draft) notLastAdmin(ctx context.Context, leaving string) error {
	users, err := all[*User](ctx, d.desk, KindUser)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Name != leaving && isAdmin(u) {
			return nil
		}
	}
	return fault.Newf(fault.Precondition, ReasonLastAdmin, "%s is the last active ADMIN; give another user the role first.", leaving)
}
