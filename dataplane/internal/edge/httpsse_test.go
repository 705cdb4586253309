// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// old is a client of HTTP+SSE: its stream, and the path that it sends to.
type old struct {
	*live
	*stream
	path string
}

// connect opens the stream; headers go with it.
func (l *live) connect(headers ...string) *old {
	l.t.Helper()
	c := &old{live: l, stream: l.get(append(headers, "Accept: text/event-stream")...)}
	if got := c.next(); got != "event: endpoint" {
		l.t.Fatalf("the stream begins with %q", got)
	}
	path, ok := strings.CutPrefix(c.next(), "data: ")
	if !ok || !strings.HasPrefix(path, "/v1/mcp/eng/messages?sessionId=") {
		l.t.Fatalf("the endpoint is %q", path)
	}
	c.path = path
	return c
}

// post sends a message and returns what it is answered with at once.
func (c *old) post(body string, headers ...string) reply {
	c.live.t.Helper()
	return c.read(c.sendTo(c.live.t.Context(), c.path, http.MethodPost, body, headers...))
}

// accepted sends a message that is accepted.
func (c *old) accepted(body string) {
	c.live.t.Helper()
	if got := c.post(body); got.status != http.StatusAccepted || got.text != "" {
		c.live.t.Fatalf("%s: %+v, want 202 without a body", body, got)
	}
}

// answer waits for the next message of the stream.
func (c *old) answer() string {
	c.live.t.Helper()
	if got := c.next(); got != "event: message" {
		c.live.t.Fatalf("the stream has %q, want a message", got)
	}
	text, _ := strings.CutPrefix(c.next(), "data: ")
	return text
}

// ask sends a request and fails unless the stream answers with text.
func (c *old) ask(body, text string) {
	c.live.t.Helper()
	c.accepted(body)
	if got := c.answer(); got != text {
		c.live.t.Errorf("%s is answered with\n%s, want\n%s", body, got, text)
	}
}

func (c *old) initialize(version string) {
	c.live.t.Helper()
	c.accepted(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"` + version + `","capabilities":{"roots":{}}}}`)
	if got := c.answer(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"`+version+`"`) {
		c.live.t.Fatalf("initialize: %s", got)
	}
}

// leave closes the stream, from the client's side.
func (c *old) leave() {
	_ = c.resp.Body.Close()
	<-c.ended
	synctest.Wait()
}

