// SPDX-License-Identifier: Apache-2.0

package method_test

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestFind is the table of versions and capabilities: with everything declared, where a method exists, and which one
// capability less takes it away.
func TestFind(t *testing.T) {
	const (
		own, listed, called = method.Own, method.Listed, method.Called
		all                 = "legacy modern"
	)
	without := map[string]func(c *compile.Capabilities){
		"prompts":     func(c *compile.Capabilities) { c.Prompts = false },
		"resources":   func(c *compile.Capabilities) { c.Resources = false },
		"subscribe":   func(c *compile.Capabilities) { c.ResourcesWatched = false },
		"completions": func(c *compile.Capabilities) { c.Completions = false },
		"logging":     func(c *compile.Capabilities) { c.Logging = false },
		"tasks":       func(c *compile.Capabilities) { c.Tasks = false },
		"extension":   func(c *compile.Capabilities) { c.Extensions = map[string][]byte{"other/x": nil} },
	}
	for _, tt := range []struct {
		name   string
		where  string // "legacy", "modern", "2025-11-25"
		action method.Action
		needs  []string // capabilities, one of which missing makes the method unknown in the era it is for
	}{
		{"initialize", "legacy", own, nil},
		{"ping", "legacy", own, nil},
		{"logging/setLevel", "legacy", own, []string{"logging"}},
		{"server/discover", "modern", own, nil},
		{"subscriptions/listen", "modern", own, nil},
		{"tools/list", all, listed, nil},
		{"tools/call", all, called, nil},
		{"prompts/list", all, listed, []string{"prompts"}},
		{"prompts/get", all, called, []string{"prompts"}},
		{"resources/list", all, listed, []string{"resources"}},
		{"resources/templates/list", all, listed, []string{"resources"}},
		{"resources/read", all, called, []string{"resources"}},
		{"resources/subscribe", "legacy", called, []string{"resources", "subscribe"}},
		{"resources/unsubscribe", "legacy", called, []string{"resources", "subscribe"}},
		{"completion/complete", all, called, []string{"completions"}},
		{"tasks/get", "2025-11-25 modern", called, nil},
		{"tasks/cancel", "2025-11-25 modern", called, nil},
		{"tasks/result", "2025-11-25", called, []string{"tasks"}},
		{"tasks/update", "modern", called, []string{"extension"}},
		{"tasks/list", "", 0, nil},
		{"sampling/createMessage", "", 0, nil},
		{"elicitation/create", "", 0, nil},
		{"roots/list", "", 0, nil},
		{"example/own", "", 0, nil},
		{"", "", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, v := range wire.Supported() {
				g := &view.Gateway{Capabilities: everything()}
				want := method.Unknown
				if exists(tt.where, v) {
					want = tt.action
				}
				m := method.Find(tt.name, v, g)
				if m.Action != want {
					t.Errorf("%s: action %d, want %d", v, m.Action, want)
				}
				modern := v.Era() == wire.Modern
				asks := tt.name == "tools/call" || tt.name == "prompts/get" || tt.name == "resources/read"
				if m.InputRequired != (asks && modern) {
					t.Errorf("%s: input required %t", v, m.InputRequired)
				}
				if (m.Extension != "") != (m.Needs&method.Task != 0 && modern) {
					t.Errorf("%s: extension %q", v, m.Extension)
				}
				for _, name := range tt.needs {
					less := &view.Gateway{Capabilities: everything()}
					without[name](&less.Capabilities)
					if m := method.Find(tt.name, v, less); m.Action != method.Unknown {
						t.Errorf("%s without %s: action %d", v, name, m.Action)
					}
				}
			}
		})
	}
	for _, v := range []wire.Version{wire.V20251125, wire.Latest} {
		g := &view.Gateway{Capabilities: everything()}
		without[map[wire.Era]string{wire.Legacy: "tasks", wire.Modern: "extension"}[v.Era()]](&g.Capabilities)
		if m := method.Find("tasks/get", v, g); m.Action != method.Unknown {
			t.Errorf("tasks/get at %s where only the other form of tasks is declared: action %d", v, m.Action)
		}
	}
}

func everything() compile.Capabilities {
	return compile.Capabilities{
		Prompts: true, Resources: true, ResourcesWatched: true, Tools: true, Completions: true, Logging: true, Tasks: true,
		Extensions: map[string][]byte{compile.ExtensionTasks: []byte(`{}`)},
	}
}

