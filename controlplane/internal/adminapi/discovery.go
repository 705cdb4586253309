// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// defaultWait is the timeout of the two calls that wait for nodes.
const defaultWait = 30 * time.Second

// recordTimeout bounds what is written after a call that its caller may have given up.
const recordTimeout = 5 * time.Second

// DiscoverServer implements adminv1connect.ServerServiceHandler: a node lists the tools, the catalog stores what it found.
func (s servers) DiscoverServer(ctx context.Context, req *adminv1.DiscoverServerRequest) (*adminv1.DiscoverServerResponse, error) {
	name := req.GetName()
	server, connection, err := s.catalog.DiscoveryTarget(ctx, callerOf(ctx), name, req.GetConnection())
	if err != nil {
		return nil, err
	}
	wait := defaultWait
	if req.GetTimeout() != nil {
		wait = req.GetTimeout().AsDuration()
	}
	found, err := s.discover(ctx, wait, server, connection)
	if err != nil {
		return nil, err
	}
	out, err := s.catalog.RecordDiscovery(ctx, name, found)
	if err != nil {
		return nil, fmt.Errorf("record discovery of server %s: %w", name, err)
	}
	res := &adminv1.DiscoverServerResponse{Added: out.Added, Changed: out.Changed, Removed: out.Removed, Revision: uint64(out.Revision)}
	if res.Server, err = get[*resourcev1.Server](ctx, s.api, catalog.KindServer, name); err != nil {
		return nil, err
	}
	res.Tools, err = s.toolsOf(ctx, name)
	return res, err
}

// discover asks a node and records a failure, so that the server's status says why its tools are not known.
func (s servers) discover(ctx context.Context, wait time.Duration, server *catalog.Server, connection *catalog.Connection) (catalog.Discovery, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	found, err := s.discoverer.Discover(waiting, server, connection)
	if err == nil || ctx.Err() != nil {
		return found, err
	}
	f := fault.From(err)
	if f.Kind == fault.Timeout && f.Reason == fault.ReasonTimeout {
		f = fault.Newf(fault.Timeout, "DISCOVERY_TIMEOUT", "Server %s was not discovered within %s.", server.Name, wait).Because(err)
	}
	// The caller may hang up while the failure is being written; it is written all the same.
	detached, cancelRecord := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancelRecord()
	if errRecord := s.catalog.RecordDiscoveryFailure(detached, server.Name, f.Reason, f.Public); errRecord != nil {
		return found, fmt.Errorf("record failed discovery of server %s: %w", server.Name, errRecord)
	}
	return found, f
}

// toolsOf returns all tools of a server, in name order, without definitions.
func (s servers) toolsOf(ctx context.Context, server string) ([]*resourcev1.Tool, error) {
	var all []*resourcev1.Tool
	req := &adminv1.ListToolsRequest{PageSize: 1000, Filter: fmt.Sprintf("server = %q", server)}
	for {
		page, next, err := list[*resourcev1.Tool](ctx, s.api, catalog.KindTool, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" {
			break
		}
		req.PageToken = next
	}
	slices.SortFunc(all, func(a, b *resourcev1.Tool) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, nil
}
