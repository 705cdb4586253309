// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestTimeout: the call ends in time, the upstream is told, and progress
// restarts the clock up to the ceiling (M-49).
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	s := newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
		switch m.Method {
		case "notifications/cancelled":
			w.WriteHeader(http.StatusAccepted)
		case "tools/steady":
			w.Header().Set("Content-Type", sseType)
			for {
				_, _ = io.WriteString(w, strings.ReplaceAll(progress, "$ID", string(m.ID)))
				w.(http.Flusher).Flush()
				select {
				case <-time.After(20 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
		default:
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	defer close(release)
	p := newPool(t, func(c *Config) { c.CallCeiling = 400 * time.Millisecond })
	to := target(s.url, wire.V20251125)
	to.CallTimeout = 100 * time.Millisecond
	tests := []struct {
		name, method string
		ctx          func() (context.Context, context.CancelFunc)
		least        time.Duration
	}{
		{"silent", "tools/call", func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, 90 * time.Millisecond},
		{"progress up to the ceiling", "tools/steady", func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, 350 * time.Millisecond},
		{"deadline of the context", "tools/call", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 30*time.Millisecond)
		}, 20 * time.Millisecond},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := tt.ctx()
			defer cancel()
			start := time.Now()
			_, err := p.Call(ctx, to, Request{Method: tt.method, ProgressToken: []byte("1")}, func(Event) error { return nil })
			if f := fault.From(err); f.Kind != fault.Timeout || f.Reason != ReasonTimeout {
				t.Errorf("%v", err)
			}
			if d := time.Since(start); d < tt.least || d > tt.least+3*time.Second {
				t.Errorf("after %v", d)
			}
			until(t, func() bool { return s.count("notifications/cancelled") == i+1 })
			var calls, cancels []message
			for _, m := range s.all() {
				switch m.Method {
				case "notifications/cancelled":
					cancels = append(cancels, m)
				case "tools/call", "tools/steady":
					calls = append(calls, m)
				}
			}
			want := `"requestId":` + string(calls[i].ID)
			if !strings.Contains(string(cancels[i].Params), want) || cancels[i].Header.Get("Mcp-Session-Id") != "session-1" {
				t.Errorf("cancelled %s with %v, want %s", cancels[i].Params, cancels[i].Header, want)
			}
		})
	}
}

func TestSinkEndsTheCall(t *testing.T) {
	s := newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
		if m.Method == "tools/call" {
			raw(200, sseType, progress)(w, r, m)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	p := newPool(t, nil)
	gone := errors.New("client gone")
	_, err := p.Call(t.Context(), target(s.url, wire.V20251125), Request{Method: "tools/call", ProgressToken: []byte("1")},
		func(Event) error { return gone })
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	until(t, func() bool { return s.count("notifications/cancelled") == 1 })
}

// TestQuestions: ping gets an answer, everything else -32601, while the call
// goes on (M-33, M-59).
func TestQuestions(t *testing.T) {
	answered := make(chan message, 2)
	s := newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
		if m.Method != "tools/call" {
			w.WriteHeader(http.StatusAccepted)
			answered <- m
			return
		}
		w.Header().Set("Content-Type", sseType)
		for _, method := range []string{"ping", "elicitation/create"} {
			_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":\"q-%s\",\"method\":%q,\"params\":{}}\n\n", method, method)
			w.(http.Flusher).Flush()
			got := <-answered
			ok := string(got.ID) == fmt.Sprintf("%q", "q-"+method) && got.Header.Get("Mcp-Session-Id") == "session-1"
			if method == "ping" {
				ok = ok && string(got.Result) == "{}"
			} else {
				ok = ok && strings.Contains(string(got.Error), "-32601")
			}
			if !ok {
				t.Errorf("%s was answered with %+v", method, got)
			}
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(response, "$ID", string(m.ID)))
	})
	p := newPool(t, nil)
	r, err := p.Call(t.Context(), target(s.url, wire.V20251125), Request{Method: "tools/call"}, nil)
	if err != nil || string(r.Raw) != `{"ok":true}` {
		t.Errorf("%s %v", r.Raw, err)
	}
}

