// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// response decodes a frame as any client of the contract would.
func response(t *testing.T, frame []byte) *distributionv1.FollowResponse {
	t.Helper()
	m := &distributionv1.FollowResponse{}
	if err := proto.Unmarshal(frame, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func delta(t *testing.T, c *feed.Class, from, to catalog.Revision) (*feed.Delta, []*distributionv1.Delta) {
	t.Helper()
	d, err := c.Delta(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	var parts []*distributionv1.Delta
	for _, f := range d.Frames {
		parts = append(parts, response(t, f).GetDelta())
	}
	return d, parts
}

func names(d *distributionv1.Delta) (upserts, tombstones []string) {
	for _, r := range d.GetUpserts() {
		upserts = append(upserts, r.GetKind()+" "+r.GetName())
	}
	for _, k := range d.GetTombstones() {
		tombstones = append(tombstones, k.GetKind()+" "+k.GetName())
	}
	slices.Sort(upserts)
	slices.Sort(tombstones)
	return upserts, tombstones
}

// TestDeltaOfOneChange says what each kind of change sends to a node of region eu that knows the shop (D-12, D-13).
func TestDeltaOfOneChange(t *testing.T) {
	tests := []struct {
		name       string
		before     []feedtest.Op
		ops        []feedtest.Op
		upserts    []string
		tombstones []string
		blobs      int
		denied     []string
	}{
		{"a new tool nobody assigned", nil, []feedtest.Op{feedtest.Tool("shop", "new", "x")}, nil, nil, 0, nil},
		{"a connection nobody uses", nil, []feedtest.Op{feedtest.Connection("other", "shop")}, nil, nil, 0, nil},
		{"a gateway of another region", nil, []feedtest.Op{feedtest.Gateway("us", "1", "us"), feedtest.Assign("us", "shop/sell", "shop-main")}, nil, nil, 0, nil},
		{
			"assigning brings the tool and its body", nil,
			[]feedtest.Op{feedtest.Assign("demo", "shop/sell", "shop-main")},
			[]string{"assignment demo/shop/sell", "tool shop/sell"},
			nil, 1, nil,
		},
		{
			"a body that is there already does not come again", nil,
			[]feedtest.Op{feedtest.Tool("shop", "twin", `{"name":"buy"}`), feedtest.Assign("demo", "shop/twin", "shop-main")},
			[]string{"assignment demo/shop/twin", "tool shop/twin"},
			nil, 0, nil,
		},
		{
			"unassigning takes all of it", nil,
			[]feedtest.Op{feedtest.Delete(catalog.KindAssignment, "demo/shop/buy"), feedtest.Deny(catalog.KindAssignment, "demo/shop/buy")},
			nil,
			[]string{"assignment demo/shop/buy", "connection shop-main", "server shop", "tool shop/buy"},
			0,
			[]string{"assignment demo/shop/buy"},
		},
		{
			"a gateway that leaves the region takes its tools along", nil,
			[]feedtest.Op{feedtest.Gateway("demo", "1", "us")},
			nil,
			[]string{"assignment demo/shop/buy", "connection shop-main", "gateway demo", "server shop", "tool shop/buy"},
			0, nil,
		},
		{
			"a gateway that enters the region",
			[]feedtest.Op{feedtest.Gateway("us", "1", "us"), feedtest.Assign("us", "shop/sell", "shop-main")},
			[]feedtest.Op{feedtest.Gateway("us", "1", "eu")},
			[]string{"assignment us/shop/sell", "gateway us", "tool shop/sell"},
			nil, 1, nil,
		},
		{"a visibility edit is one resource", nil, []feedtest.Op{feedtest.Gateway("demo", "2")}, []string{"gateway demo"}, nil, 0, nil},
		{"another body", nil, []feedtest.Op{feedtest.Tool("shop", "buy", "new body")}, []string{"tool shop/buy"}, nil, 1, nil},
		{"people go everywhere", nil, []feedtest.Op{feedtest.User("bob@example.com", "Bob")}, []string{"user bob@example.com"}, nil, 0, nil},
		{"a token of the admin API goes nowhere", nil, []feedtest.Op{feedtest.Token("admin", true), feedtest.Deny(catalog.KindBearerToken, "admin")}, nil, nil, 0, nil},
		{
			"denying what is out of scope says nothing", nil,
			[]feedtest.Op{feedtest.User("bob@example.com", "B"), feedtest.Deny(catalog.KindGateway, "us")},
			[]string{"user bob@example.com"},
			nil, 0, nil,
		},
		{
			"leaving a team is denied by name", nil,
			[]feedtest.Op{feedtest.Team("eng"), feedtest.Deny(catalog.KindTeamMember, "eng/ada@example.com")},
			[]string{"team eng"},
			nil, 0,
			[]string{"team_member eng/ada@example.com"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := memstore.New(nil)
			feedtest.Write(t, store, append(feedtest.Shop(), tt.before...)...)
			f := feedtest.Start(t, store)
			c, err := f.Class(scope.Scope{Region: "eu"})
			if err != nil {
				t.Fatal(err)
			}
			from := f.Head().Revision
			to := feedtest.Write(t, store, tt.ops...)
			feedtest.AwaitHead(t, f, to)
			d, parts := delta(t, c, from, to)
			var upserts, tombstones []string
			blobs := 0
			for _, p := range parts {
				upserts, tombstones = names(p)
				blobs += len(p.GetBlobs())
			}
			if diff := cmp.Diff(tt.upserts, upserts); diff != "" {
				t.Errorf("upserts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.tombstones, tombstones); diff != "" {
				t.Errorf("tombstones (-want +got):\n%s", diff)
			}
			if blobs != tt.blobs {
				t.Errorf("%d bodies, want %d", blobs, tt.blobs)
			}
			if d.To != to {
				t.Errorf("the delta ends at %d, want %d", d.To, to)
			}
			var denied []string
			frames, _ := c.Denials(from)
			for _, f := range frames {
				for _, k := range response(t, f).GetDeny().GetKeys() {
					denied = append(denied, k.GetKind()+" "+k.GetName())
				}
			}
			if diff := cmp.Diff(tt.denied, denied); diff != "" {
				t.Errorf("denials (-want +got):\n%s", diff)
			}
			if want := len(tt.upserts)+len(tt.tombstones)+len(tt.denied) > 0; c.Affects(from, to) != want {
				t.Errorf("Affects says %t", !want)
			}
		})
	}
}

// TestAtomicChangesTravelAlone: an atomic change is never merged with others (D-35); what it does not concern passes.
func TestAtomicChangesTravelAlone(t *testing.T) {
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	f := feedtest.Start(t, store)
	c, err := f.Class(scope.Scope{Region: "eu"})
	if err != nil {
		t.Fatal(err)
	}
	first := f.Head().Revision
	feedtest.Write(t, store, feedtest.User("a@example.com", "1"))
	atomic := feedtest.Write(t, store, feedtest.User("b@example.com", "1"), feedtest.Gateway("demo", "2"), feedtest.Atomic())
	feedtest.Write(t, store, feedtest.User("c@example.com", "1"))
	feedtest.Write(t, store, feedtest.Gateway("us", "1", "us"), feedtest.Atomic())
	last := feedtest.Write(t, store, feedtest.User("d@example.com", "1"))
	feedtest.AwaitHead(t, f, last)

	type row struct {
		to      catalog.Revision
		atomic  bool
		upserts []string
	}
	var got []row
	for from := first; from < last; {
		d, parts := delta(t, c, from, last)
		upserts, _ := names(parts[0])
		got = append(got, row{d.To, parts[0].GetAtomic(), upserts})
		from = d.To
	}
	want := []row{
		{atomic - 1, false, []string{"user a@example.com"}},
		{atomic, true, []string{"gateway demo", "user b@example.com"}},
		{last, false, []string{"user c@example.com", "user d@example.com"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

// TestMergedDelta: a merge keeps only the last state of a resource (D-25), and nothing of what came and went.
func TestMergedDelta(t *testing.T) {
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	f := feedtest.Start(t, store)
	c, err := f.Class(scope.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	from := f.Head().Revision
	feedtest.Write(t, store, feedtest.User("a@example.com", "1"))
	feedtest.Write(t, store, feedtest.User("a@example.com", "2"))
	feedtest.Write(t, store, feedtest.Assign("demo", "shop/sell", "shop-main"))
	feedtest.Write(t, store, feedtest.Delete(catalog.KindAssignment, "demo/shop/sell"))
	feedtest.Write(t, store, feedtest.Gateway("demo", "2"))
	to := feedtest.Write(t, store, feedtest.Gateway("demo", "1"))
	feedtest.AwaitHead(t, f, to)
	_, parts := delta(t, c, from, to)
	upserts, tombstones := names(parts[0])
	if len(parts) != 1 || len(tombstones) != 0 || len(parts[0].GetBlobs()) != 0 || !slices.Equal(upserts, []string{"user a@example.com"}) {
		t.Fatalf("got %v, %v, %d bodies", upserts, tombstones, len(parts[0].GetBlobs()))
	}
	if got := parts[0].GetUpserts()[0].GetUser().GetDisplayName(); got != "2" {
		t.Fatalf("the last state is %q", got)
	}
}

// TestLargeDelta: parts of about 1 MB, bodies first, digest and end on the last (D-24, D-29).
func TestLargeDelta(t *testing.T) {
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	f := feedtest.Start(t, store)
	c, err := f.Class(scope.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	from := f.Head().Revision
	big := strings.Repeat("x", 400<<10)
	var ops []feedtest.Op
	for i := range 6 {
		ops = append(ops, feedtest.Tool("shop", fmt.Sprint(i), fmt.Sprint(i)+big), feedtest.Assign("demo", fmt.Sprintf("shop/%d", i), "shop-main"))
	}
	to := feedtest.Write(t, store, ops...)
	feedtest.AwaitHead(t, f, to)
	d, parts := delta(t, c, from, to)
	if len(parts) < 3 {
		t.Fatalf("%d parts for 2.4 MB", len(parts))
	}
	bodies, upserts := 0, 0
	for i, p := range parts {
		last := i == len(parts)-1
		if len(d.Frames[i]) > 1<<20 {
			t.Errorf("part %d has %d bytes", i, len(d.Frames[i]))
		}
		if p.GetMore() == last || (len(p.GetDigest()) > 0) != last {
			t.Errorf("part %d: more %t, digest %x", i, p.GetMore(), p.GetDigest())
		}
		if p.GetFrom() != uint64(from) || p.GetTo() != uint64(to) || p.GetEpoch() != f.Head().Epoch {
			t.Errorf("part %d is of another range", i)
		}
		if len(p.GetBlobs()) > 0 && upserts > 0 {
			t.Errorf("part %d has bodies after resources that need them", i)
		}
		bodies += len(p.GetBlobs())
		upserts += len(p.GetUpserts())
	}
	if bodies != 6 || upserts != 12 {
		t.Fatalf("%d bodies and %d resources, want 6 and 12", bodies, upserts)
	}
}

// TestDeltasAreShared: streams at one cursor send the same bytes, not equal ones (D-10).
func TestDeltasAreShared(t *testing.T) {
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	f := feedtest.Start(t, store)
	c, err := f.Class(scope.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	from := f.Head().Revision
	to := feedtest.Write(t, store, feedtest.User("a@example.com", "1"))
	feedtest.AwaitHead(t, f, to)
	var wg sync.WaitGroup
	made := make([]*feed.Delta, 16)
	for i := range made {
		wg.Go(func() { made[i], _ = c.Delta(context.WithoutCancel(t.Context()), from, to) })
	}
	wg.Wait()
	for _, d := range made {
		if d == nil || &d.Frames[0][0] != &made[0].Frames[0][0] {
			t.Fatal("a delta was encoded twice")
		}
	}
	if first, second := c.Snapshot(), c.Snapshot(); first != second {
		t.Fatal("a snapshot was made twice")
	}
}

// TestLargeDeltasLast: while a thousand nodes get a large delta, revisions come. It is not made anew for each of them: who
// gets it late gets the same one, and what came since afterwards.
func TestLargeDeltasLast(t *testing.T) {
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	f := feedtest.Start(t, store)
	c, err := f.Class(scope.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		tools int
		last  bool
	}{"large": {500, true}, "small": {1, false}} {
		from := f.Head().Revision
		to := feedtest.Write(t, store, feedtest.Tools(name, tc.tools)...)
		feedtest.AwaitHead(t, f, to)
		d, err := c.Delta(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		later := feedtest.Write(t, store, feedtest.User(name+"@example.com", "1"))
		feedtest.AwaitHead(t, f, later)
		again, err := c.Delta(t.Context(), from, later)
		if err != nil {
			t.Fatal(err)
		}
		if (again == d) != tc.last {
			t.Errorf("%s, %d bytes: up to %d became up to %d", name, d.Bytes, d.To, again.To)
		}
		rest, err := c.Delta(t.Context(), d.To, later)
		if err != nil || rest.To != later || len(rest.Frames) != 1 {
			t.Errorf("%s: the rest is %+v, %v", name, rest, err)
		}
	}
}

func TestTooManyScopes(t *testing.T) {
	f := feedtest.Start(t, memstore.New(nil))
	for i := range 64 {
		if _, err := f.Class(scope.Scope{Region: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Class(scope.Scope{Region: "one more"}); fault.KindOf(err) != fault.Exhausted {
		t.Fatalf("got %v, want exhausted", err)
	}
	if _, err := f.Class(scope.Scope{Region: "7"}); err != nil {
		t.Fatalf("a scope that is there: %v", err)
	}
}

func TestResources(t *testing.T) {
	store := memstore.New(nil)
	feedtest.Write(t, store, feedtest.Shop()...)
	f := feedtest.Start(t, store)
	var got []string
	for r := range f.Resources(catalog.KindTool) {
		got = append(got, r.GetTool().GetUpstreamName())
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"buy", "sell"}, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}
