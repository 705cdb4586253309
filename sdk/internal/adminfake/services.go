// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

type servers struct {
	adminv1connect.UnimplementedServerServiceHandler
	a *API
}

// GetServer implements the service.
func (s servers) GetServer(_ context.Context, req *adminv1.GetServerRequest) (*adminv1.GetServerResponse, error) {
	m, err := get[*resourcev1.Server](s.a, req.GetName())
	return &adminv1.GetServerResponse{Server: m}, err
}

// ListServers implements the service.
func (s servers) ListServers(_ context.Context, req *adminv1.ListServersRequest) (*adminv1.ListServersResponse, error) {
	page, next := list[*resourcev1.Server](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListServersResponse{Servers: page, NextPageToken: next}, nil
}

// DiscoverServer implements the service.
func (s servers) DiscoverServer(_ context.Context, req *adminv1.DiscoverServerRequest) (*adminv1.DiscoverServerResponse, error) {
	m, err := get[*resourcev1.Server](s.a, req.GetName())
	if err != nil {
		return nil, err
	}
	names, ok := s.a.Discovers[req.GetName()]
	if !ok {
		return nil, Failure(connect.CodeUnavailable, "UPSTREAM_UNREACHABLE", "Server "+req.GetName()+" did not answer.")
	}
	res := &adminv1.DiscoverServerResponse{Server: m}
	for _, name := range names {
		t := tool(req.GetName(), name)
		if s.a.store(t, false) == "created" {
			res.Added = append(res.Added, t.GetName())
		}
		res.Tools = append(res.Tools, t)
	}
	res.Revision = s.a.head()
	return res, nil
}

// AcceptServerInstructions implements the service.
func (s servers) AcceptServerInstructions(_ context.Context, req *adminv1.AcceptServerInstructionsRequest) (*adminv1.AcceptServerInstructionsResponse, error) {
	m, err := get[*resourcev1.Server](s.a, req.GetName())
	if err != nil {
		return nil, err
	}
	if m.GetStatus().GetPendingInstructionsHash() != req.GetPendingInstructionsHash() {
		return nil, Failure(connect.CodeAborted, "PENDING_DEFINITION_CHANGED", "Other instructions wait now.")
	}
	accepted := proto.CloneOf(m)
	accepted.Status.Instructions, accepted.Status.PendingInstructions, accepted.Status.PendingInstructionsHash = m.GetStatus().GetPendingInstructions(), "", ""
	s.a.store(accepted, req.GetValidateOnly())
	return &adminv1.AcceptServerInstructionsResponse{Server: accepted, Revision: s.a.head()}, nil
}

type tools struct {
	adminv1connect.UnimplementedToolServiceHandler
	a *API
}

// GetTool implements the service.
func (s tools) GetTool(_ context.Context, req *adminv1.GetToolRequest) (*adminv1.GetToolResponse, error) {
	m, err := get[*resourcev1.Tool](s.a, req.GetName())
	return &adminv1.GetToolResponse{Tool: m}, err
}

// ListTools implements the service.
func (s tools) ListTools(_ context.Context, req *adminv1.ListToolsRequest) (*adminv1.ListToolsResponse, error) {
	page, next := list[*resourcev1.Tool](s.a, req.GetPageSize(), req.GetPageToken(), req.GetFilter())
	return &adminv1.ListToolsResponse{Tools: page, NextPageToken: next}, nil
}

// AcceptTool implements the service.
func (s tools) AcceptTool(_ context.Context, req *adminv1.AcceptToolRequest) (*adminv1.AcceptToolResponse, error) {
	m, err := get[*resourcev1.Tool](s.a, req.GetName())
	if err != nil {
		return nil, err
	}
	if m.GetPendingBodyHash() != req.GetPendingBodyHash() {
		return nil, Failure(connect.CodeFailedPrecondition, "DEFINITION_CHANGED", "Another definition waits now.")
	}
	accepted := proto.CloneOf(m)
	accepted.Definition, accepted.PendingDefinition, accepted.PendingBodyHash = m.GetPendingDefinition(), nil, ""
	accepted.State = resourcev1.ToolState_TOOL_STATE_ACTIVE
	s.a.store(accepted, req.GetValidateOnly())
	return &adminv1.AcceptToolResponse{Tool: accepted, Revision: s.a.head()}, nil
}

type gateways struct {
	adminv1connect.UnimplementedGatewayServiceHandler
	a *API
}

// CreateGateway implements the service.
func (s gateways) CreateGateway(_ context.Context, req *adminv1.CreateGatewayRequest) (*adminv1.CreateGatewayResponse, error) {
	if _, err := get[*resourcev1.Gateway](s.a, req.GetGateway().GetName()); err == nil {
		return nil, Failure(connect.CodeAlreadyExists, "GATEWAY_EXISTS", "There is a gateway "+req.GetGateway().GetName()+" already.")
	}
	s.a.store(req.GetGateway(), req.GetValidateOnly())
	return &adminv1.CreateGatewayResponse{Gateway: req.GetGateway(), Revision: s.a.head()}, nil
}

// GetGateway implements the service.
func (s gateways) GetGateway(_ context.Context, req *adminv1.GetGatewayRequest) (*adminv1.GetGatewayResponse, error) {
	m, err := get[*resourcev1.Gateway](s.a, req.GetName())
	return &adminv1.GetGatewayResponse{Gateway: m}, err
}

// ListGateways implements the service.
func (s gateways) ListGateways(_ context.Context, req *adminv1.ListGatewaysRequest) (*adminv1.ListGatewaysResponse, error) {
	page, next := list[*resourcev1.Gateway](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListGatewaysResponse{Gateways: page, NextPageToken: next}, nil
}

// DeleteGateway implements the service.
func (s gateways) DeleteGateway(_ context.Context, req *adminv1.DeleteGatewayRequest) (*adminv1.DeleteGatewayResponse, error) {
	rev, err := remove[*resourcev1.Gateway](s.a, req.GetName(), req.GetEtag())
	return &adminv1.DeleteGatewayResponse{Revision: rev}, err
}

// GetConnectInstructions implements the service.
func (s gateways) GetConnectInstructions(_ context.Context, req *adminv1.GetConnectInstructionsRequest) (*adminv1.GetConnectInstructionsResponse, error) {
	m, err := get[*resourcev1.Gateway](s.a, req.GetGateway())
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(slices.Clone(s.a.Connect), func(i *adminv1.ConnectInstruction) bool {
		return req.GetClient() != "" && i.GetClient() != req.GetClient()
	})
	return &adminv1.GetConnectInstructionsResponse{Url: m.GetStatus().GetUrl(), TokenRequired: m.GetAuthentication().GetOauth() == nil && m.GetAuthentication().GetJwks() == nil, Instructions: all}, nil
}

type teams struct {
	adminv1connect.UnimplementedTeamServiceHandler
	a *API
}

// ListTeams implements the service.
func (s teams) ListTeams(_ context.Context, req *adminv1.ListTeamsRequest) (*adminv1.ListTeamsResponse, error) {
	page, next := list[*resourcev1.Team](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListTeamsResponse{Teams: page, NextPageToken: next}, nil
}

type tokens struct {
	adminv1connect.UnimplementedBearerTokenServiceHandler
	a *API
}

// CreateBearerToken implements the service.
func (s tokens) CreateBearerToken(_ context.Context, req *adminv1.CreateBearerTokenRequest) (*adminv1.CreateBearerTokenResponse, error) {
	t := req.GetBearerToken()
	if t.GetName() == "" {
		t.Name = "made-up"
	}
	t.ExpireTime = timestamppb.New(timestamppb.Now().AsTime().Add(t.GetTtl().AsDuration()))
	s.a.store(t, false)
	return &adminv1.CreateBearerTokenResponse{BearerToken: t, Revision: s.a.head(), Token: "pst_u_new"}, nil
}

// GetBearerToken implements the service.
func (s tokens) GetBearerToken(_ context.Context, req *adminv1.GetBearerTokenRequest) (*adminv1.GetBearerTokenResponse, error) {
	m, err := get[*resourcev1.BearerToken](s.a, req.GetName())
	return &adminv1.GetBearerTokenResponse{BearerToken: m}, err
}

// RotateBearerToken implements the service.
func (s tokens) RotateBearerToken(_ context.Context, req *adminv1.RotateBearerTokenRequest) (*adminv1.RotateBearerTokenResponse, error) {
	t, err := get[*resourcev1.BearerToken](s.a, req.GetName())
	if err != nil {
		return nil, err
	}
	t.PreviousExpireTime = nil
	if overlap := req.GetOverlap().AsDuration(); overlap > 0 {
		t.PreviousExpireTime = timestamppb.New(rotatedAt().Add(overlap))
	}
	if req.GetTtl() != nil {
		t.ExpireTime = timestamppb.New(rotatedAt().Add(req.GetTtl().AsDuration()))
	}
	return &adminv1.RotateBearerTokenResponse{BearerToken: t, Revision: s.a.head(), Token: "pst_u_rotated"}, nil
}

// rotatedAt is when the fake rotates every token.
func rotatedAt() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// DeleteBearerToken implements the service.
func (s tokens) DeleteBearerToken(_ context.Context, req *adminv1.DeleteBearerTokenRequest) (*adminv1.DeleteBearerTokenResponse, error) {
	rev, err := remove[*resourcev1.BearerToken](s.a, req.GetName(), req.GetEtag())
	return &adminv1.DeleteBearerTokenResponse{Revision: rev}, err
}

type nodes struct {
	adminv1connect.UnimplementedNodeServiceHandler
	a *API
}

// CreateJoinToken implements the service. The token tells what was asked for.
func (nodes) CreateJoinToken(_ context.Context, req *adminv1.CreateJoinTokenRequest) (*adminv1.CreateJoinTokenResponse, error) {
	return &adminv1.CreateJoinTokenResponse{
		JoinToken: "pjt_" + role(req.GetRole()) + "." + req.GetRegion() + "." + req.GetName(), SpiffeId: spiffeID(req.GetRole(), req.GetRegion(), req.GetName()),
		ExpireTime: timestamppb.New(time.Now().Add(req.GetLifetime().AsDuration())),
	}, nil
}

// BanWorkload implements the service.
func (nodes) BanWorkload(_ context.Context, req *adminv1.BanWorkloadRequest) (*adminv1.BanWorkloadResponse, error) {
	return &adminv1.BanWorkloadResponse{SpiffeId: spiffeID(req.GetRole(), req.GetRegion(), req.GetName())}, nil
}

func role(r adminv1.WorkloadRole) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(r.String(), "WORKLOAD_ROLE_")), "_", "")
}

