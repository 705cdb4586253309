// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

// newApprovals returns held calls on a database of their own, by the policies of the world.
func newApprovals(t *testing.T, w *world) *approval.Service {
	t.Helper()
	store, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "approvals.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(t.TempDir(), "keyset.json")
	if err := envelope.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	keys, err := envelope.OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := approval.New(approval.Config{Store: store.Approvals(keys), Resources: w.store, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// heldBy is a policy that holds calls.
func heldBy(name string, a *resourcev1.Approvers) *resourcev1.Policy {
	return &resourcev1.Policy{Name: name, Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Approvers: a}
}

// hold holds a call of a user by a policy and returns the id of its approval.
func (w *world) hold(t *testing.T, policy, user, arguments string) string {
	t.Helper()
	o, err := w.catalog.Get(t.Context(), catalog.Caller{System: true}, catalog.KindUser, user)
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.approvals.Hold(t.Context(), approval.Request{
		Gateway: "eng", Tool: "everything/echo", Policy: policy, Arguments: []byte(arguments), Node: "n1",
		Caller: approval.Caller{Kind: "user", UID: o.Metadata().UID, Name: user},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h.ID
}

// approvalRows are of a call of the editor that the member may approve. Decisions are of calls that there are not: they would not
// be the same for the next role.
func (w *world) approvalRows(t *testing.T) []row {
	t.Helper()
	if _, err := w.client(t, adminUser).Policies.CreatePolicy(t.Context(), &adminv1.CreatePolicyRequest{
		Policy: heldBy("by-member", &resourcev1.Approvers{Users: []string{memberUser}}),
	}); err != nil {
		t.Fatal(err)
	}
	of := w.hold(t, "by-member", "leaver@example.com", `{}`)
	decided := w.hold(t, "by-member", "leaver@example.com", `{"a":1}`)
	if _, err := w.approvals.Decide(t.Context(), approval.Decision{ID: decided, By: adminUser}, nil); err != nil {
		t.Fatal(err)
	}
	const gone = connect.CodeFailedPrecondition
	return append(approvalRows(), row{"GetApproval", ok, notFound, ok, func(ctx context.Context, c *admin.Client) error {
		_, err := c.Approvals.GetApproval(ctx, &adminv1.GetApprovalRequest{Id: of})
		return err
	}}, row{"DecideApproval", gone, denied, gone, func(ctx context.Context, c *admin.Client) error {
		_, err := c.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: decided})
		return err
	}})
}

func approvalRows() []row {
	return []row{
		{"ListApprovals", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Approvals.ListApprovals(ctx, &adminv1.ListApprovalsRequest{})
			return err
		}},
		{"GetApproval of nothing", notFound, notFound, notFound, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Approvals.GetApproval(ctx, &adminv1.GetApprovalRequest{Id: "none"})
			return err
		}},
		{"DecideApproval of nothing", notFound, notFound, notFound, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: "none", Approve: true})
			return err
		}},
	}
}

