// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
)

// wayEntry is a column of [TestEveryWayToATool]: a way to call a tool with arguments. It returns the JSON-RPC response.
type wayEntry struct {
	name  string
	call  func(t *testing.T, w *ways, token, arguments string) string
	never bool // the name is none: nothing runs, whatever the rule
}

// Names of the tools, as the gateway with prefixes shows them.
const (
	wayAct  = "up__act"
	wayLink = "up__link"
	wayWork = "up__work"
	wayJob  = "jobs__slow_compute"
)

func wayEntries() []wayEntry {
	return []wayEntry{
		{name: "2026-07-28", call: modernWay(waysPrefixed, byName(wayAct))},
		{name: "2025-11-25", call: legacyWay("2025-11-25", byName(wayAct))},
		{name: "2025-06-18", call: legacyWay("2025-06-18", byName(wayAct))},
		{name: "2025-03-26", call: legacyWay("2025-03-26", byName(wayAct))},
		{name: "2024-11-05 over HTTP+SSE", call: sseWay},
		{name: "batch", call: batchWay},
		{name: "bare name", call: modernWay(waysBare, byName("act"))},
		{name: "run_tool", call: modernWay(waysPrefixed, behind(wayAct, "arguments"))},
		{name: "run_tool, tool_args", call: modernWay(waysPrefixed, behind(wayAct, "tool_args"))},
		{name: "run_tool, legacy", call: legacyWay("2025-06-18", behind(wayAct, "arguments"))},
		{name: "run_tool, bare name", call: modernWay(waysPrefixed, behind("act", "arguments"))},
		{name: "other letter case", call: modernWay(waysPrefixed, byName("UP__ACT")), never: true},
		{name: "run_tool, other letter case", call: modernWay(waysPrefixed, behind("Act", "arguments")), never: true},
		{name: "old name", call: modernWay(waysPrefixed, byName("old_act")), never: true},
		{name: "run_tool, old name", call: modernWay(waysPrefixed, behind("old_act", "arguments")), never: true},
		{name: "name of another gateway", call: modernWay(waysPrefixed, byName("act")), never: true},
		{name: "resource link", call: linkWay},
		{name: "task of 2025-11-25", call: legacyTaskWay},
		{name: "task of 2026-07-28", call: modernTaskWay},
	}
}

// byName makes the params of a call of a tool.
func byName(tool string) func(arguments string) string {
	return func(arguments string) string { return `{"name":"` + tool + `","arguments":` + arguments + `}` }
}

// behind makes the params of a call of run_tool.
func behind(tool, member string) func(arguments string) string {
	return func(arguments string) string {
		return `{"name":"run_tool","arguments":{"tool_name":"` + tool + `","` + member + `":` + arguments + `}}`
	}
}

func (w *ways) client(gateway, token string) *rawclient.Client {
	return client(w.env, w.env.Nodes[0], gateway, token)
}

func modernWay(gateway string, params func(string) string) func(*testing.T, *ways, string, string) string {
	return func(t *testing.T, w *ways, token, arguments string) string {
		t.Helper()
		return w.client(gateway, token).Modern(t, "tools/call", params(arguments), nil).Last()
	}
}

// session is a legacy session of any version.
type session struct {
	*rawclient.Client
	header http.Header
}

