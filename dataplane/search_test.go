// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// throughDoor writes the params of a tools/call as those of a run_tool that stands for it, every other byte as it was.
func throughDoor(t prober, params string) string {
	t.Helper()
	inner := `{"tool_name":` + memberOf(t, params, "name")
	if arguments := memberOf(t, params, "arguments"); arguments != "" {
		inner += ` , "arguments" : ` + arguments
		params = replaced(t, params, "arguments", inner+"}")
	} else {
		params = strings.TrimSuffix(strings.TrimSpace(params), "}") + `,"arguments":` + inner + "}}"
	}
	return replaced(t, params, "name", `"`+compile.RunTool+`"`)
}

// TestRunToolIsADoor is G-24: whatever the specification publishes about calls of tools goes through run_tool byte for byte, as
// it does when the tool is called by its name: params with their progress token, results of every kind, errors, notifications,
// questions and retries, whatever the eras of client and server.
func TestRunToolIsADoor(t *testing.T) {
	b, all := newBench(t), carriers()
	for _, direct := range b.pairings {
		p := &pairing{name: direct.name, origin: direct.origin, gateway: direct.server() + "-searched"}
		base := strings.TrimSuffix(direct.client.url, "/v1/mcp/"+direct.server())
		p.client = newConsumer(t, direct.client.http, base, p.gateway, direct.client.modern)
		p.client.door = true
		p.named = p.client
		ran := 0
		for _, e := range examples(t) {
			if carry := all[e.kind]; carry != nil && calls(e.kind) {
				ran++
				t.Run(p.name+"/"+e.kind+"/"+e.name, func(t *testing.T) { carry(t, p, e.text) })
			}
		}
		if ran < 40 {
			t.Errorf("%s: %d examples are about calls", p.name, ran)
		}
	}
}

// calls reports whether a kind of example goes through a tools/call.
func calls(kind string) bool {
	return slices.Contains([]string{
		"CallToolRequest", "CallToolRequestParams", "CallToolResult", "CallToolResultResponse", "InternalError", "ParseError", "TextContent",
		"ImageContent", "AudioContent", "EmbeddedResource", "ResourceLink", "ToolUseContent", "ToolResultContent", "ProgressNotification",
		"ProgressNotificationParams", "LoggingMessageNotification", "LoggingMessageNotificationParams", "CreateMessageRequest",
		"CreateMessageRequestParams", "ElicitRequest", "ElicitRequestFormParams", "ElicitRequestURLParams", "ListRootsRequest", "SamplingMessage",
		"ModelPreferences", "BooleanSchema", "NumberSchema", "StringSchema", "CreateMessageResult", "ElicitResult", "ListRootsResult", "Root",
		"InputRequests", "InputRequiredResult", "InputResponses",
	}, kind)
}

// TestSearchedGateway: what clients of both eras see of a gateway that loads tools when needed, and that the tools it does not
// list are called by their names as ever (G-24).
func TestSearchedGateway(t *testing.T) {
	b := newBench(t)
	for _, direct := range b.pairings {
		t.Run(direct.name, func(t *testing.T) {
			base := strings.TrimSuffix(direct.client.url, "/v1/mcp/"+direct.server())
			p := &pairing{name: direct.name, origin: direct.origin, gateway: direct.server() + "-searched"}
			p.client = newConsumer(t, direct.client.http, base, p.gateway, direct.client.modern)

			out := p.client.request(t, "tools/list", p.with(t, `{}`), nil)
			var names []string
			for _, tool := range elementsOf(t, memberOf(t, out.result, "tools")) {
				names = append(names, textOf(t, tool, "name"))
			}
			if !slices.Equal(names, []string{"run_tool", "search_tools"}) || memberOf(t, out.result, "nextCursor") != "" {
				t.Errorf("listed %v with %s", names, out.result)
			}

			out = p.client.request(t, "tools/call", p.with(t, `{"name":"search_tools","arguments":{"query":"weather"}}`), nil)
			text := jsonText(t, memberOf(t, elementsOf(t, memberOf(t, out.result, "content"))[0], "text"))
			if structured := memberOf(t, out.result, "structuredContent"); structured != text || !strings.Contains(text, direct.server()+"__get_weather") {
				t.Errorf("found %s\nas text %s", structured, text)
			}

			p.origin.answers(func(in *inbound) { in.result(`{"resultType":"complete","content":[]}`) })
			out = p.client.request(t, "tools/call", p.with(t, p.filled(`{"name":"$tool","arguments":{"location":"x"}}`)), nil)
			if got := p.origin.take(); out.result == "" || len(got) != 1 || textOf(t, got[0].params, "name") != "get_weather" {
				t.Errorf("called by its name: %s %s, the server got %v", out.result, out.fault, got)
			}

			strict := "" // a tool that cannot be called without arguments
			for _, tool := range b.node.holder.Load().Gateway(p.gateway).Tools {
				if memberOf(t, memberOf(t, string(tool.Body.Bytes()), "inputSchema"), "required") != "" {
					strict = tool.Exposed
				}
			}
			// Nothing reaches the server that is not a call of one of its tools.
			for call, want := range map[string]string{
				`{"name":"search_tools"}`: `"query must be`,
				`{"name":"run_tool"}`:     `"tool_name must be`,
				`{"name":"run_tool","arguments":{"tool_name":"run_tool"}}`:                        `"isError":true`,
				`{"name":"run_tool","arguments":{"tool_name":"nope"}}`:                            `UNKNOWN_TOOL`,
				`{"name":"run_tool","arguments":{"tool_name":"` + strict + `","arguments":{}}}`:   `TOOL_ARGUMENTS_INVALID`,
				`{"name":"run_tool","arguments":{"tool_name":"x","arguments":{},"tool_args":{}}}`: `under two names`,
				`{"name":"nope"}`: `Unknown tool: nope`,
			} {
				out := p.client.request(t, "tools/call", p.with(t, call), nil)
				if !strings.Contains(out.result+out.fault, want) {
					t.Errorf("%s is answered %s %s, want %s", call, out.result, out.fault, want)
				}
				if strings.Contains(want, " ") && !strings.Contains(out.fault, "-32602") {
					t.Errorf("%s is answered %s", call, out.fault)
				}
			}
			if got := p.origin.take(); len(got) != 0 {
				t.Errorf("the server got %v", got)
			}
		})
	}
}

