// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/deploy/bench/synthetic"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// The gateways have parts in the measurement, by number, so that none waits for the write of another: the first ones, with
// most tools, are in the burst; the last quarter has the rest.

// quiet returns the n-th of those that are not in the burst.
func (b *bench) quiet(n int) int { return b.Gateways - 1 - n%b.quiets() }

// quiets is how many there are.
func (b *bench) quiets() int { return max(1, b.Gateways/4) }

// update stores a gateway and returns the revision that it made.
func (b *bench) update(ctx context.Context, g *resourcev1.Gateway, field string) (uint64, error) {
	made, err := b.client.Gateways.UpdateGateway(ctx, &adminv1.UpdateGatewayRequest{
		Gateway: g, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{field}},
	})
	if err != nil {
		return 0, fmt.Errorf("update %s: %w", g.GetName(), err)
	}
	return made.GetRevision(), nil
}

// edited describes one tool of a gateway anew: with each call in other words, because what is there already is no change.
func (b *bench) edited(gateway int) *resourcev1.Gateway {
	g := &resourcev1.Gateway{Name: synthetic.GatewayName(gateway), Tools: b.catalogue.Assignments(gateway)}
	g.Tools[0].Description = fmt.Sprintf("Edition %d of %s of what this tool is said to do.", b.editions.Add(1), b.result.Time)
	return g
}

// change is a change of one tool.
func (b *bench) change(ctx context.Context, n int) (uint64, error) {
	return b.update(ctx, b.edited(b.quiet(n)), "tools")
}

// deny takes one tool off the n-th gateway.
func (b *bench) deny(ctx context.Context, n int) (uint64, error) {
	gateway := b.quiet(n)
	return b.update(ctx, &resourcev1.Gateway{Name: synthetic.GatewayName(gateway), Tools: b.catalogue.Assignments(gateway)[1:]}, "tools")
}

// allow puts all tools on their gateways again.
func (b *bench) allow(ctx context.Context) error {
	made, err := b.client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: b.catalogue.Published(b.Gateways-b.quiets(), b.Gateways)})
	if err != nil {
		return fmt.Errorf("apply what was denied: %w", err)
	}
	_, err = b.fleet.at(ctx, made.GetRevision())
	return err
}

// flip hides a gateway from all but a team, or shows it to all again.
func (b *bench) flip(ctx context.Context, n int) (uint64, error) {
	g := &resourcev1.Gateway{Name: synthetic.GatewayName(b.quiet(n / 2)), Visibility: synthetic.Everyone()}
	if n%2 == 0 {
		g.Visibility = &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: []string{team}}}}
	}
	return b.update(ctx, g, "visibility")
}

// propose has a node report a changed definition of one more tool, as it does when a server tells of a change. The simulated
// nodes report nothing, so this program does.
func (b *bench) propose(ctx context.Context, _ int) (uint64, error) {
	name := synthetic.ServerName(0)
	b.edit = name + "/" + synthetic.ToolName(b.upstream.Edit())
	_, err := nodev1.NewNodeServiceClient(b.asNodes).ReportDiscovery(ctx, &nodev1.ReportDiscoveryRequest{
		Server: name, Result: &nodev1.ReportDiscoveryRequest_Discovered{Discovered: &nodev1.Discovered{
			ProtocolVersion: synthetic.MCPVersion, Capabilities: []byte(`{"tools":{}}`), Tools: b.upstream.Definitions(0),
		}},
	})
	if err != nil {
		return 0, fmt.Errorf("report %s: %w", name, err)
	}
	head, err := b.client.Configuration.GetHead(ctx, &adminv1.GetHeadRequest{})
	if err != nil {
		return 0, fmt.Errorf("get the head: %w", err)
	}
	return head.GetRevision(), nil
}

// accept has an administrator accept it: from then on nodes have the new definition.
func (b *bench) accept(ctx context.Context, _ int) (uint64, error) {
	found, err := b.client.Tools.GetTool(ctx, &adminv1.GetToolRequest{Name: b.edit})
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", b.edit, err)
	}
	hash := found.GetTool().GetPendingBodyHash()
	if hash == "" {
		return 0, fmt.Errorf("the change of %s was not noticed", b.edit)
	}
	made, err := b.client.Tools.AcceptTool(ctx, &adminv1.AcceptToolRequest{Name: b.edit, PendingBodyHash: hash})
	if err != nil {
		return 0, fmt.Errorf("accept %s: %w", b.edit, err)
	}
	return made.GetRevision(), nil
}

// asNode connects to the control plane with a node's certificate.
func (b *bench) asNode() error {
	config, err := tlsx.Client(tlsx.Files{Cert: b.nodeTLS[1], Key: b.nodeTLS[3], CA: b.nodeTLS[5]}, synthetic.TrustDomain, ident.RoleControlPlane)
	if err != nil {
		return fmt.Errorf("make the certificate of a node ready: %w", err)
	}
	b.asNodes, err = grpc.NewClient(b.nodesAddr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	return err
}

// rewrite changes as many tools as the burst has, with one request, and returns how many those were.
func (b *bench) rewrite(ctx context.Context, edition int) (revision uint64, changes int, err error) {
	var list []*adminv1.ManifestResource
	for n := 0; changes < b.Burst; n++ {
		published := b.catalogue.Published(n, n+1)
		for _, a := range published[0].GetGateway().GetTools() {
			a.Description = fmt.Sprintf("Edition %d in the burst of %s.", edition, b.result.Time)
			changes++
		}
		list = append(list, published...)
	}
	made, err := b.client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: list})
	if err != nil {
		return 0, 0, fmt.Errorf("apply the burst: %w", err)
	}
	return made.GetRevision(), changes, nil
}

// paced calls write so often a second until the time is over, each on a goroutine of its own, and returns the revisions.
func paced(ctx context.Context, rate int, d time.Duration, write func(ctx context.Context, n int) (uint64, error)) (revisions []uint64, err error) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var mu sync.Mutex
	var group sync.WaitGroup
	for n := range int(d.Seconds() * float64(rate)) {
		select {
		case <-ctx.Done():
			group.Wait()
			return nil, ctx.Err()
		case <-tick.C:
		}
		group.Go(func() {
			revision, failed := write(ctx, n)
			mu.Lock()
			defer mu.Unlock()
			if failed != nil {
				err = failed
				return
			}
			revisions = append(revisions, revision)
		})
	}
	group.Wait()
	return revisions, err
}
