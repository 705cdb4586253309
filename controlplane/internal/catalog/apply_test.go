// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func apply(o *org, who string, opt catalog.ApplyOptions, objects ...catalog.Object) (catalog.Applied, error) {
	return o.Apply(o.t.Context(), o.as(who), objects, opt)
}

// manifest is a small configuration whose resources need each other.
func manifest() []catalog.Object {
	return []catalog.Object{
		gateway("gw", seenBy("new"), pin("files/read", "c")),
		connection("c", "files", ownedBy("new")),
		&catalog.Team{Meta: named("new"), Members: []resource.TeamMember{{User: "n@example.com"}}},
		&catalog.User{Meta: named("n@example.com")},
		server("extra"),
	}
}

// The order of the resources makes no difference, and one apply is one revision.
func TestApplyOrder(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := newOrg(t)
			o.standard()
			objects := manifest()
			rand.New(rand.NewPCG(seed, 0)).Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
			before := o.head()
			out, err := apply(o, "root", catalog.ApplyOptions{}, objects...)
			if err != nil || out.Revision != before+1 {
				t.Fatalf("revision %d after %d, %v", out.Revision, before, err)
			}
			for i, item := range out.Items {
				if item.Kind != objects[i].Kind() || item.Name != objects[i].Metadata().Name || item.Action != catalog.ActionCreated {
					t.Errorf("item %d is %+v", i, item)
				}
			}
			if !o.last().Atomic {
				t.Error("nodes may enforce a part of it")
			}
			again, err := apply(o, "root", catalog.ApplyOptions{}, objects...)
			if err != nil || again.Revision != out.Revision {
				t.Errorf("applied again: revision %d, %v", again.Revision, err)
			}
		})
	}
}

func TestApplyDifference(t *testing.T) {
	o := newOrg(t)
	o.standard()
	if _, err := apply(o, "root", catalog.ApplyOptions{}, manifest()...); err != nil {
		t.Fatal(err)
	}
	objects := manifest()
	gw := objects[0].(*catalog.Gateway)
	gw.DisplayName, gw.Tools = "New", append(gw.Tools, pin("files/write", "shared"))
	objects[4].(*catalog.Server).Labels = map[string]string{"a": "b"}
	want := []catalog.AppliedItem{
		{Kind: catalog.KindGateway, Name: "gw", Action: "updated", ChangedFields: []string{"display_name", "tools"}},
		{Kind: catalog.KindConnection, Name: "c", Action: "unchanged"},
		{Kind: catalog.KindTeam, Name: "new", Action: "unchanged"},
		{Kind: catalog.KindUser, Name: "n@example.com", Action: "unchanged"},
		{Kind: catalog.KindServer, Name: "extra", Action: "updated", ChangedFields: []string{"labels"}},
	}
	before := o.head()
	out, err := apply(o, "root", catalog.ApplyOptions{ValidateOnly: true}, objects...)
	if err != nil || out.Revision != before || o.head() != before {
		t.Fatalf("validate only: revision %d, head %d, %v", out.Revision, o.head(), err)
	}
	diff(t, "items of validate only", want, out.Items)
	if out, err = apply(o, "root", catalog.ApplyOptions{}, objects...); err != nil || out.Revision != before+1 {
		t.Fatalf("revision %d, %v", out.Revision, err)
	}
	diff(t, "items", want, out.Items)
	// A field that is left out takes its default.
	out, err = apply(o, "root", catalog.ApplyOptions{}, manifest()[0])
	if err != nil || get[*catalog.Gateway](o, catalog.KindGateway, "gw").DisplayName != "" {
		t.Errorf("%+v, %v", out, err)
	}
}

