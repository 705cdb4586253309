// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// nodes serves NodeService.
type nodes struct{ *api }

var _ adminv1connect.NodeServiceHandler = nodes{}

// Workload is what joins or is banned: Role is "node", "authserver" or "controlplane".
type Workload struct{ Role, Region, Name string }

// JoinToken is a join token as it is shown once.
type JoinToken struct {
	Token, SPIFFEID string
	Expire          time.Time
}

// Enrollment lets workloads join and shuts them out.
type Enrollment interface {
	// CreateJoinToken makes a token with which w can enroll, once. Without a built-in authority the fault is Precondition; for a
	// banned workload it is Denied.
	CreateJoinToken(ctx context.Context, w Workload, lifetime time.Duration, actor string) (JoinToken, error)
	// BanWorkload shuts w out for ever and returns its SPIFFE id.
	BanWorkload(ctx context.Context, w Workload, reason, actor string) (id string, err error)
}

// joinTokenLife is the default life of a join token.
const joinTokenLife = time.Hour

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

// CreateJoinToken implements adminv1connect.NodeServiceHandler.
func (s nodes) CreateJoinToken(ctx context.Context, req *adminv1.CreateJoinTokenRequest) (*adminv1.CreateJoinTokenResponse, error) {
	w, err := s.workload(ctx, req)
	if err != nil {
		return nil, err
	}
	if w.Region != "" && req.GetRole() > adminv1.WorkloadRole_WORKLOAD_ROLE_NODE {
		return nil, fault.New(fault.Invalid, "REGION_NOT_USED", "Only a node has a region.").At("region", "is set for what is no node")
	}
	life := joinTokenLife
	if req.GetLifetime() != nil {
		life = req.GetLifetime().AsDuration()
	}
	t, err := s.enrollment.CreateJoinToken(ctx, w, life, callerOf(ctx).Actor())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateJoinTokenResponse{JoinToken: t.Token, SpiffeId: t.SPIFFEID, ExpireTime: timestamppb.New(t.Expire)}, nil
}

// BanWorkload implements adminv1connect.NodeServiceHandler.
func (s nodes) BanWorkload(ctx context.Context, req *adminv1.BanWorkloadRequest) (*adminv1.BanWorkloadResponse, error) {
	w, err := s.workload(ctx, req)
	if err != nil {
		return nil, err
	}
	id, err := s.enrollment.BanWorkload(ctx, w, req.GetReason(), callerOf(ctx).Actor())
	if err != nil {
		return nil, err
	}
	return &adminv1.BanWorkloadResponse{SpiffeId: id}, nil
}

// workload reads who is meant, if the caller may do that.
func (s nodes) workload(ctx context.Context, req interface {
	GetRole() adminv1.WorkloadRole
	GetName() string
	GetRegion() string
},
) (Workload, error) {
	if err := requireAdmin(ctx); err != nil {
		return Workload{}, err
	}
	if s.enrollment == nil {
		return Workload{}, fault.New(fault.Precondition, "ENROLLMENT_OFF", "This control plane lets nobody join.")
	}
	w := Workload{Role: string(ident.RoleNode), Region: req.GetRegion(), Name: req.GetName()}
	switch req.GetRole() {
	case adminv1.WorkloadRole_WORKLOAD_ROLE_UNSPECIFIED, adminv1.WorkloadRole_WORKLOAD_ROLE_NODE:
	case adminv1.WorkloadRole_WORKLOAD_ROLE_AUTHSERVER:
		w.Role = string(ident.RoleAuthserver)
	case adminv1.WorkloadRole_WORKLOAD_ROLE_CONTROL_PLANE:
		w.Role = string(ident.RoleControlPlane)
	}
	return w, nil
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
		Name: n.Name, Region: n.Region, Connected: n.Connected, Replica: n.Replica, Build: n.Build, Epoch: n.Epoch,
		EnforcedRevision: uint64(n.Enforced), DenyRevision: uint64(n.Denied), LagSeconds: n.Lag.Seconds(),
		Banned: n.Banned,
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
