// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestFindAnswer is the form of G-20, to the byte.
func TestFindAnswer(t *testing.T) {
	h := publish(github()...)
	h2 := publish(tool("s", "alone", `,"description":"say \"hi\"\n"`))
	held := func(*view.Tool) string { return "It waits." }
	for _, tt := range []struct {
		name      string
		h         *view.Holder
		arguments string
		why       func(*view.Tool) string
		want      string
	}{
		{
			"signature, the default", h, `{"query":"branches"}`, available,
			`{"total":4,"match_count":1,"truncated":false,"hint":"","tools":[{"name":"github__list_branches","description":"Lists the branches of a repository.","server":"github","signature":"repo!:string","available":true,"low_confidence":false}]}`,
		},
		{
			"schema", h, `{"query":"branches","detail":"schema"}`, available,
			`{"total":4,"match_count":1,"truncated":false,"hint":"","tools":[{"name":"github__list_branches","description":"Lists the branches of a repository.","server":"github","inputSchema":{"type":"object","properties":{"repo":{"type":"string"}},"required":["repo"]},"available":true,"low_confidence":false}]}`,
		},
		{
			"what cannot be run", h, `{"query":"branches","detail":"signature","limit":20,"server":"github"}`, held,
			`{"total":2,"match_count":1,"truncated":false,"hint":"","tools":[{"name":"github__list_branches","description":"Lists the branches of a repository.","server":"github","signature":"repo!:string","available":false,"unavailable_reason":"It waits.","low_confidence":false}]}`,
		},
		{
			"no schema", h2, `{"query":"alone"}`, available,
			`{"total":1,"match_count":1,"truncated":false,"hint":"","tools":[{"name":"s__alone","description":"say \"hi\"\n","server":"s","signature":"","available":true,"low_confidence":false}]}`,
		},
		{
			"no schema, in full", h2, `{"query":"alone","detail":"schema"}`, available,
			`{"total":1,"match_count":1,"truncated":false,"hint":"","tools":[{"name":"s__alone","description":"say \"hi\"\n","server":"s","inputSchema":{"type":"object"},"available":true,"low_confidence":false}]}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := find(t, open(t, search.Config{}), caller(tt.h, wire.Latest), tt.arguments, tt.why)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFindVersions: clients of before 2025-06-18 know text alone.
func TestFindVersions(t *testing.T) {
	h := publish(github()...)
	for _, v := range wire.Supported() {
		out, err := open(t, search.Config{}).Find(t.Context(), caller(h, v), []byte(`{"query":"branches"}`), available)
		if err != nil {
			t.Fatal(err)
		}
		r := read(t, out)
		if has := r.StructuredContent != nil; has != v.AtLeast(wire.V20250618) {
			t.Errorf("%s: structured content %t", v, has)
		}
		if !strings.Contains(r.Content[0].Text, "github__list_branches") {
			t.Errorf("%s: %s", v, r.Content[0].Text)
		}
	}
}

// TestHints is G-22: what helps somebody who found nothing, or not everything.
func TestHints(t *testing.T) {
	var many []*view.Tool
	for i := range 12 {
		many = append(many, tool(fmt.Sprintf("server%02d", i), "echo", `,"description":"Says it again."`))
	}
	for _, tt := range []struct {
		name, arguments string
		h               *view.Holder
		total, matches  int
		tools           int
		hint            string
	}{
		{"nothing matches", `{"query":"qqqqzz"}`, publish(github()...), 4, 0, 0, `No tool matches. No tool has these words: "qqqqzz". Servers: calendar, github, jira.`},
		{"many servers", `{"query":"qqqqzz"}`, publish(many...), 12, 0, 0, `No tool matches. No tool has these words: "qqqqzz". Servers: server00, server01, server02, server03, server04, server05, server06, server07, server08, server09 and 2 more.`},
		{"no such server", `{"query":"branches","server":"nope"}`, publish(github()...), 0, 0, 0, `There is no server "nope" here with tools for you. Servers: calendar, github, jira.`},
		{"another server", `{"query":"branches","server":"jira"}`, publish(github()...), 1, 0, 0, `No tool matches. No tool has these words: "branches". Servers: calendar, github, jira.`},
		{"no tools", `{"query":"x"}`, publish(), 0, 0, 0, "There are no tools here for you."},
		{"no tools, of a server", `{"query":"x","server":"s"}`, publish(), 0, 0, 0, `There is no server "s" here with tools for you.`},
		{"more than the limit", `{"query":"echo","limit":5}`, publish(many...), 12, 12, 5, "7 more tools match: say more closely what you want to do, name a server, or set limit (at most 20)."},
		{"more than the default limit", `{"query":"echo"}`, publish(many...), 12, 12, 8, "4 more tools match: say more closely what you want to do, name a server, or set limit (at most 20)."},
		{"all of them", `{"query":"echo","limit":20}`, publish(many...), 12, 12, 12, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := find(t, open(t, search.Config{}), caller(tt.h, wire.Latest), tt.arguments, available)
			if f.Total != tt.total || f.MatchCount != tt.matches || len(f.Tools) != tt.tools || f.Truncated != (tt.matches > tt.tools) {
				t.Errorf("got %+v", f)
			}
			if diff := cmp.Diff(tt.hint, f.Hint); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestArguments: what search_tools and run_tool do not take is -32602, in these words (G-20, G-23).
func TestArguments(t *testing.T) {
	const (
		query  = "query must be a string of 1 to 200 characters"
		limit  = "limit must be an integer from 1 to 20"
		server = "server must be the name of a server, a string of 1 to 320 characters"
		detail = `detail must be "signature" or "schema"`
		named  = "tool_name must be the name of a tool, a string of 1 to 320 characters"
	)
	c := caller(publish(github()...), wire.Latest)
	s := open(t, search.Config{})
	searched := func(raw []byte) error { _, err := s.Find(t.Context(), c, raw, available); return err }
	run := func(raw []byte) error { _, err := s.Open(c, raw); return err }
	for _, tt := range []struct {
		name string
		do   func([]byte) error
		raw  string // "" for no arguments
		want string // "" for none
	}{
		{"no arguments", searched, "", query},
		{"no query", searched, `{}`, query},
		{"empty query", searched, `{"query":""}`, query},
		{"blank query", searched, `{"query":" \t"}`, query},
		{"query null", searched, `{"query":null}`, query},
		{"query of another type", searched, `{"query":["x"]}`, query},
		{"query of 200 characters", searched, only(strings.Repeat("ä", 200), ""), ""},
		{"query of 201 characters", searched, only(long(201), ""), query},
		{"limit 1", searched, only("x", `,"limit":1`), ""},
		{"limit 20", searched, only("x", `,"limit":20`), ""},
		{"limit 20 as 2e1", searched, only("x", `,"limit":2e1`), ""},
		{"limit 8.0", searched, only("x", `,"limit":8.0`), ""},
		{"limit 0", searched, only("x", `,"limit":0`), limit},
		{"limit 21", searched, only("x", `,"limit":21`), limit},
		{"limit -1", searched, only("x", `,"limit":-1`), limit},
		{"limit 1.5", searched, only("x", `,"limit":1.5`), limit},
		{"limit huge", searched, only("x", `,"limit":1e300`), limit},
		{"limit a string", searched, only("x", `,"limit":"8"`), limit},
		{"limit null", searched, only("x", `,"limit":null`), limit},
		{"server", searched, only("x", `,"server":"github"`), ""},
		{"server empty", searched, only("x", `,"server":""`), server},
		{"server a number", searched, only("x", `,"server":1`), server},
		{"server too long", searched, only("x", `,"server":"`+long(321)+`"`), server},
		{"detail schema", searched, only("x", `,"detail":"schema"`), ""},
		{"detail unknown", searched, only("x", `,"detail":"all"`), detail},
		{"detail null", searched, only("x", `,"detail":null`), detail},
		{"another argument", searched, only("x", `,"offset":1`), `search_tools has no argument "offset"; it has query, limit, server, detail`},
		{"two known names as one", searched, only("x", `,"query limit":1`), `search_tools has no argument "query limit"; it has query, limit, server, detail`},
		{"an argument twice", searched, `{"query":"x","query":"y"}`, "the arguments of search_tools are no object, or name one argument twice"},
		{"no object", searched, `[]`, "the arguments of search_tools are no object, or name one argument twice"},

		{"run: no arguments", run, "", named},
		{"run: no name", run, `{"arguments":{}}`, named},
		{"run: empty name", run, `{"tool_name":""}`, named},
		{"run: name of another type", run, `{"tool_name":1}`, named},
		{"run: name too long", run, `{"tool_name":"` + long(321) + `"}`, named},
		{"run: arguments", run, `{"tool_name":"calendar__add_meeting","arguments":{}}`, ""},
		{"run: the alias", run, `{"tool_name":"calendar__add_meeting","tool_args":{}}`, ""},
		{"run: no arguments for the tool", run, `{"tool_name":"calendar__add_meeting"}`, ""},
		{"run: both", run, `{"tool_name":"calendar__add_meeting","arguments":{},"tool_args":{}}`, "arguments and tool_args are one argument under two names; give only one of them"},
		{"run: arguments a string", run, `{"tool_name":"calendar__add_meeting","arguments":"{}"}`, "arguments must be an object"},
		{"run: arguments null", run, `{"tool_name":"calendar__add_meeting","arguments":null}`, "arguments must be an object"},
		{"run: the alias a list", run, `{"tool_name":"calendar__add_meeting","tool_args":[]}`, "arguments must be an object"},
		{"run: another argument", run, `{"tool_name":"calendar__add_meeting","repo":"x"}`, `run_tool has no argument "repo"; it has tool_name, arguments, tool_args`},
		{"run: a name twice", run, `{"tool_name":"a","tool_name":"b"}`, "the arguments of run_tool are no object, or name one argument twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var raw []byte
			if tt.raw != "" {
				raw = []byte(tt.raw)
			}
			err := tt.do(raw)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if f := fault.From(err); err == nil || f.Kind != fault.Invalid || f.Public != tt.want || wire.CodeOf(err) != wire.CodeInvalidParams {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestUnseen is G-21: what the caller does not see is not found, not counted and not named.
func TestUnseen(t *testing.T) {
	const bad = `,"inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"not a token"}}}`
	app := tool("s", "draw_chart", `,"_meta":{"ui":{"visibility":["app"]}}`)
	both := tool("s", "show_chart", `,"_meta":{"ui":{"visibility":["app","model"]}}`)
	headers := tool("s", "marked_chart", bad)
	for _, tt := range []struct {
		name    string
		tool    *view.Tool
		version wire.Version
		deny    *view.Key
		seen    bool
	}{
		{"a tool", both, wire.Latest, nil, true},
		{"a tool that was taken away", both, wire.Latest, &view.Key{Kind: "tool", Name: "s/show_chart"}, false},
		{"an assignment that was taken away", both, wire.Latest, &view.Key{Kind: "assignment", Name: "g/s/show_chart"}, false},
		{"a server that was taken away", both, wire.Latest, &view.Key{Kind: "server", Name: "s"}, false},
		{"something else that was taken away", both, wire.Latest, &view.Key{Kind: "server", Name: "t"}, true},
		{"a tool for an app", app, wire.Latest, nil, false},
		{"a tool for an app, older client", app, wire.V20251125, nil, false},
		{"headers that cannot be (M-64)", headers, wire.Latest, nil, false},
		{"headers that nobody reads (M-64)", headers, wire.V20251125, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := publish(tt.tool)
			if tt.deny != nil {
				h.Deny(2, []view.Key{*tt.deny})
			}
			f, _ := find(t, open(t, search.Config{}), caller(h, tt.version), `{"query":"chart"}`, available)
			want := map[bool]int{true: 1}[tt.seen]
			if f.Total != want || f.MatchCount != want || len(f.Tools) != want {
				t.Errorf("got %+v", f)
			}
			if !tt.seen && f.Hint != "There are no tools here for you." {
				t.Errorf("hint %q", f.Hint)
			}
		})
	}
}

// TestIndexIsBuiltOnce is P-11: one index for a revision of a gateway, whoever searches it and how often, and none when only
// a server behind it changed. It goes with the gateway.
func TestIndexIsBuiltOnce(t *testing.T) {
	var built atomic.Int64
	s := open(t, search.Config{Built: func(n int) { built.Add(int64(n)) }})
	h := publish(github()...)
	var all sync.WaitGroup
	versions := wire.Supported()
	for i := range 16 {
		all.Go(func() {
			c := caller(h, versions[i%len(versions)])
			for range 4 {
				issues(t, s, c)
			}
		})
	}
	all.Wait()
	if n := built.Load(); n != 4 {
		t.Fatalf("indexed %d tools, want 4", n)
	}
	b := view.From(h.Load().View)
	b.PutServer("github", &view.Server{Name: "github", Instructions: "changed"})
	h.Publish(b.Build("e", 2))
	issues(t, s, caller(h, wire.Latest))
	if n := built.Load(); n != 4 {
		t.Errorf("a server changed: indexed %d tools, want 4", n)
	}
	other := publish(github()[:1]...)
	issues(t, s, caller(other, wire.Latest))
	if n := built.Load(); n != 5 {
		t.Errorf("another revision: indexed %d tools, want 5", n)
	}
	if n := search.Indexes(s); n != 2 {
		t.Errorf("%d indexes are kept, want 2", n)
	}
	runtime.KeepAlive(h)
	runtime.KeepAlive(other) // and not any longer
	for n := 0; search.Indexes(s) > 0; n++ {
		if n > 1000 {
			t.Fatal("an index outlives its gateway")
		}
		runtime.GC()
		runtime.Gosched()
	}
}

// issues searches from any goroutine.
func issues(t *testing.T, s *search.Search, c *call.Caller) {
	t.Helper()
	if out, err := s.Find(t.Context(), c, []byte(`{"query":"issue"}`), available); err != nil || !bytes.Contains(out, []byte("github__create_issue")) {
		t.Errorf("got %s, %v", out, err)
	}
}