// Problems of all resources are reported together, and nothing is stored (wholly or not at all).
func TestApplyProblems(t *testing.T) {
	o := newOrg(t)
	o.standard()
	before := o.head()
	bad := server("bad")
	bad.StreamableHTTP.URL = "ftp://x"
	worse := server("worse")
	worse.Protocol = "X"
	_, err := apply(o, "root", catalog.ApplyOptions{}, append(manifest(), bad, worse, connection("k", "bad", everybody()))...)
	wantRefusal(t, err, "invalid INVALID_FIELD", "2 resources are refused", "server \"bad\"")
	var paths []string
	for _, f := range fault.From(err).Fields {
		paths = append(paths, f.Path)
	}
	diff(t, "paths", []string{"server bad: streamable_http.url", "server worse: protocol"}, paths)
	if o.head() != before {
		t.Errorf("something was stored: head %d after %d", o.head(), before)
	}
	for _, tc := range []struct {
		name, who, want, text string
		objects               []catalog.Object
	}{
		{"tool not discovered", "root", "invalid UNKNOWN_TOOL", "penstock server discover extra", []catalog.Object{
			server("extra"), connection("x", "extra", everybody()), gateway("g", seenBy(), pin("extra/x", "x")),
		}},
		{"twice", "root", "invalid DUPLICATE_RESOURCE", "there twice", []catalog.Object{server("x"), server("x")}},
		{"user twice in other case", "root", "invalid DUPLICATE_RESOURCE", "there twice", []catalog.Object{
			&catalog.User{Meta: named("n@example.com")}, &catalog.User{Meta: named("N@example.com")},
		}},
		{"bearer token", "root", "invalid INVALID_FIELD", "cannot be applied", []catalog.Object{token(everybody(), "x")}},
		{"role", "bob", "denied ROLE_REQUIRED", "role EDITOR", []catalog.Object{server("x")}},
		{"what the caller does not see", "bob", "not_found RESOURCE_NOT_FOUND", "ada-files", []catalog.Object{connection("ada-files", "files", ownedBy("ada"))}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := apply(o, tc.who, catalog.ApplyOptions{}, tc.objects...)
			wantRefusal(t, err, tc.want, tc.text)
		})
	}
	stale := server("files")
	stale.Etag = "0000000000000000"
	_, err = apply(o, "root", catalog.ApplyOptions{}, stale)
	wantRefusal(t, err, "conflict ETAG_STALE")
}

// More resources than an apply may have, and a list of names too long to be shown whole.
func TestApplyLimits(t *testing.T) {
	o := newOrg(t)
	_, err := apply(o, "root", catalog.ApplyOptions{}, slices.Repeat([]catalog.Object{server("s")}, 10_001)...)
	wantRefusal(t, err, "invalid INVALID_FIELD", "at most 10000")
	o.create(server("s"))
	for i := range 13 {
		o.create(connection(fmt.Sprintf("c-%02d", i), "s", everybody()))
	}
	_, err = o.Delete(t.Context(), o.as("root"), catalog.KindServer, "s", "", catalog.WriteOptions{})
	wantRefusal(t, err, "precondition RESOURCE_IN_USE", `connection "c-09" and 3 more`)
}

func TestPrune(t *testing.T) {
	o := newOrg(t)
	o.standard()
	tok := token(ownedBy("eve"), "old")
	tok.Name = "eve-token"
	o.create(gateway("old", seenBy("ops"), pin("files/read", "ops-files")), tok)
	_, err := apply(o, "edna", catalog.ApplyOptions{Prune: true})
	wantRefusal(t, err, "denied ROLE_REQUIRED", "prune")
	keep := []catalog.Object{server("files"), connection("shared", "files", everybody()), gateway("gw", seenBy(), pin("files/read", "shared"))}
	out, err := apply(o, "root", catalog.ApplyOptions{Prune: true}, keep...)
	if err != nil {
		t.Fatal(err)
	}
	var deleted []string
	for _, item := range out.Items[len(keep):] {
		if item.Action != catalog.ActionDeleted {
			t.Errorf("%+v", item)
		}
		deleted = append(deleted, item.Name)
	}
	diff(t, "deleted, in the reverse order of dependence", []string{
		"old", "ada-files", "bob-files", "eng-files", "ops-files", "eng", "ops",
		mail("ada"), mail("bob"), mail("edna"), mail("eve"), mail("ghost"),
	}, deleted)
	if out.Revision != o.head() {
		t.Errorf("revision %d, head %d", out.Revision, o.head())
	}
	_, err = o.Get(t.Context(), o.as("root"), catalog.KindBearerToken, "eve-token")
	wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND")
	if !slices.Contains(o.last().Denials, catalog.Key{Kind: catalog.KindUser, Name: mail("ada")}) {
		t.Errorf("denials are %v", o.last().Denials)
	}
}