func TestMaxConcurrent(t *testing.T) {
	var running atomic.Int32
	release := make(chan struct{})
	s := newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
		running.Add(1)
		<-release
		jsonAnswer(w, m, "{}")
	})
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	to.MaxConcurrent = 2
	var calls sync.WaitGroup
	var refused atomic.Int32
	for range 20 { // two run, eight wait
		calls.Go(func() {
			_, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil)
			switch f := fault.From(err); {
			case err == nil:
			case f.Kind != fault.Exhausted || f.Reason != ReasonBusy || f.Retry <= 0:
				t.Error(err)
			default:
				refused.Add(1)
			}
		})
	}
	until(t, func() bool { return running.Load() == 2 && refused.Load() == 10 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Call(ctx, to, Request{Method: "tools/call"}, nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("a call that was given up: %v", err)
	}
	close(release)
	calls.Wait()
	if _, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestSessionGoneForms: what counts as an ended session, and that the remedy is
// used once.
func TestSessionGoneForms(t *testing.T) {
	tests := []struct {
		name    string
		refusal func(http.ResponseWriter, *http.Request, message)
		again   bool
	}{
		{"404", raw(404, "", ""), true},
		{"404 with JSON-RPC", raw(404, jsonType, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"gone"}}`), true},
		{"400 about the session", raw(400, jsonType, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid Session ID provided"}}`), true},
		{"400 about something else", raw(400, jsonType, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}`), false},
	}
	for _, tt := range tests {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s always %v", tt.name, always), func(t *testing.T) {
				var calls atomic.Int32
				s := newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
					if calls.Add(1) == 1 || always {
						tt.refusal(w, r, m)
						return
					}
					jsonAnswer(w, m, `{"ok":true}`)
				})
				p := newPool(t, nil)
				r, err := p.Call(t.Context(), target(s.url, wire.V20251125), Request{Method: "tools/call"}, nil)
				want := 1
				if tt.again {
					want = 2
				}
				if n := s.count("initialize"); n != want || s.count("tools/call") != want {
					t.Errorf("%d sessions and %d calls, want %d", n, s.count("tools/call"), want)
				}
				if tt.again && !always && (err != nil || string(r.Raw) != `{"ok":true}`) {
					t.Errorf("%s %s %v", r.Raw, r.Error, err)
				}
				if (always || !tt.again) && err == nil && r.Error == nil {
					t.Error("no failure")
				}
			})
		}
	}
}

// TestLeaderGivesUp: when the caller that opens the session is cancelled,
// another waiting caller opens it; a failure is shared.
func TestLeaderGivesUp(t *testing.T) {
	var inits atomic.Int32
	leading := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m message
		_ = json.NewDecoder(r.Body).Decode(&m)
		switch m.Method {
		case "initialize":
			if inits.Add(1) == 1 {
				close(leading)
				<-r.Context().Done()
				return
			}
			jsonAnswer(w, m, `{"protocolVersion":"2025-06-18","capabilities":{}}`)
		case "tools/call":
			jsonAnswer(w, m, `{"ok":true}`)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer web.Close()
	p := newPool(t, nil)
	to := target(web.URL, wire.V20251125)
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	calls.Go(func() {
		if _, err := p.Call(ctx, to, Request{Method: "tools/call"}, nil); fault.KindOf(err) != fault.Canceled {
			t.Errorf("leader: %v", err)
		}
	})
	<-leading
	for range 3 {
		calls.Go(func() {
			if _, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil); err != nil {
				t.Errorf("follower: %v", err)
			}
		})
	}
	cancel()
	calls.Wait()
	if n := inits.Load(); n != 2 {
		t.Errorf("%d times initialized, want 2", n)
	}
}
