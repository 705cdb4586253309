// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

const legacy, modern = "2025-11-25", "2026-07-28"

// build joins one gateway with servers.
func build(g *Gateway, servers ...*Server) *Gateway {
	b := From(nil)
	b.PutGateway(g)
	for _, s := range servers {
		b.PutServer(s.Name, s)
	}
	return b.Build("epoch", 1).Gateway(g.Name)
}

func showing(features ...compile.Feature) *Gateway {
	return &Gateway{Gateway: compile.Gateway{
		Name: "eng", UID: "u", Features: features, Extensions: []string{compile.ExtensionUI, compile.ExtensionTasks},
	}}
}

func all(server string) compile.Feature {
	return compile.Feature{Server: server, Connection: server + "-shared", Prompts: true, Resources: true, Instructions: true}
}

func listed(names ...string) []compile.Listed {
	var out []compile.Listed
	for _, n := range names {
		out = append(out, compile.Listed{Name: n, Body: fmt.Appendf(nil, `{"name":%q}`, n)})
	}
	return out
}

// M-57: what is on and declared, whatever is up; the gateway's own lists always tell of changes.
func TestCapabilities(t *testing.T) {
	full := compile.Capabilities{
		Prompts: true, Resources: true, ResourcesWatched: true, Tools: true, Completions: true, Logging: true, Tasks: true,
		Extensions: map[string][]byte{compile.ExtensionTasks: []byte(`{"a":1}`), compile.ExtensionUI: []byte(`{"mimeTypes":["b","a"]}`), "x/y": []byte(`{}`)},
	}
	server := func(name, protocol string, c compile.Capabilities) *Server {
		return &Server{Name: name, Protocol: protocol, Capabilities: c}
	}
	tool := func(server string) *Tool { return &Tool{Exposed: server + "__t", Server: server} }
	tools := compile.Capabilities{Tools: true, ToolsChanged: true}
	with := func(change func(*compile.Capabilities)) compile.Capabilities {
		c := tools
		change(&c)
		return c
	}
	ui := func(settings string) compile.Capabilities {
		return compile.Capabilities{Extensions: map[string][]byte{compile.ExtensionUI: []byte(settings)}}
	}
	for _, tc := range []struct {
		name    string
		gateway *Gateway
		tools   []string
		servers []*Server
		want    compile.Capabilities
	}{
		{"empty", showing(), nil, nil, tools},
		{"a tool drags logging, tasks and extensions along, nothing else (M-54)", showing(), []string{"a"}, []*Server{server("a", legacy, full)}, with(func(c *compile.Capabilities) {
			c.Logging, c.Tasks = true, true
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{"mimeTypes":["b","a"]}`)}
		})},
		{"tasks of 2025-11-25 are not of modern upstreams, the extension is", showing(), []string{"a"}, []*Server{server("a", modern, full)}, with(func(c *compile.Capabilities) {
			c.Logging = true
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{"mimeTypes":["b","a"]}`), compile.ExtensionTasks: []byte(`{"a":1}`)}
		})},
		{"everything on", showing(all("a")), nil, []*Server{server("a", legacy, full)}, with(func(c *compile.Capabilities) {
			c.Prompts, c.PromptsChanged, c.Resources, c.ResourcesChanged, c.ResourcesWatched = true, true, true, true, true
			c.Completions, c.Logging = true, true
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{"mimeTypes":["b","a"]}`)}
		})},
		{"prompts on, resources off", showing(compile.Feature{Server: "a", Prompts: true}), nil, []*Server{server("a", legacy, full)}, with(func(c *compile.Capabilities) {
			c.Prompts, c.PromptsChanged, c.Completions, c.Logging = true, true, true, true
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{"mimeTypes":["b","a"]}`)}
		})},
		{"instructions alone declare nothing", showing(compile.Feature{Server: "a", Instructions: true}), nil, []*Server{server("a", legacy, full)}, tools},
		{"on, but not declared", showing(all("a")), nil, []*Server{server("a", legacy, compile.Capabilities{Tools: true})}, tools},
		{"server unknown", showing(all("a")), []string{"b"}, nil, tools},
		{"joined over servers", showing(all("a"), all("b")), nil, []*Server{
			server("a", legacy, compile.Capabilities{Prompts: true}), server("b", legacy, compile.Capabilities{Resources: true}),
		}, with(func(c *compile.Capabilities) {
			c.Prompts, c.PromptsChanged, c.Resources, c.ResourcesChanged = true, true, true, true
		})},
		{"equal settings pass raw (M-60)", showing(), []string{"a", "b"}, []*Server{
			server("a", legacy, ui(`{ "mimeTypes":["x"],"k":1}`)), server("b", legacy, ui(`{ "mimeTypes":["x"],"k":1}`)),
		}, with(func(c *compile.Capabilities) {
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{ "mimeTypes":["x"],"k":1}`)}
		})},
		{"ui joins types (M-60)", showing(), []string{"a", "b", "c"}, []*Server{
			server("a", legacy, ui(`{"mimeTypes":["x","y"]}`)), server("b", legacy, ui(`{"mimeTypes":["y","a"]}`)), server("c", legacy, ui(`{"mimeTypes":7}`)),
		}, with(func(c *compile.Capabilities) {
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{"mimeTypes":["a","x","y"]}`)}
		})},
		{"others become empty (M-60)", showing(), []string{"a", "b"}, []*Server{
			server("a", modern, full), server("b", modern, compile.Capabilities{Extensions: map[string][]byte{compile.ExtensionTasks: []byte(`{"a":2}`)}}),
		}, with(func(c *compile.Capabilities) {
			c.Logging = true
			c.Extensions = map[string][]byte{compile.ExtensionUI: []byte(`{"mimeTypes":["b","a"]}`), compile.ExtensionTasks: []byte(`{}`)}
		})},
		{"none allowed", &Gateway{Gateway: compile.Gateway{Name: "eng"}}, []string{"a"}, []*Server{server("a", modern, full)}, with(func(c *compile.Capabilities) { c.Logging = true })},
		{"all passed through", &Gateway{Gateway: compile.Gateway{Name: "eng", Passthrough: true}}, []string{"a"}, []*Server{server("a", modern, full)}, with(func(c *compile.Capabilities) {
			c.Logging, c.Extensions = true, full.Extensions
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, s := range tc.tools {
				tc.gateway.Tools = append(tc.gateway.Tools, tool(s))
			}
			if diff := cmp.Diff(tc.want, build(tc.gateway, tc.servers...).Capabilities); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// M-58: the gateway's text, then that of each server that is on, in name order, 16 KiB in all.
func TestFullInstructions(t *testing.T) {
	on := func(server string) compile.Feature { return compile.Feature{Server: server, Instructions: true} }
	for _, tc := range []struct {
		name    string
		own     string
		servers []*Server
		tools   []string
		feature []compile.Feature
		want    string
	}{
		{"none", "", nil, nil, nil, ""},
		{"its own", "Hi.", nil, nil, nil, "Hi."},
		{"a server's, off", "Hi.", []*Server{{Name: "a", Instructions: "A."}}, nil, []compile.Feature{{Server: "a", Prompts: true}}, "Hi."},
		{"a server's alone", "", []*Server{{Name: "a", Instructions: "A."}}, nil, []compile.Feature{on("a")}, "## a\n\nA."},
		{"with title and prefix", "Hi.", []*Server{{Name: "a", DisplayName: "Alpha", Instructions: "A."}}, []string{"a__x", "a__y"}, []compile.Feature{on("a")}, "Hi.\n\n## Alpha\nIts tools are named `a__…`.\n\nA."},
		{"not all prefixed", "", []*Server{{Name: "a", Instructions: "A."}}, []string{"a__x", "a!y"}, []compile.Feature{on("a")}, "## a\n\nA."},
		{"in name order, without those that have none", "", []*Server{{Name: "b", Instructions: "B."}, {Name: "a", Instructions: "A."}, {Name: "c"}}, nil, []compile.Feature{on("a"), on("b"), on("c"), on("gone")}, "## a\n\nA.\n\n## b\n\nB."},
		{"cut between characters", "", []*Server{{Name: "a", Instructions: strings.Repeat("é", 16<<10)}}, nil, []compile.Feature{on("a")}, "## a\n\n" + strings.Repeat("é", (16<<10-6)/2)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := showing(tc.feature...)
			g.Instructions = tc.own
			for _, name := range tc.tools {
				g.Tools = append(g.Tools, &Tool{Exposed: strings.TrimPrefix(name, "a!"), Server: "a"})
			}
			if diff := cmp.Diff(tc.want, build(g, tc.servers...).FullInstructions); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// M-62: names of prompts, sorted, found by name, the same whatever order the servers come in.
func TestPrompts(t *testing.T) {
	servers := []*Server{{Name: "a", Prompts: listed("x", "only a")}, {Name: "b", Prompts: listed("x", "y")}, {Name: "c", Prompts: listed("z")}}
	off := all("c")
	off.Prompts = false
	for _, tc := range []struct {
		naming compile.Prefix
		want   []string
	}{
		{compile.PrefixAlways, []string{"a__only_a=a/only a", "a__x=a/x", "b__x=b/x", "b__y=b/y"}},
		{compile.PrefixOnConflict, []string{"a__x=a/x", "b__x=b/x", "only a=a/only a", "y=b/y"}},
		{compile.PrefixNever, []string{"a__x=a/x", "b__x=b/x", "only a=a/only a", "y=b/y"}},
	} {
		t.Run(fmt.Sprint(tc.naming), func(t *testing.T) {
			for range 2 {
				slices.Reverse(servers)
				g := showing(all("a"), all("b"), off, all("gone"))
				g.Naming = tc.naming
				g = build(g, servers...)
				var got []string
				for _, p := range g.Prompts {
					got = append(got, p.Exposed+"="+p.Server+"/"+p.Upstream)
					if p.Connection != p.Server+"-shared" || string(p.Body) != fmt.Sprintf(`{"name":%q}`, p.Upstream) || g.Prompt(p.Exposed) != p {
						t.Errorf("prompt %+v", p)
					}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if g.Prompt("nope") != nil {
					t.Error("an unknown prompt was found")
				}
			}
		})
	}
}

// A server that changes changes the gateways in front of it, and no view that was published.
func TestServerChangesGateways(t *testing.T) {
	b := From(nil)
	g := showing(all("a"))
	g.Tools = []*Tool{{Exposed: "b__t", Server: "b"}}
	b.PutGateway(g)
	b.PutGateway(gateway("ops"))
	b.PutServer("a", &Server{Name: "a", Prompts: listed("x"), Capabilities: compile.Capabilities{Prompts: true}})
	b.PutServer("b", &Server{Name: "b"})
	first := b.Build("epoch", 1)

	b = From(first)
	b.PutServer("a", &Server{Name: "a", Prompts: listed("x", "y"), Capabilities: compile.Capabilities{Prompts: true}})
	second := b.Build("epoch", 2)
	b = From(second)
	b.PutServer("b", &Server{Name: "b", Capabilities: compile.Capabilities{Logging: true}})
	b.PutServer("a", nil)
	third := b.Build("epoch", 3)

	for i, want := range []string{"1 true false", "2 true false", "0 false true"} {
		now := []*View{first, second, third}[i].Gateway("eng")
		if got := fmt.Sprint(len(now.Prompts), now.Capabilities.Prompts, now.Capabilities.Logging); got != want || len(now.Tools) != 1 {
			t.Errorf("view %d has %s, want %s", i+1, got, want)
		}
	}
	if first.Gateway("ops") != third.Gateway("ops") {
		t.Error("a gateway in front of neither was made anew")
	}
	b = From(third)
	b.PutServer("b", &Server{Name: "b", Capabilities: compile.Capabilities{Logging: true}})
	if again := b.Build("epoch", 4); again.Gateway("eng") != third.Gateway("eng") {
		t.Error("an equal server made its gateways anew")
	}
	b = From(third)
	b.PutGateway(first.Gateway("eng")) // as follow does with one that does not compile any more
	if kept := b.Build("epoch", 5).Gateway("eng"); len(kept.Prompts) != 0 || len(first.Gateway("eng").Prompts) != 1 {
		t.Error("a gateway of an earlier view was not joined anew, or was written to")
	}
}
