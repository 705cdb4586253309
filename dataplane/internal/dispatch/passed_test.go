// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// TestPass: which servers get the headers of a client, and what is logged of those that do not arrive (G-42, UP-13).
func TestPass(t *testing.T) {
	sent := http.Header{"X-Tenant": {"value-of-the-client"}, "X-Trace": {"t"}}
	for _, tc := range []struct {
		name   string
		server view.Server
		secret http.Header
		want   http.Header
		logged string
	}{
		{"HTTP (G-40)", view.Server{URL: "https://a"}, nil, sent, ""},
		{"a process gets none (G-42)", view.Server{Command: "run"}, nil, nil, ""},
		{"the credential's header (G-42)", view.Server{URL: "https://a"}, http.Header{"X-Tenant": {"value-of-the-secret"}}, sent, "header=x-tenant"},
		{"a fixed header (G-42)", view.Server{URL: "https://a", Headers: map[string]string{"x-TRACE": "value-of-the-server"}}, nil, sent, "header=x-trace"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{}
			d := newDispatcher(t, w)
			c := caller(snapshot(echo()), wire.V20251125)
			c.Passed = sent
			server := tc.server
			server.Name = "files"
			for range 3 {
				o := &call.Outbound{Server: &server, Connection: &view.Connection{Name: "shared"}, Credential: call.Credential{Header: tc.secret}}
				d.pass(t.Context(), &c, o)
				if d := cmp.Diff(tc.want, o.Passed); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			}
			log := w.log.String()
			if n := strings.Count(log, "shadowed"); n != min(len(tc.logged), 1) || !strings.Contains(log, tc.logged) || strings.Contains(log, "value-of") {
				t.Errorf("logged %d times: %s", n, log)
			}
		})
	}
}

// Each gateway and header is logged once, and what is remembered of them is bounded.
func TestShadowsAreBounded(t *testing.T) {
	var s shadows
	for i := range maxShadows + 2 {
		if !s.first("g", strconv.Itoa(i)) || s.first("g", strconv.Itoa(i)) {
			t.Fatalf("header %d is not told once", i)
		}
	}
	if len(s.told) > maxShadows || !s.first("h", strconv.Itoa(maxShadows)) {
		t.Errorf("%d are remembered", len(s.told))
	}
}

// TestPassedToRequestsOnly: a request and a list of resources carry headers, watches of servers do not (G-42).
func TestPassedToRequestsOnly(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
	d := newDispatcher(t, w)
	c := caller(snapshot(echo()), wire.V20251125)
	c.Passed = http.Header{"X-Tenant": {"a"}}
	if _, err := d.Call(t.Context(), c, toolCall(t, echo().Exposed), func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := w.calls[len(w.calls)-1].Passed; got.Get("X-Tenant") != "a" {
		t.Errorf("the call has %v", got)
	}
	o, err := d.outbound(t.Context(), &c, &target{server: echo().Server, connection: echo().Connection})
	if err != nil || o.Passed != nil {
		t.Errorf("what is not a request has %v, %v", o, err)
	}
}
