// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// searching is a dispatcher with search_tools and run_tool.
func searching(t *testing.T, w *world) *Dispatcher {
	t.Helper()
	d := newDispatcher(t, w)
	var err error
	if d.Search, err = search.New(search.Config{}); err != nil {
		t.Fatal(err)
	}
	return d
}

// whenNeeded is the snapshot with a gateway that loads its tools when needed.
func whenNeeded(s *view.Snapshot) *view.Snapshot {
	b := view.From(s.View)
	g := s.Gateway("eng")
	form := g.Gateway
	form.LoadToolsWhenNeeded = true
	b.PutGateway(&view.Gateway{Gateway: form, Tools: g.Tools})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 2))
	return h.Load()
}

// TestOwnTools: what is listed, in the form of each version; a cursor of the list before the switch is none of a wrong kind.
func TestOwnTools(t *testing.T) {
	s := whenNeeded(snapshot(echo()))
	for _, v := range wire.Supported() {
		for _, cursor := range []string{"", "uid-eng!tev__echo", "uid-eng!tsearch_tools"} {
			from := &cursor
			if cursor == "" {
				from = nil
			}
			page, err := searching(t, &world{}).List(t.Context(), caller(s, v), "tools/list", from)
			if err != nil {
				t.Fatal(err)
			}
			var list struct {
				Tools []struct {
					Name      string
					Execution json.RawMessage
				}
				NextCursor *string
			}
			if err := json.Unmarshal(page.Result, &list); err != nil || list.NextCursor != nil {
				t.Fatalf("%v in %s", err, page.Result)
			}
			want := map[string]int{"": 2, "uid-eng!tev__echo": 2, "uid-eng!tsearch_tools": 0}[cursor]
			if len(list.Tools) != want || want == 2 && (list.Tools[0].Name != "run_tool" || list.Tools[1].Name != "search_tools" || list.Tools[0].Execution != nil) {
				t.Errorf("%s after %q: %s", v, cursor, page.Result)
			}
		}
	}
	if _, err := searching(t, &world{}).List(t.Context(), caller(s, wire.Latest), "tools/list", new("uid-eng!px")); fault.From(err).Reason != ReasonBadCursor {
		t.Errorf("a cursor of another list: %v", err)
	}
	page, err := searching(t, &world{}).List(t.Context(), caller(whenNeeded(withTaskServers()), wire.V20251125), "tools/list", nil)
	if err != nil || !strings.Contains(string(page.Result), `"execution":{"taskSupport":"optional"}`) {
		t.Errorf("with tasks: %s, %v", page.Result, err)
	}
}

// TestOffByDefault: on other gateways the two names are those of no tool.
func TestOffByDefault(t *testing.T) {
	d, c := searching(t, &world{}), caller(snapshot(echo()), wire.Latest)
	for _, params := range []string{`{"name":"search_tools","arguments":{"query":"x"}}`, `{"name":"run_tool","arguments":{"tool_name":"ev__echo"}}`} {
		if _, err := d.Call(t.Context(), c, request(t, "tools/call", params), discard); fault.From(err).Reason != ReasonUnknownTool {
			t.Errorf("%s: %v", params, err)
		}
	}
	page, err := d.List(t.Context(), c, "tools/list", nil)
	if err != nil || !strings.Contains(string(page.Result), "ev__echo") || strings.Contains(string(page.Result), "search_tools") {
		t.Errorf("listed %s, %v", page.Result, err)
	}
}

// TestUnavailable: search_tools says why a tool cannot be called, in the words that the call is refused with where dispatch refuses it.
func TestUnavailable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(tool *view.Tool, server *view.Server, c *call.Caller)
		want   string
	}{
		{"nothing is in the way", func(*view.Tool, *view.Server, *call.Caller) {}, ""},
		{"held (G-16)", func(tool *view.Tool, _ *view.Server, _ *call.Caller) { tool.Held = true }, `The definition of this tool changed on the server "ev" and waits for an administrator to accept it.`},
		{"its connection was deleted (G-11)", func(tool *view.Tool, _ *view.Server, _ *call.Caller) { tool.Connection = "gone" }, `The connection "gone" that this tool runs with was deleted. Ask an administrator to create it again or to pin the tool to another one.`},
		{"its connection lacks the secret (G-13)", func(tool *view.Tool, _ *view.Server, _ *call.Caller) { tool.Connection = "bare" }, `The connection "bare" that this tool runs with has no credential. Ask an administrator to set its secret.`},
		{"its connection needs none", func(tool *view.Tool, server *view.Server, _ *call.Caller) {
			tool.Connection, server.NeedsSecret = "bare", false
		}, ""},
		{"nobody connected it (G-12)", func(tool *view.Tool, _ *view.Server, _ *call.Caller) { tool.Connection, tool.AtCall = "", true }, `You have not connected "ev" yet.`},
		{"its server is gone", func(tool *view.Tool, _ *view.Server, _ *call.Caller) { tool.Server = "gone" }, `The server "gone" behind this tool was removed. Ask an administrator of the gateway.`},
		{"it is for people (UP-2)", func(_ *view.Tool, server *view.Server, c *call.Caller) {
			server.CallerOnly, c.Principal.Kind = true, ident.KindOrganization
		}, `This tool runs at "ev" as the person who calls it, and this token is nobody's. Call it as a person.`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tool, server := echo(), &view.Server{Name: "ev", NeedsSecret: true}
			var c call.Caller
			tt.change(tool, server, &c)
			b := view.From(snapshot(tool).View)
			b.PutServer("ev", server)
			h := view.NewHolder()
			h.Publish(b.Build("epoch", 2))
			kind := c.Principal.Kind
			c = caller(whenNeeded(h.Load()), wire.Latest)
			if kind != "" {
				c.Principal.Kind = kind
			}
			d := searching(t, &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}})
			reply, err := d.Call(t.Context(), c, request(t, "tools/call", `{"name":"search_tools","arguments":{"query":"echo"}}`), discard)
			if err != nil {
				t.Fatal(err)
			}
			var found struct {
				StructuredContent struct {
					Tools []struct {
						Available bool
						Reason    string `json:"unavailable_reason"`
					}
				}
			}
			if err := json.Unmarshal(reply.Result, &found); err != nil || len(found.StructuredContent.Tools) != 1 {
				t.Fatalf("%v in %s", err, reply.Result)
			}
			if one := found.StructuredContent.Tools[0]; one.Reason != tt.want || one.Available != (tt.want == "") {
				t.Errorf("got %+v, want %s", one, tt.want)
			}
			for _, params := range []string{`{"name":"ev__echo"}`, `{"name":"run_tool","arguments":{"tool_name":"ev__echo"}}`} {
				reply, err := d.Call(t.Context(), c, request(t, "tools/call", params), discard)
				if err != nil || reply.IsError != (tt.want != "") || tt.want != "" && !strings.Contains(string(reply.Result), string(wire.Quote(tt.want))[1:]) {
					t.Errorf("%s: %s, %v", params, reply.Result, err)
				}
			}
		})
	}
}

