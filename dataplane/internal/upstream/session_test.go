// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestSessions: one session per principal unless the server is stateless,
// opened once however many ask, deleted at the end (M-59).
func TestSessions(t *testing.T) {
	for _, stateless := range []bool{false, true} {
		f := newFixture(t)
		p := newPool(t, nil)
		var calls sync.WaitGroup
		for i := range 24 {
			calls.Go(func() {
				to := target(f.url, wire.V20251125)
				to.PrincipalKey, to.Stateless = fmt.Sprintf("user:%d", i%3), stateless
				said := fmt.Sprint(i)
				r, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("echo", said))}, nil)
				if err != nil || text(t, r) != said {
					t.Errorf("%s %v", r.Raw, err)
				}
			})
		}
		calls.Wait()
		want := int32(3)
		if stateless {
			want = 1
		}
		if n := f.opened.Load(); n != want {
			t.Errorf("stateless %v: %d sessions, want %d", stateless, n, want)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := f.deleted.Load(); n != want {
			t.Errorf("stateless %v: %d sessions deleted, want %d", stateless, n, want)
		}
		if _, err := p.Call(t.Context(), target(f.url, wire.V20251125), Request{Method: "ping"}, nil); fault.From(err).Reason != ReasonUnreachable {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestSessionLost: a 404 means that the request did not run; the session is
// opened anew and the request sent again, once (M-92).
func TestSessionLost(t *testing.T) {
	f := newFixture(t)
	p := newPool(t, nil)
	to := target(f.url, wire.V20251125)
	for i := range 3 {
		r, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("echo", "again"))}, nil)
		if err != nil || text(t, r) != "again" {
			t.Fatalf("call %d: %v", i, err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, f.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Mcp-Session-Id", f.last().Get("Mcp-Session-Id"))
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if n := f.opened.Load(); n != 3 {
		t.Errorf("%d sessions opened, want 3", n)
	}
}

// TestIdleSessionsEnd: a session not used for SessionIdle is deleted.
func TestIdleSessionsEnd(t *testing.T) {
	f := newFixture(t)
	p := newPool(t, func(c *Config) { c.SessionIdle = 50 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if _, err := p.Call(t.Context(), target(f.url, wire.V20251125), Request{Method: "tools/call", Params: closed(callParams("echo", ""))}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return f.deleted.Load() == 1 })
	until(t, func() bool {
		p.mu.RLock()
		defer p.mu.RUnlock()
		return len(p.sites) == 0 && p.sessions.Load() == 0
	})
	cancel()
	run.Wait()
}

// TestMaxSessions: beyond the limit the longest idle session is ended.
func TestMaxSessions(t *testing.T) {
	f := newFixture(t)
	p := newPool(t, func(c *Config) { c.MaxSessions = 2 })
	for i := range 4 {
		to := target(f.url, wire.V20251125)
		to.PrincipalKey = fmt.Sprint(i)
		if _, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("echo", ""))}, nil); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return f.deleted.Load() == 2 })
	if n := p.sessions.Load(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}
