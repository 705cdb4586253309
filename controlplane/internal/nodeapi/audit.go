// SPDX-License-Identifier: Apache-2.0

package nodeapi

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Uploads takes what nodes recorded (audit room).
type Uploads interface {
	Upload(ctx context.Context, u audit.Upload) (stored uint64, err error)
}

// AuditServer serves the audit of penstock.node.v1. It is safe for concurrent use.
type AuditServer struct {
	nodev1.UnimplementedAuditServiceServer
	uploads Uploads
	log     *slog.Logger
}

// NewAudit returns an AuditServer.
func NewAudit(u Uploads, log *slog.Logger) *AuditServer { return &AuditServer{uploads: u, log: log} }

// Register adds the service to a gRPC server.
func (s *AuditServer) Register(g grpc.ServiceRegistrar) { nodev1.RegisterAuditServiceServer(g, s) }

// UploadAudit implements AuditService.
func (s *AuditServer) UploadAudit(ctx context.Context, r *nodev1.UploadAuditRequest) (*nodev1.UploadAuditResponse, error) {
	if err := admit(ctx, r); err != nil {
		return nil, err
	}
	node, err := enroll.Peer(ctx, ident.RoleNode)
	if err != nil {
		return nil, err //nolint:wrapcheck // admit has seen to it
	}
	u := audit.Upload{Node: node.String(), Queue: r.GetQueue(), First: r.GetFirstSequence(), Events: make([]audit.Event, 0, len(r.GetEvents()))}
	for _, m := range r.GetEvents() {
		u.Events = append(u.Events, called(node.Name, m))
	}
	stored, err := s.uploads.Upload(ctx, u)
	if err != nil {
		s.log.WarnContext(ctx, "audit events of a node not stored", slog.String(obs.AttrNode, node.Name), slog.Any(obs.AttrError, err))
		return nil, status.Error(codes.Unavailable, "the events could not be stored: send them again")
	}
	return &nodev1.UploadAuditResponse{StoredSequence: stored}, nil
}

// called is the event of a tool call. Who recorded it is what its certificate says.
func called(node string, m *nodev1.ToolCallEvent) audit.Event {
	p := m.GetPrincipal()
	return audit.Event{
		Time: m.GetTime().AsTime(), Source: audit.ToolCall,
		Principal: audit.Principal{
			Kind: p.GetKind(), UID: p.GetUid(), Name: p.GetName(), AuthMethod: p.GetAuthMethod(), TokenID: p.GetTokenId(), ClientID: p.GetClientId(),
		},
		Outcome: m.GetOutcome(), Reason: m.GetReason(), Revision: m.GetRevision(), RequestID: m.GetRequestId(), TraceID: m.GetTraceId(),
		Call: &audit.Call{
			Node: node, Gateway: m.GetGateway(), GatewayUID: m.GetGatewayUid(), Tool: m.GetTool(), RequestedName: m.GetRequestedName(),
			Door: m.GetDoor(), Server: m.GetServer(), Connection: m.GetConnection(), ConnectionOwner: m.GetConnectionOwner(),
			Policy: m.GetPolicy(), PolicyAction: m.GetPolicyAction(), GatewayUS: m.GetGatewayUs(), CredentialUS: m.GetCredentialUs(),
			UpstreamUS: m.GetUpstreamUs(), RequestBytes: m.GetRequestBytes(), ResponseBytes: m.GetResponseBytes(),
			ClientName: m.GetClientName(), ClientVersion: m.GetClientVersion(), ProtocolVersion: m.GetProtocolVersion(),
			DroppedBefore: m.GetDroppedBefore(),
		},
	}
}
