// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// some lets a number of requests pass.
type some struct{ left atomic.Int64 }

func (s *some) Request(context.Context, *view.Snapshot, *view.Gateway, ident.Principal) error {
	if s.left.Add(-1) < 0 {
		return fault.New(fault.Exhausted, "RATE_LIMITED", "Used up.").After(90 * time.Second)
	}
	return nil
}

// TestRateLimits is G-50 at the front: what counts, and what a request over the limit is answered with.
func TestRateLimits(t *testing.T) {
	rates := &some{}
	inBubble(t, options{rates: rates}, func(t *testing.T, l *live) {
		over := func(what string, got reply) {
			t.Helper()
			if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "90" ||
				!strings.Contains(got.text, `"id":1,"error":{"code":42901,"message":"Used up."`) {
				t.Errorf("%s: %+v", what, got)
			}
		}
		rates.left.Store(2)
		s, batches := l.open(newest), l.open("2025-03-26")
		over("a call in a session", l.do(http.MethodPost, callBody("1", "echo"), s))
		body, headers := modernCall("echo")
		over("a modern call", l.do(http.MethodPost, body, headers...))
		resp, err := l.subscribe(t.Context(), "1", `"toolsListChanged":true`)
		over("a subscription", l.read(resp, err))
		if got := l.do(http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, s); got.status != http.StatusAccepted {
			t.Errorf("a notification: %+v", got)
		}
		rates.left.Store(1)
		got := l.do(http.MethodPost, "["+callBody("1", "echo")+","+callBody("2", "echo")+"]", batches)
		if got.status != http.StatusOK || strings.Count(got.text, `"code":42901`) != 1 || strings.Count(got.text, `"result"`) != 1 {
			t.Errorf("a batch of two with one left: %+v", got)
		}
		rates.left.Store(1)
		if got := l.do(http.MethodPost, body, headers...); got.status != http.StatusOK {
			t.Errorf("within the limit: %+v", got)
		}
	})
}
