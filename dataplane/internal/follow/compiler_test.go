// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
	"github.com/penstockhq/penstock/sdk/node/bodies"
)

// state is a node.State that a test writes to.
type state struct {
	revision  uint64
	resources map[node.Key]*distributionv1.Resource
	blobs     map[[32]byte]*node.Body
	store     *bodies.Store
}

func newState(t *testing.T) *state {
	t.Helper()
	store, err := bodies.New()
	if err != nil {
		t.Fatal(err)
	}
	return &state{resources: make(map[node.Key]*distributionv1.Resource), blobs: make(map[[32]byte]*node.Body), store: store}
}

func (s *state) Get(kind, name string) *distributionv1.Resource {
	return s.resources[node.Key{Kind: kind, Name: name}]
}

func (s *state) Range(kind string, fn func(*distributionv1.Resource) bool) {
	for k, r := range s.resources {
		if k.Kind == kind && !fn(r) {
			return
		}
	}
}

func (s *state) Names(kind string, fn func(string) bool) {
	s.Range(kind, func(r *distributionv1.Resource) bool { return fn(r.GetName()) })
}

func (s *state) Blob(hash [32]byte) *node.Body { return s.blobs[hash] }
func (s *state) Epoch() string                 { return "epoch" }
func (s *state) Revision() uint64              { return s.revision }

func (s *state) put(r *distributionv1.Resource) node.Key {
	k := node.Key{Kind: r.GetKind(), Name: r.GetName()}
	s.resources[k] = r
	return k
}

func (s *state) gateway(name string, edit func(*resourcev1.Gateway)) node.Key {
	g := &resourcev1.Gateway{
		Name: name, Uid: "uid-" + name,
		Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
	}
	if edit != nil {
		edit(g)
	}
	return s.put(&distributionv1.Resource{Kind: kindGateway, Name: name, Body: &distributionv1.Resource_Gateway{Gateway: g}})
}

func (s *state) tool(server, name, body string) node.Key {
	hash := sha256.Sum256([]byte(body))
	s.blobs[hash] = s.store.Add([]byte(body))
	return s.put(&distributionv1.Resource{
		Kind: kindTool, Name: server + "/" + name, Blobs: [][]byte{hash[:]},
		Body: &distributionv1.Resource_Tool{Tool: &resourcev1.Tool{Name: server + "/" + name, Server: server, UpstreamName: name}},
	})
}

func (s *state) assign(gateway, tool string, edit func(*resourcev1.ToolAssignment)) node.Key {
	a := &resourcev1.ToolAssignment{
		Tool: tool, Gateway: gateway, ResolvedName: strings.ReplaceAll(tool, "/", "__"),
		Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "shared"}},
	}
	if edit != nil {
		edit(a)
	}
	return s.put(&distributionv1.Resource{
		Kind: kindAssignment, Name: gateway + "/" + tool, Body: &distributionv1.Resource_Assignment{Assignment: a},
	})
}

func (s *state) drop(keys ...node.Key) []node.Key {
	for _, k := range keys {
		delete(s.resources, k)
	}
	return keys
}

type deniedKeys struct{ keys []view.Key }

func (d *deniedKeys) Denied(keys []view.Key) { d.keys = append(d.keys, keys...) }

// shown lists what each gateway shows: "gateway: name name".
func shown(h *view.Holder) map[string]string {
	out := make(map[string]string)
	h.Load().Gateways(func(g *view.Gateway) bool {
		var names []string
		for _, t := range g.Tools {
			names = append(names, t.Exposed+"="+string(t.Body.Bytes()))
		}
		out[g.Name] = strings.Join(names, " ")
		return true
	})
	return out
}

func noMode(a *resourcev1.ToolAssignment) { a.Mode = nil }

func noVisibility(g *resourcev1.Gateway) { g.Visibility = nil }

