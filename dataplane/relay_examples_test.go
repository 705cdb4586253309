// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// carry is how an example goes through a pairing of client and server.
type carry func(t prober, p *pairing, text string)

// carriers says of each kind of example how it travels. nil means that a node answers such a message itself, or makes it
// anew for its own hop: there is nothing to relay.
func carriers() map[string]carry {
	call := `{"name":"$tool"}`
	prompt := `{"name":"$prompt"}`
	read := `{"uri":"file:///project/src/main.rs"}`
	complete := `{"ref":{"type":"ref/prompt","name":"$prompt"},"argument":{"name":"language","value":"py"}}`
	content := wrapped(`{"content":[{"type":"text","text":"t"}, `, `]}`, results("tools/call", call))
	contents := wrapped(`{"contents":[`, ` ]}`, results("resources/read", read))
	property := wrapped(`{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"p":`, `}}}`, questions("elicitation/create"))
	return map[string]carry{
		"CallToolRequest": requests("tools/call"), "CallToolRequestParams": requests("tools/call"),
		"GetPromptRequest": requests("prompts/get"), "GetPromptRequestParams": requests("prompts/get"),
		"CompleteRequest": requests("completion/complete"), "CompleteRequestParams": requests("completion/complete"),
		"ReadResourceRequest": requests("resources/read"),

		"CallToolResult": results("tools/call", call), "CallToolResultResponse": results("tools/call", call),
		"GetPromptResult": results("prompts/get", prompt), "GetPromptResultResponse": results("prompts/get", prompt),
		"CompleteResult": results("completion/complete", complete), "CompleteResultResponse": results("completion/complete", complete),
		"ReadResourceResult": results("resources/read", read), "ReadResourceResultResponse": results("resources/read", read),
		"InvalidParamsError": refusals("prompts/get", prompt), "InternalError": refusals("tools/call", call), "ParseError": refusals("tools/call", call),
		"MethodNotFoundError": refusals("completion/complete", complete),

		"TextContent": content, "ImageContent": content, "AudioContent": content, "EmbeddedResource": content, "ResourceLink": content,
		"ToolUseContent": content, "ToolResultContent": content,
		"TextResourceContents": contents, "BlobResourceContents": contents,
		"Resource": wrapped(`{"resources":[`, `]}`, resources), "ListResourcesResult": resources, "ListResourcesResultResponse": resources,

		"ProgressNotification": during, "ProgressNotificationParams": wrapped(`{"jsonrpc":"2.0","method":"notifications/progress","params":`, `}`, during),
		"LoggingMessageNotification":       during,
		"LoggingMessageNotificationParams": wrapped(`{"jsonrpc":"2.0","method":"notifications/message","params":`, `}`, during),

		"CreateMessageRequest": questions("sampling/createMessage"), "CreateMessageRequestParams": questions("sampling/createMessage"),
		"ElicitRequest": questions("elicitation/create"), "ElicitRequestFormParams": questions("elicitation/create"),
		"ElicitRequestURLParams": questions("elicitation/create"), "ListRootsRequest": wrapped(`{"params":{},"x":`, `}`, questions("roots/list")),
		"SamplingMessage":  wrapped(`{"maxTokens":5,"messages":[`, `]}`, questions("sampling/createMessage")),
		"ModelPreferences": wrapped(`{"maxTokens":5,"messages":[],"modelPreferences":`, `}`, questions("sampling/createMessage")),
		"BooleanSchema":    property, "NumberSchema": property, "StringSchema": property, "TitledMultiSelectEnumSchema": property,
		"TitledSingleSelectEnumSchema": property, "UntitledMultiSelectEnumSchema": property, "UntitledSingleSelectEnumSchema": property,
		"CreateMessageResult": replies("sampling/createMessage"), "ElicitResult": replies("elicitation/create"), "ListRootsResult": replies("roots/list"),
		"Root":          wrapped(`{"roots":[`, ` ]}`, replies("roots/list")),
		"InputRequests": wrapped(`{"resultType":"input_required","inputRequests":`, `}`, demands), "InputRequiredResult": demands,
		"InputResponses": retries,

		// Shown by TestDefinitions.
		"Tool": nil, "ListToolsResult": nil, "ListPromptsResult": nil, "ListResourceTemplatesResult": nil,
		// The same lists in an envelope, requests that the node answers, what it says of itself, and errors about one hop.
		"ListToolsResultResponse": nil, "ListPromptsResultResponse": nil, "ListResourceTemplatesResultResponse": nil,
		"ListToolsRequest": nil, "ListPromptsRequest": nil, "ListResourcesRequest": nil, "ListResourceTemplatesRequest": nil, "PaginatedRequestParams": nil,
		"DiscoverRequest": nil, "DiscoverResult": nil, "DiscoverResultResponse": nil, "ClientCapabilities": nil, "ServerCapabilities": nil,
		"CancelledNotification": nil, "CancelledNotificationParams": nil,
		"SubscriptionsListenRequest": nil, "SubscriptionsListenResult": nil, "SubscriptionsListenResultResponse": nil, "SubscriptionsAcknowledgedNotification": nil,
		"ToolListChangedNotification": nil, "PromptListChangedNotification": nil, "ResourceListChangedNotification": nil,
		"ResourceUpdatedNotification": nil, "ResourceUpdatedNotificationParams": nil,
		"HeaderMismatchError": nil, "MissingRequiredClientCapabilityError": nil, "UnsupportedProtocolVersionError": nil,
	}
}

