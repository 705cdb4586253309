// SPDX-License-Identifier: Apache-2.0

package nodeapi_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// uploads remembers the last one.
type uploads struct {
	got audit.Upload
	err error
}

func (u *uploads) Upload(_ context.Context, got audit.Upload) (uint64, error) {
	u.got = got
	return got.First + uint64(len(got.Events)) - 1, u.err
}

// TestUploadAudit: all of an event arrives, under the name of the node's certificate; what breaks the contract, comes from somebody else
// or cannot be stored is refused.
func TestUploadAudit(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC)
	whole := &nodev1.UploadAuditRequest{Queue: "q1", FirstSequence: 7, Events: []*nodev1.ToolCallEvent{{
		Time:      timestamppb.New(at),
		Principal: &nodev1.AuditPrincipal{Kind: "user", Uid: "u1", Name: "ada@example.com", AuthMethod: "oauth", TokenId: "jti", ClientId: "cli"},
		Gateway:   "eng", GatewayUid: "g1", Tool: "ev/echo", RequestedName: "Echo", Door: "run_tool", Server: "ev", Connection: "shared",
		ConnectionOwner: "team:eng", Outcome: "refused", Reason: "POLICY_BLOCKED", Policy: "no", PolicyAction: "BLOCK", GatewayUs: 1, CredentialUs: 2,
		UpstreamUs: 3, RequestBytes: 4, ResponseBytes: 5, Revision: 6, TraceId: "t", RequestId: "r", ClientName: "c", ClientVersion: "v",
		ProtocolVersion: "2025-11-25", DroppedBefore: 8,
	}}}
	want := audit.Upload{Node: "spiffe://test/region/eu/node/n1", Queue: "q1", First: 7, Events: []audit.Event{{
		Time: at, Source: audit.ToolCall, Outcome: "refused", Reason: "POLICY_BLOCKED", Revision: 6, RequestID: "r", TraceID: "t",
		Principal: audit.Principal{Kind: "user", UID: "u1", Name: "ada@example.com", AuthMethod: "oauth", TokenID: "jti", ClientID: "cli"},
		Call: &audit.Call{
			Node: "n1", Gateway: "eng", GatewayUID: "g1", Tool: "ev/echo", RequestedName: "Echo", Door: "run_tool", Server: "ev", Connection: "shared",
			ConnectionOwner: "team:eng", Policy: "no", PolicyAction: "BLOCK", GatewayUS: 1, CredentialUS: 2, UpstreamUS: 3, RequestBytes: 4,
			ResponseBytes: 5, ClientName: "c", ClientVersion: "v", ProtocolVersion: "2025-11-25", DroppedBefore: 8,
		},
	}}}
	event := whole.GetEvents()[0]
	for _, tt := range []struct {
		name  string
		creds credentials.TransportCredentials
		err   error
		req   *nodev1.UploadAuditRequest
		code  codes.Code
	}{
		{"stored", node(), nil, whole, codes.OK},
		{"not stored", node(), errors.New("away"), whole, codes.Unavailable},
		{"of an authserver", enroll.Local(ident.Workload{TrustDomain: "test", Role: ident.RoleAuthserver, Name: "a"}), nil, whole, codes.PermissionDenied},
		{"without a queue", node(), nil, &nodev1.UploadAuditRequest{FirstSequence: 1, Events: []*nodev1.ToolCallEvent{event}}, codes.InvalidArgument},
		{"without a number", node(), nil, &nodev1.UploadAuditRequest{Queue: "q", Events: []*nodev1.ToolCallEvent{event}}, codes.InvalidArgument},
		{"without events", node(), nil, &nodev1.UploadAuditRequest{Queue: "q", FirstSequence: 1}, codes.InvalidArgument},
		{"with a text that is too long", node(), nil, &nodev1.UploadAuditRequest{
			Queue: "q", FirstSequence: 1, Events: []*nodev1.ToolCallEvent{{Reason: strings.Repeat("x", 129)}},
		}, codes.InvalidArgument},
	} {
		u := &uploads{err: tt.err}
		client := nodev1.NewAuditServiceClient(connect(t, nodeapi.NewAudit(u, slog.New(slog.DiscardHandler)), tt.creds))
		res, err := client.UploadAudit(t.Context(), tt.req)
		if status.Code(err) != tt.code {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
		}
		if tt.code != codes.OK {
			continue
		}
		if diff := cmp.Diff(want, u.got); diff != "" || res.GetStoredSequence() != 7 {
			t.Errorf("%s: stored %d (-want +got):\n%s", tt.name, res.GetStoredSequence(), diff)
		}
	}
}
