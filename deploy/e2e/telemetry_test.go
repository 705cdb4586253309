// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/collector"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// TestTelemetry follows one call through the fleet: by its trace, as an OTLP receiver got it, and by the metrics that the ops
// ports show (G-61, G-62, M-56).
func TestTelemetry(t *testing.T) {
	t.Parallel()
	sink := collector.Start(t)
	env := testenv.Start(t, testenv.Config{OTLP: sink.Endpoint})
	upstream := recorder.Start(t)
	installSecret(t, env, upstream.URL)
	gateway(t, env, "g", organization, "rec/echo red")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "g")
	env.WaitEnforced(t)
	c := client(env, env.Nodes[0], "g", token.Text)
	c.Initialize(t)

	t.Run("trace from a header", func(t *testing.T) {
		const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
		header := http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}}
		upstream.Forget()
		works(t, "call", c.Modern(t, "tools/call", callEcho, header), "hello")
		checkTrace(t, sink, upstream, trace, "00f067aa0ba902b7", true)
	})
	t.Run("trace from _meta", func(t *testing.T) {
		const trace = "0af7651916cd43dd8448eb211c80319c"
		upstream.Forget()
		works(t, "call", c.Legacy(t, "tools/call",
			`{"name":"rec__echo","arguments":{"message":"hello"},"_meta":{"traceparent":"00-`+trace+`-b7ad6b7169203331-01"}}`), "hello")
		checkTrace(t, sink, upstream, trace, "b7ad6b7169203331", false)
	})
	t.Run("metrics", func(t *testing.T) {
		bad := client(env, env.Nodes[0], "g", "garbage")
		wantBadToken().check(t, "garbled token", bad.Modern(t, "tools/list", noArguments, nil))
		checkMetrics(t, env)
	})
}

// checkTrace waits for the spans of one call and looks at who called whom. parent is the client's span; remote says that the
// authserver was asked.
func checkTrace(t *testing.T, sink *collector.Collector, upstream *recorder.Server, trace, parent string, remote bool) {
	t.Helper()
	const node = "penstock-dataplane"
	parents := map[string]string{ // by service and name
		node + " authn": node + " mcp tools/call", node + " dispatch": node + " mcp tools/call",
		node + " credential": node + " dispatch", node + " upstream tools/call": node + " dispatch",
	}
	if remote {
		parents["penstock-authserver credential resolve"] = node + " credential"
	}
	spans := map[string]collector.Span{}
	testenv.Until(t, "the spans of the call", func() bool {
		for _, s := range sink.Spans(trace) {
			spans[s.Service+" "+s.GetName()] = s
		}
		return len(spans) > len(parents)
	})
	edge := spans[node+" mcp tools/call"]
	if edge.Parent() != parent || len(spans) != len(parents)+1 {
		t.Errorf("the edge's span has parent %s, want %s; all: %s", edge.Parent(), parent, show(spans))
	}
	for child, want := range parents {
		if got := spans[child].Parent(); got == "" || got != spans[want].ID() {
			t.Errorf("the parent of %s is not %s; all: %s", child, want, show(spans))
		}
	}
	for name, want := range map[string]string{
		"mcp.method.name": "tools/call", "gen_ai.tool.name": "rec__echo", "gen_ai.operation.name": "execute_tool", "penstock.gateway": "g",
		"penstock.auth.method": "bearer_token",
	} {
		if edge.Attributes[name] != want {
			t.Errorf("the edge's span has %s = %q, want %q", name, edge.Attributes[name], want)
		}
	}
	calls := upstream.Calls()
	if len(calls) != 1 {
		t.Fatalf("%d calls reached the upstream", len(calls))
	}
	want := "00-" + trace + "-" + spans[node+" upstream tools/call"].ID() + "-01"
	if got := calls[0].Header.Get("Traceparent"); got != want || !strings.Contains(string(calls[0].Body), want) {
		t.Errorf("the upstream got traceparent %q and %s, want %q in both", got, calls[0].Body, want)
	}
}

func show(spans map[string]collector.Span) string {
	var b strings.Builder
	for name, s := range spans {
		b.WriteString("\n" + name + " " + s.ID() + " <- " + s.Parent())
	}
	return b.String()
}

// checkMetrics scrapes the ops ports for what is promised of each server.
func checkMetrics(t *testing.T, env *testenv.Env) {
	t.Helper()
	for _, tc := range []struct {
		part   *testenv.Part
		series []string // as regular expressions
	}{
		{env.Nodes[0].Part, []string{
			`mcp_server_operation_duration_seconds_bucket\{.*mcp_method_name="tools/call".*le="5e-05"\} `,
			`mcp_server_operation_duration_seconds_count\{.*mcp_protocol_version="2026-07-28".*\} [1-9]`,
			`penstock_edge_requests_total\{.*\} [1-9]`, `penstock_edge_in_flight_requests 0`,
			`penstock_dispatch_overhead_seconds_count\{.*outcome="ok".*\} [1-9]`,
			`penstock_upstream_call_seconds_count\{.*outcome="ok".*\} [1-9]`,
			`penstock_upstream_pool_used_connections(\{.*\})? `,
			`penstock_credential_lookups_total\{.*\} [1-9]`, `penstock_credential_resolve_seconds_count(\{.*\})? [1-9]`,
			`penstock_authn_failures_total\{.*reason="TOKEN_INVALID".*\} 1`,
			`penstock_follow_revision [1-9]`, `penstock_follow_stale_seconds `, `go_goroutines [1-9]`,
		}},
		{env.ControlPlane, []string{
			`penstock_feed_head_revision [1-9]`, `penstock_distribute_streams(\{.*\})? 1`, `penstock_distribute_sent_bytes_total\{.*\} [1-9]`,
			`rpc_server_.*duration.*_count\{.*rpc_method="(.*/)?DiscoverServer".*\} [1-9]`,
		}},
		{env.Authserver, []string{`penstock_vault_operations_total\{.*\} [1-9]`}},
	} {
		status, page := tc.part.Get(t, "/metrics")
		if status != http.StatusOK {
			t.Errorf("%s/metrics answers %d", tc.part.OpsURL, status)
		}
		for _, series := range tc.series {
			if !regexp.MustCompile("(?m)^" + series).MatchString(page) {
				t.Errorf("%s/metrics has no %s", tc.part.OpsURL, series)
			}
		}
		if t.Failed() {
			t.Log(penstockLines(page))
		}
	}
}

