// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

const (
	elicitation = `{"jsonrpc":"2.0","id":"u3","method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object","properties":{}}}}`
	declined    = `{"action":"decline"}`
)

// question asks in the middle of each call, and ends it with what the client answers.
func (p *pair) question() {
	p.origin.answers(func(in *inbound) {
		in.event(elicitation)
		got := <-p.origin.replies
		in.last(`{"content":[{"type":"text","text":` + quoted(got.result+got.refuse) + `}]}`)
	})
}

func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

const legacyCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__echo","arguments":{}}}`

// TestForwardAnswer is M-12: the answer to a question may come to any node.
func TestForwardAnswer(t *testing.T) {
	for _, tc := range []struct{ name, answer, told string }{
		{"result", `"result":` + declined, `"text":"{\"action\":\"decline\"}"`},
		{"error", `"error":{"code":-1,"message":"no"}`, `\"code\":-1`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t, true)
			p.question()
			c := p.caller("ada")
			c.initialize(p.a)
			s := c.stream(c.send(t.Context(), p.a, "POST", "/v1/mcp/srv", legacyCall)) //nolint:bodyclose // stream closes it
			_, asked := s.event()
			id := memberOf(t, asked, "id")
			if !strings.HasPrefix(id, `"node-a.`) {
				t.Fatalf("the question is %s", asked)
			}
			if got := c.do(p.b, `{"jsonrpc":"2.0","id":`+id+`,`+tc.answer+`}`); got.status != http.StatusAccepted || got.body != "" {
				t.Errorf("the answer gets %+v", got)
			}
			if _, end := s.event(); !strings.Contains(end, tc.told) {
				t.Errorf("the call ends with %s", end)
			}
		})
	}
}

// A batch of answers is taken apart: each goes where it is awaited.
func TestForwardAnswersInABatch(t *testing.T) {
	p := newPair(t, true)
	p.question()
	c := p.caller("ada")
	got := c.do(p.a, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":`+declaredForms+
		`,"clientInfo":{"name":"c","version":"1"}}}`)
	c.session = got.header.Get("Mcp-Session-Id")
	// Both calls end after both answers: either may take the other's, and a call that ends
	// before its own is there takes its question back.
	var both sync.WaitGroup
	both.Add(2)
	p.origin.answers(func(in *inbound) {
		in.event(`{"jsonrpc":"2.0","id":"u3","method":"roots/list"}`)
		<-p.origin.replies
		both.Done()
		both.Wait()
		in.last(`{"content":[]}`)
	})
	var streams []*eventStream
	var ids []string
	for i, at := range []*fleetNode{p.a, p.b} {
		s := c.stream(c.send(t.Context(), at, "POST", "/v1/mcp/srv", strings.Replace(legacyCall, `"id":1`, `"id":1`+string(rune('0'+i)), 1))) //nolint:bodyclose // stream closes it
		_, asked := s.event()
		streams, ids = append(streams, s), append(ids, memberOf(t, asked, "id"))
	}
	got = c.do(p.b, `[{"jsonrpc":"2.0","id":`+ids[0]+`,"result":{"roots":[]}},{"jsonrpc":"2.0","id":`+ids[1]+`,"result":{"roots":[]}}]`)
	if got.status != http.StatusAccepted {
		t.Fatalf("the answers get %+v", got)
	}
	for _, s := range streams {
		if _, end := s.event(); !strings.Contains(end, `"content":[]`) {
			t.Errorf("a call ends with %s", end)
		}
	}
}

