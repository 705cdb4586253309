// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// failer is a test, or one case of a property.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// definition is kept as it is.
type definition string

func (d definition) Bytes() []byte { return []byte(d) }
func (d definition) Len() int      { return len(d) }

// tool is one of a server, with its name in front.
func tool(server, name, rest string) *view.Tool {
	return &view.Tool{
		Exposed: server + compile.Separator + name, Upstream: name, Name: server + "/" + name, Server: server, Connection: server,
		Body: definition(fmt.Sprintf(`{"name":%q%s}`, name, rest)),
	}
}

// publish makes a gateway of tools.
func publish(tools ...*view.Tool) *view.Holder {
	b := view.From(nil)
	for _, t := range tools {
		b.PutServer(t.Server, &view.Server{Name: t.Server, Protocol: string(wire.V20251125)})
	}
	b.PutGateway(&view.Gateway{
		Gateway: compile.Gateway{Name: "g", UID: "g-1", LoadToolsWhenNeeded: true}, Tools: tools,
	})
	h := view.NewHolder()
	h.Publish(b.Build("e", 1))
	return h
}

func caller(h *view.Holder, v wire.Version) *call.Caller {
	s := h.Load()
	return &call.Caller{Snapshot: s, Gateway: s.Gateway("g"), Version: v}
}

func open(t failer, c search.Config) *search.Search {
	t.Helper()
	s, err := search.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func available(*view.Tool) string { return "" }

// found is a result of search_tools as a client reads it.
type found struct {
	Total      int
	MatchCount int `json:"match_count"`
	Truncated  bool
	Hint       string
	Tools      []foundTool
}

// foundTool is one of the tools that were found.
type foundTool struct {
	Name, Description, Server string
	Signature                 *string
	InputSchema               json.RawMessage
	Available                 bool
	UnavailableReason         string `json:"unavailable_reason"`
	LowConfidence             bool   `json:"low_confidence"`
}

// result is a result of either tool.
type result struct {
	Content           []struct{ Type, Text string }
	StructuredContent json.RawMessage
	IsError           bool
}

func read(t failer, raw []byte) (r result) {
	t.Helper()
	if err := json.Unmarshal(raw, &r); err != nil || len(r.Content) != 1 || r.Content[0].Type != "text" {
		t.Fatalf("%v in %s", err, raw)
	}
	return r
}

// find searches, and checks that the text is the structured content.
func find(t failer, s *search.Search, c *call.Caller, arguments string, why func(*view.Tool) string) (f found, raw string) {
	t.Helper()
	out, err := s.Find(t.Context(), c, []byte(arguments), why)
	if err != nil {
		t.Fatalf("%s: %v", arguments, err)
	}
	r := read(t, out)
	if r.Content[0].Text != string(r.StructuredContent) || r.IsError {
		t.Fatalf("text and structured content differ: %s", out)
	}
	if err := json.Unmarshal(r.StructuredContent, &f); err != nil {
		t.Fatal(err)
	}
	return f, string(r.StructuredContent)
}

// github is two servers that have some words in common.
func github() []*view.Tool {
	return []*view.Tool{
		tool("github", "create_issue", `,"title":"Create issue","description":"Opens a new issue in a repository.","inputSchema":{"type":"object","properties":{"labels":{"type":"array","items":{"type":"string"}},"repo":{"type":"string","description":"owner/name"},"title":{"type":"string"}},"required":["repo","title"],"additionalProperties":false}`),
		tool("github", "list_branches", `,"description":"Lists the branches of a repository.","inputSchema":{"type":"object","properties":{"repo":{"type":"string"}},"required":["repo"]}`),
		tool("jira", "create_issue", `,"description":"Creates a ticket.","inputSchema":{"type":"object","properties":{"summary":{"type":"string"}}}`),
		tool("calendar", "add_meeting", `,"description":"Puts a meeting into the calendar.","inputSchema":{"type":"object"}`),
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// only returns arguments of search_tools with one more member.
func only(query, more string) string { return fmt.Sprintf(`{"query":%q%s}`, query, more) }
