// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/penstockhq/penstock/deploy/conformance/fixture"
	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// TestEveryWayToATool: every way to reach a tool meets the same rules (G-24). Each cell of entry × rule makes a call that the rule must
// stop, which is answered in the same words and runs nothing, and one that it lets through, which runs once.
func TestEveryWayToATool(t *testing.T) {
	w := newWays(t)
	for _, r := range wayRules() {
		t.Run(r.name, func(t *testing.T) {
			w.set(t, r)
			for i, e := range wayEntries() {
				t.Run(e.name, func(t *testing.T) { w.check(t, r, e, i) })
			}
			w.unset(t, r)
		})
	}
}

// ways is a product with two servers behind two gateways that differ in how they name tools.
type ways struct {
	env     *testenv.Env
	calls   *calls
	people  map[string]string // tokens by person
	limited []string          // tokens by entry: each is good for one call under a rate limit
}

// The gateways of [ways]: one puts the server in front of each name, one does not.
const (
	waysPrefixed = "ways"
	waysBare     = "ways-bare"
)

func newWays(t *testing.T) *ways {
	t.Helper()
	w := &ways{env: testenv.Start(t, testenv.Config{}), calls: &calls{}, people: make(map[string]string)}
	up := startAsker(t, "2025-11-25")
	addWays(up)
	jobs, err := fixture.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := jobs.Stop(); err != nil {
			t.Error(err)
		}
	})
	install(t, w.env, "up", w.calls.before(t, up.url))
	w.env.Apply(t, fmt.Sprintf(`
kind: Server
name: jobs
streamable_http: {url: %q}
protocol: 2026-07-28
visibility: {organization: {}}
---
kind: Connection
name: jobs
server: jobs
owner: {organization: {}}
`, w.calls.before(t, jobs.URL)))
	w.env.Discover(t, "jobs", "")
	w.env.Apply(t, users("ada@penstock.test", "bob@penstock.test")+"---\nkind: Team\nname: wayfarers\nmembers: [{user: ada@penstock.test}]\n")
	w.gateways(t, wayRule{}, "exposed_name: old_act, ") // the name that it had
	for _, who := range []string{"ada", "bob"} {
		w.people[who] = w.token(t, who)
	}
	for range wayEntries() {
		w.limited = append(w.limited, w.token(t, "ada"))
	}
	w.env.WaitEnforced(t)
	if a := client(w.env, w.env.Nodes[0], waysPrefixed, w.people["ada"]).Call(t, "old_act", `{"label":"dev"}`); w.calls.take() == nil {
		t.Fatalf("the tool does not run under the name that it had: %s", a.Body)
	}
	return w
}

func (w *ways) token(t *testing.T, who string) string {
	t.Helper()
	return w.env.Token(t, testenv.OfUser(who+"@penstock.test"), waysPrefixed, waysBare).Text
}

// addWays adds the tools that entries reach: one that runs, one whose result links to a resource, one that runs as a task.
func addWays(a *asker) {
	arguments := []mcp.ToolOption{mcp.WithString("label"), mcp.WithArray("items"), mcp.WithDescription("Acts.")}
	a.AddTool(mcp.NewTool("act", arguments...), func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("ran " + r.GetString("label", "")), nil
	})
	const thing = "act://things/one"
	a.AddTool(mcp.NewTool("link", arguments...), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{mcp.NewResourceLink(thing, "thing", "A thing.", "text/plain")}}, nil
	})
	a.AddResource(mcp.NewResource(thing, "thing"), func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		return []mcp.ResourceContents{mcp.TextResourceContents{URI: thing, MIMEType: "text/plain", Text: "a thing"}}, nil
	})
	server.WithTaskCapabilities(false, true, true)(a.MCPServer)
	a.AddTaskTool(mcp.NewTool("work", append(arguments, mcp.WithTaskSupport(mcp.TaskSupportRequired))...),
		func(context.Context, mcp.CallToolRequest) (*mcp.CreateTaskResult, error) {
			return &mcp.CreateTaskResult{Content: []mcp.Content{mcp.NewTextContent("worked")}}, nil
		})
}

