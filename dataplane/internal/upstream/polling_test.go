// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestPolling: an upstream that closes its streams early is followed by GET with
// Last-Event-ID (M-42). $ID is the id of the call.
func TestPolling(t *testing.T) {
	const priming = "id: e0\nretry: 20\ndata:\n\n"
	step := func(n int) string { return fmt.Sprintf("id: e%d\n", n) + progress }
	tests := []struct {
		name    string
		version wire.Version
		first   string
		gets    []string // answers to GET, the last one repeated; a number is a status
		asked   string   // Last-Event-ID values
		relayed int
		reason  string // "" for an answer
	}{
		{"at once after the priming event", wire.V20251125, priming, []string{response}, "e0", 0, ""},
		{"progress in between", wire.V20251125, priming + step(1), []string{step(2), "id: e3\ndata:\n\n", step(4) + response}, "e1 e2 e3", 3, ""},
		{"an event cut in two is had again", wire.V20251125, priming + "id: e1\ndata: {\"jso", []string{step(1) + response}, "e0", 1, ""},
		{"an event with an id and no data counts", wire.V20251125, priming + "id: e9\n\n", []string{response}, "e9", 0, ""},
		{"busy for a while", wire.V20251125, priming, []string{"503", "409", "429", response}, "e0 e0 e0 e0", 0, ""},
		{"five fruitless attempts", wire.V20251125, priming, []string{""}, "e0 e0 e0 e0 e0", 0, ReasonOutcomeUnknown},
		{"refused", wire.V20251125, priming, []string{"400"}, "e0", 0, ReasonOutcomeUnknown},
		{"no GET", wire.V20251125, priming, []string{"405"}, "e0", 0, ReasonOutcomeUnknown},
		{"no ids, no resuming", wire.V20251125, progress, []string{response}, "", 1, ReasonOutcomeUnknown},
		{"nor in the modern era", wire.V20260728, priming, []string{response}, "", 0, ReasonOutcomeUnknown},
		{"garbage is an end", wire.V20251125, priming, []string{"data: {\n\n"}, "e0", 0, ReasonProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var id, asked []string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				text := tt.first
				if r.Method == http.MethodGet {
					text = tt.gets[min(len(asked), len(tt.gets)-1)]
					asked = append(asked, r.Header.Get("Last-Event-Id"))
				} else {
					var m message
					if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
						return
					}
					switch m.Method {
					case "initialize":
						jsonAnswer(w, m, `{"protocolVersion":"`+string(tt.version)+`","capabilities":{}}`)
						return
					case "tools/call":
						id = append(id, string(m.ID))
					default:
						w.WriteHeader(http.StatusAccepted)
						return
					}
				}
				var status int
				if n, _ := fmt.Sscanf(text, "%3d", &status); n == 1 {
					w.WriteHeader(status)
					return
				}
				w.Header().Set("Content-Type", sseType)
				_, _ = io.WriteString(w, strings.ReplaceAll(text, "$ID", id[0]))
			}))
			defer web.Close()
			p := newPool(t, nil)
			relayed := 0
			start := time.Now()
			r, err := p.Call(t.Context(), target(web.URL, tt.version), Request{Method: "tools/call", ProgressToken: []byte("1")},
				func(Event) error { relayed++; return nil })
			if tt.reason == "" && (err != nil || string(r.Raw) != `{"ok":true}`) || tt.reason != "" && fault.From(err).Reason != tt.reason {
				t.Errorf("%s %v, want %q", r.Raw, err, tt.reason)
			}
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(asked, " "); got != tt.asked || relayed != tt.relayed || len(id) != 1 {
				t.Errorf("asked for %q, want %q; relayed %d, want %d; called %d times", got, tt.asked, relayed, tt.relayed, len(id))
			}
			if d := time.Since(start); d < time.Duration(len(asked))*20*time.Millisecond || d > 4*time.Second {
				t.Errorf("after %v", d)
			}
		})
	}
}

// TestResumedStreamIsLeft: an upstream that keeps the stream open on which it was
// asked for the rest of an answer is not left with a stream that nobody reads.
func TestResumedStreamIsLeft(t *testing.T) {
	left := make(chan struct{})
	var id string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", sseType)
			_, _ = io.WriteString(w, strings.ReplaceAll(response, "$ID", id))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(left)
			return
		}
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			return
		}
		switch m.Method {
		case "initialize":
			jsonAnswer(w, m, `{"protocolVersion":"2025-11-25","capabilities":{}}`)
		case "tools/call":
			id = string(m.ID)
			w.Header().Set("Content-Type", sseType)
			_, _ = io.WriteString(w, "id: e0\nretry: 20\ndata:\n\n")
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(web.Close) // after the pool
	p := newPool(t, nil)
	if _, err := p.Call(t.Context(), target(web.URL, wire.V20251125), Request{Method: "tools/call"}, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the stream stays open")
	}
}

// TestPollingTimesOut: the call's time goes on while it waits to reconnect.
func TestPollingTimesOut(t *testing.T) {
	s := newScripted(t, raw(200, sseType, "id: 1\nretry: 60000\ndata:\n\n"))
	p := newPool(t, nil)
	for _, session := range []string{"", "c"} {
		to := target(s.url, wire.V20251125)
		to.CallTimeout, to.Session = 60*time.Millisecond, session
		start := time.Now()
		_, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil)
		if d := time.Since(start); fault.From(err).Reason != ReasonTimeout || d > 3*time.Second {
			t.Errorf("%v after %v", err, d)
		}
	}
}
