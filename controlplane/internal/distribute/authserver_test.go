// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node"
)

// authserver is the identity of an authserver.
func authserver(name string) ident.Workload {
	return ident.Workload{TrustDomain: "test", Region: "eu", Role: ident.RoleAuthserver, Name: name}
}

// as makes a simulated node another workload.
func as(w ident.Workload) func(*sim, *node.Config) {
	return func(s *sim, _ *node.Config) { s.who = w }
}

// pinned stores an assignment that says more than which connection it pins.
func pinned(tool string) feedtest.Op {
	return feedtest.Put(catalog.KindAssignment, "demo/"+tool, map[string]any{
		"tool": tool, "pinned": map[string]any{"connection": "shop-main"}, "exposed_name": "canary_name", "description": "canary",
		"fixed_arguments": map[string]any{"canary": true}, "required_scopes": []string{"canary"},
	}, nil)
}

// TestAuthserverScope: an authserver gets people, providers, clients, gateways of every region, connections and which
// gateway pins which (D-85), and not a byte of tools, of what else assignments say, of servers or bearer tokens (D-11, D-82).
func TestAuthserverScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		p.write(feedtest.Shop()...)
		p.write(feedtest.Gateway("far", "1", "us"), feedtest.Provider("okta", "1"), feedtest.Client("ci", "1"))
		p.write(pinned("shop/buy"), feedtest.Assign("far", "shop/sell", ""))
		s, err := raw(t, p, authserver("a1")).Follow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(hello(&distributionv1.Hello{Protocol: 1})); err != nil {
			t.Fatal(err)
		}
		var got []string
		collect := func(r *distributionv1.Resource) {
			got = append(got, r.GetKind()+" "+r.GetName())
			if r.GetKind() != string(catalog.KindAssignment) {
				return
			}
			want := &resourcev1.ToolAssignment{Gateway: "demo", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "shop-main"}}}
			if diff := cmp.Diff(want, r.GetAssignment(), protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", r.GetName(), diff)
			}
		}
		read := func(until func(*distributionv1.FollowResponse) bool) {
			t.Helper()
			for {
				m, err := s.Recv()
				if err != nil {
					t.Fatal(err)
				}
				wire, err := proto.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				for _, secret := range []string{`"name":"buy"`, "bearer_token", "canary", "far/shop/sell"} {
					if bytes.Contains(wire, []byte(secret)) {
						t.Errorf("an authserver gets %q in %v", secret, m)
					}
				}
				for _, r := range m.GetSnapshotPart().GetResources() {
					collect(r)
				}
				for _, r := range m.GetDelta().GetUpserts() {
					collect(r)
				}
				if to := m.GetDelta().GetTo(); to > 0 {
					if err := s.Send(ack(&distributionv1.Ack{Epoch: p.feed.Head().Epoch, Revision: to})); err != nil {
						t.Fatal(err)
					}
				}
				if until(m) {
					return
				}
			}
		}
		read(func(m *distributionv1.FollowResponse) bool { return m.GetSnapshotEnd() != nil })
		slices.Sort(got)
		want := []string{
			"assignment demo/shop/buy", "connection shop-main", "gateway demo", "gateway far", "identity_provider okta", "oauth_client ci", "team eng", "user ada@example.com",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("snapshot (-want +got):\n%s", diff)
		}
		got = nil
		p.write(pinned("shop/sell"), feedtest.Token("t2", false), feedtest.Tool("shop", "sell", `{"name":"sold"}`))
		p.write(feedtest.Delete(catalog.KindAssignment, "demo/shop/buy"), feedtest.Deny(catalog.KindAssignment, "demo/shop/buy"))
		p.write(feedtest.Client("ci", "2"))
		last := p.write(feedtest.Delete(catalog.KindGateway, "far"), feedtest.Deny(catalog.KindGateway, "far"))
		denied := false
		read(func(m *distributionv1.FollowResponse) bool {
			denied = denied || m.GetDeny().GetRevision() == uint64(last)
			return m.GetDelta().GetTo() == uint64(last)
		})
		if !denied || !slices.Equal(got, []string{"assignment demo/shop/sell", "oauth_client ci"}) {
			t.Errorf("denied %v, upserts %v", denied, got)
		}
		hash := sha256.Sum256([]byte(`{"name":"buy"}`))
		blobs, err := raw(t, p, authserver("a1")).FetchBlobs(t.Context(), &distributionv1.FetchBlobsRequest{Hashes: [][]byte{hash[:]}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blobs.Recv(); status.Code(err) != codes.NotFound {
			t.Errorf("a body for an authserver: %v, want not found", err)
		}
	})
}

// TestAuthserverFollows: digest, resume and drift work as for nodes; an authserver is no node, does no task, and is waited
// for while it is connected.
func TestAuthserverFollows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		p.write(feedtest.Shop()...)
		rev := p.write(feedtest.Provider("okta", "1"))
		a := startNode(t, p, "local", "", as(authserver("local")))
		a.at(rev)
		task, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.server.Dispatch(task, &distributionv1.Task{Id: "1"}); fault.From(err).Reason != distribute.ReasonNoNode {
			t.Errorf("a task with nobody but an authserver: %v", err)
		}
		if p.server.Enforced(rev) || len(p.server.Nodes()) != 0 {
			t.Errorf("an authserver counts as a node: %v", p.server.Nodes())
		}
		n := startNode(t, p, "local", "", nil)
		n.at(rev)
		if e := p.wait(rev); !slices.Equal(e.Enforcing, []string{"local"}) {
			t.Errorf("%+v", e)
		}
		if list := p.server.Authservers(); len(list) != 1 || list[0].Name != "local" || !list[0].Connected || list[0].Enforced != rev {
			t.Errorf("authservers: %+v", list)
		}

		gate := make(chan struct{})
		a.view.lock(func() { a.view.gate = gate })
		rev = p.write(feedtest.User("bob@example.com", "1"))
		n.at(rev)
		soon, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if e := p.server.WaitEnforced(soon, rev, false); e.Enforced || !slices.Equal(e.Lagging, []string{"authserver/local"}) {
			t.Errorf("before the authserver enforces it: %+v", e)
		}
		close(gate)
		p.wait(rev)

		a.move(nil)
		p.wait(p.write(feedtest.User("bob@example.com", "2"))) // disconnected: not waited for, and in no list of nodes
		if e := p.server.Enforcement(rev); len(e.Disconnected) != 0 {
			t.Errorf("%+v", e)
		}
		a.move(p)
		a.at(p.write(feedtest.Client("ci", "1")))
		a.view.lock(func() {
			if a.view.full != 1 {
				t.Errorf("%d full states: it did not resume", a.view.full)
			}
		})
	})
}

// TestAuthserverIsRemembered as what it is: after a restart it is no node.
func TestAuthserverIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(nil)
		notes := func(c *distribute.Config) { c.Notes = store }
		p := startPlane(t, store, notes)
		rev := p.write(feedtest.Shop()...)
		a, n := startNode(t, p, "one", "", as(authserver("one"))), startNode(t, p, "one", "", nil)
		a.at(rev)
		n.at(rev)
		time.Sleep(10 * time.Second)
		a.stop()
		n.stop()
		p.stop()
		p = startPlane(t, store, notes)
		time.Sleep(time.Second)
		for what, list := range map[string][]distribute.Node{"node": p.server.Nodes(), "authserver": p.server.Authservers()} {
			if len(list) != 1 || list[0].Name != "one" || list[0].Connected || list[0].Enforced != rev {
				t.Errorf("%s: %+v", what, list)
			}
		}
	})
}