// TestRunToolScopes: a token without a scope of the tool is challenged as for a direct call (RS-19, G-24), in a batch too.
func TestRunToolScopes(t *testing.T) {
	b := newBench(t)
	gateway := b.node.holder.Load().Gateway("modern-searched")
	gateway.Scopes = []string{"mcp", "mcp:write"}
	gateway.Tools[0].RequiredScopes = []string{"mcp:write"}
	direct := b.pairings[0]
	base := strings.TrimSuffix(direct.client.url, "/v1/mcp/"+direct.server())
	for _, modern := range []bool{true, false} {
		p := &pairing{origin: direct.origin, gateway: "modern-searched", client: newConsumer(t, direct.client.http, base, "modern-searched", modern)}
		tool := b.node.holder.Load().Gateway("modern-searched").Tools[0]
		for _, params := range []string{
			`{"name":"` + tool.Exposed + `"}`, `{"name":"run_tool","arguments":{"tool_name":"` + tool.Exposed + `"}}`,
			`{"name":"run_tool","arguments":{"tool_name":"` + tool.Upstream + `"}}`,
		} {
			resp := p.client.post(t, "tools/call", `{"jsonrpc":"2.0","id":"q","method":"tools/call","params":`+p.with(t, params)+`}`)
			resp.Body.Close()
			if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusForbidden || !strings.Contains(challenge, `scope="mcp mcp:write"`) {
				t.Errorf("modern %t, %s: %s %s", modern, params, resp.Status, challenge)
			}
		}
		out := p.client.request(t, "tools/call", p.with(t, `{"name":"search_tools","arguments":{"query":"`+strings.ReplaceAll(tool.Upstream, "_", " ")+`"}}`), nil)
		type tools []struct {
			Name      string
			Available bool
			Reason    string `json:"unavailable_reason"`
		}
		var found struct{ Tools tools }
		if err := json.Unmarshal([]byte(memberOf(t, out.result, "structuredContent")), &found); err != nil {
			t.Fatal(err)
		}
		i := 0
		for i < len(found.Tools) && found.Tools[i].Name != tool.Exposed {
			i++
		}
		if i == len(found.Tools) || found.Tools[i].Available || !strings.Contains(found.Tools[i].Reason, "mcp:write") {
			t.Errorf("found %s", out.result)
		}
	}
	old := &consumer{url: base + "/v1/mcp/modern-searched", http: direct.client.http}
	resp := old.post(t, "initialize", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{}}}`)
	resp.Body.Close()
	old.session = resp.Header.Get("Mcp-Session-Id")
	for name, want := range map[string]int{gateway.Tools[0].Exposed: http.StatusForbidden, "nope": http.StatusOK} {
		resp := old.post(t, "tools/call", `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_tool","arguments":{"tool_name":"`+name+`"}}}]`)
		resp.Body.Close()
		if resp.StatusCode != want || want == http.StatusForbidden && !strings.Contains(resp.Header.Get("WWW-Authenticate"), `scope="mcp mcp:write"`) {
			t.Errorf("a batch with %s: %s %s", name, resp.Status, resp.Header.Get("WWW-Authenticate"))
		}
	}
}