func penstockLines(page string) string {
	var lines strings.Builder
	for line := range strings.Lines(page) {
		if regexp.MustCompile(`^(penstock|mcp|rpc)_`).MatchString(line) && !strings.Contains(line, "_bucket") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// TestHealth asks each server how it is while others come and go: alive is not ready; a node is ready once it has a view, with
// or without a control plane, and says how old its news is (D-61, D-62, M-46).
func TestHealth(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, testenv.Config{TLS: true})
	node := env.Nodes[0]
	c := client(env, node, "g", "")
	noView := want{status: http.StatusServiceUnavailable, body: problem("temporarily_unavailable", "This node has no configuration yet.", "VIEW_NOT_LOADED")}
	check := func(step string, code int, name, text string) {
		t.Helper()
		checkReady(t, node, step, code, name, text)
	}
	node.Start(t)
	check("alone", http.StatusServiceUnavailable, "view", "no configuration is loaded yet")
	a := c.Send(t, rawclient.Request{Body: "{}"})
	noView.check(t, "call without a view", a)
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}

	env.Authserver.Start(t)
	if h := env.Authserver.Ready(t); h.Code != http.StatusServiceUnavailable {
		t.Errorf("an authserver without a directory: status %d", h.Code)
	} else if said, _ := h.Check("directory"); !strings.Contains(said, "no control plane was reached") {
		t.Errorf("an authserver without a directory says %q", said)
	}
	env.ControlPlane.Start(t)
	env.ControlPlane.WaitReady(t)
	env.Authserver.WaitReady(t)
	upstream := recorder.Start(t)
	node.WaitReady(t)
	env.WaitEnforced(t)
	install(t, env, "rec", upstream.URL)
	gateway(t, env, "g", organization, "rec/echo")
	c.Token = env.Token(t, testenv.OfUser(testenv.AdminEmail), "g").Text
	env.WaitEnforced(t)
	check("loaded", http.StatusOK, "view", `^revision \d+, 1 gateways, 1 tools$`)
	check("loaded", http.StatusOK, "control_plane", "^connected to "+regexp.QuoteMeta("127.0.0.1:"))

	env.ControlPlane.Stop(t)
	if h := env.ControlPlane.Ready(t); h.Code != 0 {
		t.Errorf("the control plane that was stopped answers %d", h.Code)
	}
	check("without a control plane", http.StatusOK, "view", "^revision ")
	testenv.Until(t, "the authserver to notice", func() bool {
		said, ok := env.Authserver.Ready(t).Check("directory")
		return ok && strings.Contains(said, "last known good directory")
	})
	works(t, "call without a control plane", c.Call(t, "rec__echo", `{"message":"hello"}`), "hello")

	node.Stop(t)
	node.Start(t)
	node.WaitReady(t)
	check("restarted from disk", http.StatusOK, "view", `^revision \d+, 1 gateways, 1 tools$`)
	check("restarted from disk", http.StatusOK, "control_plane", "^not connected$")
	works(t, "call after a restart from disk", c.Call(t, "rec__echo", `{"message":"hello"}`), "hello")
	testenv.UntilWithin(t, 90*time.Second, "the node to become stale", func() bool { // D-62: 60 s
		said, _ := node.Ready(t).Check("control_plane")
		return strings.HasPrefix(said, "stale")
	})
	check("stale", http.StatusOK, "control_plane", `^stale: no news for 1m\d+s$`)
	works(t, "call while stale", c.Call(t, "rec__echo", `{"message":"hello"}`), "hello")

	env.ControlPlane.Start(t)
	env.WaitEnforced(t)
	testenv.Until(t, "the node to hear of the control plane", func() bool {
		said, ok := node.Ready(t).Check("control_plane")
		return ok && strings.HasPrefix(said, "connected to ")
	})
	if nodes, err := env.Admin.Nodes.GetNode(t.Context(), &adminv1.GetNodeRequest{Name: node.Name}); err != nil || !nodes.GetNode().GetConnected() {
		t.Errorf("the control plane says of the node %v (%v)", nodes, err)
	}
}

// checkReady asks a node whether it is ready, and what one check says; alive it is in any case.
func checkReady(t *testing.T, node *testenv.Node, step string, code int, name, text string) {
	t.Helper()
	h := node.Ready(t)
	said, _ := h.Check(name)
	if h.Code != code || !regexp.MustCompile(text).MatchString(said) {
		t.Errorf("%s: /readyz answers %d, %s is %q, want %d and %s", step, h.Code, name, said, code, text)
	}
	if status, body := node.Get(t, "/healthz"); status != http.StatusOK || !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("%s: /healthz answers %d %s", step, status, body)
	}
}