func exists(where string, v wire.Version) bool {
	switch where {
	case "legacy":
		return v.Era() == wire.Legacy
	case "modern":
		return v.Era() == wire.Modern
	case "2025-11-25":
		return v == wire.V20251125
	case "2025-11-25 modern":
		return v == wire.V20251125 || v.Era() == wire.Modern
	}
	return where != ""
}

// TestPassthrough is M-60: only what MCP does not define passes.
func TestPassthrough(t *testing.T) {
	g := &view.Gateway{Gateway: compile.Gateway{Passthrough: true}}
	for _, v := range wire.Supported() {
		if m := method.Find("example/own", v, g); m.Action != method.Called || !m.Foreign {
			t.Errorf("%s: %+v", v, m)
		}
		for _, name := range []string{"tasks/list", "roots/list", "prompts/list", "tasks/get"} {
			if m := method.Find(name, v, g); m.Action != method.Unknown {
				t.Errorf("%s at %s: %+v", name, v, m)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, method, params, want string
	}{
		{"tool", "tools/call", `{"name":"a","arguments":{}}`, ""},
		{"no name", "tools/call", `{}`, "params.name must be a string"},
		{"name null", "prompts/get", `{"name":null}`, "params.name must be a string"},
		{"arguments null", "tools/call", `{"name":"a","arguments":null}`, "params.arguments must be an object"},
		{"uri", "resources/read", `{"uri":"a"}`, ""},
		{"no uri", "resources/read", `{"name":"a"}`, "params.uri must be a string"},
		{"task", "tasks/get", `{"taskId":"a"}`, ""},
		{"task of a wrong type", "tasks/get", `{"taskId":1}`, "params.taskId must be a string"},
		{"reference to a prompt", "completion/complete", `{"ref":{"type":"ref/prompt","name":"a"},"argument":{}}`, ""},
		{"reference to a resource", "completion/complete", `{"ref":{"type":"ref/resource","uri":"a"},"argument":{}}`, ""},
		{"no reference", "completion/complete", `{"argument":{}}`, "params.ref must be an object"},
		{"no argument", "completion/complete", `{"ref":{"type":"ref/prompt","name":"a"}}`, "params.argument must be an object"},
		{"prompt without a name", "completion/complete", `{"ref":{"type":"ref/prompt","uri":"a"},"argument":{}}`, "params.ref.name must be a string"},
		{"resource without a URI", "completion/complete", `{"ref":{"type":"ref/resource","name":"a"},"argument":{}}`, "params.ref.uri must be a string"},
		{"reference without a type", "completion/complete", `{"ref":{"name":"a"},"argument":{}}`, "params.ref.type must be ref/prompt or ref/resource"},
		{"progress token, string", "tools/call", `{"name":"a","_meta":{"progressToken":"x"}}`, ""},
		{"progress token, integer", "tools/call", `{"name":"a","_meta":{"progressToken":5}}`, ""},
		{"progress token, fraction", "tools/call", `{"name":"a","_meta":{"progressToken":5.5}}`, "the progress token must be a string or an integer"},
		{"progress token, null", "resources/read", `{"uri":"a","_meta":{"progressToken":null}}`, "the progress token must be a string or an integer"},
		{"foreign", "example/own", `{"name":5}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m wire.Message
			if err := wire.ScanParams([]byte(tt.params), &m); err != nil {
				t.Fatal(err)
			}
			g := &view.Gateway{Capabilities: everything(), Gateway: compile.Gateway{Passthrough: true}}
			err := method.Find(tt.method, wire.Latest, g).Check(&m.P, &m.Meta, []byte(tt.params))
			if tt.want == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
				return
			}
			if f := fault.From(err); err == nil || f.Kind != fault.Invalid || f.Public != tt.want || wire.CodeOf(err) != wire.CodeInvalidParams {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	for raw, want := range map[string]string{
		`"tools/call"`: "tools/call", `"tools\/call"`: "tools/call", `"a/b"`: "a/b", ``: "", `1`: "", `""`: "", `"ping"`: "ping",
	} {
		if got := method.Known([]byte(raw)); got != want {
			t.Errorf("Known(%s) = %q, want %q", raw, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { method.Known([]byte(`"tools/call"`)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
