// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/breaker"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// flaky is a server that can be made to fail.
type flaky struct {
	*scripted
	broken atomic.Pointer[func(http.ResponseWriter, *http.Request, message)]
}

func newFlaky(t *testing.T) *flaky {
	f := &flaky{}
	f.scripted = newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
		if how := f.broken.Load(); how != nil {
			(*how)(w, r, m)
			return
		}
		raw(200, jsonType, good)(w, r, m)
	})
	return f
}

func (f *flaky) fail(how func(http.ResponseWriter, *http.Request, message)) { f.broken.Store(&how) }
func (f *flaky) heal()                                                      { f.broken.Store(nil) }

// total counts all that the server got.
func (f *flaky) total() int { return len(f.all()) }

// TestCircuit: after failures in a row calls fail at once with the server's name
// and a time, nothing reaches the upstream, and after the pause a sign of life
// lets calls through again (G-51). Calls to another upstream do not notice (G-52).
func TestCircuit(t *testing.T) {
	cut := func(http.ResponseWriter, *http.Request, message) { panic(http.ErrAbortHandler) }
	silent := func(_ http.ResponseWriter, r *http.Request, _ message) { <-r.Context().Done() }
	for _, tt := range []struct {
		name    string
		failure func(http.ResponseWriter, *http.Request, message)
		reason  string
	}{
		{"cut", cut, ReasonOutcomeUnknown},
		{"silent", silent, ReasonTimeout},
		{"500", raw(500, "text/plain", "boom"), ReasonOutcomeUnknown},
		{"503", raw(503, "", ""), ReasonUnreachable},
	} {
		for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
			t.Run(fmt.Sprintf("%s %s", tt.name, v.Era()), func(t *testing.T) { checkCircuit(t, v, tt.failure, tt.reason) })
		}
	}
}

func checkCircuit(t *testing.T, v wire.Version, failure func(http.ResponseWriter, *http.Request, message), reason string) {
	s, other := newFlaky(t), newFlaky(t)
	p := newPool(t, func(c *Config) {
		c.CircuitFailures, c.CircuitPause, c.ProbeTimeout = 3, 200*time.Millisecond, 100*time.Millisecond
	})
	to, healthy := target(s.url, v), target(other.url, v)
	to.CallTimeout = 100 * time.Millisecond
	call := func(to Target) *fault.Fault {
		_, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil)
		if err == nil {
			return nil
		}
		return fault.From(err)
	}
	s.fail(failure)
	for range 3 {
		if f := call(to); f.Reason != reason {
			t.Fatalf("%v, want %s", f, reason)
		}
	}
	before := s.total()
	f := call(to)
	if f.Reason != ReasonCircuitOpen || f.Kind != fault.Unavailable || f.Retry <= 0 || !strings.Contains(f.Public, `The server "fixture" keeps failing`) {
		t.Errorf("%+v", f)
	}
	if n := s.count("tools/call"); n != 3 {
		t.Errorf("%d calls reached the upstream, want 3", n)
	}
	healthy.CallTimeout = 5 * time.Second
	if f := call(healthy); f != nil {
		t.Errorf("another upstream: %v", f)
	}
	until(t, func() bool { _ = call(to); return s.total() > before }) // a trial fails
	if n := s.count("tools/call"); n != 3 {
		t.Errorf("%d calls of clients were the trial", n-3)
	}
	s.heal()
	to.CallTimeout = 5 * time.Second
	until(t, func() bool { return call(to) == nil })
	if f := call(to); f != nil {
		t.Errorf("after that: %v", f)
	}
}