// TestPruneLeavesWhatPeopleConnected: no manifest knows of the connections that people have made for themselves (G-13). They go
// with the person, or with the server.
func TestPruneLeavesWhatPeopleConnected(t *testing.T) {
	for _, tc := range []struct {
		name string
		keep []catalog.Object
		want bool // ada's connection stays
	}{
		{"both stay", []catalog.Object{server("files"), &catalog.User{Meta: named(mail("ada"))}}, true},
		{"the person goes", []catalog.Object{server("files")}, false},
		{"the server goes", []catalog.Object{&catalog.User{Meta: named(mail("ada"))}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.standard()
			if _, err := apply(o, "root", catalog.ApplyOptions{Prune: true}, tc.keep...); err != nil {
				t.Fatal(err)
			}
			_, err := o.Get(t.Context(), o.as("root"), catalog.KindConnection, "ada-files")
			if (err == nil) != tc.want {
				t.Errorf("ada's connection: %v", err)
			}
			_, err = o.Get(t.Context(), o.as("root"), catalog.KindConnection, "eng-files")
			wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND") // a team's is what manifests are for
		})
	}
}

// A configuration that pins what it prunes contradicts itself, though deleting a pinned connection is possible (G-11).
func TestPrunePinned(t *testing.T) {
	o := newOrg(t)
	o.standard()
	gw := gateway("gw", seenBy(), pin("files/read", "shared"))
	o.create(gw)
	_, err := apply(o, "root", catalog.ApplyOptions{Prune: true}, server("files"), gw)
	wantRefusal(t, err, "invalid PIN_CONNECTION_PRUNED", "connection \"shared\"")
}

// 10,000 resources in one transaction take seconds, not minutes. The time is printed; the bound only catches a walk over
// everything for each.
func TestApplyLarge(t *testing.T) {
	o := newOrg(t)
	o.standard()
	tools := make([]string, 40)
	for i := range tools {
		tools[i] = tool(fmt.Sprintf("tool-%02d", i))
	}
	o.discover("files", tools...)
	objects := make([]catalog.Object, 0, 2*largeApply)
	for i := range largeApply / 3 {
		objects = append(objects, &catalog.User{Meta: named(fmt.Sprintf("user-%04d@example.com", i))})
		objects = append(objects, connection(fmt.Sprintf("c-%04d", i), "files", everybody()))
	}
	for i := range largeApply {
		g := gateway(fmt.Sprintf("gw-%04d", i), seenBy())
		for j := range 5 {
			g.Tools = append(g.Tools, pin(fmt.Sprintf("files/tool-%02d", (i+j)%40), fmt.Sprintf("c-%04d", i%(largeApply/3))))
		}
		objects = append(objects, g)
	}
	for _, round := range []string{"created", "unchanged"} {
		start := time.Now()
		out, err := apply(o, "root", catalog.ApplyOptions{}, objects...)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("%d resources took %v", len(objects), took)
		} else {
			t.Logf("%d resources %s in %v", len(objects), round, took)
		}
		if item := out.Items[len(out.Items)-1]; item.Action != round {
			t.Errorf("%+v", item)
		}
	}
}