// TestExamples is M-9 and M-73: every example message of the specification goes through byte for byte, but for the fields
// that the document names, whatever the eras of client and server.
func TestExamples(t *testing.T) {
	b, all := newBench(t), carriers()
	for _, p := range b.pairings {
		t.Run(p.name, func(t *testing.T) {
			for _, e := range examples(t) {
				carry, known := all[e.kind]
				if !known {
					t.Errorf("nobody has said how a %s travels", e.kind)
				}
				if carry != nil {
					t.Run(e.kind+"/"+e.name, func(t *testing.T) { carry(t, p, e.text) })
				}
			}
		})
	}
}

// wrapped puts an example where it belongs.
func wrapped(before, after string, c carry) carry {
	return func(t prober, p *pairing, text string) { c(t, p, before+text+after) }
}

// filled puts names that the gateway knows in place of the placeholders.
func (p *pairing) filled(params string) string {
	tool, prompt := "get_weather", "code_review"
	return strings.NewReplacer("$tool", p.server()+"__"+tool, "$prompt", p.server()+"__"+prompt).Replace(params)
}

// requests: the params of a request reach the server.
func requests(method string) carry {
	return func(t prober, p *pairing, text string) {
		t.Helper()
		params := paramsOf(t, text)
		named := map[string]string{"tools/call": "name", "prompts/get": "name", "resources/read": "uri", "completion/complete": "ref"}[method]
		known := params
		if method != "resources/read" {
			known = exposed(t, p, params, named)
		}
		p.origin.answers(func(in *inbound) {
			in.result(map[string]string{
				"tools/call": `{"content":[]}`, "prompts/get": `{"messages":[]}`, "resources/read": `{"contents":[]}`, "completion/complete": `{"completion":{"values":[]}}`,
			}[method])
		})
		out := p.client.request(t, method, p.with(t, known, progressOf(t, params)...), func(string) {})
		got := p.origin.take()
		if len(got) != 1 || out.result == "" {
			t.Fatalf("the server got %d requests; the client: %s %s", len(got), out.result, out.fault)
		}
		sameObject(t, "params", p.with(t, params), got[0].params, named)
		want, is := params, got[0].params
		if named == "ref" {
			want, is, named = memberOf(t, want, named), memberOf(t, is, named), "name"
			sameObject(t, "ref", want, is, named)
		}
		if a, b := textOf(t, want, named), textOf(t, is, named); a != b {
			t.Fatalf("%s is %q at the server, want %q", named, b, a)
		}
	}
}

// progressOf returns the progress token of the example as a member of _meta.
func progressOf(t prober, params string) (out []string) {
	for _, p := range partsOf(t, memberOf(t, params, "_meta")) {
		if p.key == "progressToken" {
			out = append(out, p.text)
		}
	}
	return out
}

// exposed writes params with the name under which the gateway shows what they name.
func exposed(t prober, p *pairing, params, member string) string {
	t.Helper()
	holder := params
	if member == "ref" {
		holder = memberOf(t, params, "ref")
	}
	quoted, err := json.Marshal(p.server() + "__" + textOf(t, holder, "name"))
	if err != nil {
		t.Fatal(err)
	}
	if member != "ref" {
		return replaced(t, params, "name", string(quoted))
	}
	return replaced(t, params, "ref", replaced(t, holder, "name", string(quoted)))
}

// replaced writes an object with another value of one member.
func replaced(t prober, object, key, value string) string {
	t.Helper()
	for _, p := range partsOf(t, object) {
		if p.key == key {
			return object[:p.at] + strings.TrimSuffix(p.text, p.value) + value + object[p.at+len(p.text):]
		}
	}
	t.Fatalf("%s has no %s", object, key)
	return ""
}

// jsonText decodes a JSON string.
func jsonText(t prober, raw string) (text string) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return text
}

// modernOnly are the members of a result that only modern clients know (M-73).
func modernOnly() []string { return []string{"resultType", "ttlMs", "cacheScope"} }

