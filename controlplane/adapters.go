// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// fleet shows the node streams to the admin API.
type fleet struct{ streams *distribute.Server }

// WaitEnforced implements adminapi.Fleet.
func (f fleet) WaitEnforced(ctx context.Context, rev catalog.Revision, whole bool) (adminapi.Enforcement, error) {
	e := f.streams.WaitEnforced(ctx, rev, whole)
	return adminapi.Enforcement{
		Enforced: e.Enforced, Enforcing: e.Enforcing, Lagging: e.Lagging, Disconnected: e.Disconnected,
	}, nil
}

// Nodes implements adminapi.Fleet.
func (f fleet) Nodes(context.Context) ([]adminapi.Node, error) {
	var out []adminapi.Node
	for _, n := range f.streams.Nodes() {
		node := adminapi.Node{
			Name: n.Name, Region: n.Region, Build: n.Build, Connected: n.Connected, Replica: n.Replica, Epoch: n.Epoch,
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
	return nodeapi.Found(found), nil
}

// explainer has a node say what would become of a call, for the admin API.
type explainer struct {
	nodes   *nodeapi.Server
	streams *distribute.Server
}

// Explain implements adminapi.Explainer.
func (e explainer) Explain(ctx context.Context, req *adminv1.ExplainRequest) (*adminv1.ExplainResponse, error) {
	task := &distributionv1.ExplainTask{Question: req.GetQuestion(), Node: req.GetNode()}
	if err := e.streams.Explainable(task); err != nil {
		return nil, err
	}
	found, err := e.nodes.Explain(ctx, task)
	if err != nil {
		return nil, err
	}
	return &adminv1.ExplainResponse{Explanation: found.GetExplanation()}, nil
}

// nodes breaks the circle between catalog, which shows what the nodes enforce and asks what they can, and the streams,
// which follow the catalog's log: it is filled right after both exist and before anything runs.
type nodes struct{ streams *distribute.Server }

// Enforced implements catalog.Status.
func (n *nodes) Enforced(rev catalog.Revision) bool { return n.streams.Enforced(rev) }

// Lacking implements catalog.Capabilities.
func (n *nodes) Lacking(capability string) []string { return n.streams.Lacking(capability) }

// LackingAuthservers implements catalog.Capabilities.
func (n *nodes) LackingAuthservers(capability string) []string {
	return n.streams.LackingAuthservers(capability)
}

// authserver returns the name of the authserver that makes a call.
func authserver(ctx context.Context) (string, error) {
	w, err := enroll.Peer(ctx, ident.RoleAuthserver)
	return w.Name, err
}

// revocations gives the streams the sequence of revocations.
type revocations struct{ store *sqlstore.Store }

// Revoke implements distribute.Revocations.
func (r revocations) Revoke(ctx context.Context, list []distribute.Revocation) error {
	entries := make([]sqlstore.Revocation, len(list))
	for i, e := range list {
		entries[i] = sqlstore.Revocation(e)
	}
	return r.store.Revoke(ctx, entries)
}

// Revocations implements distribute.Revocations.
func (r revocations) Revocations(ctx context.Context, after uint64, limit int) (distribute.RevocationPage, error) {
	head, list, err := r.store.Revocations(ctx, after, limit)
	page := distribute.RevocationPage{Epoch: head.Epoch, Head: head.Seq}
	for _, e := range list {
		page.Entries = append(page.Entries, distribute.Revocation(e))
	}
	return page, err
}

// WatchRevocations implements distribute.Revocations.
func (r revocations) WatchRevocations(ctx context.Context) (<-chan struct{}, error) {
	return r.store.WatchRevocations(ctx)
}