// TestNoCircuit has a row for each failure that says nothing against the
// upstream's transport.
func TestNoCircuit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, message)
		change func(*Target)
		give   bool // the client gives up
	}{
		{name: "JSON-RPC error", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no"}}`)},
		{name: "JSON-RPC error with 500", answer: raw(500, jsonType, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no"}}`)},
		{name: "tool error", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID,"result":{"isError":true,"content":[]}}`)},
		{name: "401", answer: raw(401, "", "")},
		{name: "403", answer: raw(403, "", "")},
		{name: "403, more scope wanted", answer: challenged(403, `Bearer error="insufficient_scope"`)},
		{name: "404", answer: raw(404, "text/plain", "no")},
		{name: "429", answer: raw(429, "", "")},
		{name: "no MCP", answer: raw(200, "text/html", "<html>")},
		{name: "too large", answer: raw(200, jsonType, strings.Repeat("x", 2048)), change: func(t *Target) { t.MaxResponse = 1024 }},
		{name: "given up", answer: func(_ http.ResponseWriter, r *http.Request, _ message) { <-r.Context().Done() }, give: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFlaky(t)
			p := newPool(t, func(c *Config) { c.CircuitFailures = 2 })
			to := target(s.url, wire.V20260728)
			if tt.change != nil {
				tt.change(&to)
			}
			s.fail(tt.answer)
			for i := range 5 {
				ctx, cancel := context.WithCancel(t.Context())
				before := s.total()
				if tt.give {
					go func() {
						until(t, func() bool { return s.total() > before })
						cancel()
					}()
				}
				_, err := p.Call(ctx, to, Request{Method: "tools/call"}, nil)
				cancel()
				if f := fault.From(err); f != nil && f.Reason == ReasonCircuitOpen {
					t.Fatalf("call %d: %v", i, f)
				}
			}
			if n := len(p.notClosed()); n > 0 {
				t.Error("the circuit is not closed")
			}
		})
	}
}

// TestCircuitIsOfTheConnection: its credentials share one, another connection
// has its own, and it is forgotten with its last site.
func TestCircuitIsOfTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String() + "/mcp"
	_ = l.Close()
	reader := sdkmetric.NewManualReader()
	p := newPool(t, func(c *Config) {
		c.CircuitFailures, c.Meter = 2, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	})
	reason := func(change func(*Target)) string {
		to := target(gone, wire.V20260728)
		change(&to)
		_, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil)
		return fault.From(err).Reason
	}
	for range 2 {
		if r := reason(func(*Target) {}); r != ReasonUnreachable {
			t.Fatal(r)
		}
	}
	if r := reason(func(to *Target) { to.Key = "conn-1|another credential" }); r != ReasonCircuitOpen {
		t.Errorf("another credential: %s", r)
	}
	if r := reason(func(to *Target) { to.Connection, to.Key = "another", "conn-2" }); r != ReasonUnreachable {
		t.Errorf("another connection: %s", r)
	}
	if got := openCircuits(t, reader); got != "fixture open 1" {
		t.Errorf("the metric shows %q", got)
	}
	p.idleSessions(time.Now().Add(time.Hour), time.Minute)
	if n := len(p.circuits); n > 0 {
		t.Errorf("%d circuits are kept of no site", n)
	}
}

func openCircuits(t *testing.T, reader *sdkmetric.ManualReader) string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			gauge, ok := m.Data.(metricdata.Gauge[int64])
			if m.Name != obs.MetricUpstreamCircuit || !ok {
				continue
			}
			for _, point := range gauge.DataPoints {
				server, _ := point.Attributes.Value("server")
				state, _ := point.Attributes.Value("state")
				out = append(out, fmt.Sprintf("%s %s %d", server.AsString(), state.AsString(), point.Value))
			}
		}
	}
	return strings.Join(out, ", ")
}

// TestTrialOfUnknown: an upstream whose version is not known, or that speaks
// HTTP+SSE, is tried by what begins a session.
func TestTrialOfUnknown(t *testing.T) {
	for _, change := range []func(*Target){func(*Target) {}, func(to *Target) { to.SSE = true }} {
		s := newFlaky(t)
		p := newPool(t, func(c *Config) { c.CircuitFailures, c.CircuitPause = 1, time.Millisecond })
		to := target(s.url, "")
		change(&to)
		s.fail(func(http.ResponseWriter, *http.Request, message) { panic(http.ErrAbortHandler) })
		_, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil)
		if f := fault.From(err); f.Reason != ReasonUnreachable {
			t.Fatal(f)
		}
		before := s.total()
		until(t, func() bool {
			_, err := p.Call(t.Context(), to, Request{Method: "tools/call"}, nil)
			return fault.From(err).Reason == ReasonCircuitOpen && s.total() > before
		})
		if n := s.count("tools/call"); n > 0 {
			t.Errorf("%d calls were the trial", n)
		}
		var open breaker.State
		for of := range p.notClosed() {
			open = of.state
		}
		if open != breaker.Open {
			t.Errorf("the circuit is %q", open)
		}
	}
}