func TestApply(t *testing.T) {
	type step struct {
		change  func(s *state) []node.Key
		atomic  bool
		want    map[string]string
		rejects []string
	}
	steps := []struct {
		name string
		step
	}{
		{"gateway with a tool arrives", step{
			change: func(s *state) []node.Key {
				return []node.Key{s.gateway("eng", nil), s.tool("ev", "echo", "1"), s.assign("eng", "ev/echo", nil)}
			},
			want: map[string]string{"eng": "ev__echo=1"},
		}},
		{"assignment before its tool shows nothing", step{
			change: func(s *state) []node.Key { return []node.Key{s.assign("eng", "ev/add", nil)} },
			want:   map[string]string{"eng": "ev__echo=1"},
		}},
		{"the tool arrives later", step{
			change: func(s *state) []node.Key { return []node.Key{s.tool("ev", "add", "2")} },
			want:   map[string]string{"eng": "ev__add=2 ev__echo=1"},
		}},
		{"a changed body reaches every gateway that shows it", step{
			change: func(s *state) []node.Key {
				return []node.Key{s.gateway("ops", nil), s.assign("ops", "ev/echo", nil), s.tool("ev", "echo", "3")}
			},
			want: map[string]string{"eng": "ev__add=2 ev__echo=3", "ops": "ev__echo=3"},
		}},
		{"a rejected assignment keeps its previous form, the rest applies (D-35)", step{
			change: func(s *state) []node.Key {
				return []node.Key{s.assign("eng", "ev/echo", noMode), s.tool("ev", "add", "4")}
			},
			want:    map[string]string{"eng": "ev__add=4 ev__echo=3", "ops": "ev__echo=3"},
			rejects: []string{"assignment eng/ev/echo UNKNOWN_MODE"},
		}},
		{"in an atomic change one reject holds back all but removals (D-35)", step{
			change: func(s *state) []node.Key {
				keys := []node.Key{s.gateway("ops", noVisibility), s.gateway("new", nil)}
				return append(keys, s.drop(node.Key{Kind: kindAssignment, Name: "eng/ev/add"})...)
			},
			atomic:  true,
			want:    map[string]string{"eng": "ev__echo=3", "ops": "ev__echo=3"},
			rejects: []string{"gateway ops UNKNOWN_VISIBILITY"},
		}},
		{"a deleted gateway goes", step{
			change: func(s *state) []node.Key {
				return s.drop(node.Key{Kind: kindGateway, Name: "eng"}, node.Key{Kind: kindAssignment, Name: "eng/ev/echo"})
			},
			want: map[string]string{"ops": "ev__echo=3"},
		}},
	}
	s, holder := newState(t), view.NewHolder()
	c := New(holder, &deniedKeys{})
	if rejects := c.Apply(t.Context(), s, nil, false); rejects != nil {
		t.Fatalf("empty state rejected: %v", rejects)
	}
	for _, step := range steps {
		s.revision++
		rejects := c.Apply(t.Context(), s, step.change(s), step.atomic)
		if diff := cmp.Diff(step.want, shown(holder)); diff != "" {
			t.Errorf("%s: view (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.rejects, rejectNames(rejects)); diff != "" {
			t.Errorf("%s: rejects (-want +got):\n%s", step.name, diff)
		}
		if got := holder.Load().Revision; got != s.revision {
			t.Errorf("%s: revision %d, want %d", step.name, got, s.revision)
		}
	}
}

func rejectNames(rejects []node.Reject) []string {
	var out []string
	for _, r := range rejects {
		out = append(out, r.Key.Kind+" "+r.Key.Name+" "+r.Reason)
	}
	slices.Sort(out) // a full state has no order
	return out
}

// D-21, D-22: a full state replaces everything, but what it cannot compile keeps the form it had.
func TestFullStateKeepsRejected(t *testing.T) {
	s, holder := newState(t), view.NewHolder()
	c := New(holder, &deniedKeys{})
	s.gateway("eng", nil)
	s.gateway("old", nil)
	s.tool("ev", "echo", "1")
	s.assign("eng", "ev/echo", nil)
	c.Apply(t.Context(), s, nil, false)

	s.drop(node.Key{Kind: kindGateway, Name: "old"})
	s.gateway("eng", noVisibility)
	rejects := c.Apply(t.Context(), s, nil, false)
	if diff := cmp.Diff(map[string]string{"eng": "ev__echo=1"}, shown(holder)); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"gateway eng UNKNOWN_VISIBILITY"}, rejectNames(rejects)); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
}

// D-30: a denial is obeyed at once, told to the rooms that hold credentials, and forgotten when the view contains it.
func TestDeny(t *testing.T) {
	s, holder := newState(t), view.NewHolder()
	told := &deniedKeys{}
	c := New(holder, told)
	s.revision = 5
	s.gateway("eng", nil)
	s.tool("ev", "echo", "1")
	s.assign("eng", "ev/echo", nil)
	c.Apply(t.Context(), s, nil, false)

	key := node.Key{Kind: kindAssignment, Name: "eng/ev/echo"}
	c.Deny(t.Context(), 7, []node.Key{key})
	now := holder.Load()
	if now.Tool(now.Gateway("eng"), "ev__echo") != nil || len(now.Tools(now.Gateway("eng"))) != 0 {
		t.Error("a denied assignment is still shown")
	}
	if diff := cmp.Diff([]view.Key{{Kind: key.Kind, Name: key.Name}}, told.keys); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	s.revision = 6
	c.Apply(t.Context(), s, []node.Key{}, false)
	if !holder.Load().HasDenials() {
		t.Error("a view older than the denial dropped it")
	}
	s.revision = 7
	c.Apply(t.Context(), s, s.drop(key), false)
	if holder.Load().HasDenials() {
		t.Error("the denial outlived the view that contains it")
	}
	c.Deny(t.Context(), 7, []node.Key{key})
	if holder.Load().HasDenials() {
		t.Error("a denial that the view contains was added again")
	}
}

// TestManyGateways: a full state that several goroutines compile is what one would make of it, good, bad and waiting.
func TestManyGateways(t *testing.T) {
	s := newState(t)
	want, rejected := make(map[string]string), 0
	for i := range 1000 {
		name, tool := fmt.Sprintf("g%04d", i), fmt.Sprintf("t%04d", i)
		body := fmt.Sprintf(`{"name":%q}`, tool)
		switch i % 7 {
		case 3: // an assignment that shows nothing yet
			s.gateway(name, nil)
			s.assign(name, "ev/"+tool, nil)
			want[name] = ""
		case 5:
			s.gateway(name, noVisibility)
			rejected++
		default:
			s.gateway(name, nil)
			s.tool("ev", tool, body)
			s.assign(name, "ev/"+tool, nil)
			want[name] = "ev__" + tool + "=" + body
		}
	}
	h := view.NewHolder()
	c := New(h, &deniedKeys{})
	if rejects := c.Apply(t.Context(), s, nil, false); len(rejects) != rejected {
		t.Errorf("%d rejects, want %d", len(rejects), rejected)
	}
	if diff := cmp.Diff(want, shown(h)); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	// What waited is shown when its tool comes, on a gateway that is otherwise untouched.
	key := s.tool("ev", "t0003", `{"name":"t0003"}`)
	c.Apply(t.Context(), s, []node.Key{key}, false)
	if got := shown(h)["g0003"]; got != `ev__t0003={"name":"t0003"}` {
		t.Errorf("after its tool came, g0003 shows %q", got)
	}
}
