// SPDX-License-Identifier: Apache-2.0

package command

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// TestEventRow: what is known of an event stands in its row, and a dash where nothing is.
func TestEventRow(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	const when = "2026-03-01T12:00:00Z"
	for _, tt := range []struct {
		event *adminv1.AuditEvent
		want  []string
	}{
		{
			&adminv1.AuditEvent{Time: at, Principal: "ada@example.com", Outcome: "refused", Reason: "POLICY_BLOCKED", Detail: &adminv1.AuditEvent_ToolCall{
				ToolCall: &adminv1.ToolCallDetail{Gateway: "eng", Tool: "ev/echo", Policy: "no", GatewayUs: 1000, CredentialUs: 200, UpstreamUs: 30},
			}},
			[]string{when, "ada@example.com", "eng", "ev/echo", "refused", "POLICY_BLOCKED", "no", "1.2"},
		},
		{
			&adminv1.AuditEvent{Time: at, Principal: "organization", Outcome: "refused", Detail: &adminv1.AuditEvent_ToolCall{
				ToolCall: &adminv1.ToolCallDetail{Gateway: "eng", RequestedName: "x"},
			}},
			[]string{when, "organization", "eng", "? x", "refused", "-", "-", "0.0"},
		},
		{
			&adminv1.AuditEvent{Time: at, Principal: "ada@example.com", Outcome: "ok", Detail: &adminv1.AuditEvent_Admin{
				Admin: &adminv1.AdminDetail{Method: "UpdateGateway", Name: "eng"},
			}},
			[]string{when, "ada@example.com", "-", "UpdateGateway eng", "ok", "-", "-", "-"},
		},
		{
			&adminv1.AuditEvent{Time: at, Principal: "ada@example.com", Outcome: "ok", Detail: &adminv1.AuditEvent_Admin{Admin: &adminv1.AdminDetail{Method: "Apply"}}},
			[]string{when, "ada@example.com", "-", "Apply", "ok", "-", "-", "-"},
		},
	} {
		if diff := cmp.Diff(tt.want, eventRow(tt.event)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
