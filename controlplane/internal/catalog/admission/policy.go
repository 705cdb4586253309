// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// policy checks that the approvers of a policy exist and that one of them can approve now. ADMINs of the organisation always can,
// but whoever names approvers means these. Approvers that stay as they are were right when they were written, and what became of
// the people since is no reason to refuse another change.
func policy(ctx context.Context, d *desk.Desk, before, o *resource.Policy, p *resource.Problems) error {
	a := o.Approvers
	if a == nil || before != nil && sameApprovers(before.Approvers, a) {
		return nil
	}
	if len(a.Users) > 0 {
		return approverUsers(ctx, d, a.Users, p)
	}
	if a.TeamAdmins != nil && len(a.TeamAdmins.Teams) > 0 {
		return approverTeams(ctx, d, a.TeamAdmins.Teams, p)
	}
	return nil
}

func sameApprovers(a, b *resource.Approvers) bool {
	return a != nil && (a.Caller == nil) == (b.Caller == nil) && slices.Equal(a.Users, b.Users) && (a.TeamAdmins == nil) == (b.TeamAdmins == nil) &&
		(a.TeamAdmins == nil || slices.Equal(a.TeamAdmins.Teams, b.TeamAdmins.Teams))
}

func approverUsers(ctx context.Context, d *desk.Desk, users []string, p *resource.Problems) error {
	found, active := true, false
	for i, name := range users {
		u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, name)
		if err != nil {
			return err
		}
		if u == nil {
			found = false
			if err := userExists(ctx, d, fmt.Sprintf("approvers.users[%d]", i), name, p); err != nil {
				return err
			}
			continue
		}
		active = active || !u.Deactivated
	}
	if found && !active {
		p.Add(ReasonNoApprover, "approvers.users", "all of them are deactivated; name somebody who can approve")
	}
	return nil
}

func approverTeams(ctx context.Context, d *desk.Desk, teams []string, p *resource.Problems) error {
	found, active := true, false
	for i, name := range teams {
		t, err := desk.Find[*resource.Team](ctx, d, resource.KindTeam, name)
		if err != nil {
			return err
		}
		if t == nil {
			found = false
			if err := teamExists(ctx, d, fmt.Sprintf("approvers.team_admins.teams[%d]", i), name, p); err != nil {
				return err
			}
			continue
		}
		for _, m := range t.Members {
			if active || m.Role != resource.RoleAdmin {
				continue
			}
			u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, m.User)
			if err != nil {
				return err
			}
			active = u != nil && !u.Deactivated
		}
	}
	if found && !active {
		p.Add(ReasonNoApprover, "approvers.team_admins.teams", "none of them has an active admin; make a member of one an ADMIN of the team first")
	}
	return nil
}
