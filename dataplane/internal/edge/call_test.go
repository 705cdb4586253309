// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// TestPatience is M-18 and M-19: after 5 s an answer becomes a stream, with a comment every 15 s.
func TestPatience(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		early := l.background(t.Context(), callBody("1", "wait"), s)
		time.Sleep(4900 * time.Millisecond)
		l.calls.release <- struct{}{}
		if got := <-early; got.kind != "application/json" || got.status != http.StatusOK {
			t.Errorf("an answer after 4.9 s is %+v, want JSON", got)
		}
		late := l.background(t.Context(), callBody("1", "wait"), s)
		time.Sleep(50 * time.Second)
		l.calls.release <- struct{}{}
		got := <-late
		want := "id: \nretry: 1000\ndata: \n\n" + strings.Repeat(": keep-alive\n\n", 3) + "event: message\nid: \ndata: " + `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}` + "\n\n"
		if got.kind != "text/event-stream" || anyID.ReplaceAllString(got.body, "id: ") != want {
			t.Errorf("an answer after 50 s is %+v, want a stream %q", got, want)
		}
		plain := l.background(t.Context(), callBody("1", "wait"), s, "Accept: application/json")
		time.Sleep(50 * time.Second)
		l.calls.release <- struct{}{}
		if got := <-plain; got.kind != "application/json" {
			t.Errorf("a client without streams gets %+v", got)
		}
	})
}

// anyID is the id of an event.
var anyID = regexp.MustCompile(`(?m)^id: \S+`)

// TestHeadersOfLateAnswer: the status line is sent at 5 s, not held until the result.
func TestHeadersOfLateAnswer(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		start := time.Now()
		body, headers := modernCall("wait")
		resp, err := l.send(t.Context(), http.MethodPost, body, headers...)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the head came after %v, want 5s", took)
		}
		l.calls.release <- struct{}{}
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `"resultType":"complete"`) {
			t.Errorf("answer %q, %v", text, err)
		}
	})
}

// TestDisconnect is M-31 and M-41: to a modern call it is cancellation, to a legacy call it is not.
func TestDisconnect(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 10 * time.Second} {
		t.Run("modern "+after.String(), func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				ctx, leave := context.WithCancel(t.Context())
				body, headers := modernCall("wait")
				answer := l.background(ctx, body, headers...)
				time.Sleep(after)
				leave()
				if cause := <-l.calls.ended; !errors.Is(cause, context.Canceled) {
					t.Errorf("the call ended with %v, want it canceled", cause)
				}
				if got := <-answer; got.err == nil {
					t.Errorf("the client that left got %+v", got)
				}
			})
		})
		t.Run("legacy "+after.String(), func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				s := l.open(newest)
				ctx, leave := context.WithCancel(t.Context())
				answer := l.background(ctx, callBody("1", "wait"), s)
				time.Sleep(after)
				leave()
				<-answer
				time.Sleep(time.Minute)
				select {
				case cause := <-l.calls.ended:
					t.Errorf("the call ended with %v", cause)
				default:
				}
				l.calls.release <- struct{}{}
				if cause := <-l.calls.ended; cause != nil {
					t.Errorf("the call ended with %v", cause)
				}
			})
		})
	}
}

// TestCancelled is M-51: by session and id, then no response.
func TestCancelled(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s, other := l.open(newest), l.open(newest)
		cancel := func(session, id string) {
			t.Helper()
			got := l.do(http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`,"reason":"x"}}`, session)
			if got.status != http.StatusAccepted || got.text != "" {
				t.Errorf("cancelled: %+v", got)
			}
		}
		for _, tt := range []struct {
			name, accept, kind string
			wait               time.Duration
			status             int
		}{
			{"before the answer began", "application/json, text/event-stream", "text/event-stream", time.Second, http.StatusOK},
			{"on an open stream", "application/json, text/event-stream", "text/event-stream", 6 * time.Second, http.StatusOK},
			{"without streams", "application/json", "", time.Second, http.StatusAccepted},
		} {
			answer := l.background(t.Context(), callBody(`"a"`, "wait"), s, "Accept: "+tt.accept)
			time.Sleep(tt.wait)
			cancel(s, "1")
			cancel(other, `"a"`)
			synctest.Wait()
			if len(l.calls.ended) != 0 {
				t.Fatalf("%s: canceled by another id or session", tt.name)
			}
			cancel(s, `"a"`)
			if cause := <-l.calls.ended; !errors.Is(cause, session.ErrCancelled) {
				t.Errorf("%s: the call ended with %v", tt.name, cause)
			}
			if got := <-answer; got.status != tt.status || got.kind != tt.kind || strings.Contains(got.body, "message") {
				t.Errorf("%s: answer %+v, want none", tt.name, got)
			}
		}
	})
}

// TestDelete is M-36: streams close, calls are canceled.
func TestDelete(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		get := l.get(s)
		answer := l.background(t.Context(), callBody("1", "wait"), s)
		<-l.calls.started
		if got := l.do(http.MethodDelete, "", s); got.status != http.StatusNoContent {
			t.Errorf("DELETE: %+v", got)
		}
		get.wantEnd(0)
		if cause := <-l.calls.ended; !errors.Is(cause, session.ErrEnded) {
			t.Errorf("the call ended with %v", cause)
		}
		if got := <-answer; strings.Contains(got.body, "data:") {
			t.Errorf("answer %+v, want none", got)
		}
	})
}

// TestDuplicateID is M-11.
func TestDuplicateID(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		answer := l.background(t.Context(), callBody("1", "wait"), s)
		<-l.calls.started
		if got := l.do(http.MethodPost, callBody("1", "echo"), s); got.status != http.StatusBadRequest || !strings.Contains(got.text, "-32600") {
			t.Errorf("a second request 1: %+v", got)
		}
		l.calls.release <- struct{}{}
		if got := <-answer; got.status != http.StatusOK {
			t.Errorf("the first: %+v", got)
		}
		if got := l.do(http.MethodPost, callBody("1", "echo"), s); got.status != http.StatusOK {
			t.Errorf("request 1 after that: %+v", got)
		}
	})
}

// TestBatchRunsInParallel is M-43.
func TestBatchRunsInParallel(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open("2025-03-26")
		batch := "[" + callBody("1", "wait") + "," + callBody("2", "echo") + "," + callBody("3", "wait") + "," + callBody("1", "wait") + "]"
		answer := l.background(t.Context(), batch, s)
		<-l.calls.started
		<-l.calls.started
		synctest.Wait() // both wait: a call that is still on its way could take the release in spite of its end
		l.do(http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`, s)
		l.calls.release <- struct{}{}
		got := <-answer
		for _, want := range []string{`"id":1,"result"`, `"id":2,"result"`, `"id":1,"error":{"code":-32600`} {
			if strings.Count(got.body, want) != 1 {
				t.Errorf("the answer has not one %s:\n%s", want, got.body)
			}
		}
		if strings.Contains(got.body, `"id":3`) || strings.Count(got.body, "data:") != 3 {
			t.Errorf("the answer is\n%s", got.body)
		}
	})
}
