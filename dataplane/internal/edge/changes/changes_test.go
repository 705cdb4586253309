// SPDX-License-Identifier: Apache-2.0

package changes_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/edge/changes"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

type definition string

func (d definition) Bytes() []byte { return []byte(d) }
func (d definition) Len() int      { return len(d) }

// publish puts a gateway with one tool on server s, changed by change, in front of the last snapshot.
func publish(h *view.Holder, change func(g *compile.Gateway, t *view.Tool, s *view.Server)) {
	g := compile.Gateway{Name: "g", UID: "g-1", Features: []compile.Feature{{Server: "s", Connection: "s", Prompts: true, Resources: true}}}
	tool := &view.Tool{Exposed: "t", Upstream: "t", Name: "s/t", Server: "s", Body: definition(`{"name":"t"}`)}
	server := &view.Server{
		Name: "s", Capabilities: compile.Capabilities{Prompts: true, Resources: true},
		Prompts:   []compile.Listed{{Name: "p", Body: []byte(`{"name":"p"}`)}},
		Templates: []compile.Listed{{Name: "x://{a}", Body: []byte(`{"uriTemplate":"x://{a}"}`)}},
	}
	change(&g, tool, server)
	b := view.From(nil)
	if s := h.Load(); s != nil {
		b = view.From(s.View)
	}
	b.PutServer("s", server)
	b.PutGateway(&view.Gateway{Gateway: g, Tools: []*view.Tool{tool}})
	revision := uint64(1)
	if s := h.Load(); s != nil {
		revision = s.Revision + 1
	}
	h.Publish(b.Build("e", revision))
}

func TestBetween(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(g *compile.Gateway, t *view.Tool, s *view.Server)
		want   changes.Set
	}{
		{"nothing", func(*compile.Gateway, *view.Tool, *view.Server) {}, changes.Set{}},
		{"what no list shows", func(g *compile.Gateway, _ *view.Tool, s *view.Server) {
			g.Instructions, s.DisplayName, g.MaxStale = "x", "x", 5
		}, changes.Set{}},
		{"a tool's name", func(_ *compile.Gateway, t *view.Tool, _ *view.Server) { t.Exposed = "u" }, changes.Set{Tools: true}},
		{"a tool's description", func(_ *compile.Gateway, t *view.Tool, _ *view.Server) { t.Description = "u" }, changes.Set{Tools: true}},
		{"a tool's definition", func(_ *compile.Gateway, t *view.Tool, _ *view.Server) {
			t.Body = definition(`{"name":"t","title":"x"}`)
		}, changes.Set{Tools: true}},
		{"a tool that is held (G-16)", func(_ *compile.Gateway, t *view.Tool, _ *view.Server) { t.Held = true }, changes.Set{}},
		{"a prompt more", func(_ *compile.Gateway, _ *view.Tool, s *view.Server) {
			s.Prompts = append(s.Prompts, compile.Listed{Name: "q", Body: []byte(`{"name":"q"}`)})
		}, changes.Set{Prompts: true}},
		{"a prompt's definition", func(_ *compile.Gateway, _ *view.Tool, s *view.Server) { s.Prompts[0].Body = []byte(`{}`) }, changes.Set{Prompts: true}},
		{"a template less", func(_ *compile.Gateway, _ *view.Tool, s *view.Server) { s.Templates = nil }, changes.Set{Resources: true}},
		{"a template's definition", func(_ *compile.Gateway, _ *view.Tool, s *view.Server) { s.Templates[0].Body = []byte(`{}`) }, changes.Set{Resources: true}},
		{"resources off", func(g *compile.Gateway, _ *view.Tool, _ *view.Server) { g.Features[0].Resources = false }, changes.Set{Resources: true}},
		{"another connection reads resources", func(g *compile.Gateway, _ *view.Tool, _ *view.Server) { g.Features[0].Connection = "other" }, changes.Set{Resources: true}},
		{"everything off", func(g *compile.Gateway, _ *view.Tool, _ *view.Server) { g.Features = nil }, changes.Set{Prompts: true, Resources: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := view.NewHolder()
			publish(h, func(*compile.Gateway, *view.Tool, *view.Server) {})
			was := h.Load()
			publish(h, tt.change)
			is := h.Load()
			got := changes.Between(was, was.Gateway("g"), is, is.Gateway("g"))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			h.Deny(is.Revision+1, []view.Key{{Kind: "tool", Name: "s/t"}})
			if got := changes.Between(is, is.Gateway("g"), h.Load(), h.Load().Gateway("g")); !got.Tools {
				t.Errorf("a tool that is denied: %+v", got)
			}
		})
	}
}

// TestLoadToolsWhenNeeded: the switch changes the list of tools, both ways; while it is on, the list is the same whatever the tools
// are (G-20).
func TestLoadToolsWhenNeeded(t *testing.T) {
	h := view.NewHolder()
	for i, step := range []struct {
		on   bool
		tool string
		want changes.Set
	}{
		{false, "t", changes.Set{}},
		{true, "t", changes.Set{Tools: true}},
		{true, "u", changes.Set{}},
		{true, "u", changes.Set{}},
		{false, "u", changes.Set{Tools: true}},
		{false, "t", changes.Set{Tools: true}},
	} {
		was := h.Load()
		publish(h, func(g *compile.Gateway, tool *view.Tool, _ *view.Server) {
			g.LoadToolsWhenNeeded, tool.Exposed = step.on, step.tool
		})
		if was == nil {
			continue
		}
		is := h.Load()
		if got := changes.Between(was, was.Gateway("g"), is, is.Gateway("g")); got != step.want {
			t.Errorf("step %d: got %+v, want %+v", i, got, step.want)
		}
		if !step.on {
			continue
		}
		h.Deny(is.Revision+1, []view.Key{{Kind: "tool", Name: "s/t"}})
		if got := changes.Between(is, is.Gateway("g"), h.Load(), h.Load().Gateway("g")); got.Tools {
			t.Errorf("step %d: a tool that is denied changes the list", i)
		}
	}
}

func TestNotifications(t *testing.T) {
	var got []string
	changes.Set{Tools: true, Prompts: true, Resources: true}.And(changes.Set{Tools: true, Resources: true}).
		Notifications(func(m []byte) { got = append(got, string(m)) })
	want := []string{
		`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, `{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
