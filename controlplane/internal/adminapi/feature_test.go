// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

const features = `
kind: Server
name: everything
streamable_http: {url: "https://everything.example.com/mcp"}
credential: {static_headers: {}}
visibility: {organization: {}}
questions: {elicitation: true}
tool_changes: accept
---
kind: Server
name: events
sse: {url: "https://events.example.com/sse"}
---
kind: Gateway
name: eng
visibility: {organization: {}}
authentication: {bearer_token: {}}
server_features:
- {server: everything, prompts: true, resources: true, instructions: true, pinned: {connection: shared}}
resource_uris: always
extensions: {allowed: [io.modelcontextprotocol/ui]}
naming: {prefix: on_conflict}
`

// What a manifest turns on, and a discovery finds, is what nodes compile (M-54, M-57…M-60, M-66).
func TestFeaturesReachNodes(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	set, err := manifest.Load([]manifest.Source{{Name: "m", Data: []byte(features)}}, manifest.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources}); err != nil {
		t.Fatal(err)
	}
	const prompt = `{ "name":"greet", "x-unknown": 9007199254740993 }`
	const template = `{"uriTemplate":"demo://items/{id}","name":"item"}`
	w.upstream.setAlso(catalog.Discovery{
		Capabilities: []byte(`{"prompts":{"listChanged":true},"resources":{"subscribe":true},"tools":{},"extensions":{"a/b":{ "k": 1 }}}`),
		Instructions: instructionsLater, Prompts: [][]byte{[]byte(prompt)}, Templates: [][]byte{[]byte(template)}, Authorities: []string{"demo://items"},
	})
	res, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.GetServer().GetStatus(); len(got.GetPrompts()) != 1 || string(got.GetPrompts()[0].GetDefinition()) != prompt || got.GetPendingInstructionsHash() != "" {
		t.Errorf("got status %v", got)
	}

	s, err := compile.MakeServer(w.sent(t, catalog.KindServer, "everything").GetServer())
	if err != nil {
		t.Fatal(err)
	}
	want := &compile.Server{
		Name: "everything", URL: "https://everything.example.com/mcp", NeedsSecret: true, Protocol: "2025-11-25",
		CallTimeout: s.CallTimeout, MaxConcurrency: s.MaxConcurrency, MaxResponse: s.MaxResponse,
		Questions: compile.Questions{Elicitation: true},
		Capabilities: compile.Capabilities{
			Prompts: true, PromptsChanged: true, Resources: true, ResourcesWatched: true, Tools: true,
			Extensions: map[string][]byte{"a/b": []byte(`{ "k": 1 }`)},
		},
		Instructions: instructionsLater,
		Prompts:      []compile.Listed{{Name: "greet", Body: []byte(prompt)}},
		Templates:    []compile.Listed{{Name: "demo://items/{id}", Body: []byte(template)}},
		Authorities:  []string{"demo://items"},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("server (-want +got):\n%s", diff)
	}
	g, err := compile.MakeGateway(w.sent(t, catalog.KindGateway, "eng").GetGateway())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]compile.Feature{{Server: "everything", Connection: "shared", Prompts: true, Resources: true, Instructions: true}}, g.Features); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
	if !g.AlwaysURIs || g.Passthrough || g.Naming != compile.PrefixOnConflict || len(g.Extensions) != 1 {
		t.Errorf("got %+v", g)
	}
	events, err := compile.MakeServer(w.sent(t, catalog.KindServer, "events").GetServer())
	if err != nil || !events.SSE || events.URL != "https://events.example.com/sse" || events.Questions != (compile.Questions{Sampling: true, Elicitation: true, Roots: true}) {
		t.Errorf("got %+v, %v", events, err)
	}
}

// sent is what nodes get of a resource.
func (w *world) sent(t *testing.T, kind catalog.Kind, name string) *distributionv1.Resource {
	t.Helper()
	out := &distributionv1.Resource{}
	err := w.store.Read(t.Context(), func(_ catalog.Head, r catalog.Reader) error {
		rec, err := r.Get(t.Context(), catalog.Key{Kind: kind, Name: name})
		if err != nil {
			return err
		}
		e, err := scope.Encode(rec)
		if err != nil {
			return err
		}
		return proto.Unmarshal(e.Wire, out)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Changed instructions wait for an administrator, as definitions of tools do (M-58, G-16), and lists of servers carry no
// definitions.
func TestAcceptInstructions(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	if got := w.sent(t, catalog.KindServer, "everything").GetServer().GetStatus(); got.GetInstructions() != instructionsFirst || got.GetPendingInstructions() != "" {
		t.Errorf("nodes get %v", got)
	}
	_, err := c.Servers.AcceptServerInstructions(ctx, &adminv1.AcceptServerInstructionsRequest{Name: "everything", PendingInstructionsHash: hashOf("other")})
	if !admin.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	res, err := c.Servers.AcceptServerInstructions(ctx, &adminv1.AcceptServerInstructionsRequest{Name: "everything", PendingInstructionsHash: hashOf(instructionsLater)})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.GetServer().GetStatus(); got.GetInstructions() != instructionsLater || got.GetPendingInstructionsHash() != "" {
		t.Errorf("got %v", got)
	}
	if got := w.sent(t, catalog.KindServer, "everything").GetServer().GetStatus().GetInstructions(); got != instructionsLater {
		t.Errorf("nodes get %q", got)
	}
	w.upstream.setAlso(catalog.Discovery{Prompts: [][]byte{[]byte(`{"name":"greet"}`)}})
	if _, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"}); err != nil {
		t.Fatal(err)
	}
	list, err := c.Servers.ListServers(ctx, &adminv1.ListServersRequest{Filter: `name = "everything"`})
	if err != nil {
		t.Fatal(err)
	}
	if prompts := list.GetServers()[0].GetStatus().GetPrompts(); len(prompts) != 1 || prompts[0].GetName() != "greet" || len(prompts[0].GetDefinition()) != 0 {
		t.Errorf("the list has %v", prompts)
	}
}