// What cannot be delivered is ignored if nobody waits for it, and refused if somebody might (M-37).
func TestForwardAnswerToNobody(t *testing.T) {
	p := newPair(t, true)
	c := p.caller("ada")
	c.initialize(p.a)
	const answer = `{"jsonrpc":"2.0","id":"node-a.77","result":{}}`
	for _, tc := range []struct {
		name, body string
		before     func()
		status     int
	}{
		{"to a question that is over", answer, func() {}, http.StatusAccepted},
		{"to a node that never was", strings.Replace(answer, "node-a", "nobody", 1), func() {}, http.StatusAccepted},
		{"to a node that is lost", answer, p.a.kill, http.StatusServiceUnavailable},
	} {
		tc.before()
		if got := c.do(p.b, tc.body); got.status != tc.status || (tc.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") == "") {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

// TestForwardMessage is M-44: messages of HTTP+SSE go to the node that has the stream.
func TestForwardMessage(t *testing.T) {
	p := newPair(t, true)
	p.origin.answers(func(in *inbound) { in.result(`{"content":[{"type":"text","text":"hi"}]}`) })
	c := p.caller("ada")
	s := c.stream(c.send(t.Context(), p.a, "GET", "/v1/mcp/srv", "", "Accept", "text/event-stream")) //nolint:bodyclose // stream closes it
	_, path := s.event()
	post := func(who *caller, body string) rsReply {
		return who.read(who.send(t.Context(), p.b, "POST", path, body)) //nolint:bodyclose // read closes it
	}
	for _, step := range []struct{ body, want string }{
		{`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, `"protocolVersion":"2024-11-05"`},
		{legacyCall, `"text":"hi"`},
	} {
		if got := post(c, step.body); got.status != http.StatusAccepted {
			t.Fatalf("%+v", got)
		}
		if _, data := s.event(); !strings.Contains(data, step.want) {
			t.Errorf("the stream has %s, want %s", data, step.want)
		}
	}
	if got := post(p.caller("bob"), legacyCall); got.status != http.StatusNotFound {
		t.Errorf("another person's message: %+v", got)
	}
	p.a.kill()
	if got := post(c, legacyCall); got.status != http.StatusNotFound || !strings.Contains(got.body, "Invalid session ID") {
		t.Errorf("after the node is lost: %+v", got)
	}
}

// TestForwardResume is M-40: a client comes back to another node for the stream of a call that goes on.
func TestForwardResume(t *testing.T) {
	p := newPair(t, true)
	next := make(chan struct{})
	p.origin.answers(func(in *inbound) {
		for _, n := range []string{"1", "2"} {
			in.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + memberOf(t, memberOf(t, in.params, "_meta"), "progressToken") + `,"progress":` + n + `}}`)
			<-next
		}
		in.last(`{"content":[]}`)
	})
	c := p.caller("ada")
	c.initialize(p.a)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s := c.stream(c.send(ctx, p.a, "POST", "/v1/mcp/srv", strings.Replace(legacyCall, `"arguments":{}`, `"arguments":{},"_meta":{"progressToken":"p"}`, 1))) //nolint:bodyclose // stream closes it
	id, data := s.event()
	if !strings.HasPrefix(id, "node-a.") || !strings.Contains(data, `"progress":1`) {
		t.Fatalf("the event is %s %s", id, data)
	}
	leave()
	back := c.stream(c.send(t.Context(), p.b, "GET", "/v1/mcp/srv", "", "Last-Event-ID", id)) //nolint:bodyclose // stream closes it
	next <- struct{}{}
	if _, data := back.event(); !strings.Contains(data, `"progress":2`) {
		t.Errorf("the stream goes on with %s", data)
	}
	next <- struct{}{}
	if _, data := back.event(); !strings.Contains(data, `"result"`) {
		t.Errorf("the stream ends with %s", data)
	}
	if got := c.read(c.send(t.Context(), p.b, "GET", "/v1/mcp/srv", "", "Last-Event-ID", "node-a.x.1-1")); got.status != http.StatusBadRequest { //nolint:bodyclose // read closes it
		t.Errorf("an event that nobody has sent: %+v", got)
	}
	p.a.kill()
	if got := c.read(c.send(t.Context(), p.b, "GET", "/v1/mcp/srv", "", "Last-Event-ID", id)); got.status != http.StatusBadRequest { //nolint:bodyclose // read closes it
		t.Errorf("after the node is lost: %+v", got)
	}
}

// The session's own stream goes on over another node too, and ends with the access of its caller.
func TestForwardResumeOfTheSessionsStream(t *testing.T) {
	p := newPair(t, true)
	c := p.caller("ada")
	c.initialize(p.a)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s := c.stream(c.send(ctx, p.a, "GET", "/v1/mcp/srv", "", "Accept", "text/event-stream")) //nolint:bodyclose // stream closes it
	id, err := s.lines.ReadString('\n')
	if err != nil || !strings.HasPrefix(id, "id: node-a.") {
		t.Fatal(id, err)
	}
	id = strings.TrimSpace(strings.TrimPrefix(id, "id: "))
	leave()
	back := c.stream(c.send(t.Context(), p.b, "GET", "/v1/mcp/srv", "", "Accept", "text/event-stream", "Last-Event-ID", id)) //nolint:bodyclose // stream closes it
	p.publish(func(b *view.Builder) {
		p.a.putServer(b, &view.Server{Name: "srv", URL: p.origin.url, Protocol: legacyVersion})
	}, p.a)
	if _, data := back.event(); !strings.Contains(data, "notifications/tools/list_changed") {
		t.Errorf("the stream goes on with %s", data)
	}
	p.publish(func(b *view.Builder) { b.PutUser("ada", &view.User{Name: "ada", UID: "u-ada", Deactivated: true}) }, p.a)
	if rest, err := back.lines.ReadString(0); strings.Contains(rest, "data: {") || err == nil {
		t.Errorf("the stream of a person that was deleted goes on with %q, %v", rest, err)
	}
}

func (c *caller) call(extra string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__echo","arguments":{}` + extra + `,"_meta":{` + reserved + `}}}`
}

// held starts a call at node a that its server holds up with a question, and returns what a retry has besides.
func (c *caller) held() (extra string) {
	c.t.Helper()
	c.modern = true
	got := c.do(c.pair.a, c.call(""))
	result := memberOf(c.t, got.body, "result")
	state := memberOf(c.t, result, "requestState")
	if state == "" {
		c.t.Fatalf("the call gets %+v", got)
	}
	return `,"requestState":` + state + `,"inputResponses":{"q1":` + declined + `}`
}

// TestForwardHeld is M-78: the retry of a held call may land on any node.
func TestForwardHeld(t *testing.T) {
	const expired, invalid = `"reason":"request_state_expired"`, `"requestState is not valid"`
	for _, tc := range []struct {
		name   string
		before func(p *pair)
		who    string
		status int
		want   string
	}{
		{"held elsewhere", func(*pair) {}, "ada", 200, `"text":"{\"action\":\"decline\"}"`},
		{"the node drains", func(p *pair) { p.a.drain() }, "ada", 200, `"text":"{\"action\":\"decline\"}"`},
		{"the node is lost", func(p *pair) { p.a.kill() }, "ada", 200, expired},
		{"another person's", func(*pair) {}, "bob", 200, invalid},
		{"no access by the view of the node that holds it", func(p *pair) {
			p.publish(func(b *view.Builder) {
				b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "srv", UID: "g-srv", BearerTokens: true, Visibility: view.Visibility{Owner: "bob"}}})
			}, p.a)
		}, "ada", 403, "gateway_access_denied"},
		{"a gateway that the node which holds it does not know", func(p *pair) {
			p.publish(func(b *view.Builder) { b.DeleteGateway("srv") }, p.a)
		}, "ada", 404, "not_found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t, true)
			p.question()
			c := p.caller("ada")
			retry := c.held()
			tc.before(p)
			c.name = tc.who
			got := c.do(p.b, c.call(retry))
			if got.status != tc.status || !strings.Contains(got.body, tc.want) {
				t.Errorf("the retry gets %+v, want %d %s", got, tc.status, tc.want)
			}
			if tc.status != 200 || tc.who != "ada" || tc.want == expired {
				p.a.edge.Drain() // what is held ends with the test
				return
			}
			if got = c.do(p.b, c.call(retry)); !strings.Contains(got.body, expired) { // M-79: once
				t.Errorf("the second retry gets %+v", got)
			}
		})
	}
}