func spiffeID(r adminv1.WorkloadRole, region, name string) string {
	if region != "" {
		region = "region/" + region + "/"
	}
	return "spiffe://penstock.internal/" + region + role(r) + "/" + name
}

// ListNodes implements the service.
func (s nodes) ListNodes(context.Context, *adminv1.ListNodesRequest) (*adminv1.ListNodesResponse, error) {
	return &adminv1.ListNodesResponse{Nodes: s.a.Nodes}, nil
}

type configuration struct {
	adminv1connect.UnimplementedConfigurationServiceHandler
	a *API
}

// Apply implements the service. A gateway's tool that no discovery found is refused, as a control plane does.
func (s configuration) Apply(_ context.Context, req *adminv1.ApplyRequest) (*adminv1.ApplyResponse, error) {
	res := &adminv1.ApplyResponse{}
	for _, r := range req.GetResources() {
		for _, t := range r.GetGateway().GetTools() {
			if _, err := get[*resourcev1.Tool](s.a, t.GetTool()); err != nil {
				server, _, _ := strings.Cut(t.GetTool(), "/")
				return nil, Failure(connect.CodeInvalidArgument, "UNKNOWN_TOOL",
					"Tool "+t.GetTool()+" is not known; discover it: penstock server discover "+server)
			}
		}
	}
	wanted := map[string]bool{}
	for _, r := range req.GetResources() {
		m := r.ProtoReflect()
		slot := m.WhichOneof(m.Descriptor().Oneofs().ByName("resource"))
		one := m.Get(slot).Message().Interface()
		wanted[key(one)] = true
		kind, name, _ := strings.Cut(key(one), " ")
		res.Resources = append(res.Resources, &adminv1.AppliedResource{Kind: kind, Name: name, Action: s.a.store(one, req.GetValidateOnly())})
	}
	if req.GetPrune() {
		res.Resources = append(res.Resources, s.a.prune(wanted, req.GetValidateOnly())...)
	}
	res.Revision = s.a.head()
	return res, nil
}

