// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// book is an audit in memory. What it lists is what it was told to.
type book struct {
	mu      sync.Mutex
	events  []audit.Event
	page    audit.Page
	caller  catalog.Caller
	filters []audit.Filter
}

// Record implements adminapi.Audit.
func (b *book) Record(_ context.Context, e audit.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// List implements adminapi.Audit.
func (b *book) List(_ context.Context, c catalog.Caller, f audit.Filter) (audit.Page, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caller, b.filters = c, append(b.filters, f)
	return b.page, nil
}

func (b *book) last() (e audit.Event, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) > 0 {
		e = b.events[len(b.events)-1]
	}
	return e, len(b.events)
}

// TestAuditOfWrites: each write is recorded with who, what and the names of the fields, also where it is refused; reads and trials are
// not, and no value of a field ever is.
func TestAuditOfWrites(t *testing.T) {
	w := newWorld(t)
	const canary = "value-of-a-field"
	type want struct {
		outcome, reason, method, kind, name string
		fields                              []string
		revised                             bool
	}
	for _, tt := range []struct {
		name string
		user string
		call func(ctx context.Context, c *admin.Client) error
		want *want // nil: nothing is recorded
	}{
		{"create", adminUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: &resourcev1.Policy{
				Name: "new", When: `args.x == "` + canary + `"`, Reason: canary, Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK,
			}})
			return err
		}, &want{"ok", "", "CreatePolicy", "Policy", "new", []string{"action", "name", "reason", "when"}, true}},
		{"update", adminUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.UpdatePolicy(ctx, &adminv1.UpdatePolicyRequest{
				Policy: &resourcev1.Policy{Name: "new", DisplayName: canary}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
			})
			return err
		}, &want{"ok", "", "UpdatePolicy", "Policy", "new", []string{"display_name"}, true}},
		{"refused for the role", memberUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: "new"})
			return err
		}, &want{"refused", "RESOURCE_NOT_FOUND", "DeletePolicy", "Policy", "new", []string{"name"}, false}},
		{"refused for what it says", adminUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: &resourcev1.Policy{
				Name: "bad", When: canary + " =", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK,
			}})
			return err
		}, &want{"refused", "POLICY_CONDITION_INVALID", "CreatePolicy", "Policy", "bad", []string{"action", "name", "when"}, false}},
		{"delete", adminUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: "new"})
			return err
		}, &want{"ok", "", "DeletePolicy", "Policy", "new", []string{"name"}, true}},
		{"trial", adminUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.CreatePolicy(ctx, &adminv1.CreatePolicyRequest{Policy: rule("trial", ""), ValidateOnly: true})
			return err
		}, nil},
		{"read", adminUser, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Policies.ListPolicies(ctx, &adminv1.ListPoliciesRequest{})
			return err
		}, nil},
	} {
		_, before := w.audit.last()
		err := tt.call(t.Context(), w.client(t, tt.user))
		e, after := w.audit.last()
		if tt.want == nil {
			if after != before || err != nil {
				t.Errorf("%s: recorded %+v, %v", tt.name, e, err)
			}
			continue
		}
		if after != before+1 {
			t.Fatalf("%s: %d events, %v", tt.name, after-before, err)
		}
		got := want{e.Outcome, e.Reason, e.Write.Method, e.Write.Kind, e.Write.Name, e.Write.Fields, e.Revision > 0}
		if diff := cmp.Diff(*tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if e.Source != audit.Admin || e.Principal.String() != tt.user || e.Principal.UID == "" || e.RequestID == "" || time.Since(e.Time) > time.Minute {
			t.Errorf("%s: %+v", tt.name, e)
		}
		for _, text := range append(e.Write.Fields, e.Write.Name, e.Reason) {
			if strings.Contains(text, canary) {
				t.Errorf("%s: a value is recorded: %q", tt.name, text)
			}
		}
	}
}

// TestListAuditEvents: the request becomes a filter, events keep all their fields, and tokens of pages are refused where they are none.
func TestListAuditEvents(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC)
	w.audit.page = audit.Page{LastID: 9, Events: []audit.Event{{
		ID: 8, Time: at, Source: audit.ToolCall, Outcome: "refused", Reason: "POLICY_BLOCKED",
		Principal: audit.Principal{Kind: "team", UID: "t1", Name: "eng", AuthMethod: "bearer_token", TokenID: "tok", ClientID: "cli"},
		Call:      &audit.Call{Node: "n1", Gateway: "eng", Tool: "ev/echo", Door: "run_tool", Policy: "no", PolicyAction: "BLOCK", UpstreamUS: 5},
	}, {
		ID: 3, Time: at, Source: audit.Admin, Outcome: "ok", Revision: 12, Principal: audit.Principal{Kind: "user", UID: "u1", Name: "ada@example.com"},
		Write: &audit.Write{Method: "UpdateGateway", Kind: "Gateway", Name: "eng", Fields: []string{"tools"}},
	}}}
	c := w.client(t, memberUser)
	req := &adminv1.ListAuditEventsRequest{
		PageSize: 2, StartTime: timestamppb.New(at), EndTime: timestamppb.New(at.Add(time.Hour)), Gateway: "eng", Tool: "ev/*", Principal: "team:eng",
		Outcome: "refused", Policy: "no", Source: "tool_call",
	}
	res, err := c.Audit.ListAuditEvents(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	first, second := res.GetEvents()[0], res.GetEvents()[1]
	if first.GetPrincipal() != "team:eng" || first.GetToolCall().GetPolicyAction() != "BLOCK" || first.GetToolCall().GetUpstreamUs() != 5 || first.GetAdmin() != nil ||
		second.GetAdmin().GetName() != "eng" || second.GetPrincipal() != "ada@example.com" || second.GetRevision() != 12 || res.GetLastId() != 9 {
		t.Errorf("%v", res)
	}
	want := audit.Filter{
		Start: at, End: at.Add(time.Hour), Source: audit.ToolCall, Gateway: "eng", Policy: "no", Tool: "ev/*", Principal: "team:eng", Outcome: "refused", Limit: 2,
	}
	if diff := cmp.Diff(want, w.audit.filters[0]); diff != "" || w.audit.caller.Email != memberUser {
		t.Errorf("asked by %+v (-want +got):\n%s", w.audit.caller, diff)
	}
	req.PageToken = res.GetNextPageToken()
	if _, err := c.Audit.ListAuditEvents(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if f := w.audit.filters[1]; f.BeforeID != 3 || f.BeforeTime != at.UnixMicro() {
		t.Errorf("the next page: %+v", f)
	}
	huge := uint64(1) << 63
	for name, req := range map[string]*adminv1.ListAuditEventsRequest{
		"a made-up token":  {PageToken: "bm9kZTp4"},
		"no token":         {PageToken: "%"},
		"token and follow": {PageToken: res.GetNextPageToken(), AfterId: new(uint64)},
		"no id":            {AfterId: &huge},
		"unknown outcome":  {Outcome: "great"},
		"too many":         {PageSize: 1001},
	} {
		if _, err := c.Audit.ListAuditEvents(t.Context(), req); !admin.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if res, err := c.Audit.ListAuditEvents(t.Context(), &adminv1.ListAuditEventsRequest{PageSize: 2, AfterId: new(uint64)}); err != nil || res.GetNextPageToken() != "" {
		t.Errorf("following: %v, %v", res.GetNextPageToken(), err)
	}
}