// TestHTTPSSE is M-44 and M-6: a conversation, in every legacy version. The transport decides the delivery: no event has
// an id, and nothing primes the stream (M-39).
func TestHTTPSSE(t *testing.T) {
	for _, version := range legacyVersions() {
		t.Run(version, func(t *testing.T) {
			inBubble(t, options{}, func(_ *testing.T, l *live) {
				c := l.connect()
				c.ask(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`)
				c.ask(callBody("1", "echo"), `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"initialize comes first"}}`)
				c.initialize(version)
				c.accepted(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
				c.ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}`,
					`{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"the session is initialized already"}}`)
				c.ask(callBody(`"a"`, "fail"), `{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"no"}],"isError":true}}`)
				c.ask(`{"jsonrpc":"2.0","id":2,"method":"no/such"}`, `{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found"}}`)
				c.accepted(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"progress","_meta":{"progressToken":"p"}}}`)
				for _, want := range []string{`"progress":1`, `"progress":2`, `"id":3,"result"`} {
					if got := c.answer(); !strings.Contains(got, want) {
						t.Errorf("the stream has %s, want %s", got, want)
					}
				}
				if got := l.calls.last(t); string(got.Version) != version || string(got.Client.Capabilities) != `{"roots":{}}` || got.Client.LogLevel != "info" {
					t.Errorf("the call is made for %q, %s, %q", got.Version, got.Client.Capabilities, got.Client.LogLevel)
				}
				c.quiet()
				c.leave()
			})
		})
	}
}

// TestHTTPSSEFirstMessage: a client sends as soon as it has read where to; its session is there by then.
func TestHTTPSSEFirstMessage(t *testing.T) {
	w := newWorld(t, options{})
	for range 2000 {
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/v1/mcp/eng", nil)
		r.Header = http.Header{"Authorization": {"Bearer ada"}, "Accept": {"text/event-stream"}}
		hasty := &hasty{ResponseRecorder: httptest.NewRecorder(), world: w, leave: leave}
		w.ServeHTTP(hasty, r)
		if hasty.status != http.StatusAccepted {
			t.Fatalf("the first message is answered with %d", hasty.status)
		}
	}
}

// hasty is a client that sends a message within the write that tells it where to, and leaves.
type hasty struct {
	*httptest.ResponseRecorder
	world  *world
	leave  func()
	status int
}

func (h *hasty) Write(b []byte) (int, error) {
	if _, path, ok := strings.Cut(string(b), "data: "); ok && h.status == 0 {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+strings.TrimSpace(path), strings.NewReader(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
		r.Header = http.Header{"Authorization": {"Bearer ada"}, "Content-Type": {"application/json"}}
		rec := httptest.NewRecorder()
		h.world.ServeHTTP(rec, r)
		h.status = rec.Code
		h.leave()
	}
	return h.ResponseRecorder.Write(b)
}

// TestHTTPSSERefuses is M-44: the id in the URL is useless without the token of its owner, and to another client.
func TestHTTPSSERefuses(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		c := l.connect()
		const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
		for _, tt := range []struct {
			name, path, body, header string
			status                   int
			part                     string
		}{
			{"no token", c.path, ping, "Authorization: ", http.StatusUnauthorized, "unauthorized"},
			{"another principal", strings.Replace(c.path, "/eng/", "/sales/", 1), ping, "Authorization: Bearer bob", http.StatusNotFound, `"id":1,"error":{"code":-32600,"message":"Invalid session ID"}`},
			{"another gateway", strings.Replace(c.path, "/eng/", "/sales/", 1), ping, "X: y", http.StatusNotFound, "Invalid session ID"},
			{"changed", c.path + "x", ping, "X: y", http.StatusNotFound, "Invalid session ID"},
			{"twice", c.path + "&sessionId=x", ping, "X: y", http.StatusNotFound, "Invalid session ID"},
			{"missing", "/v1/mcp/eng/messages", ping, "X: y", http.StatusBadRequest, `"code":-32600,"message":"sessionId required"`},
			{"not JSON", c.path, `{"id":1`, "X: y", http.StatusBadRequest, "-32700"},
			{"no message", c.path, `{"jsonrpc":"2.0","id":1}`, "X: y", http.StatusBadRequest, `"id":1,"error":{"code":-32600`},
			{"params that are no object", c.path, `{"jsonrpc":"2.0","id":1,"method":"ping","params":1}`, "X: y", http.StatusBadRequest, `"id":1,"error":{"code":-32602`},
			{"text", c.path, ping, "Content-Type: text/plain", http.StatusUnsupportedMediaType, "-32600"},
			{"a page of a stranger", c.path, ping, "Origin: https://evil.example", http.StatusForbidden, "ORIGIN_NOT_ALLOWED"},
			{"an array before a version that has them", c.path, "[" + ping + "]", "X: y", http.StatusBadRequest, "-32600"},
		} {
			got := l.read(l.sendTo(t.Context(), tt.path, http.MethodPost, tt.body, tt.header))
			if got.status != tt.status || !strings.Contains(got.text, tt.part) {
				t.Errorf("%s: %+v, want %d %s", tt.name, got, tt.status, tt.part)
			}
		}
		c.quiet()
		c.ask(ping, `{"jsonrpc":"2.0","id":1,"result":{}}`)
		c.leave()
		if got := c.post(ping); got.status != http.StatusNotFound {
			t.Errorf("after the stream has ended: %+v", got)
		}
	})
}

// TestHTTPSSEBatch is M-43 on HTTP+SSE: each request is answered on the stream.
func TestHTTPSSEBatch(t *testing.T) {
	inBubble(t, options{limits: session.Limits{InFlight: 2}}, func(t *testing.T, l *live) {
		c := l.connect()
		c.initialize("2025-03-26")
		c.accepted(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":2},` +
			`{"jsonrpc":"2.0","id":3,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}]`)
		got := []string{c.answer(), c.answer(), c.answer()}
		for _, want := range []string{
			`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":2,"error":{"code":-32600,"message":"neither a request nor a response"}}`,
			`{"jsonrpc":"2.0","id":3,"error":{"code":-32600,"message":"the session is initialized already"}}`,
		} {
			if !slices.Contains(got, want) {
				t.Errorf("the stream has not %s but %q", want, got)
			}
		}
		for _, wrong := range []string{`[]`, `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"result":{}}]`} {
			if got := c.post(wrong); got.status != http.StatusBadRequest || !strings.Contains(got.text, "-32600") {
				t.Errorf("%s: %+v", wrong, got)
			}
		}
		c.accepted("[" + callBody("1", "wait") + "," + callBody("2", "wait") + "," + callBody("3", "echo") + "]")
		if got := c.answer(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":3,"error":{"code":42901,`) {
			t.Errorf("the third of two: %s", got)
		}
		close(l.calls.release)
		c.answer()
		c.answer()
		c.leave()
	})
}

// TestHTTPSSELimits is the table of mcp.md §2.1: more than may be in flight, or a second request with one id, is refused
// where the client sends it.
func TestHTTPSSELimits(t *testing.T) {
	small := options{settings: edge.Settings{Limits: edge.Limits{InFlight: 3, Streams: 2}}, limits: session.Limits{InFlight: 2}}
	inBubble(t, small, func(t *testing.T, l *live) {
		c, other := l.connect(), l.connect()
		c.initialize(newest)
		other.initialize(newest)
		if got := l.refusal(l.send(t.Context(), http.MethodGet, "", "Accept: text/event-stream")); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1" {
			t.Errorf("a third stream: %+v", got)
		}
		refused := func(what string, got reply, status int, part string) {
			t.Helper()
			if got.status != status || !strings.Contains(got.text, part) || (status == http.StatusTooManyRequests) != (got.header.Get("Retry-After") == "1") {
				t.Errorf("%s: %+v, want %d %s", what, got, status, part)
			}
		}
		c.accepted(callBody("1", "wait"))
		refused("the same id", c.post(callBody("1", "echo")), http.StatusBadRequest, `"id":1,"error":{"code":-32600`)
		c.accepted(callBody("2", "wait"))
		refused("the third of the session", c.post(callBody("3", "echo")), http.StatusTooManyRequests, `"id":3,"error":{"code":42901`)
		other.accepted(callBody("1", "wait"))
		refused("the fourth of the principal", other.post(callBody("4", "echo")), http.StatusTooManyRequests, `"id":4,"error":{"code":42901`)
		close(l.calls.release)
		for range 2 {
			c.answer()
		}
		other.answer()
		c.ask(callBody("3", "echo"), `{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":""}]}}`)
		c.leave()
		other.leave()
	})
}

// TestHTTPSSEEnds is M-44, M-21, RS-11: what ends the stream ends the session, and cancels its calls.
func TestHTTPSSEEnds(t *testing.T) {
	const soon = 250 * time.Millisecond
	for _, tt := range []struct {
		name   string
		do     func(c *old)
		within time.Duration
	}{
		{"the client leaves", func(c *old) { _ = c.resp.Body.Close() }, 0},
		{"token revoked", func(c *old) {
			c.authn.revoke("ada")
			c.publish(func(*view.Builder) {})
		}, soon},
		{"gateway deleted", func(c *old) { c.publish(func(b *view.Builder) { b.DeleteGateway("eng") }) }, soon},
		{"token expired", func(c *old) {
			c.authn.expire("ada", time.Now().Add(time.Minute))
			c.publish(func(*view.Builder) {}) // by which the stream learns of the end
			time.Sleep(time.Minute - time.Second)
		}, 5 * time.Second},
		{"draining by its health", func(c *old) { c.health.draining.Store(true) }, 15 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				c := l.connect()
				c.initialize("2024-11-05")
				c.accepted(callBody("1", "wait"))
				<-l.calls.started
				tt.do(c)
				c.wantEnd(tt.within)
				if cause := <-l.calls.ended; cause == nil {
					t.Error("the call goes on")
				}
				synctest.Wait()
				if n := l.sessions.Count(); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
				if _, ended := l.calls.heard(); len(ended) != 1 {
					t.Errorf("upstreams were told of the end of %q", ended)
				}
				if n := len(l.calls.listeners()); n != 0 {
					t.Errorf("%d are still told what upstreams say", n)
				}
			})
		})
	}
}