// A client that gives its retry up ends the call at the other node's server (M-31).
func TestForwardHeldGivenUp(t *testing.T) {
	p := newPair(t, true)
	answered, given := make(chan struct{}), make(chan struct{})
	p.origin.answers(func(in *inbound) {
		in.event(elicitation)
		<-p.origin.replies
		close(answered)
		<-in.r.Context().Done()
		close(given)
	})
	c := p.caller("ada")
	retry := c.held()
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	r, err := http.NewRequestWithContext(ctx, "POST", p.b.web.URL+"/v1/mcp/srv", strings.NewReader(c.call(retry)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer ada"},
		"Mcp-Protocol-Version": {modernVersion}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"srv__echo"},
	}
	go func() {
		defer close(done)
		if resp, err := p.b.web.Client().Do(r); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-answered
	leave()
	<-given
	<-done
}

// A node that is lost after it has got the answers may have gone on with the call: it is not made again (G-53).
func TestForwardHeldLost(t *testing.T) {
	p := newPair(t, true)
	answered := make(chan struct{})
	p.origin.answers(func(in *inbound) {
		in.event(elicitation)
		<-p.origin.replies
		close(answered)
		<-in.r.Context().Done()
	})
	c := p.caller("ada")
	retry := c.held()
	got := make(chan rsReply, 1)
	go func() { got <- c.do(p.b, c.call(retry)) }()
	<-answered
	_ = p.a.serving.Close()
	if got := <-got; got.status != http.StatusOK || !strings.Contains(got.body, `"reason":"outcome_unknown"`) {
		t.Errorf("the retry gets %+v", got)
	}
}

// While a node drains it waits for the answers to what it holds, no longer than its calls may take (M-95).
func TestSettle(t *testing.T) {
	p := newPair(t, true)
	p.question()
	c := p.caller("ada")
	retry := c.held()
	p.a.drain()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		p.a.forwarding.settle()
	}()
	select {
	case <-settled:
		t.Error("the node does not wait for the answers")
	case <-time.After(300 * time.Millisecond):
	}
	if got := c.do(p.b, c.call(retry)); !strings.Contains(got.body, `"content"`) {
		t.Errorf("the retry gets %+v", got)
	}
	<-settled
}

