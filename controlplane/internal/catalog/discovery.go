// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/discovery"
)

// Discovery is what a node learned from a server.
type Discovery = discovery.Discovery

// DiscoveryOutcome names the tools that a discovery found different.
type DiscoveryOutcome = discovery.Outcome

// DiscoveryTarget returns what a node needs to list a server's tools, if the caller manages the server. Without the name
// of a connection it is the organisation's, else a team's, else any, first by name, among those with the credential that
// the server needs; nil for a server that needs none. Callers other than an ADMIN choose among connections they may see.
func (c *Catalog) DiscoveryTarget(ctx context.Context, caller Caller, server, connection string) (s *Server, conn *Connection, err error) {
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		s, conn, err = discovery.Target(ctx, desk.New(r, caller), server, connection)
		return err
	})
	return s, conn, err
}

// RecordDiscovery stores what a node learned from a server, as one revision at most (D-5). New tools are known from then
// on and on no gateway. A changed definition waits to be accepted, or is accepted at once, as the server's tool_changes
// says (G-16), and so do changed instructions (M-58). Tools that are gone are marked REMOVED and stay where they are
// assigned. Prompts and templates are taken as they are. A definition that cannot be used is left out, which the server's
// status says.
func (c *Catalog) RecordDiscovery(ctx context.Context, server string, d Discovery) (DiscoveryOutcome, error) {
	found := discovery.Read(d)
	var out DiscoveryOutcome
	rev, _, err := c.write(ctx, Caller{System: true}, false, nil, func(d *draft) (err error) {
		out, err = discovery.Record(ctx, d.Draft, server, found)
		return err
	})
	if err != nil {
		return DiscoveryOutcome{}, err
	}
	out.Revision = rev
	return out, c.facts.Discovered(ctx, server, found.Left)
}

// RecordDiscoveryFailure keeps why a server could not be discovered. It makes no revision.
func (c *Catalog) RecordDiscoveryFailure(ctx context.Context, server, reason, detail string) error {
	return c.facts.DiscoveryFailed(ctx, server, reason, detail)
}

// RecordStatus takes what nodes noticed: the last uses of bearer tokens and the outcomes of calls over connections. It
// makes no revision.
func (c *Catalog) RecordStatus(ctx context.Context, uses []TokenUse, checks []ConnectionCheck) error {
	return c.facts.RecordStatus(ctx, uses, checks)
}

// AcceptTool makes the definition that waits the accepted one. PendingHash is the one that was reviewed, in hexadecimal:
// if another waits by now, the fault is Conflict.
func (c *Catalog) AcceptTool(ctx context.Context, caller Caller, name, pendingHash string, opt WriteOptions) (Written, error) {
	var out Object
	rev, changed, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
		if err := discovery.Accept(ctx, d.Draft, name, pendingHash); err != nil {
			return err
		}
		out, err = d.Full(ctx, KindTool, name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}

// AcceptInstructions makes the instructions of a server that wait the accepted ones. PendingHash is of those that were
// reviewed, in hexadecimal: if others wait by now, the fault is Conflict.
func (c *Catalog) AcceptInstructions(ctx context.Context, caller Caller, server, pendingHash string, opt WriteOptions) (Written, error) {
	var out Object
	rev, changed, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
		if err := discovery.AcceptInstructions(ctx, d.Draft, server, pendingHash); err != nil {
			return err
		}
		out, err = d.Full(ctx, KindServer, server)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}
