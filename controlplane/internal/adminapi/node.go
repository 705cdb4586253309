// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// nodes serves NodeService.
type nodes struct{ *api }

// nodePage is the default page size.
const nodePage = 100

// nodeTokenPrefix tells page tokens of nodes from those of other lists.
const nodeTokenPrefix = "node:"

// GetNode implements adminv1connect.NodeServiceHandler.
func (s nodes) GetNode(ctx context.Context, req *adminv1.GetNodeRequest) (*adminv1.GetNodeResponse, error) {
	all, err := s.sorted(ctx)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearchFunc(all, req.GetName(), func(n Node, name string) int { return strings.Compare(n.Name, name) })
	if !ok {
		return nil, fault.Newf(fault.NotFound, "NODE_NOT_FOUND", "There is no node %s.", req.GetName())
	}
	return &adminv1.GetNodeResponse{Node: all[i].message()}, nil
}

// ListNodes implements adminv1connect.NodeServiceHandler.
func (s nodes) ListNodes(ctx context.Context, req *adminv1.ListNodesRequest) (*adminv1.ListNodesResponse, error) {
	all, err := s.sorted(ctx)
	if err != nil {
		return nil, err
	}
	after, err := nodeAfter(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	first, _ := slices.BinarySearchFunc(all, after, func(n Node, name string) int {
		if n.Name <= name && name != "" {
			return -1
		}
		return 1
	})
	size := int(req.GetPageSize())
	if size == 0 {
		size = nodePage
	}
	res := &adminv1.ListNodesResponse{}
	for _, n := range all[first:min(first+size, len(all))] {
		res.Nodes = append(res.Nodes, n.message())
	}
	if first+size < len(all) {
		res.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(nodeTokenPrefix + all[first+size-1].Name))
	}
	return res, nil
}

// sorted returns all nodes in name order.
func (s nodes) sorted(ctx context.Context) ([]Node, error) {
	if err := requireAdmin(ctx); err != nil {
		return nil, err
	}
	all, err := s.fleet.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// nodeAfter returns the name that a page token says to begin after.
func nodeAfter(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	name, ok := strings.CutPrefix(string(raw), nodeTokenPrefix)
	if err != nil || !ok {
		return "", fault.New(fault.Invalid, "PAGE_TOKEN_INVALID", "The page token is not one that ListNodes returned.").
			At("page_token", "is not a page token of nodes")
	}
	return name, nil
}

// message encodes a node.
func (n Node) message() *adminv1.Node {
	m := &adminv1.Node{
		Name: n.Name, Region: n.Region, Connected: n.Connected, Build: n.Build, Epoch: n.Epoch,
		EnforcedRevision: uint64(n.Enforced), DenyRevision: uint64(n.Denied), LagSeconds: n.Lag.Seconds(),
	}
	if !n.Seen.IsZero() {
		m.SeenTime = timestamppb.New(n.Seen)
	}
	for _, r := range n.Rejects {
		m.Rejects = append(m.Rejects, &adminv1.RejectedResource{
			Kind: r.Kind, Name: r.Name, Reason: r.Reason, Detail: r.Detail, Revision: uint64(r.Revision),
		})
	}
	return m
}
