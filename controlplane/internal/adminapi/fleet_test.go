// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"connectrpc.com/authn"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// fakeFleet is a fleet whose nodes enforce what a test says.
type fakeFleet struct {
	nodes   []Node
	state   Enforcement
	waited  catalog.Revision
	whole   bool          // everything before it, too
	waiting time.Duration // how long the caller was willing to wait
	until   bool          // wait for the end of ctx
}

// WaitEnforced implements Fleet.
func (f *fakeFleet) WaitEnforced(ctx context.Context, rev catalog.Revision, whole bool) (Enforcement, error) {
	f.waited, f.whole = rev, whole
	if end, ok := ctx.Deadline(); ok {
		f.waiting = time.Until(end)
	}
	if f.until {
		<-ctx.Done()
	}
	return f.state, nil
}

// Nodes implements Fleet.
func (f *fakeFleet) Nodes(context.Context) ([]Node, error) { return f.nodes, nil }

// fixedLog is a log that ends at a head.
type fixedLog catalog.Head

// Head implements Log.
func (l fixedLog) Head(context.Context) (catalog.Head, error) { return catalog.Head(l), nil }

func asRole(ctx context.Context, r catalog.Role) context.Context {
	return authn.SetInfo(ctx, catalog.Caller{UserUID: "u", Role: r})
}

func TestListNodesPages(t *testing.T) {
	fleet := &fakeFleet{}
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("node-%d", i)
		fleet.nodes = slices.Insert(fleet.nodes, 0, Node{Name: name})
		want = append(want, name)
	}
	s, ctx := nodes{&api{fleet: fleet}}, asRole(t.Context(), catalog.RoleAdmin)
	for _, size := range []int32{0, 1, 3, 7, 1000} {
		var got []string
		req := &adminv1.ListNodesRequest{PageSize: size}
		for range 10 {
			res, err := s.ListNodes(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range res.GetNodes() {
				got = append(got, n.GetName())
			}
			if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("page size %d (-want +got):\n%s", size, diff)
		}
	}
	for _, token := range []string{"!", "bm8"} {
		if _, err := s.ListNodes(ctx, &adminv1.ListNodesRequest{PageToken: token}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("page token %q: got %v, want Invalid", token, err)
		}
	}
}

func TestGetNode(t *testing.T) {
	seen := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	fleet := &fakeFleet{nodes: []Node{{Name: "z"}, {
		Name: "a", Region: "eu", Build: "1", Connected: true, Epoch: "e", Enforced: 9, Denied: 10, Lag: 1500 * time.Millisecond, Seen: seen,
		Rejects: []Reject{{Kind: "gateway", Name: "g", Reason: "R", Detail: "d", Revision: 8}},
	}}}
	s, ctx := nodes{&api{fleet: fleet}}, asRole(t.Context(), catalog.RoleAdmin)
	res, err := s.GetNode(ctx, &adminv1.GetNodeRequest{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := &adminv1.Node{
		Name: "a", Region: "eu", Build: "1", Connected: true, Epoch: "e", EnforcedRevision: 9, DenyRevision: 10, LagSeconds: 1.5,
		SeenTime: timestamppb.New(seen),
		Rejects:  []*adminv1.RejectedResource{{Kind: "gateway", Name: "g", Reason: "R", Detail: "d", Revision: 8}},
	}
	if diff := cmp.Diff(want, res.GetNode(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.GetNode(ctx, &adminv1.GetNodeRequest{Name: "b"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown node: got %v, want NotFound", err)
	}
}

// TestNodesAreForAdmins is G-7.
func TestNodesAreForAdmins(t *testing.T) {
	s := nodes{&api{fleet: &fakeFleet{}}}
	for _, role := range []catalog.Role{"", catalog.RoleMember, catalog.RoleEditor} {
		if _, err := s.ListNodes(asRole(t.Context(), role), &adminv1.ListNodesRequest{}); fault.KindOf(err) != fault.Denied {
			t.Errorf("role %q lists: got %v, want Denied", role, err)
		}
		if _, err := s.GetNode(asRole(t.Context(), role), &adminv1.GetNodeRequest{Name: "a"}); fault.KindOf(err) != fault.Denied {
			t.Errorf("role %q gets: got %v, want Denied", role, err)
		}
	}
}

func TestWaitEnforced(t *testing.T) {
	tests := []struct {
		name     string
		req      *adminv1.WaitEnforcedRequest
		until    bool
		revision catalog.Revision
		wait     time.Duration
	}{
		{"head", &adminv1.WaitEnforcedRequest{}, false, 12, 30 * time.Second},
		{"earlier", &adminv1.WaitEnforcedRequest{Revision: 3, Timeout: durationpb.New(5 * time.Minute)}, false, 3, 5 * time.Minute},
		{"timeout is an answer", &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(time.Millisecond)}, true, 12, time.Millisecond},
		{"look without waiting", &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(0)}, true, 12, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fleet := &fakeFleet{until: tt.until, state: Enforcement{Enforcing: []string{"b", "a"}, Lagging: []string{"d", "c"}, Disconnected: []string{"e"}}}
			s := configuration{&api{fleet: fleet, log: fixedLog{Epoch: "e", Revision: 12}}}
			got, err := s.WaitEnforced(t.Context(), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			want := &adminv1.WaitEnforcedResponse{
				Revision: uint64(tt.revision), EnforcingNodes: []string{"a", "b"}, LaggingNodes: []string{"c", "d"}, DisconnectedNodes: []string{"e"},
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if fleet.whole != (tt.req.GetRevision() == 0) {
				t.Errorf("waited for everything before the revision: %t", fleet.whole)
			}
			if fleet.waited != tt.revision || fleet.waiting > tt.wait || fleet.waiting < tt.wait-5*time.Second {
				t.Errorf("waited for revision %d, %s; want %d, %s", fleet.waited, fleet.waiting, tt.revision, tt.wait)
			}
		})
	}
	s := configuration{&api{fleet: &fakeFleet{}, log: fixedLog{Revision: 12}}}
	if _, err := s.WaitEnforced(t.Context(), &adminv1.WaitEnforcedRequest{Revision: 13}); fault.From(err).Reason != "REVISION_AHEAD" {
		t.Errorf("a revision that does not exist: got %v", err)
	}
}
