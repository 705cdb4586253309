// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"strings"
)

// aReply is an answer of the right form to each question.
func aReply(method string) string {
	return map[string]string{
		"sampling/createMessage": `{"role":"assistant","content":{"type":"text","text":"t"},"model":"m"}`,
		"elicitation/create":     `{"action":"decline"}`, "roots/list": `{"roots":[]}`,
	}[method]
}

// questions: what a server asks reaches the client: a request in a session, an entry of inputRequests else (mcp.md §4).
func questions(method string) carry {
	return func(t prober, p *pairing, text string) {
		t.Helper()
		params := paramsOf(t, text)
		got, _ := ask(t, p, method, params, aReply(method))
		want := params
		if p.origin.legacy {
			want = asEvent(want)
		}
		if !p.client.modern {
			want = oneLine(want)
		}
		// The id of a page belongs to the versions that have one (mcp.md §4).
		sameObject(t, "question", want, got, "elicitationId")
	}
}

// replies: what a client answers reaches the server.
func replies(method string) carry {
	return func(t prober, p *pairing, text string) {
		t.Helper()
		params := map[string]string{
			"sampling/createMessage": `{"messages":[],"maxTokens":5}`, "roots/list": `{}`,
			"elicitation/create": `{"message":"m","requestedSchema":{"type":"object","properties":{}}}`,
		}[method]
		_, got := ask(t, p, method, params, text)
		same(t, "reply", text, got)
	}
}

// ask has the server ask in the middle of a call, and the client answer. It returns what the client was asked, and what the
// server was answered.
func ask(t prober, p *pairing, method, params, reply string) (asked, answered string) {
	t.Helper()
	call := p.filled(`{"name":"$tool","arguments":{"a": 1}}`)
	p.origin.answers(func(in *inbound) {
		switch responses := memberOf(t, in.params, "inputResponses"); {
		case p.origin.legacy:
			in.event(`{"jsonrpc":"2.0","id":"question","method":"` + method + `","params":` + params + `}`)
			answered = (<-p.origin.replies).result
			in.last(`{"content":[]}`)
		case responses == "":
			in.result(`{"resultType":"input_required","inputRequests":{"their key":{"method":"` + method + `","params":` + params + `}},"requestState":"theirs"}`)
		default:
			answered = memberOf(t, responses, "their key")
			in.result(`{"resultType":"complete","content":[]}`)
		}
	})
	if !p.client.modern {
		out := p.client.request(t, "tools/call", call, func(message string) {
			asked = memberOf(t, message, "params")
			p.client.answer(t, memberOf(t, message, "id"), reply)
		})
		if out.result == "" || asked == "" {
			t.Fatalf("the call ends with %s %s, the client was asked %q", out.result, out.fault, asked)
		}
		return asked, answered
	}
	out := p.client.request(t, "tools/call", p.with(t, call), nil)
	wanted := partsOf(t, memberOf(t, out.result, "inputRequests"))
	if len(wanted) != 1 {
		t.Fatalf("the client got %s %s", out.result, out.fault)
	}
	again := strings.TrimSuffix(call, "}") + `,"requestState":` + memberOf(t, out.result, "requestState") +
		`,"inputResponses":{` + strings.TrimSuffix(wanted[0].text, wanted[0].value) + reply + `}}`
	if out = p.client.request(t, "tools/call", p.with(t, again), nil); out.result == "" {
		t.Fatalf("the retry got %s", out.fault)
	}
	return memberOf(t, wanted[0].value, "params"), answered
}

// demands: a result that asks for input reaches a modern client of a modern server as it is. Elsewhere its questions become
// requests, see questions.
func demands(t prober, p *pairing, text string) {
	t.Helper()
	if !p.client.modern || p.origin.legacy {
		return
	}
	results("tools/call", `{"name":"$tool"}`)(t, p, text)
}

// retries: answers and state reach a modern server as a modern client sent them.
func retries(t prober, p *pairing, text string) {
	t.Helper()
	if !p.client.modern || p.origin.legacy {
		return
	}
	p.origin.answers(func(in *inbound) { in.result(`{"resultType":"complete","content":[]}`) })
	params := `{"name":"get_weather", "inputResponses" : ` + text + `, "requestState":"their st\u0061te"}`
	p.client.request(t, "tools/call", p.with(t, exposed(t, p, params, "name")), nil)
	got := p.origin.take()
	if len(got) != 1 {
		t.Fatalf("the server got %d requests", len(got))
	}
	sameObject(t, "params", p.with(t, params), got[0].params, "name")
}
