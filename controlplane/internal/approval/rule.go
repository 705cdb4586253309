// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxApprovers bounds how many approvers are named to people.
const maxApprovers = 20

// organizationAdmins names who can always decide.
const organizationAdmins = "an administrator of the organisation"

// heldBy is a call with what its policy says of its approval.
type heldBy struct {
	Call

	ttl time.Duration
}

// rule reads what the policy says of a call, in one state of the resources.
func (s *Service) rule(ctx context.Context, r Request) (out heldBy, err error) {
	err = s.c.Resources.Read(ctx, func(_ catalog.Head, reader catalog.Reader) error {
		d := desk.New(reader, catalog.Caller{System: true})
		out = heldBy{Call: Call{
			Gateway: r.Gateway, Tool: r.Tool, Policy: r.Policy, Caller: r.Caller, Node: r.Node, Revision: r.Revision, TraceID: r.TraceID,
			Confirmed: r.Confirmation != "",
		}}
		if err := target(ctx, d, r, &out.Call); err != nil {
			return err
		}
		p, version, err := policyOf(ctx, d, r.Policy)
		if err != nil {
			return err
		}
		if p == nil {
			return fault.Newf(fault.NotFound, ReasonUnknownTarget, "There is no policy %q.", r.Policy)
		}
		out.PolicyUID, out.PolicyVersion, out.ttl = p.UID, version, p.TTL()
		return allow(ctx, d, p, r, &out.Call)
	})
	return out, err
}

// target checks that there is what is called, and who calls.
func target(ctx context.Context, d *desk.Desk, r Request, c *Call) error {
	g, err := desk.Find[*resource.Gateway](ctx, d, resource.KindGateway, r.Gateway)
	if err != nil {
		return err
	}
	if g == nil || r.GatewayUID != "" && r.GatewayUID != g.UID {
		return fault.Newf(fault.NotFound, ReasonUnknownTarget, "There is no gateway %q, or it was made anew.", r.Gateway)
	}
	c.GatewayUID = g.UID
	assigned, err := d.R.Get(ctx, desk.AssignmentKey(r.Gateway, r.Tool))
	if err != nil {
		return err
	}
	if assigned == nil {
		return fault.Newf(fault.NotFound, ReasonUnknownTarget, "The gateway %q has no tool %q.", r.Gateway, r.Tool)
	}
	if r.Caller.Kind != kindUser {
		return nil
	}
	u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, resource.NormalizeName(resource.KindUser, r.Caller.Name))
	if err != nil {
		return err
	}
	if u == nil || u.UID != r.Caller.UID || u.Deactivated {
		return fault.Newf(fault.NotFound, ReasonUnknownTarget, "There is no active user %q.", r.Caller.Name)
	}
	return nil
}

// policyOf returns a policy and its version: every edit makes another one. It is nil if there is none.
func policyOf(ctx context.Context, d *desk.Desk, name string) (*resource.Policy, string, error) {
	p, err := desk.Find[*resource.Policy](ctx, d, resource.KindPolicy, name)
	if err != nil || p == nil {
		return nil, "", err
	}
	return p, p.Etag, nil
}

// asks reports whether a policy holds calls.
func asks(p *resource.Policy) bool {
	return p.Action == resource.PolicyRequireApproval && p.Approvers != nil && !p.Disabled && p.Mode != resource.PolicyShadow
}