// TestRunToolIsCounted: a call counts against the limits of the tool that it runs, and not when nothing is run (G-24, G-50).
func TestRunToolIsCounted(t *testing.T) {
	d, c := searching(t, &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}), caller(whenNeeded(snapshot(echo())), wire.Latest)
	counted := &counts{}
	d.RateLimits = counted
	for _, params := range []string{
		`{"name":"search_tools","arguments":{"query":"echo"}}`, `{"name":"run_tool","arguments":{"tool_name":"nope"}}`, `{"name":"run_tool","arguments":{"tool_name":"echo"}}`, `{"name":"ev__echo"}`,
	} {
		if _, err := d.Call(t.Context(), c, request(t, "tools/call", params), discard); err != nil {
			t.Errorf("%s: %v", params, err)
		}
	}
	if got := strings.Join(counted.tools, " "); got != "ev__echo ev__echo" {
		t.Errorf("counted %s", got)
	}
}

// counts remembers what was counted.
type counts struct{ tools []string }

func (*counts) Look(context.Context, *view.Snapshot, *view.Gateway, ident.Principal, *view.Tool) []call.DryLimit {
	return nil
}

func (*counts) Return(context.Context, *view.Snapshot, *view.Gateway, ident.Principal, *view.Tool) {}

func (n *counts) Call(_ context.Context, _ *view.Snapshot, _ *view.Gateway, _ ident.Principal, t *view.Tool) error {
	n.tools = append(n.tools, t.Exposed)
	return nil
}

// TestRunToolTasks: a client of 2025-11-25 that runs a tool without knowing that it runs as a task only sees one long call; one that
// asks for a task gets it.
func TestRunToolTasks(t *testing.T) {
	for _, tt := range []struct {
		version wire.Version
		params  string
		want    bool
	}{
		{wire.V20251125, `{"name":"run_tool","arguments":{"tool_name":"old__t"}}`, true},
		{wire.V20251125, `{"name":"run_tool","arguments":{"tool_name":"old__t"},"task":{}}`, false},
		{wire.V20251125, `{"name":"old__t"}`, false},
		{wire.V20251125, `{"name":"run_tool","arguments":{"tool_name":"new__t"}}`, false},
		{wire.V20260728, `{"name":"run_tool","arguments":{"tool_name":"old__t"}}`, true},
	} {
		w := &world{reply: call.Reply{Result: []byte(`{}`)}}
		if _, err := searching(t, w).Call(t.Context(), caller(whenNeeded(withTaskServers()), tt.version), request(t, "tools/call", tt.params), discard); err != nil {
			t.Fatal(err)
		}
		if got := w.calls[0].TaskRequired; got != tt.want {
			t.Errorf("%s of %s: required %t, want %t", tt.params, tt.version, got, tt.want)
		}
	}
}

// TestRunToolHome: a call runs where the process of its target lives, through run_tool too (M-94).
func TestRunToolHome(t *testing.T) {
	b := view.From(snapshot(echo()).View)
	b.PutServer("ev", &view.Server{Name: "ev", NeedsSecret: true, Homed: true, Stateless: true})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 2))
	d, c := searching(t, &world{}), caller(whenNeeded(h.Load()), wire.Latest)
	d.Homes = homes{}
	for params, want := range map[string]string{
		`{"name":"ev__echo"}`: "at uid-shared", `{"name":"run_tool","arguments":{"tool_name":"ev__echo"}}`: "at uid-shared",
		`{"name":"run_tool","arguments":{"tool_name":"nope"}}`: "", `{"name":"search_tools","arguments":{"query":"ev__echo"}}`: "",
	} {
		if got := d.Home(t.Context(), c, request(t, "tools/call", params)); got != want {
			t.Errorf("%s runs at %q, want %q", params, got, want)
		}
	}
}
