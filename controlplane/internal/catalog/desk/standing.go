// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Who returns the caller's standing, with the memberships that it depends on.
func (d *Desk) Who(ctx context.Context) (access.Standing, error) {
	if d.standing != nil {
		return *d.standing, nil
	}
	s := access.System()
	if !d.Caller.System {
		var teams []*resource.Team
		var err error
		if d.Caller.Role != resource.RoleAdmin { // an ADMIN's memberships decide nothing here
			if teams, err = All[*resource.Team](ctx, d, resource.KindTeam); err != nil {
				return s, err
			}
		}
		s = access.Of(d.Caller.Email, d.Caller.Role, teams)
	}
	d.standing = &s
	return s, nil
}

// Sees reports whether the caller may read a resource.
func (d *Desk) Sees(ctx context.Context, o resource.Object) (bool, error) {
	s, err := d.Who(ctx)
	if err != nil || s.Unlimited() {
		return err == nil, err
	}
	var server *resource.Server
	if t, ok := o.(*resource.Tool); ok {
		if server, err = Find[*resource.Server](ctx, d, resource.KindServer, t.Server); err != nil {
			return false, err
		}
	}
	return s.Sees(o, server), nil
}

// Memberships answers the membership look-ups of package access. Their errors are kept: whoever passes it on asks
// [Desk.Failed] afterwards.
func (d *Desk) Memberships(ctx context.Context) access.Memberships {
	return func(team, user string) bool {
		set, ok := d.members[team]
		if !ok {
			t, err := Find[*resource.Team](ctx, d, resource.KindTeam, team)
			if err != nil {
				d.failed = err
				return false
			}
			set = make(map[string]bool)
			if t != nil {
				for _, m := range t.Members {
					set[m.User] = true
				}
			}
			d.members[team] = set
		}
		return set[user]
	}
}

// Failed returns the error of a membership look-up.
func (d *Desk) Failed() error { return d.failed }
