// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the refusals of G-11, all fault.Invalid.
const (
	// ReasonPinUserNotPersonal: a user's connection on a gateway that is not personal.
	ReasonPinUserNotPersonal = "PIN_USER_CONNECTION_NOT_PERSONAL"
	// ReasonPinOtherUser: a user's connection on another user's personal gateway.
	ReasonPinOtherUser = "PIN_USER_CONNECTION_OF_OTHER_USER"
	// ReasonPinOtherTeam: a team's connection on a team gateway that does not list the team.
	ReasonPinOtherTeam = "PIN_TEAM_CONNECTION_OF_OTHER_TEAM"
	// ReasonPinTeamOrganization: a team's connection on a gateway of the organisation.
	ReasonPinTeamOrganization = "PIN_TEAM_CONNECTION_ON_ORGANIZATION_GATEWAY"
	// ReasonPinNotMember: a team's connection on the personal gateway of somebody who is no member.
	ReasonPinNotMember = "PIN_TEAM_CONNECTION_OWNER_NO_MEMBER"
	// ReasonPinLendsTeam (Denied): a team's connection on a gateway of several teams, by somebody who does not manage
	// that team's connections. G-11 leaves it open; lending a team's credential to another team is for the team to decide.
	ReasonPinLendsTeam = "PIN_TEAM_CONNECTION_LENT"
)

// Reasons of the refusals of G-18.
const (
	// ReasonServerNotVisible (Denied): the caller is outside the server's visibility.
	ReasonServerNotVisible = "SERVER_NOT_VISIBLE"
	// ReasonOwnerOutsideServer (Invalid): the connection's owner is outside the server's visibility.
	ReasonOwnerOutsideServer = "OWNER_OUTSIDE_SERVER_VISIBILITY"
)

// Memberships tells whether a user is a member of a team.
type Memberships func(team, user string) bool

// Pin returns the problem of pinning a connection on a gateway (G-11), nil if there is none. It looks at owner and
// visibility only, never at who calls.
func Pin(g *resource.Gateway, c *resource.Connection, members Memberships) *resource.Problem {
	refuse := func(reason, format string, args ...any) *resource.Problem {
		text := fmt.Sprintf("the connection %q cannot be pinned on the gateway %q: ", c.Name, g.Name) + fmt.Sprintf(format, args...)
		return &resource.Problem{Kind: fault.Invalid, Reason: reason, Text: text}
	}
	v, o := g.Visibility, c.Owner
	switch {
	case o == nil || v == nil || o.Organization != nil:
		return nil // an incomplete resource is refused elsewhere; an organisation's connection may be anywhere
	case o.User != "" && v.Personal == nil:
		return refuse(ReasonPinUserNotPersonal, "it belongs to %s, and others would use it; make the gateway personal, or pin a connection of a team or of the organisation", o.User)
	case o.User != "" && v.Personal.Owner != o.User:
		return refuse(ReasonPinOtherUser, "it belongs to %s and the gateway to %s; pin a connection of %s", o.User, v.Personal.Owner, v.Personal.Owner)
	case o.User != "":
		return nil
	case v.Organization != nil:
		return refuse(ReasonPinTeamOrganization, "it belongs to the team %s and the gateway is for everybody; restrict the gateway to the team, or pin a connection of the organisation", o.Team)
	case v.Personal != nil && !members(o.Team, v.Personal.Owner):
		return refuse(ReasonPinNotMember, "it belongs to the team %s, and %s is no member of it; add them to the team, or pin another connection", o.Team, v.Personal.Owner)
	case v.Team != nil && !slices.Contains(v.Team.Teams, o.Team):
		return refuse(ReasonPinOtherTeam, "it belongs to the team %s, which the gateway does not list; add the team to the gateway, or pin a connection of one of its teams", o.Team)
	default:
		return nil
	}
}

