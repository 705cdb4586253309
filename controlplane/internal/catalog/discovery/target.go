// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Target returns what a node needs to list a server's tools, if the caller manages the server. Without the name of a
// connection it is the organisation's, else a team's, else any, first by name, among those with the credential that the
// server needs; nil for a server that needs none. Callers other than an ADMIN choose among connections they may see. Where
// calls run as the person who makes them, so does a discovery: as the one whose own the connection is, who is the caller if the
// caller has one.
func Target(ctx context.Context, d *desk.Desk, server, name string) (*resource.Server, *resource.Connection, error) {
	s, err := desk.See[*resource.Server](ctx, d, resource.KindServer, server)
	if err != nil {
		return nil, nil, err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := who.Manages(s); err != nil {
		return nil, nil, err
	}
	switch {
	case name != "":
		c, err := named(ctx, d, s, name)
		return s, c, err
	case s.NeedsSecret() || s.Made():
		c, err := best(ctx, d, s)
		return s, c, err
	default:
		return s, nil, nil
	}
}

// named returns the connection that was asked for, if it can be used.
func named(ctx context.Context, d *desk.Desk, s *resource.Server, name string) (*resource.Connection, error) {
	c, err := desk.See[*resource.Connection](ctx, d, resource.KindConnection, name)
	switch {
	case err != nil:
		return nil, err
	case c.Server != s.Name:
		return nil, fault.Newf(fault.Invalid, admission.ReasonPinOtherServer, "The connection %q is of the server %q, not of %q.", c.Name, c.Server, s.Name)
	case s.LacksClientSecret():
		return nil, noClientSecret(s)
	case s.CallerOnly() && !isPersons(c):
		return nil, fault.Newf(fault.Precondition, ReasonNeedsPerson, "The server %q is called as the person who calls, and the connection %q is nobody's own; "+
			"name a connection of a person who has logged in with the identity provider, or make your own%s.", s.Name, c.Name, connecting(s))
	case s.Lacks(c):
		return nil, fault.Newf(fault.Precondition, ReasonCredentialMissing, "The connection %q has no credential; set its secret_headers or secret_env, or have its owner connect it%s.", c.Name, connecting(s))
	default:
		return c, nil
	}
}

// best returns the connection to be used when none was asked for.
func best(ctx context.Context, d *desk.Desk, s *resource.Server) (*resource.Connection, error) {
	connections, err := desk.All[*resource.Connection](ctx, d, resource.KindConnection)
	if err != nil {
		return nil, err
	}
	if s.LacksClientSecret() {
		return nil, noClientSecret(s)
	}
	var chosen *resource.Connection
	for _, c := range connections {
		if c.Server != s.Name || s.Lacks(c) || s.CallerOnly() && !isPersons(c) || chosen != nil && rank(d, c) >= rank(d, chosen) {
			continue
		}
		ok, err := d.Sees(ctx, c)
		if err != nil {
			return nil, err
		}
		if ok {
			chosen = c
		}
	}
	switch {
	case chosen != nil:
		return chosen, nil
	case s.CallerOnly():
		return nil, fault.Newf(fault.Precondition, ReasonNeedsPerson, "The server %q is called as the person who calls, and no person has a connection of their own to it; "+
			"have somebody who has logged in with the identity provider make one first, or make your own%s.", s.Name, connecting(s))
	case s.Made():
		return nil, fault.Newf(fault.Precondition, ReasonCredentialMissing, "There is no connection of the server %q to list its tools over; create one first.", s.Name)
	default:
		return nil, fault.Newf(fault.Precondition, ReasonCredentialMissing,
			"The server %q needs a credential, and there is no connection of it with one; %s.", s.Name, firstConnection(s))
	}
}

// connecting names the command that a person connects the server with; empty if people do not.
func connecting(s *resource.Server) string {
	if !s.Connectable() {
		return ""
	}
	return ": penstock server connect " + s.Name
}

// firstConnection says how a server whose connections hold a credential gets the first one.
func firstConnection(s *resource.Server) string {
	switch {
	case !s.Connectable():
		return "create a connection with secrets first"
	case s.Credential.OAuth != nil: // only a person can have a grant
		return "connect it first" + connecting(s)
	default:
		return "create a connection with secrets first, or connect it yourself" + connecting(s)
	}
}

// isPersons reports whether a connection is a person's own.
func isPersons(c *resource.Connection) bool { return c.Owner != nil && c.Owner.User != "" }

func noClientSecret(s *resource.Server) error {
	return fault.Newf(fault.Precondition, ReasonCredentialMissing,
		"The client that the server %q gets its tokens as has no stored secret; set its client_secret first.", s.Name)
}

func rank(d *desk.Desk, c *resource.Connection) int {
	switch {
	case isPersons(c) && c.Owner.User != d.Caller.Email:
		return 3
	case c.Owner == nil || c.Owner.User != "":
		return 2
	case c.Owner.Team != "":
		return 1
	default:
		return 0
	}
}