// TestForwardHome is M-94: calls of a server whose processes or sessions have a home run there, whatever node they come to.
func TestForwardHome(t *testing.T) {
	for _, modern := range []bool{true, false} {
		t.Run(map[bool]string{true: "modern", false: "legacy"}[modern]+" client", func(t *testing.T) {
			p := newPair(t, true)
			homed := func(on bool) {
				p.publish(func(b *view.Builder) {
					s := &view.Server{Name: "srv", URL: p.origin.url, Protocol: legacyVersion, Homed: on}
					p.a.putServer(b, s, aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`))
				}, p.a, p.b)
			}
			homed(true)
			p.origin.answers(func(in *inbound) { in.result(`{"content":[]}`) })
			open := func(name string) *caller {
				c := p.caller(name)
				if c.modern = modern; !modern {
					c.initialize(p.a)
				}
				return c
			}
			call := func(c *caller, at *fleetNode) {
				t.Helper()
				body := legacyCall
				if modern {
					body = c.call("")
				}
				if got := c.do(at, body); got.status != http.StatusOK || !strings.Contains(got.body, `"content":[]`) {
					t.Fatalf("%s gets %+v", c.name, got)
				}
			}
			ran := func(step string, c *caller, at *fleetNode, onA, onB int64) {
				t.Helper()
				beforeA, beforeB := p.a.upstreamCalls.Load(), p.b.upstreamCalls.Load()
				call(c, at)
				if a, b := p.a.upstreamCalls.Load()-beforeA, p.b.upstreamCalls.Load()-beforeB; a != onA || b != onB {
					t.Errorf("%s: %d calls ran on a and %d on b", step, a, b)
				}
			}
			ada, bob := open("ada"), open("bob")
			ran("the first", ada, p.a, 1, 0)
			ran("to the other node", ada, p.b, 1, 0)
			ran("another person's", bob, p.b, 0, 1)
			ran("back", bob, p.a, 0, 1)
			homed(false)
			ran("a pool on each node", ada, p.b, 0, 1)
			homed(true)
			p.a.drain()
			ran("while the home drains", ada, p.b, 0, 1)
			p.a.kill()
			if body := ada.call(""); modern {
				ada.do(p.b, body) // over a connection that has just been lost: nobody knows what became of it
			} else {
				ada.do(p.b, legacyCall)
			}
			ran("the home is lost", ada, p.b, 0, 1)
		})
	}
}