// Lend returns the problem of a caller who pins a team's connection on a gateway that other teams use too.
func (s Standing) Lend(g *resource.Gateway, c *resource.Connection) *resource.Problem {
	if c.Owner == nil || c.Owner.Team == "" || g.Visibility == nil || g.Visibility.Team == nil || len(g.Visibility.Team.Teams) < 2 || s.teamAdmin(c.Owner.Team) {
		return nil
	}
	return &resource.Problem{Kind: fault.Denied, Reason: ReasonPinLendsTeam, Text: fmt.Sprintf(
		"the connection %q cannot be pinned on the gateway %q by you: other teams would use a credential of the team %s; ask an admin of that team to do it",
		c.Name, g.Name, c.Owner.Team)}
}

// Uses returns the problem of a caller who installs a connection of a server or assigns its tools from outside its
// visibility (G-18), nil if there is none.
func (s Standing) Uses(server *resource.Server) *resource.Problem {
	if s.all || s.Within(server.Visibility) {
		return nil
	}
	return &resource.Problem{Kind: fault.Denied, Reason: ReasonServerNotVisible, Text: fmt.Sprintf(
		"the server %q is not visible to you; ask an administrator to widen its visibility, or to do it for you", server.Name)}
}

// OwnerMayUse returns the problem of a connection whose owner is outside its server's visibility (G-18), nil if there is
// none.
func OwnerMayUse(server *resource.Server, owner *resource.Owner, members Memberships) *resource.Problem {
	v := server.Visibility
	var inside bool
	switch {
	case owner == nil || v == nil:
		return nil // refused elsewhere
	case v.Organization != nil:
		inside = true
	case owner.User != "" && v.Personal != nil:
		inside = v.Personal.Owner == owner.User
	case owner.User != "" && v.Team != nil:
		inside = slices.ContainsFunc(v.Team.Teams, func(t string) bool { return members(t, owner.User) })
	case owner.Team != "" && v.Team != nil:
		inside = slices.Contains(v.Team.Teams, owner.Team)
	}
	if inside {
		return nil
	}
	return &resource.Problem{Kind: fault.Invalid, Reason: ReasonOwnerOutsideServer, Text: fmt.Sprintf(
		"%s is outside the visibility of the server %q; widen the server's visibility, or choose an owner within it", OwnerText(owner), server.Name)}
}

// OwnerText names an owner for people.
func OwnerText(o *resource.Owner) string {
	switch {
	case o == nil:
		return "nobody"
	case o.User != "":
		return o.User
	case o.Team != "":
		return "the team " + o.Team
	case o.ServiceAccount != "":
		return "the service account " + o.ServiceAccount
	default:
		return "the organisation"
	}
}

// TokenReaches returns the problem of a bearer token for a gateway that its owner has no right to (ST-5, auth.md 8), nil
// if there is none.
func TokenReaches(owner *resource.Owner, g *resource.Gateway, members Memberships) *resource.Problem {
	v := g.Visibility
	var ok bool
	switch {
	case owner == nil || v == nil:
		return nil // refused elsewhere
	case owner.User != "" && v.Personal != nil:
		ok = v.Personal.Owner == owner.User
	case owner.User != "" && v.Team != nil:
		ok = slices.ContainsFunc(v.Team.Teams, func(t string) bool { return members(t, owner.User) })
	case owner.Team != "" && v.Team != nil:
		ok = slices.Contains(v.Team.Teams, owner.Team)
	case owner.ServiceAccount != "":
		ok = v.Personal == nil // what the account is granted is this list of gateways
	default:
		ok = v.Organization != nil
	}
	if ok {
		return nil
	}
	return &resource.Problem{Kind: fault.Invalid, Reason: ReasonTokenGateway, Text: fmt.Sprintf(
		"%s may not use the gateway %q; leave it out, or widen the gateway's visibility", OwnerText(owner), g.Name)}
}

// ReasonTokenGateway (Invalid): a bearer token would list a gateway that its owner may not use.
const ReasonTokenGateway = "TOKEN_GATEWAY_NOT_ALLOWED"
