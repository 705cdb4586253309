// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonRoleRequired (Denied): the caller's role does not allow it; the text says what would.
const ReasonRoleRequired = "ROLE_REQUIRED"

// Standing is a caller with the role and the memberships that decide.
type Standing struct {
	user  string // e-mail address
	role  resource.Role
	all   bool            // ADMIN, or the control plane itself
	teams map[string]bool // team to: is its admin
}

// Of returns the standing of a user with a role. Teams are those that may have the user as a member.
func Of(user string, role resource.Role, teams []*resource.Team) Standing {
	s := Standing{user: user, role: role, all: role == resource.RoleAdmin, teams: make(map[string]bool)}
	for _, t := range teams {
		for _, m := range t.Members {
			if m.User == user {
				s.teams[t.Name] = m.Role == resource.RoleAdmin
			}
		}
	}
	return s
}

// System returns the standing of the control plane itself.
func System() Standing { return Standing{all: true} }

// Unlimited reports whether the caller sees and may do everything.
func (s Standing) Unlimited() bool { return s.all }

func (s Standing) editor() bool { return s.all || s.role == resource.RoleEditor }

func (s Standing) member(team string) bool { _, ok := s.teams[team]; return ok }

func (s Standing) teamAdmin(team string) bool { return s.all || s.teams[team] }

// Within reports whether the caller is one of those whom a visibility lets in. Nobody is unlimited here: an ADMIN sees
// and manages a gateway without being able to call it (G-4).
func (s Standing) Within(v *resource.Visibility) bool {
	switch {
	case v == nil || s.user == "":
		return false
	case v.Personal != nil:
		return v.Personal.Owner == s.user
	case v.Team != nil:
		return slices.ContainsFunc(v.Team.Teams, s.member)
	default:
		return v.Organization != nil
	}
}

// owns reports whether the caller is, or is a member of, an owner.
func (s Standing) owns(o *resource.Owner) bool {
	switch {
	case o == nil || s.user == "":
		return false
	case o.User != "":
		return o.User == s.user
	case o.Team != "":
		return s.member(o.Team)
	default:
		return o.Organization != nil
	}
}

// Sees reports whether the caller may read a resource (G-4, G-7): an ADMIN everything, others what is visible to them
// and what they manage. A tool is as visible as its server, which is given with it.
func (s Standing) Sees(o resource.Object, server *resource.Server) bool {
	if s.all {
		return true
	}
	switch o := o.(type) {
	case *resource.Server:
		return s.editor() || s.Within(o.Visibility)
	case *resource.Tool:
		return s.editor() || server != nil && s.Within(server.Visibility)
	case *resource.Connection:
		return s.owns(o.Owner)
	case *resource.Gateway:
		return s.Within(o.Visibility)
	case *resource.Team:
		return s.editor() || s.member(o.Name)
	case *resource.User:
		return o.Name == s.user
	case *resource.BearerToken:
		return s.managesToken(o.Owner) == nil
	case *resource.Policy, *resource.ResultPolicy:
		return s.editor()
	default:
		return false
	}
}

// Manages returns a Denied fault if the caller may not create, update or delete a resource in this state (G-5, G-7).
func (s Standing) Manages(o resource.Object) error {
	if s.all {
		return nil
	}
	switch o := o.(type) {
	case *resource.Server:
		return s.managesServer(o)
	case *resource.Tool:
		return s.require(s.editor(), "accept a tool's definition", "the role EDITOR")
	case *resource.Connection:
		return s.managesConnection(o.Owner)
	case *resource.Gateway:
		return s.managesGateway(o.Visibility)
	case *resource.Team:
		return s.require(s.teamAdmin(o.Name), "manage the team "+o.Name, "to be an admin of that team or the role ADMIN")
	case *resource.BearerToken:
		return s.managesToken(o.Owner)
	case *resource.IdentityProvider:
		return s.require(false, "manage identity providers", "the role ADMIN")
	case *resource.OAuthClient:
		return s.require(false, "manage OAuth clients", "the role ADMIN")
	case *resource.Policy:
		return s.require(s.editor(), "manage policies", "the role EDITOR")
	case *resource.ResultPolicy:
		return s.require(s.editor(), "manage result policies", "the role EDITOR")
	default:
		return s.require(false, "manage users", "the role ADMIN")
	}
}