// TestHTTPSSEDrain is M-95: calls finish, then the stream closes.
func TestHTTPSSEDrain(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		c := l.connect()
		c.initialize("2024-11-05")
		c.accepted(callBody("1", "wait"))
		<-l.calls.started
		l.Drain()
		time.Sleep(10 * time.Second)
		c.quiet()
		if got := c.post(callBody("2", "echo")); got.status != http.StatusServiceUnavailable {
			t.Errorf("a new call while draining: %+v", got)
		}
		l.calls.release <- struct{}{}
		if got := c.answer(); got != `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}` {
			t.Errorf("the call in flight: %s", got)
		}
		if got := c.next(); got != "retry: 1000" {
			t.Errorf("the stream has %q, want a time to reconnect", got)
		}
		c.wantEnd(0)
	})
}

// TestHTTPSSECancelled is M-51: no answer comes, and the others go on.
func TestHTTPSSECancelled(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		c := l.connect()
		c.initialize("2024-11-05")
		c.accepted(callBody("1", "wait"))
		c.accepted(callBody("2", "wait"))
		<-l.calls.started
		<-l.calls.started
		c.accepted(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
		c.accepted(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		if cause := <-l.calls.ended; !errors.Is(cause, session.ErrCancelled) {
			t.Errorf("the call ended with %v", cause)
		}
		c.quiet()
		l.calls.release <- struct{}{}
		if got := c.answer(); got != `{"jsonrpc":"2.0","id":2,"result":{"content":[]}}` {
			t.Errorf("the other call: %s", got)
		}
		c.leave()
	})
}

