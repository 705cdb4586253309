// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// once lets one call of each tool pass.
type once map[string]bool

func (o once) Call(_ context.Context, _ *view.Snapshot, _ *view.Gateway, _ ident.Principal, t *view.Tool) error {
	if o[t.Name] {
		return fault.New(fault.Exhausted, "RATE_LIMITED", "Used up.").After(1500 * time.Millisecond)
	}
	o[t.Name] = true
	return nil
}

func (o once) Return(_ context.Context, _ *view.Snapshot, _ *view.Gateway, _ ident.Principal, t *view.Tool) {
	delete(o, t.Name)
}

func (o once) Look(_ context.Context, _ *view.Snapshot, _ *view.Gateway, _ ident.Principal, t *view.Tool) []call.DryLimit {
	l := call.DryLimit{RateLimit: &compile.RateLimit{Amount: 1, Period: time.Minute}, Known: true, Left: 1}
	if o[t.Name] {
		l.Left, l.Err = 0, fault.New(fault.Exhausted, "RATE_LIMITED", "Used up.").After(1500*time.Millisecond)
	}
	return []call.DryLimit{l}
}

// TestRateLimit: what is over a limit is a result that says how long to wait, and neither a credential nor a server is asked.
func TestRateLimit(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
	d := newDispatcher(t, w)
	d.RateLimits = once{}
	c := caller(snapshot(echo()), wire.V20251125)
	sink := func([]byte) error { return nil }
	if r, err := d.Call(t.Context(), c, toolCall(t, echo().Exposed), sink); err != nil || r.IsError {
		t.Fatalf("the first call: %s, %v", r.Result, err)
	}
	asked := len(w.calls)
	w.missing = fault.New(fault.Precondition, ReasonCredentialMissing, "asked for")
	r, err := d.Call(t.Context(), c, toolCall(t, echo().Exposed), sink)
	const want = `"isError":true,"structuredContent":{"penstock_error":{"type":"RATE_LIMITED","server":"` // and the server
	if err != nil || !r.IsError || !strings.Contains(string(r.Result), want) ||
		!strings.Contains(string(r.Result), `"retryable":true,"retry_after_ms":1500,"retry_after_seconds":2}`) {
		t.Errorf("the second call: %s, %v", r.Result, err)
	}
	if len(w.calls) != asked {
		t.Error("the server was asked")
	}
}