// prune deletes what is not wanted.
func (a *API) prune(wanted map[string]bool, dryRun bool) []*adminv1.AppliedResource {
	a.mu.Lock()
	defer a.mu.Unlock()
	var gone []*adminv1.AppliedResource
	for k := range a.resources {
		kind, name, _ := strings.Cut(k, " ")
		if wanted[k] || kind == "Tool" || kind == "BearerToken" {
			continue
		}
		gone = append(gone, &adminv1.AppliedResource{Kind: kind, Name: name, Action: "deleted"})
		if !dryRun {
			delete(a.resources, k)
			a.revision++
		}
	}
	return gone
}

// Export implements the service.
func (s configuration) Export(context.Context, *adminv1.ExportRequest) (*adminv1.ExportResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	var keys []string
	for k := range s.a.resources {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	res := &adminv1.ExportResponse{Revision: s.a.revision}
	for _, k := range keys {
		r := &adminv1.ManifestResource{}
		switch m := s.a.resources[k].(type) {
		case *resourcev1.Server:
			r.Resource = &adminv1.ManifestResource_Server{Server: m}
		case *resourcev1.Connection:
			r.Resource = &adminv1.ManifestResource_Connection{Connection: m}
		case *resourcev1.Gateway:
			r.Resource = &adminv1.ManifestResource_Gateway{Gateway: m}
		case *resourcev1.Team:
			r.Resource = &adminv1.ManifestResource_Team{Team: m}
		case *resourcev1.User:
			r.Resource = &adminv1.ManifestResource_User{User: m}
		case *resourcev1.IdentityProvider:
			r.Resource = &adminv1.ManifestResource_IdentityProvider{IdentityProvider: m}
		case *resourcev1.OAuthClient:
			r.Resource = &adminv1.ManifestResource_OauthClient{OauthClient: m}
		case *resourcev1.Policy:
			r.Resource = &adminv1.ManifestResource_Policy{Policy: m}
		case *resourcev1.ResultPolicy:
			r.Resource = &adminv1.ManifestResource_ResultPolicy{ResultPolicy: m}
		default:
			continue
		}
		res.Resources = append(res.Resources, r)
	}
	return res, nil
}

// WaitEnforced implements the service: connected nodes enforce what their enforced_revision says.
func (s configuration) WaitEnforced(_ context.Context, req *adminv1.WaitEnforcedRequest) (*adminv1.WaitEnforcedResponse, error) {
	rev := req.GetRevision()
	if rev == 0 {
		rev = s.a.head()
	}
	res := &adminv1.WaitEnforcedResponse{Revision: rev}
	for _, n := range s.a.Nodes {
		switch {
		case !n.GetConnected():
			res.DisconnectedNodes = append(res.DisconnectedNodes, n.GetName())
		case n.GetEnforcedRevision() >= rev:
			res.EnforcingNodes = append(res.EnforcingNodes, n.GetName())
		default:
			res.LaggingNodes = append(res.LaggingNodes, n.GetName())
		}
	}
	res.Enforced = len(res.GetLaggingNodes()) == 0
	return res, nil
}

// ListRevisions implements the service.
func (s configuration) ListRevisions(_ context.Context, req *adminv1.ListRevisionsRequest) (*adminv1.ListRevisionsResponse, error) {
	res := &adminv1.ListRevisionsResponse{}
	for _, r := range s.a.Revisions {
		if (req.GetBefore() == 0 || r.GetRevision() < req.GetBefore()) && len(res.GetRevisions()) < int(req.GetPageSize()) {
			res.Revisions = append(res.Revisions, r)
		}
	}
	return res, nil
}

// Rollback implements the service: it says that the gateway "eng" was brought back, and brings back nothing.
func (s configuration) Rollback(_ context.Context, req *adminv1.RollbackRequest) (*adminv1.RollbackResponse, error) {
	rev := s.a.head()
	if req.GetRevision() > rev {
		return nil, Failure(connect.CodeInvalidArgument, "REVISION_AHEAD", "There is no such revision yet.")
	}
	res := &adminv1.RollbackResponse{Revision: rev, Resources: []*adminv1.AppliedResource{
		{Kind: "Gateway", Name: "eng", Action: "updated", ChangedFields: []string{"tools"}},
	}}
	if !req.GetValidateOnly() {
		res.Revision++
	}
	return res, nil
}

// GetRollout implements the service.
func (s configuration) GetRollout(context.Context, *adminv1.GetRolloutRequest) (*adminv1.GetRolloutResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	if len(s.a.Rollouts) == 0 {
		return &adminv1.GetRolloutResponse{}, nil
	}
	res := s.a.Rollouts[0]
	if len(s.a.Rollouts) > 1 {
		s.a.Rollouts = s.a.Rollouts[1:]
	}
	return res, nil
}

// PromoteRollout implements the service.
func (s configuration) PromoteRollout(_ context.Context, req *adminv1.PromoteRolloutRequest) (*adminv1.PromoteRolloutResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	if len(s.a.Rollouts) == 0 || s.a.Rollouts[0].GetRevision() != req.GetRevision() {
		return nil, Failure(connect.CodeFailedPrecondition, "NO_ROLLOUT", "No staged rollout of that revision is running.")
	}
	return &adminv1.PromoteRolloutResponse{}, nil
}
