// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// TestLimits is the table of mcp.md §2.1 on what one principal may have open.
func TestLimits(t *testing.T) {
	small := options{
		settings: edge.Settings{Limits: edge.Limits{InFlight: 3, Streams: 2}}, limits: session.Limits{InFlight: 2, PerCaller: 3},
	}
	want := func(t *testing.T, what string, got reply, status int, part string) {
		t.Helper()
		if got.status != status || !strings.Contains(got.text, part) {
			t.Errorf("%s: %+v, want %d %s", what, got, status, part)
		}
		if status == http.StatusTooManyRequests && got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
	}
	t.Run("in flight", func(t *testing.T) {
		inBubble(t, small, func(t *testing.T, l *live) {
			s, other := l.open(newest), l.open(newest)
			var answers []<-chan answered
			start := func(id, session string) {
				answers = append(answers, l.background(t.Context(), callBody(id, "wait"), session))
				<-l.calls.started
			}
			start("1", s)
			start("2", s)
			want(t, "third of the session", l.do(http.MethodPost, callBody("3", "echo"), s), http.StatusTooManyRequests, "42901")
			start("1", other)
			body, headers := modernCall("echo")
			want(t, "fourth of the principal, modern", l.do(http.MethodPost, body, headers...), http.StatusTooManyRequests, "42901")
			want(t, "fourth of the principal, legacy", l.do(http.MethodPost, callBody("2", "echo"), other), http.StatusTooManyRequests, "42901")
			for range 3 {
				l.calls.release <- struct{}{}
			}
			for _, a := range answers {
				if got := <-a; got.status != http.StatusOK {
					t.Errorf("a call within the limits: %+v", got)
				}
			}
			want(t, "after that", l.do(http.MethodPost, body, headers...), http.StatusOK, "content")
		})
	})
	t.Run("streams", func(t *testing.T) {
		inBubble(t, small, func(t *testing.T, l *live) {
			a, b, c := l.open(newest), l.open(newest), l.open(newest)
			first, second := l.get(a), l.get(b)
			want(t, "third stream", l.do(http.MethodGet, "", c), http.StatusTooManyRequests, "42901")
			_ = first.resp.Body.Close()
			<-first.ended
			synctest.Wait()
			third := l.get(c)
			for _, s := range []*stream{second, third} {
				_ = s.resp.Body.Close()
				<-s.ended
			}
		})
	})
	t.Run("sessions", func(t *testing.T) {
		inBubble(t, small, func(t *testing.T, l *live) {
			oldest := l.open(newest)
			time.Sleep(time.Second)
			busy := l.open(newest)
			get := l.get(busy)
			time.Sleep(time.Second)
			l.open(newest)
			l.open(newest)
			want(t, "the oldest idle one", l.do(http.MethodPost, callBody("1", "echo"), oldest), http.StatusNotFound, "Invalid session ID")
			want(t, "the one with a stream", l.do(http.MethodPost, callBody("1", "echo"), busy), http.StatusOK, "content")
			_ = get.resp.Body.Close()
			<-get.ended
		})
	})
}

// TestSlowBody: a body that does not come is given up.
func TestSlowBody(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		body := &stalled{first: []byte(`{"jsonrpc":`), release: make(chan struct{})}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/v1/mcp/eng", body)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(s, ": ")
		r.Header = http.Header{name: {value}, "Authorization": {"Bearer ada"}, "Content-Type": {"application/json"}}
		start := time.Now()
		resp, err := l.client.Do(r)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("given up after %v, want 30s", took)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("status %d", resp.StatusCode)
		}
		close(body.release)
	})
}

// stalled is a body whose end does not come.
type stalled struct {
	first   []byte
	release chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if n := copy(p, s.first); n > 0 {
		s.first = s.first[n:]
		return n, nil
	}
	<-s.release
	return 0, fmt.Errorf("released")
}
