// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node"
)

func connection(name string) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "connection", Name: name, Body: &distributionv1.Resource_Connection{
		Connection: &resourcev1.Connection{Name: name, Uid: "uid-" + name},
	}}
}

func pin(gateway, tool, connection string) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "assignment", Name: gateway + "/" + tool, Body: &distributionv1.Resource_Assignment{
		Assignment: &resourcev1.ToolAssignment{
			Gateway: gateway, Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: connection}},
		},
	}}
}

func regional(name string, regions []string, features ...string) *distributionv1.Resource {
	g := &resourcev1.Gateway{Name: name, Uid: "uid-" + name, Visibility: forAll(), Regions: regions}
	for i, c := range features {
		g.ServerFeatures = append(g.ServerFeatures, &resourcev1.ServerFeature{
			Server: fmt.Sprint("s", i), Prompts: true, Mode: &resourcev1.ServerFeature_Pinned{Pinned: &resourcev1.Pinned{Connection: c}},
		})
	}
	return &distributionv1.Resource{Kind: "gateway", Name: name, Body: &distributionv1.Resource_Gateway{Gateway: g}}
}

// D-85: a credential is for the nodes that serve a gateway which uses its connection, whatever way it uses it, as long as
// it does.
func TestReaches(t *testing.T) {
	f, s := directory.NewFollower("https://gw.example.com"), &state{epoch: "one", resources: map[node.Key]*distributionv1.Resource{}}
	apply := func(full bool, list ...*distributionv1.Resource) {
		t.Helper()
		keys := s.put(list...)
		if full {
			keys = nil
		}
		if rejects := f.Apply(t.Context(), s, keys, false); len(rejects) > 0 {
			t.Fatal(rejects)
		}
	}
	remove := func(kind, name string) {
		k := node.Key{Kind: kind, Name: name}
		delete(s.resources, k)
		s.revision++
		f.Apply(t.Context(), s, []node.Key{k}, false)
	}
	want := func(when, connection, regions string) {
		t.Helper()
		got := ""
		for _, region := range []string{"", "eu", "us"} {
			if f.View().Reaches("uid-"+connection, region) {
				got += "[" + region + "]"
			}
		}
		if got != regions {
			t.Errorf("%s: %s reaches %s, want %s", when, connection, got, regions)
		}
	}
	apply(true, connection("pinned"), connection("featured"), connection("shared"), connection("unused"), connection("lost"),
		regional("g-eu", []string{"eu"}, "featured", "shared"), regional("g-us", []string{"us"}), regional("g-all", nil),
		pin("g-eu", "s/a", "pinned"), pin("g-eu", "s/b", "pinned"), pin("g-us", "s/a", "shared"), pin("gone", "s/a", "lost"))
	want("in the beginning", "pinned", "[][eu]")
	want("in the beginning", "featured", "[][eu]")
	want("in the beginning", "shared", "[][eu][us]")
	want("in the beginning", "unused", "[][eu][us]")
	want("pinned by no gateway that is there", "lost", "[]")
	want("in the beginning", "unknown", "")
	before := f.View()

	apply(false, pin("g-all", "s/c", "pinned"))
	want("a gateway of all regions pins it too", "pinned", "[][eu][us]")
	remove("assignment", "g-all/s/c")
	remove("assignment", "g-eu/s/b")
	want("one of two pins gone", "pinned", "[][eu]")
	apply(false, regional("g-eu", []string{"us"}, "shared"))
	want("the gateway moved", "pinned", "[][us]")
	want("no feature uses it any more", "featured", "[][eu][us]")
	f.Deny(t.Context(), s.revision+1, []node.Key{{Kind: "gateway", Name: "g-eu"}})
	want("the gateway is denied", "pinned", "[]")
	want("the gateway is denied", "shared", "[][us]")
	f.Deny(t.Context(), s.revision+1, []node.Key{{Kind: "connection", Name: "shared"}})
	want("the connection is denied", "shared", "")
	apply(false, pin("g-us", "s/a", "pinned"))
	want("pinned to another one", "pinned", "[][us]")
	remove("connection", "pinned")
	want("deleted", "pinned", "")
	if !before.Reaches("uid-pinned", "eu") || before.Reaches("uid-pinned", "us") {
		t.Error("an earlier view has changed")
	}
}

