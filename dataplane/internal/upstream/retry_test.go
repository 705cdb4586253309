// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// failing is one row of the table of G-53: what the client sees and how often the
// tool ran, by how the call failed and whether the tool may run twice.
type failing struct {
	name      string
	dials     int // connections that fail before one is made: nothing is written
	first     func(http.ResponseWriter, *http.Request, message)
	second    func(http.ResponseWriter, *http.Request, message)
	once      string // reason for a tool that must not run twice, "" for an answer
	onceRuns  int
	twice     string // for one that may
	twiceRuns int
}

func failures() []failing {
	cut := func(http.ResponseWriter, *http.Request, message) { panic(http.ErrAbortHandler) }
	silent := func(_ http.ResponseWriter, r *http.Request, _ message) { <-r.Context().Done() }
	return []failing{
		// Nothing is written.
		{"connection not made, once", 1, nil, nil, "", 1, "", 1},
		{"connection not made, twice", 2, nil, nil, ReasonUnreachable, 0, ReasonUnreachable, 0},
		// All is written.
		{"connection cut, once", 0, cut, nil, ReasonOutcomeUnknown, 1, "", 2},
		{"connection cut, twice", 0, cut, cut, ReasonOutcomeUnknown, 1, ReasonUnreachable, 2},
		{"500, once", 0, raw(500, "text/plain", "boom"), nil, ReasonOutcomeUnknown, 1, "", 2},
		{"502, twice", 0, raw(502, "", ""), raw(502, "", ""), ReasonOutcomeUnknown, 1, ReasonUnreachable, 2},
		{"502, then cut", 0, raw(502, "", ""), cut, ReasonOutcomeUnknown, 1, ReasonUnreachable, 2},
		{"503 asks to wait", 0, raw(503, "", ""), nil, ReasonUnreachable, 1, ReasonUnreachable, 1},
		{"429 asks to wait", 0, raw(429, "", ""), nil, ReasonUnreachable, 1, ReasonUnreachable, 1},
		{"JSON-RPC error with 500", 0, raw(500, jsonType, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no"}}`), nil, "", 1, "", 1},
		{"silence", 0, silent, nil, ReasonTimeout, 1, ReasonTimeout, 1},
		{"401", 0, raw(401, "", ""), nil, ReasonUnauthorized, 1, ReasonUnauthorized, 1},
		// It is half answered.
		{"half a document", 0, broken(jsonType, `{"jsonrpc":"2.0","id"`), nil, ReasonOutcomeUnknown, 1, "", 2},
		{"half a stream, nothing of it relayed", 0, broken(sseType, ": hi\n\n"), nil, ReasonOutcomeUnknown, 1, "", 2},
		{"half a stream, some of it relayed", 0, broken(sseType, progress), nil, ReasonOutcomeUnknown, 1, ReasonUnreachable, 1},
		{"stream ends without the answer", 0, raw(200, sseType, ": hi\n\n"), nil, ReasonOutcomeUnknown, 1, "", 2},
		{"half of what is no MCP", 0, raw(200, jsonType, `{"jsonrpc":`), nil, ReasonProtocol, 1, ReasonProtocol, 1},
	}
}

// TestRetry goes through the table, with a real server that counts. Only what was
// not written, or may run twice, is sent once more; nothing is ever sent three
// times.
func TestRetry(t *testing.T) {
	for _, tt := range failures() {
		for _, idempotent := range []bool{false, true} {
			for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
				if tt.dials > 0 && v.Era() == wire.Legacy {
					continue // there, a connection carries initialize before
				}
				t.Run(fmt.Sprintf("%s, idempotent %v, %s", tt.name, idempotent, v), func(t *testing.T) { tt.check(t, idempotent, v) })
			}
		}
	}
}

func (tt *failing) check(t *testing.T, idempotent bool, v wire.Version) {
	var ran, dials atomic.Int32
	s := newScripted(t, func(w http.ResponseWriter, r *http.Request, m message) {
		if m.Method != "tools/call" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		answer := tt.second
		if ran.Add(1) == 1 {
			answer = tt.first
		}
		if answer == nil {
			answer = raw(200, jsonType, good)
		}
		answer(w, r, m)
	})
	p := newPool(t, func(c *Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if int(dials.Add(1)) <= tt.dials {
				return nil, errors.New("connection refused")
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	want, runs := tt.once, tt.onceRuns
	if idempotent {
		want, runs = tt.twice, tt.twiceRuns
	}
	to := target(s.url, v)
	if want == ReasonTimeout {
		to.CallTimeout = 50 * time.Millisecond
	}
	_, err := p.Call(t.Context(), to, Request{Method: "tools/call", ProgressToken: []byte("1"), Idempotent: idempotent},
		func(Event) error { return nil })
	reason := ""
	if err != nil {
		reason = fault.From(err).Reason
	}
	if reason != want || int(ran.Load()) != runs {
		t.Errorf("%q after %d runs, want %q after %d: %v", reason, ran.Load(), want, runs, err)
	}
}