// TestApprovals: people see what they may decide, page by page, and decide once.
func TestApprovals(t *testing.T) {
	w := newWorld(t)
	root, ctx := w.client(t, adminUser), t.Context()
	for name, a := range map[string]*resourcev1.Approvers{
		"by-member": {Users: []string{memberUser}}, "by-editor": {Users: []string{editorUser}},
	} {
		if _, err := root.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: heldBy(name, a)}); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for i := range 5 {
		ids = append([]string{w.hold(t, "by-member", "leaver@example.com", fmt.Sprintf(`{"n":%d}`, i))}, ids...)
		w.hold(t, "by-editor", "leaver@example.com", fmt.Sprintf(`{"n":%d}`, i))
	}
	own := w.hold(t, "by-editor", memberUser, `{"own":true}`)
	list := func(user, state string) (out []string) {
		t.Helper()
		for a, err := range w.client(t, user).Approvals.All(ctx, &adminv1.ListApprovalsRequest{State: state, PageSize: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, a.GetId())
		}
		return out
	}
	if got := list(memberUser, ""); fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
	if got := list(adminUser, "*"); len(got) != 11 {
		t.Errorf("an ADMIN sees %d", len(got))
	}
	member := w.client(t, memberUser)
	if a, err := member.Approvals.GetApproval(ctx, &adminv1.GetApprovalRequest{Id: own}); err != nil || a.GetApproval().GetCaller() != memberUser {
		t.Errorf("the caller sees %v, %v", a, err)
	}
	cli, err := admin.New(w.url, w.tokens[memberUser], admin.WithUserAgent("penstock/1.0"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := cli.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: ids[0], Approve: true, Reason: "Fine."})
	if err != nil {
		t.Fatal(err)
	}
	a := res.GetApproval()
	if a.GetState() != "APPROVED" || a.GetDecidedBy() != memberUser || a.GetReason() != "Fine." || a.GetArguments() != `{"n":4}` || len(a.GetArgumentsSha256()) != 64 ||
		len(a.GetEvents()) != 2 || a.GetEvents()[1].GetHow() != "cli" || a.GetEvents()[1].GetActor() != memberUser || a.GetRunTime() != nil {
		t.Errorf("decided: %v", a)
	}
	res, err = member.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: ids[1]})
	if err != nil || res.GetApproval().GetState() != "DENIED" || res.GetApproval().GetArguments() != "" || res.GetApproval().GetEvents()[1].GetHow() != "api" {
		t.Errorf("denied: %v, %v", res, err)
	}
	if got := list(memberUser, "DENIED"); fmt.Sprint(got) != fmt.Sprint(ids[1:2]) {
		t.Errorf("listed as denied: %v", got)
	}
	for _, tc := range []struct {
		name, reason string
		call         func() error
	}{
		{"decided before", "APPROVAL_DECIDED", func() error {
			return failed(root.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: ids[0]}))
		}},
		{"own call", "OWN_CALL", func() error {
			return failed(member.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: own, Approve: true}))
		}},
		{"no approver", "NOT_AN_APPROVER", func() error {
			return failed(w.client(t, editorUser).Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: ids[2], Approve: true}))
		}},
		{"reason of two lines", "INVALID_FIELD", func() error {
			return failed(member.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: ids[2], Reason: "a\nb"}))
		}},
		{"unknown state", "REQUEST_INVALID", func() error {
			return failed(root.Approvals.ListApprovals(ctx, &adminv1.ListApprovalsRequest{State: "LOST"}))
		}},
		{"page token of nothing", "INVALID_PAGE_TOKEN", func() error {
			return failed(root.Approvals.ListApprovals(ctx, &adminv1.ListApprovalsRequest{PageToken: "x"}))
		}},
	} {
		if e, is := admin.AsError(tc.call()); !is || e.Reason != tc.reason {
			t.Errorf("%s: %+v, want %s", tc.name, e, tc.reason)
		}
	}
	first, err := member.Approvals.ListApprovals(ctx, &adminv1.ListApprovalsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := failed(member.Approvals.ListApprovals(ctx, &adminv1.ListApprovalsRequest{PageToken: first.GetNextPageToken(), State: "*"})); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a page token of another list: %v", err)
	}
}

// TestApproversOfPolicies: approvers and their time are written, exported and read back.
func TestApproversOfPolicies(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	p := heldBy("p", &resourcev1.Approvers{TeamAdmins: &resourcev1.TeamAdmins{}})
	p.ApprovalTtl = durationpb.New(90 * time.Second)
	created, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	if got := created.GetPolicy(); got.GetApprovers().GetTeamAdmins() == nil || got.GetApprovalTtl().AsDuration() != 90*time.Second {
		t.Errorf("created %v", got)
	}
	exported, err := c.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := manifest.Marshal(exported.GetResources())
	if err != nil || !strings.Contains(string(text)+"\n", "approvers: {team_admins: {}}\napproval_ttl: 1m30s\n") {
		t.Errorf("exported %s, %v", text, err)
	}
	for _, a := range []*resourcev1.Approvers{nil, {}, {Caller: &resourcev1.CallerApprover{}, Users: []string{adminUser}}} {
		_, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: heldBy("bad", a)})
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("approvers %v: %v", a, err)
		}
	}
}