// gateways writes the two gateways with what a rule says of them, and something more about the first tool.
func (w *ways) gateways(t *testing.T, r wayRule, first string) {
	t.Helper()
	for name, naming := range map[string]string{waysPrefixed: "ALWAYS", waysBare: "NEVER"} {
		yaml := fmt.Sprintf(`
kind: Gateway
name: %s
visibility: {organization: {}}
authentication: {bearer_token: {}}
naming: {prefix: %s}
load_tools_when_needed: true
server_features:
- {server: up, pinned: {connection: up}, resources: true}
%stools:
`, name, naming, r.gateway)
		for _, tool := range []string{"up/act", "up/link", "up/work", "jobs/slow_compute"} {
			more := first
			if tool != "up/act" {
				more = ""
			}
			server, _, _ := strings.Cut(tool, "/")
			yaml += fmt.Sprintf("- {tool: %s, %s%spinned: {connection: %s}}\n", tool, more, r.assignment, server)
		}
		w.env.Apply(t, yaml)
	}
}

func (w *ways) set(t *testing.T, r wayRule) {
	t.Helper()
	w.gateways(t, r, "")
	if r.action != "" {
		w.env.Apply(t, fmt.Sprintf("kind: Policy\nname: ways\ngateways: [ways*]\nreason: Not this way.\nwhen: %q\naction: %s\n", r.when, r.action))
	}
	w.env.WaitEnforced(t)
}

func (w *ways) unset(t *testing.T, r wayRule) {
	t.Helper()
	if r.action == "" {
		return
	}
	if _, err := w.env.Admin.Policies.DeletePolicy(t.Context(), &adminv1.DeletePolicyRequest{Name: "ways"}); err != nil {
		t.Fatal(err)
	}
}

// check is one cell of the table.
func (w *ways) check(t *testing.T, r wayRule, e wayEntry, i int) {
	t.Helper()
	try := func(c wayCall) (toolResult, string, []string) {
		t.Helper()
		token := w.people[c.who]
		if r.limits {
			token = w.limited[i]
		}
		w.calls.take()
		raw := e.call(t, w, token, c.arguments)
		var got toolResult
		if err := json.Unmarshal([]byte(raw), &got); err != nil {
			t.Fatalf("answer %q: %v", raw, err)
		}
		return got, raw, w.calls.take()
	}
	got, raw, ran := try(r.runs)
	switch {
	case e.never:
		if len(ran) > 0 || got.Error.Code == 0 && !got.Result.IsError {
			t.Errorf("a name of no tool ran %v: %s", ran, raw)
		}
	case len(ran) != 1 || got.Error.Code != 0 || got.Result.IsError:
		t.Errorf("%s as %s: %d calls %v, %s", r.runs.arguments, r.runs.who, len(ran), ran, raw)
	case r.fixed != "" && ran[0] != r.fixed:
		t.Errorf("the server got %s, want %s", ran[0], r.fixed)
	}
	if r.stopped == (wayCall{}) {
		return
	}
	got, raw, ran = try(r.stopped)
	switch {
	case len(ran) > 0:
		t.Errorf("%s as %s ran %v: %s", r.stopped.arguments, r.stopped.who, ran, raw)
	case e.never:
		if got.Error.Code == 0 && !got.Result.IsError {
			t.Errorf("a name of no tool is answered %s", raw)
		}
	case got.Error.Code != 0 || !got.Result.IsError || !strings.Contains(got.text(), r.words):
		t.Errorf("%s as %s is answered %s, want a result with %q", r.stopped.arguments, r.stopped.who, raw, r.words)
	}
}

// calls are the tool calls that servers got, by their arguments.
type calls struct {
	mu  sync.Mutex
	got []string
}

// take returns the calls since it was asked last.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// before notes the calls to a server and hands all requests on. It returns the address to call.
func (c *calls) before(t *testing.T, to string) string {
	t.Helper()
	address, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = address.Scheme, address.Host
	}}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the node is gone
		}
		var message struct {
			Method string
			Params struct{ Arguments json.RawMessage }
		}
		if json.Unmarshal(body, &message) == nil && message.Method == "tools/call" {
			c.mu.Lock()
			c.got = append(c.got, string(message.Params.Arguments))
			c.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front.URL + address.Path
}