// allow checks that the call is one that the policy holds, and that somebody can approve it; it fills in who.
func allow(ctx context.Context, d *desk.Desk, p *resource.Policy, r Request, c *Call) error {
	if !asks(p) {
		return fault.Newf(fault.Precondition, ReasonNotRequired, "The policy %q asks for no approval; ask again by the newest configuration.", p.Name)
	}
	a := p.Approvers
	switch {
	case a.Caller != nil && r.Caller.Kind != kindUser:
		return fault.Newf(fault.Precondition, ReasonNotAPerson, "The policy %q asks the caller to confirm, and %s is no person.", p.Name, r.Caller)
	case a.Caller != nil && r.Confirmation == "":
		return fault.Newf(fault.Precondition, ReasonNotRequired, "The policy %q asks the caller to confirm, and no confirmation was sent.", p.Name)
	case a.Caller == nil && r.Confirmation != "":
		return fault.Newf(fault.Precondition, ReasonNotRequired, "The policy %q asks others than the caller: a confirmation is none.", p.Name)
	case a.Caller != nil:
		c.Approvers = []string{r.Caller.Name}
		return nil
	}
	c.Users = slices.Clone(a.Users)
	if a.TeamAdmins != nil {
		c.Teams, c.OwnTeams = slices.Clone(a.TeamAdmins.Teams), len(a.TeamAdmins.Teams) == 0
	}
	return name(ctx, d, c)
}

// name names who can approve a call, for people, and fails if nobody can.
func name(ctx context.Context, d *desk.Desk, c *Call) error {
	for _, u := range c.Users {
		can, err := able(ctx, d, c, u)
		if err != nil {
			return err
		}
		if can {
			c.Approvers = append(c.Approvers, u)
		}
	}
	teams, err := teamsOf(ctx, d, c)
	if err != nil {
		return err
	}
	missing := "none of the users that the policy names can approve it"
	if c.OwnTeams {
		missing = "the caller is in no team with another active admin"
	} else if len(c.Teams) > 0 {
		missing = "none of the teams that the policy names has another active admin"
	}
	for _, t := range teams {
		for _, m := range t.Members {
			if m.Role != resource.RoleAdmin {
				continue
			}
			can, err := able(ctx, d, c, m.User)
			if err != nil {
				return err
			}
			if can {
				c.Approvers = append(c.Approvers, "an administrator of the team "+t.Name)
				break
			}
		}
	}
	if more := len(c.Approvers) - maxApprovers; more > 0 {
		c.Approvers = append(c.Approvers[:maxApprovers-1], fmt.Sprintf("one of %d more", more+1))
	}
	if len(c.Approvers) > 0 {
		return nil
	}
	users, err := desk.All[*resource.User](ctx, d, resource.KindUser)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Role == resource.RoleAdmin && !u.Deactivated && !c.by(u) {
			c.Approvers = []string{organizationAdmins}
			return nil
		}
	}
	return fault.Newf(fault.Precondition, ReasonNobody, "Nobody can approve the call: %s, and there is no other active ADMIN of the organisation.", missing)
}

// able reports whether a user, by e-mail address, is active and not the caller.
func able(ctx context.Context, d *desk.Desk, c *Call, user string) (bool, error) {
	u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, user)
	return u != nil && !u.Deactivated && !c.by(u), err
}

// by reports whether a user is the caller.
func (c *Call) by(u *resource.User) bool {
	return c.Caller.Kind == kindUser && (c.Caller.UID == u.UID || resource.NormalizeName(resource.KindUser, c.Caller.Name) == u.Name)
}

// teamsOf returns the teams whose admins may approve a call, as they are now.
func teamsOf(ctx context.Context, d *desk.Desk, c *Call) ([]*resource.Team, error) {
	var out []*resource.Team
	for _, name := range c.Teams {
		t, err := desk.Find[*resource.Team](ctx, d, resource.KindTeam, name)
		if err != nil {
			return nil, err
		}
		if t != nil {
			out = append(out, t)
		}
	}
	if !c.OwnTeams || c.Caller.Kind != kindUser && c.Caller.Kind != kindTeam {
		return out, nil
	}
	all, err := desk.All[*resource.Team](ctx, d, resource.KindTeam)
	caller := resource.NormalizeName(resource.KindUser, c.Caller.Name)
	for _, t := range all {
		if c.Caller.Kind == kindTeam && t.UID == c.Caller.UID ||
			c.Caller.Kind == kindUser && slices.ContainsFunc(t.Members, func(m resource.TeamMember) bool { return m.User == caller }) {
			out = append(out, t)
		}
	}
	return out, err
}
