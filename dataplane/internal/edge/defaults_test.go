// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDefaultLimits is the table of mcp.md §2.1 with the numbers it names: what is refused, and what is not yet.
func TestDefaultLimits(t *testing.T) {
	flooded := func(t *testing.T, what string, got reply) {
		t.Helper()
		if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1" || !strings.Contains(got.text, `"error":{"code":42901`) {
			t.Errorf("%s: %+v, want 429 with Retry-After", what, got)
		}
	}
	t.Run("64 requests of a session, 256 of a principal", func(t *testing.T) {
		inBubble(t, options{}, func(t *testing.T, l *live) {
			var answers []<-chan answered
			var sessions []string
			for range 4 {
				s := l.open(newest)
				sessions = append(sessions, s)
				for n := range 64 {
					answers = append(answers, l.background(t.Context(), callBody(fmt.Sprint(n), "wait"), s))
					<-l.calls.started
				}
				if len(sessions) < 4 {
					flooded(t, "the 65th of a session", l.do(http.MethodPost, callBody("64", "echo"), s))
				}
			}
			flooded(t, "the 257th of a principal, legacy", l.do(http.MethodPost, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`))
			body, headers := modernCall("echo")
			flooded(t, "the 257th of a principal, modern", l.do(http.MethodPost, body, headers...))
			l.gateway = "sales"
			if got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{`+metaModel+`}}`, "MCP-Protocol-Version: "+modern, "Mcp-Method: tools/list"); got.status != http.StatusOK {
				t.Errorf("the principal at another gateway: %+v", got)
			}
			close(l.calls.release)
			for _, a := range answers {
				if got := <-a; got.status != http.StatusOK {
					t.Errorf("a call within the limits: %+v", got)
				}
			}
		})
	})
	t.Run("32 streams of all kinds", func(t *testing.T) {
		inBubble(t, options{}, func(t *testing.T, l *live) {
			var open []*stream
			for range 10 {
				open = append(open, l.connect().stream, l.get(l.open(newest)))
			}
			for n := range 12 {
				open = append(open, l.follow(l.subscribe(t.Context(), fmt.Sprint(n), ""))) //nolint:bodyclose // follow closes it
			}
			flooded(t, "a stream too many, GET", l.refusal(l.send(t.Context(), http.MethodGet, "", l.open(newest))))
			flooded(t, "a stream too many, HTTP+SSE", l.refusal(l.send(t.Context(), http.MethodGet, "", "Accept: text/event-stream")))
			flooded(t, "a stream too many, listen", l.refusal(l.subscribe(t.Context(), `"x"`, "")))
			for _, s := range open {
				_ = s.resp.Body.Close()
				<-s.ended
			}
			synctest.Wait()
			again := l.connect()
			again.leave()
		})
	})
	t.Run("100 sessions", func(t *testing.T) {
		inBubble(t, options{}, func(t *testing.T, l *live) {
			first := l.open(newest)
			time.Sleep(time.Second)
			second := l.open(newest)
			time.Sleep(time.Second)
			for range 98 {
				l.open(newest)
			}
			time.Sleep(time.Second)
			if got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, first); got.status != http.StatusOK {
				t.Errorf("the first of 100: %+v", got)
			}
			l.open(newest)
			if got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, second); got.status != http.StatusNotFound || !strings.Contains(got.text, "Invalid session ID") {
				t.Errorf("the one that was idle longest, after the 101st: %+v", got)
			}
			if got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, first); got.status != http.StatusOK {
				t.Errorf("the first, which was used since: %+v", got)
			}
			if _, ended := l.calls.heard(); len(ended) != 1 {
				t.Errorf("upstreams were told of the end of %d sessions", len(ended))
			}
		})
	})
	t.Run("4 MiB of a body", func(t *testing.T) {
		w := newWorld(t, options{})
		id := ask(w, http.MethodPost, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`).Header().Get("Mcp-Session-Id")
		const frame = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":""}}`
		for size, status := range map[int]int{4 << 20: http.StatusOK, 4<<20 + 1: http.StatusRequestEntityTooLarge} {
			body := strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1)
			if got := ask(w, http.MethodPost, body, "Mcp-Session-Id: "+id); got.Code != status {
				t.Errorf("%d bytes: %d %s, want %d", len(body), got.Code, got.Body, status)
			}
		}
	})
	t.Run("256 URIs of a subscription", func(t *testing.T) {
		inFull(t, options{}, func(t *testing.T, l *live) {
			var uris []string
			for n := range 300 {
				uris = append(uris, fmt.Sprintf(`"test://%d"`, n))
			}
			s := l.listen("1", `"resourceSubscriptions":[`+strings.Join(uris, ",")+`]`, `"resourceSubscriptions":[`+strings.Join(uris[:256], ",")+`]`)
			l.Drain()
			l.wantResult(s, "1", 0)
		})
	})
}

// TestSessionAge is M-34 and M-88: a session goes on after half an hour of silence, and ends for good after 24 hours.
func TestSessionAge(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		ping := func() reply { return l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, s) }
		time.Sleep(23 * time.Hour)
		if got := ping(); got.status != http.StatusOK {
			t.Errorf("after 23 hours: %+v", got)
		}
		time.Sleep(time.Hour)
		if got := ping(); got.status != http.StatusNotFound || got.text != `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Invalid session ID"}}` {
			t.Errorf("after 24 hours: %+v", got)
		}
	})
}

// TestViewAnswers is M-28, M-33, M-57 and M-72: what a gateway says of itself touches no upstream.
func TestViewAnswers(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		l.gateway = "full"
		s := l.open(newest)
		for _, m := range []string{
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`,
			`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`,
		} {
			if got := l.do(http.MethodPost, m, s); got.status/100 != 2 || strings.Contains(got.text, "error") {
				t.Errorf("%s: %+v", m, got)
			}
		}
		got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{`+metaModel+`}}`, "MCP-Protocol-Version: "+modern, "Mcp-Method: server/discover")
		if got.status != http.StatusOK || !strings.Contains(got.text, "supportedVersions") {
			t.Errorf("server/discover: %+v", got)
		}
		l.calls.mu.Lock()
		defer l.calls.mu.Unlock()
		if len(l.calls.seen) != 0 {
			t.Errorf("%d requests were dispatched", len(l.calls.seen))
		}
	})
}
