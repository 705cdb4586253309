// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// server puts a server with prompts.
func (s *state) server(name string, prompts ...string) node.Key {
	m := &resourcev1.Server{
		Name: name, Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://x"}},
		Status: &resourcev1.ServerStatus{Capabilities: []byte(`{"prompts":{}}`), Instructions: "Of " + name + "."},
	}
	for _, p := range prompts {
		m.Status.Prompts = append(m.Status.Prompts, &resourcev1.ListedPrompt{Name: p, Definition: fmt.Appendf(nil, `{"name":%q}`, p)})
	}
	return s.put(&distributionv1.Resource{Kind: kindServer, Name: name, Body: &distributionv1.Resource_Server{Server: m}})
}

func feature(server string) *resourcev1.ServerFeature {
	return &resourcev1.ServerFeature{
		Server: server, Prompts: true, Instructions: true,
		Mode: &resourcev1.ServerFeature_Pinned{Pinned: &resourcev1.Pinned{Connection: "shared"}},
	}
}

// What servers show besides tools reaches the view, whichever of the two comes first, and follows the server.
func TestFeatures(t *testing.T) {
	s := newState(t)
	holder := view.NewHolder()
	c := New(holder, &deniedKeys{})
	apply := func(want string, touched ...node.Key) {
		t.Helper()
		s.revision++
		if rejects := c.Apply(t.Context(), s, touched, false); len(rejects) > 0 {
			t.Fatalf("rejected: %v", rejects)
		}
		g := holder.Load().Gateway("eng")
		var got []string
		for _, p := range g.Prompts {
			got = append(got, p.Exposed)
		}
		if diff := cmp.Diff(want, fmt.Sprintf("%s, declared %t, %q", strings.Join(got, " "), g.Capabilities.Prompts, g.FullInstructions)); diff != "" {
			t.Errorf("revision %d (-want +got):\n%s", s.revision, diff)
		}
	}
	with := func(features ...*resourcev1.ServerFeature) node.Key {
		return s.gateway("eng", func(g *resourcev1.Gateway) { g.ServerFeatures = features })
	}
	apply(`, declared false, ""`, with(feature("a")))
	apply(`a__x, declared true, "## a\n\nOf a."`, s.server("a", "x"))
	apply(`a__x a__y, declared true, "## a\n\nOf a."`, s.server("a", "y", "x"))
	apply(`a__x a__y b__x, declared true, "## a\n\nOf a.\n\n## b\n\nOf b."`, s.server("b", "x"), with(feature("b"), feature("a")))
	apply(`b__x, declared true, "## b\n\nOf b."`, s.drop(node.Key{Kind: kindServer, Name: "a"})...)
	apply(`, declared false, ""`, with())

	// A full state has the same result as the changes before it.
	with(feature("b"))
	s.revision++
	if rejects := c.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	if g := holder.Load().Gateway("eng"); len(g.Prompts) != 1 || g.Prompt("b__x") == nil {
		t.Errorf("got %+v", g.Prompts)
	}
}

// A credential mode of newer nodes is rejected, and the gateway stays as it was (D-35).
func TestFeatureOfNewerNodes(t *testing.T) {
	s := newState(t)
	holder := view.NewHolder()
	c := New(holder, &deniedKeys{})
	first := []node.Key{s.server("a", "x"), s.gateway("eng", func(g *resourcev1.Gateway) { g.ServerFeatures = []*resourcev1.ServerFeature{feature("a")} })}
	if rejects := c.Apply(t.Context(), s, first, false); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	newer := feature("a")
	newer.Mode = nil // one that only newer nodes can read
	key := s.gateway("eng", func(g *resourcev1.Gateway) { g.ServerFeatures = []*resourcev1.ServerFeature{newer} })
	for name, touched := range map[string][]node.Key{"change": {key}, "full state": nil} {
		rejects := c.Apply(t.Context(), s, touched, false)
		if len(rejects) != 1 || rejects[0].Reason != "UNKNOWN_MODE" || rejects[0].Key != key {
			t.Errorf("%s: rejects %v", name, rejects)
		}
		if holder.Load().Gateway("eng").Prompt("a__x") == nil {
			t.Errorf("%s: the gateway lost its prompt", name)
		}
	}
}