// TestHTTPSSETells is M-38 and M-71: the one stream carries what the gateway and upstreams tell, and what they ask.
func TestHTTPSSETells(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		c := l.connect()
		if n := len(l.calls.listeners()); n != 0 {
			t.Errorf("%d listen before initialize", n)
		}
		c.initialize("2024-11-05")
		l.withTools(2, engTools()[1:]...)
		if got := c.answer(); "data: "+got != listChanged {
			t.Errorf("the stream has %s", got)
		}
		const updated = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`
		to := l.calls.listeners()
		if len(to) != 1 {
			t.Fatalf("%d listen", len(to))
		}
		to[0].deliver([]byte(updated))
		if got := c.answer(); got != updated {
			t.Errorf("the stream has %s", got)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		asked := make(chan string, 1)
		go func() {
			a, err := to[0].caller.Client.Asker.Ask(ctx, call.Question{Method: "roots/list", Params: []byte(`{"a":1}`)})
			asked <- string(a.Result) + text(err)
		}()
		question := c.answer()
		id := questionID(t, question, `"method":"roots/list","params":{"a":1}`)
		c.accepted(`{"jsonrpc":"2.0","id":` + id + `,"result":{"roots":[]}}`)
		if got := <-asked; got != `{"roots":[]}` {
			t.Errorf("the upstream is told %s", got)
		}
		c.leave()
	})
}
