// SPDX-License-Identifier: Apache-2.0

package command

import (
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

func TestApprovals(t *testing.T) {
	w := newWorld(t)
	w.run(t, "approvals").want(t, exitOK, "", "no call waits for your approval")
	at := &timestamppb.Timestamp{Seconds: 1767225600}
	held := func(id string) *adminv1.Approval {
		return &adminv1.Approval{
			Id: id, State: "PENDING", Gateway: "eng", Tool: "demo/echo", Policy: "careful", Caller: "bob@example.com", Arguments: `{"a":"\u001b[31m` + "\x1b" + `"}`,
			ArgumentsSha256: "abcd", Approvers: []string{"ada@example.com"}, CreateTime: at, ExpireTime: at,
			Events: []*adminv1.ApprovalEvent{{Kind: "created", Time: at, Actor: "n1"}},
		}
	}
	w.api.Approvals = []*adminv1.Approval{held("a2"), held("a1")}
	const row = "a2  PENDING  bob@example.com  demo/echo  eng      careful  2026-01-01 00:00:00Z  2026-01-01 00:00:00Z"
	w.run(t, "approvals").want(t, exitOK, row, "")
	w.run(t, "approvals", "list", "-o", "json").want(t, exitOK, `"arguments_sha256"`, "")
	w.run(t, "approvals", "--state", "denied").want(t, exitOK, "", "no call waits for your approval")
	w.run(t, "approvals", "--state", "lost").want(t, exitUsage, "", `--state must be one of`)
	w.run(t, "approvals", "show", "a1").want(t, exitOK, "Arguments:          {\"a\":\"\\u001b[31m\uFFFD\"}\n", "")
	w.run(t, "approvals", "show", "none").want(t, exitNotFound, "", "There is no such approval that you may see.")
	w.run(t, "approvals", "approve", "a1", "--reason", "Fine.").want(t, exitOK, "demo/echo of bob@example.com is approved; it can run once, until 2026-01-01 00:00Z\n", "")
	w.run(t, "approvals", "show", "a1").want(t, exitOK, "2026-01-01 00:00:00Z  approved  ada@example.com  cli\n", "")
	w.run(t, "approvals", "deny", "a1").want(t, exitFailure, "", "The call was decided by ada@example.com.")
	w.run(t, "approvals", "deny", "a2", "-o", "yaml").want(t, exitOK, "state: DENIED\n", "")
	w.run(t, "approvals", "--state", "all").want(t, exitOK, "a2  DENIED    bob@example.com", "")
	w.run(t, "approvals", "approve").want(t, exitUsage, "", "expected")
}