// D-85, G-12: where calls choose among the connections of a server, all of them are for the nodes that serve the gateway.
func TestReachesWhatCallsChoose(t *testing.T) {
	f, s := directory.NewFollower("https://gw.example.com"), &state{epoch: "one", resources: map[node.Key]*distributionv1.Resource{}}
	apply := func(list ...*distributionv1.Resource) {
		t.Helper()
		if rejects := f.Apply(t.Context(), s, s.put(list...), false); len(rejects) > 0 {
			t.Fatal(rejects)
		}
	}
	of := func(name, server string) *distributionv1.Resource {
		c := connection(name)
		c.GetConnection().Server = server
		return c
	}
	chosen := func(gateway, tool string) *distributionv1.Resource {
		a := pin(gateway, tool, "")
		a.GetAssignment().Mode = &resourcev1.ToolAssignment_ResolveAtCallTime{ResolveAtCallTime: &resourcev1.ResolveAtCallTime{}}
		return a
	}
	want := func(when string, regions map[string]string) {
		t.Helper()
		for name, want := range regions {
			got := ""
			for _, region := range []string{"eu", "us"} {
				if f.View().Reaches("uid-"+name, region) {
					got += region
				}
			}
			if got != want {
				t.Errorf("%s: %s reaches %q, want %q", when, name, got, want)
			}
		}
	}
	apply(of("ada", "gh"), of("bob", "gh"), of("other", "jira"), regional("g-eu", []string{"eu"}), regional("g-us", []string{"us"}), chosen("g-eu", "gh/star"))
	want("chosen in eu", map[string]string{"ada": "eu", "bob": "eu", "other": "euus"})
	apply(pin("g-us", "gh/star", "bob"))
	want("one pinned in us, too", map[string]string{"ada": "eu", "bob": "euus"})
	apply(of("carl", "gh"))
	want("connected later", map[string]string{"carl": "eu"})
	apply(pin("g-eu", "gh/star", "ada"))
	want("pinned in place of chosen", map[string]string{"ada": "eu", "bob": "us", "carl": "euus"})
	shows := regional("g-us", []string{"us"})
	shows.GetGateway().ServerFeatures = []*resourcev1.ServerFeature{{
		Server: "gh", Prompts: true, Mode: &resourcev1.ServerFeature_ResolveAtCallTime{ResolveAtCallTime: &resourcev1.ResolveAtCallTime{}},
	}}
	apply(shows)
	want("a feature chooses", map[string]string{"ada": "euus", "bob": "us", "carl": "us", "other": "euus"})
}

func TestBans(t *testing.T) {
	b := directory.NewBans()
	entry := func(kind distributionv1.RevocationKind, id string, end time.Time) *distributionv1.Revocation {
		sum := sha256.Sum256([]byte(id))
		return &distributionv1.Revocation{Kind: kind, KeySha256: sum[:], ExpireTime: timestamppb.New(end)}
	}
	n := ident.Workload{TrustDomain: "td", Region: "eu", Role: ident.RoleNode, Name: "n1"}
	later := time.Now().Add(time.Hour)
	workload, token := distributionv1.RevocationKind_REVOCATION_KIND_WORKLOAD, distributionv1.RevocationKind_REVOCATION_KIND_TOKEN
	b.Take(t.Context(), []*distributionv1.Revocation{
		entry(token, n.URI(), later), entry(workload, "spiffe://td/region/us/node/n1", later), entry(workload, n.URI(), time.Now().Add(-time.Hour)),
	})
	if b.Banned(n) {
		t.Error("banned by what is about another one, or over")
	}
	b.Take(t.Context(), []*distributionv1.Revocation{entry(workload, n.URI(), later)})
	if !b.Banned(n) {
		t.Error("not banned")
	}
}
