// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// TestPassthroughOverSSE: on HTTP+SSE the POSTs of a call carry the client's headers; the stream, which all calls share, does
// not, nor does what opens the session (G-42).
func TestPassthroughOverSSE(t *testing.T) {
	s := newSSEServer(t, func(c *sseConn, m message) {
		if m.Method == "tools/call" {
			c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID))
		}
	})
	p := newPool(t, nil)
	for _, who := range []string{"a", "b", ""} {
		r := Request{Method: "tools/call"}
		if who != "" {
			r.Passthrough = http.Header{"X-Tenant": {who}}
		}
		if _, err := p.Call(t.Context(), sseTarget(s.url, wire.V20241105), r, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heads["GET"]) != 1 || len(s.heads["initialize"]) != 1 {
		t.Errorf("the calls did not share a stream: %d", len(s.heads["GET"]))
	}
	for what, heads := range s.heads {
		var got []string
		for _, h := range heads {
			got = append(got, h.Get("X-Tenant"))
		}
		want := make([]string, len(heads))
		if what == "tools/call" {
			want = []string{"a", "b", ""}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: X-Tenant %q, want %q", what, got, want)
		}
	}
}

// TestPassthroughOfCancellation: the notification that takes a call back has its headers.
func TestPassthroughOfCancellation(t *testing.T) {
	began := make(chan struct{})
	s := newWireServer(t, func(_ http.ResponseWriter, r *http.Request, _ message) {
		close(began)
		<-r.Context().Done()
	})
	p := newPool(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := p.Call(ctx, target(s.url, wire.V20251125), Request{Method: "tools/call", Passthrough: http.Header{"X-Tenant": {"a"}}}, nil)
	if err == nil {
		t.Error("the call was not cancelled")
	}
	until(t, func() bool { return len(s.all("notifications/cancelled")) > 0 })
	if got := s.all("notifications/cancelled")[0].Header.Get("X-Tenant"); got != "a" {
		t.Errorf("X-Tenant %q", got)
	}
}