func (w *ways) session(t *testing.T, version, token string) session {
	t.Helper()
	s := session{w.client(waysPrefixed, token), http.Header{"Mcp-Protocol-Version": {version}}}
	a := s.Send(t, rawclient.Request{Body: `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"` + version +
		`","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`})
	s.header.Set("Mcp-Session-Id", a.Header.Get("Mcp-Session-Id"))
	s.send(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return s
}

func (s session) send(t *testing.T, body string) rawclient.Answer {
	t.Helper()
	return s.Send(t, rawclient.Request{Header: s.header, Body: body})
}

// end ends the session, so that nothing of it stays at servers.
func (s session) end(t *testing.T) {
	t.Helper()
	s.Send(t, rawclient.Request{Method: http.MethodDelete, Header: s.header})
}

func legacyWay(version string, params func(string) string) func(*testing.T, *ways, string, string) string {
	return func(t *testing.T, w *ways, token, arguments string) string {
		t.Helper()
		s := w.session(t, version, token)
		defer s.end(t)
		return s.send(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+params(arguments)+`}`).Last()
	}
}

func batchWay(t *testing.T, w *ways, token, arguments string) string {
	t.Helper()
	s := w.session(t, "2025-03-26", token)
	defer s.end(t)
	return s.send(t, `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+byName(wayAct)(arguments)+`}]`).Last()
}

func sseWay(t *testing.T, w *ways, token, arguments string) string {
	t.Helper()
	s, err := transport.NewSSE(w.env.Nodes[0].Gateway(waysPrefixed), transport.WithHeaders(map[string]string{"Authorization": "Bearer " + token}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	ask := func(id, method string, params any) string {
		t.Helper()
		answer, err := s.SendRequest(t.Context(), transport.JSONRPCRequest{JSONRPC: mcp.JSONRPC_VERSION, ID: mcp.NewRequestId(id), Method: method, Params: params})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	ask("open", "initialize", json.RawMessage(`{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}`))
	done := mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION, Notification: mcp.Notification{Method: "notifications/initialized"}}
	if err := s.SendNotification(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	return ask("call", "tools/call", json.RawMessage(byName(wayAct)(arguments)))
}

// linkWay calls a tool whose result links to a resource, and reads that; where there is no result, it reads what it would link to. The
// response is that of the call: reading is no way to run a tool, which the server's calls show.
func linkWay(t *testing.T, w *ways, token, arguments string) string {
	t.Helper()
	c := w.client(waysPrefixed, token)
	called := c.Modern(t, "tools/call", byName(wayLink)(arguments), nil).Last()
	var got struct {
		Result struct{ Content []struct{ Type, URI string } }
	}
	if err := json.Unmarshal([]byte(called), &got); err != nil {
		t.Fatalf("answer %q: %v", called, err)
	}
	uri := "act://things/one"
	for _, content := range got.Result.Content {
		if content.Type == "resource_link" {
			uri = content.URI
		}
	}
	read := c.Modern(t, "resources/read", `{"uri":"`+uri+`"}`, http.Header{"Mcp-Name": {uri}}).Last()
	if !strings.Contains(read, "a thing") {
		t.Errorf("%s reads as %s", uri, read)
	}
	return called
}

// legacyTaskWay makes a task and waits for its result.
func legacyTaskWay(t *testing.T, w *ways, token, arguments string) string {
	t.Helper()
	s := w.session(t, "2025-11-25", token)
	defer s.end(t)
	params := strings.TrimSuffix(byName(wayWork)(arguments), "}") + `,"task":{}}`
	called := s.send(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+params+`}`).Last()
	var got struct {
		Result struct{ Task struct{ TaskID string } }
	}
	if err := json.Unmarshal([]byte(called), &got); err != nil {
		t.Fatalf("answer %q: %v", called, err)
	}
	if id := got.Result.Task.TaskID; id != "" {
		return s.send(t, `{"jsonrpc":"2.0","id":2,"method":"tasks/result","params":{"taskId":"`+id+`"}}`).Last()
	}
	return called
}

// modernTaskWay calls a tool that answers with a task, as a client that knows tasks.
func modernTaskWay(t *testing.T, w *ways, token, arguments string) string {
	t.Helper()
	r := rawclient.ModernRequest("tools/call", byName(wayJob)(arguments), nil)
	r.Body = strings.Replace(r.Body, `"io.modelcontextprotocol/clientCapabilities":{}`,
		`"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, 1)
	called := w.client(waysPrefixed, token).Send(t, r).Last()
	if strings.Contains(called, `"isError":true`) {
		return called
	}
	if !strings.Contains(called, `"resultType":"task"`) {
		t.Errorf("no task: %s", called)
	}
	return called
}