// results: a result reaches the client, as one document and as an event.
func results(method, params string) carry {
	return func(t prober, p *pairing, text string) {
		t.Helper()
		raw := text
		if result := memberOf(t, text, "result"); result != "" {
			raw = result
		}
		named := modernOnly()
		if structured := memberOf(t, raw, "structuredContent"); structured != "" && structured[0] != '{' && !p.client.modern {
			named = append(named, "structuredContent")
		}
		for _, streamed := range []bool{false, true} {
			p.origin.answers(func(in *inbound) {
				if !streamed {
					in.result(raw)
					return
				}
				in.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}`)
				in.last(raw)
			})
			out := p.client.request(t, method, p.with(t, p.filled(params)), func(string) {})
			want := raw
			if streamed {
				want = asEvent(want)
			}
			if out.streamed {
				want = oneLine(want)
			}
			sameObject(t, "result", want, out.result, named...)
			p.checkModern(t, method, raw, out.result)
		}
		p.atNamed(t, method, params, raw, named)
	}
}

// checkModern is M-26 and M-27: what a modern result has, and a legacy one has not.
func (p *pairing) checkModern(t prober, method, sent, got string) {
	t.Helper()
	kind, ttl, scope := memberOf(t, got, "resultType"), memberOf(t, got, "ttlMs"), memberOf(t, got, "cacheScope")
	info := memberOf(t, memberOf(t, got, "_meta"), "io.modelcontextprotocol/serverInfo")
	if !p.client.modern {
		if kind+ttl+scope+info != "" {
			t.Fatalf("a legacy client gets %s", got)
		}
		return
	}
	want := memberOf(t, sent, "resultType")
	if want == "" {
		want = `"complete"`
	}
	if jsonText(t, kind) != jsonText(t, want) || textOf(t, info, "name") != cmp.Or(p.gateway, p.server()) {
		t.Fatalf("a modern client gets %s", got)
	}
	if method == "resources/read" && (ttl == "" || scope != `"private"`) {
		t.Fatalf("a modern client gets %s", got)
	}
}

// atNamed asks once more at the gateway where URIs carry the server's name: nothing but URIs changes besides (M-66).
func (p *pairing) atNamed(t prober, method, params, raw string, named []string) {
	t.Helper()
	if method != "tools/call" && method != "prompts/get" && method != "resources/read" || strings.Contains(raw, `pst:`) {
		return
	}
	p.origin.answers(func(in *inbound) { in.result(raw) })
	known := strings.ReplaceAll(p.filled(params), `"uri":"`, `"uri":"pst:`+p.server()+`:`)
	out := p.named.request(t, method, p.with(t, known), func(string) {})
	got := out.result
	if strings.Contains(raw, `\u`) || strings.Contains(raw, `\/`) {
		return // a URI that is written with escapes is written anew
	}
	sameObject(t, "result with named URIs", raw, strings.ReplaceAll(got, `pst:`+p.server()+`:`, ""), named...)
}

// refusals: an error of the server reaches the client as it is.
func refusals(method, params string) carry {
	return func(t prober, p *pairing, text string) {
		t.Helper()
		object := text
		if inner := memberOf(t, text, "error"); inner != "" {
			object = inner
		}
		p.origin.answers(func(in *inbound) { in.fault(object) })
		out := p.client.request(t, method, p.with(t, p.filled(params)), nil)
		same(t, "error", object, out.fault)
	}
}

// resources: what resources/list shows is what the server listed just now.
func resources(t prober, p *pairing, text string) {
	t.Helper()
	raw := text
	if result := memberOf(t, text, "result"); result != "" {
		raw = result
	}
	p.origin.answers(func(in *inbound) { in.result(raw) })
	out := p.client.request(t, "resources/list", p.with(t, `{}`), nil)
	want, got := elementsOf(t, memberOf(t, raw, "resources")), elementsOf(t, memberOf(t, out.result, "resources"))
	if !slices.Equal(want, got) || len(want) == 0 {
		t.Fatalf("listed %s\nshown  %s %s", want, got, out.fault)
	}
	if (memberOf(t, raw, "nextCursor") != "") != (memberOf(t, out.result, "nextCursor") != "") {
		t.Fatalf("listed %s, shown %s", raw, out.result)
	}
}

// during: a notification reaches the client before the response, whole but for its progress token.
func during(t prober, p *pairing, text string) {
	t.Helper()
	const token = `"a client's"`
	p.origin.answers(func(in *inbound) {
		message := text
		if strings.HasSuffix(textOf(t, text, "method"), "/progress") {
			meta := memberOf(t, in.params, "_meta")
			message = replaced(t, text, "params", replaced(t, memberOf(t, text, "params"), "progressToken", memberOf(t, meta, "progressToken")))
		}
		in.event(message)
		in.last(`{"content":[]}`)
	})
	want := text
	if strings.HasSuffix(textOf(t, text, "method"), "/progress") {
		want = replaced(t, text, "params", replaced(t, memberOf(t, text, "params"), "progressToken", token))
	}
	var heard []string
	p.client.request(t, "tools/call", p.with(t, p.filled(`{"name":"$tool"}`), `"progressToken":`+token), func(m string) { heard = append(heard, m) })
	if len(heard) != 1 {
		t.Fatalf("the client heard %s", heard)
	}
	same(t, "notification", oneLine(asEvent(want)), heard[0])
}