// Explains reports whether the caller may be told everything about calls of anybody at a gateway: an ADMIN, and an EDITOR who manages
// it, who see the policies too (G-7).
func (s Standing) Explains(g *resource.Gateway) bool {
	return s.all || s.editor() && s.managesGateway(g.Visibility) == nil
}

// Creates is [Standing.Manages] for what does not exist yet: nobody is an admin of a team to be made.
func (s Standing) Creates(o resource.Object) error {
	if o.Kind() == resource.KindTeam {
		return s.require(s.all, "create or delete teams", "the role ADMIN")
	}
	return s.Manages(o)
}

// Deletes is [Standing.Manages] for a deletion: team admins manage their team and cannot delete it.
func (s Standing) Deletes(o resource.Object) error { return s.Creates(o) }

// UpdatesUser returns a Denied fault if the caller may not change a user in these fields: users may change their own
// display name and labels (G-7).
func (s Standing) UpdatesUser(u *resource.User, fields []string) error {
	own := u.Name == s.user && !slices.ContainsFunc(fields, func(f string) bool { return f != "display_name" && f != "labels" })
	return s.require(s.all || own, "change the role or state of a user, or another user", "the role ADMIN")
}

// SetsPassword returns a Denied fault if the caller may not set a user's password: users may set their own.
func (s Standing) SetsPassword(u *resource.User) error {
	return s.require(u.Name == s.user, "set another user's password", "the role ADMIN")
}

func (s Standing) managesServer(o *resource.Server) error {
	if o.Stdio != nil {
		return s.require(false, "manage a stdio server: its command runs on nodes", "the role ADMIN")
	}
	if o.CallerOnly() { // whoever says where it is would get tokens of everybody who calls it
		return s.require(false, "manage a server that gets tokens of its callers", "the role ADMIN")
	}
	return s.require(s.editor(), "manage servers", "the role EDITOR")
}

func (s Standing) managesConnection(o *resource.Owner) error {
	switch {
	case o == nil:
		return s.require(false, "manage a connection without owner", "the role ADMIN")
	case o.User != "":
		return s.require(o.User == s.user, "manage another user's connection", "the role ADMIN")
	case o.Team != "":
		return s.require(s.teamAdmin(o.Team), "manage connections of the team "+o.Team, "to be an admin of that team or the role ADMIN")
	default:
		return s.require(s.editor(), "manage connections of the organisation", "the role EDITOR")
	}
}

func (s Standing) managesGateway(v *resource.Visibility) error {
	switch {
	case v == nil:
		return s.require(false, "manage a gateway without visibility", "the role ADMIN")
	case v.Personal != nil:
		return s.require(v.Personal.Owner == s.user, "manage another user's personal gateway", "the role ADMIN")
	case v.Team != nil:
		return s.require(slices.ContainsFunc(v.Team.Teams, s.teamAdmin), "manage a gateway of these teams", "to be an admin of one of them or the role ADMIN")
	default:
		return s.require(s.editor(), "manage gateways of the organisation", "the role EDITOR")
	}
}

func (s Standing) managesToken(o *resource.Owner) error {
	switch {
	case s.all:
		return nil
	case o != nil && o.User != "":
		return s.require(o.User == s.user, "manage another user's bearer tokens", "the role ADMIN")
	case o != nil && o.Team != "":
		return s.require(s.teamAdmin(o.Team), "manage bearer tokens of the team "+o.Team, "to be an admin of that team or the role ADMIN")
	default:
		return s.require(false, "manage bearer tokens of the organisation or of service accounts", "the role ADMIN")
	}
}

func (s Standing) require(ok bool, doing, needs string) error {
	if ok || s.all {
		return nil
	}
	return fault.Newf(fault.Denied, ReasonRoleRequired, "You may not %s: that needs %s.", doing, needs)
}
