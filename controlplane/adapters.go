// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
)

// fleet shows the node streams to the admin API.
type fleet struct{ streams *distribute.Server }

// WaitEnforced implements adminapi.Fleet.
func (f fleet) WaitEnforced(ctx context.Context, rev catalog.Revision) (adminapi.Enforcement, error) {
	e := f.streams.WaitEnforced(ctx, rev)
	return adminapi.Enforcement{
		Enforced: e.Enforced, Enforcing: e.Enforcing, Lagging: e.Lagging, Disconnected: e.Disconnected,
	}, nil
}

// Nodes implements adminapi.Fleet.
func (f fleet) Nodes(context.Context) ([]adminapi.Node, error) {
	var out []adminapi.Node
	for _, n := range f.streams.Nodes() {
		node := adminapi.Node{
			Name: n.Name, Region: n.Region, Build: n.Build, Connected: n.Connected, Epoch: n.Epoch,
			Enforced: n.Enforced, Denied: n.Denied, Lag: n.Lag, Seen: n.Seen,
		}
		for _, r := range n.Rejects {
			node.Rejects = append(node.Rejects, adminapi.Reject(r))
		}
		out = append(out, node)
	}
	return out, nil
}

// discoverer has nodes list servers for the admin API.
type discoverer struct{ nodes *nodeapi.Server }

// Discover implements adminapi.Discoverer.
func (d discoverer) Discover(ctx context.Context, s *catalog.Server, c *catalog.Connection) (catalog.Discovery, error) {
	task, err := feed.DiscoverTask(s, c)
	if err != nil {
		return catalog.Discovery{}, err
	}
	found, err := d.nodes.Discover(ctx, task)
	if err != nil {
		return catalog.Discovery{}, err
	}
	return catalog.Discovery{
		ProtocolVersion: found.GetProtocolVersion(), ServerInfo: found.GetServerInfo(), Capabilities: found.GetCapabilities(),
		Instructions: found.GetInstructions(), Tools: found.GetTools(),
	}, nil
}

// enforced breaks the circle between catalog, which shows what is enforced, and the streams, which follow the catalog's
// log: it is filled right after both exist and before anything runs.
type enforced struct{ streams *distribute.Server }

// Enforced implements catalog.Status.
func (e *enforced) Enforced(rev catalog.Revision) bool { return e.streams.Enforced(rev) }
