// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBodyFirst is M-17: whatever the answer will be, nothing of it is sent before the body is there.
func TestBodyFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		header, body string
		status       int
	}{
		"legacy":                {"", callBody("1", "echo"), http.StatusOK},
		"without a session":     {"Mcp-Session-Id", callBody("1", "echo"), http.StatusBadRequest},
		"broken from the start": {"", `}` + callBody("1", "echo"), http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				key, value, _ := strings.Cut(l.open(newest), ": ")
				body, rest := io.Pipe()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/v1/mcp/eng", body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{key: {value}, "Authorization": {"Bearer ada"}, "Content-Type": {"application/json"}}
				r.Header.Del(tt.header)
				answer := make(chan reply, 1)
				go func() { answer <- l.read(l.client.Do(r)) }()
				half := len(tt.body) / 2
				_, _ = io.WriteString(rest, tt.body[:half])
				time.Sleep(20 * time.Second)
				if len(answer) != 0 {
					t.Errorf("before the body is there the answer is %+v", <-answer)
				}
				_, _ = io.WriteString(rest, tt.body[half:])
				_ = rest.Close()
				if got := <-answer; got.status != tt.status {
					t.Errorf("%+v, want %d", got, tt.status)
				}
			})
		})
	}
}

// TestLateError is M-18: the status of an error is sent as long as nothing was; after 5 s the error is the last event of a
// stream with status 200.
func TestLateError(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		for _, tt := range []struct {
			wait   time.Duration
			status int
			kind   string
		}{{4 * time.Second, http.StatusTooManyRequests, "application/json"}, {6 * time.Second, http.StatusOK, "text/event-stream"}} {
			answer := l.background(t.Context(), callBody("1", "wait-flood"), s)
			time.Sleep(tt.wait)
			l.calls.release <- struct{}{}
			if got := <-answer; got.status != tt.status || got.kind != tt.kind || strings.Count(got.body, `{"jsonrpc":"2.0","id":1,"error":{"code":42901`) != 1 {
				t.Errorf("after %v: %+v, want %d %s", tt.wait, got, tt.status, tt.kind)
			}
		}
	})
}

// TestWriteDeadline is M-19: a client that does not read is given up 30 s after the write that it did not take. To a
// modern call that is a disconnect (M-31); a legacy call goes on (M-41).
func TestWriteDeadline(t *testing.T) {
	for _, era := range []string{"modern", "legacy"} {
		t.Run(era, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				body, headers := modernCall("wait")
				if era == "legacy" {
					body, headers = callBody("1", "wait"), []string{l.open("2025-06-18")}
				}
				from := time.Now()
				resp, err := l.send(t.Context(), http.MethodPost, body, headers...)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				const opened, comment, deadline = 5 * time.Second, 15 * time.Second, 30 * time.Second
				time.Sleep(opened + comment + deadline - time.Second - time.Since(from))
				if len(l.calls.ended) != 0 {
					t.Fatalf("given up after %v", time.Since(from))
				}
				time.Sleep(2 * time.Second)
				if era == "legacy" {
					if len(l.calls.ended) != 0 {
						t.Errorf("the call of a legacy client ended with %v", <-l.calls.ended)
					}
					l.calls.release <- struct{}{}
				} else if cause := <-l.calls.ended; !errors.Is(cause, context.Canceled) || time.Since(from) > opened+comment+deadline+time.Second {
					t.Errorf("the call ended with %v after %v", cause, time.Since(from))
				}
				if text, err := io.ReadAll(resp.Body); err == nil || strings.Contains(string(text), "result") {
					t.Errorf("the client got %q, %v", text, err)
				}
			})
		})
	}
}

// TestDisconnectWithoutStream is M-31: closing the connection cancels a call whose answer would be JSON, too.
func TestDisconnectWithoutStream(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		ctx, leave := context.WithCancel(t.Context())
		body, headers := modernCall("wait")
		answer := l.background(ctx, body, append(headers, "Accept: application/json")...)
		<-l.calls.started
		time.Sleep(time.Minute)
		leave()
		if cause := <-l.calls.ended; !errors.Is(cause, context.Canceled) {
			t.Errorf("the call ended with %v", cause)
		}
		if got := <-answer; got.err == nil {
			t.Errorf("the client that left got %+v", got)
		}
		synctest.Wait()
	})
}
