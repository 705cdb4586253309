// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Audit is what was done (audit room).
type Audit interface {
	// List returns the events that a caller may see.
	List(ctx context.Context, c catalog.Caller, f audit.Filter) (audit.Page, error)
	// Record takes the event of a write. It does not wait for a disk.
	Record(ctx context.Context, e audit.Event)
}

// events serves AuditService.
type events struct{ *api }

var _ adminv1connect.AuditServiceHandler = events{}

const (
	eventPage        = 100
	eventTokenPrefix = "audit:"
)

// ListAuditEvents implements adminv1connect.AuditServiceHandler.
func (s events) ListAuditEvents(ctx context.Context, req *adminv1.ListAuditEventsRequest) (*adminv1.ListAuditEventsResponse, error) {
	if s.audit == nil {
		return nil, fault.New(fault.Precondition, "AUDIT_OFF", "This control plane keeps no audit.")
	}
	f := audit.Filter{
		Source: audit.Source(req.GetSource()), Gateway: req.GetGateway(), Policy: req.GetPolicy(), Tool: req.GetTool(),
		Principal: req.GetPrincipal(), Outcome: req.GetOutcome(), After: req.AfterId, Limit: int(req.GetPageSize()),
	}
	if req.GetStartTime() != nil {
		f.Start = req.GetStartTime().AsTime()
	}
	if req.GetEndTime() != nil {
		f.End = req.GetEndTime().AsTime()
	}
	if f.Limit == 0 {
		f.Limit = eventPage
	}
	if err := afterEvent(req, &f); err != nil {
		return nil, err
	}
	page, err := s.audit.List(ctx, callerOf(ctx), f)
	if err != nil {
		return nil, err
	}
	res := &adminv1.ListAuditEventsResponse{LastId: page.LastID}
	for i := range page.Events {
		res.Events = append(res.Events, eventMessage(&page.Events[i]))
	}
	if n := len(page.Events); n == f.Limit && f.After == nil {
		last := page.Events[n-1]
		text := eventTokenPrefix + strconv.FormatInt(last.Time.UnixMicro(), 10) + ":" + strconv.FormatUint(last.ID, 10)
		res.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	return res, nil
}

// afterEvent reads where a page begins.
func afterEvent(req *adminv1.ListAuditEventsRequest, f *audit.Filter) error {
	if f.After != nil {
		if req.GetPageToken() != "" {
			return fault.New(fault.Invalid, "PAGE_TOKEN_INVALID", "after_id and page_token do not go together.").At("page_token", "is set beside after_id")
		}
		if *f.After > 1<<62 {
			return fault.New(fault.Invalid, "EVENT_ID_INVALID", "after_id is no id of an event.").At("after_id", "is too large")
		}
		return nil
	}
	if req.GetPageToken() == "" {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	text, ok := strings.CutPrefix(string(raw), eventTokenPrefix)
	at, id, whole := strings.Cut(text, ":")
	var bad error
	if f.BeforeTime, bad = strconv.ParseInt(at, 10, 64); bad == nil {
		f.BeforeID, bad = strconv.ParseInt(id, 10, 64)
	}
	if err != nil || !ok || !whole || bad != nil || f.BeforeID <= 0 {
		return fault.New(fault.Invalid, "PAGE_TOKEN_INVALID", "The page token is not one that ListAuditEvents returned.").
			At("page_token", "is not a page token of audit events")
	}
	return nil
}

// eventMessage encodes an event.
func eventMessage(e *audit.Event) *adminv1.AuditEvent {
	m := &adminv1.AuditEvent{
		Id: e.ID, Time: timestamppb.New(e.Time), Source: string(e.Source), Principal: e.Principal.String(), PrincipalKind: e.Principal.Kind,
		PrincipalUid: e.Principal.UID, AuthMethod: e.Principal.AuthMethod, TokenId: e.Principal.TokenID, ClientId: e.Principal.ClientID,
		Outcome: e.Outcome, Reason: e.Reason, Revision: e.Revision, RequestId: e.RequestID, TraceId: e.TraceID,
	}
	if c := e.Call; c != nil {
		m.Detail = &adminv1.AuditEvent_ToolCall{ToolCall: &adminv1.ToolCallDetail{
			Node: c.Node, Gateway: c.Gateway, GatewayUid: c.GatewayUID, Tool: c.Tool, RequestedName: c.RequestedName, Door: c.Door,
			Server: c.Server, Connection: c.Connection, ConnectionOwner: c.ConnectionOwner, Policy: c.Policy, PolicyAction: c.PolicyAction,
			GatewayUs: c.GatewayUS, CredentialUs: c.CredentialUS, UpstreamUs: c.UpstreamUS, RequestBytes: c.RequestBytes,
			ResponseBytes: c.ResponseBytes, ClientName: c.ClientName, ClientVersion: c.ClientVersion, ProtocolVersion: c.ProtocolVersion,
			DroppedBefore: c.DroppedBefore,
		}}
	}
	if w := e.Write; w != nil {
		m.Detail = &adminv1.AuditEvent_Admin{Admin: &adminv1.AdminDetail{Method: w.Method, Kind: w.Kind, Name: w.Name, Fields: w.Fields}}
	}
	return m
}
