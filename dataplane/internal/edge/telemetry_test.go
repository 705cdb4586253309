// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// recorded is telemetry that a test can read.
func recorded(t *testing.T, level slog.Level) (*obs.Telemetry, *tracetest.SpanRecorder, *sdkmetric.ManualReader, *bytes.Buffer) {
	t.Helper()
	spans, reader, log := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader(), &bytes.Buffer{}
	return &obs.Telemetry{
		Log:    slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level})),
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	}, spans, reader, log
}

// ask sends one request straight to the handler.
func ask(w http.Handler, method, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1/v1/mcp/eng", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer ada")
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec
}

func attributes(kv []attribute.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range kv {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

// served returns the spans of requests, after a look at those of authn that belong to them.
func served(t *testing.T, spans *tracetest.SpanRecorder) []sdktrace.ReadOnlySpan {
	t.Helper()
	var out []sdktrace.ReadOnlySpan
	children := map[trace.SpanID]int{}
	for _, s := range spans.Ended() {
		if s.Name() != "authn" {
			out = append(out, s)
			continue
		}
		children[s.Parent().SpanID()]++
		if s.StartTime().IsZero() || s.EndTime().Before(s.StartTime()) {
			t.Errorf("authn lasted from %v to %v", s.StartTime(), s.EndTime())
		}
	}
	for _, s := range out {
		if children[s.SpanContext().SpanID()] != 1 {
			t.Errorf("span %s has %d spans of authn", s.Name(), children[s.SpanContext().SpanID()])
		}
	}
	return out
}

func TestSpan(t *testing.T) {
	tel, spans, _, _ := recorded(t, slog.LevelInfo)
	w := newWorld(t, options{telemetry: tel})
	session := "Mcp-Session-Id: " + ask(w, http.MethodPost,
		`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`).Header().Get("Mcp-Session-Id")
	ask(w, http.MethodPost, callBody(`"q"`, "echo"), session)
	ask(w, http.MethodPost, callBody("2", "fail"), session)
	ask(w, http.MethodPost, callBody("3", "raw-error"), session)
	ask(w, http.MethodPost, callBody("4", "bug"), session)
	ask(w, http.MethodPost, `{"jsonrpc":"2.0","id":5,"method":"tools/secret"}`, session)
	session = "Mcp-Session-Id: " + ask(w, http.MethodPost,
		`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}`).Header().Get("Mcp-Session-Id")
	ask(w, http.MethodPost, `[{"jsonrpc":"2.0","id":6,"method":"ping"}]`, session)
	ended := served(t, spans)
	want := []struct {
		name, kind string
		attributes map[string]string
	}{
		{"mcp initialize", "", map[string]string{"mcp.method.name": "initialize", "mcp.protocol.version": "2025-06-18", "jsonrpc.request.id": "0"}},
		{"mcp tools/call", "", map[string]string{
			"gen_ai.tool.name": "echo", "gen_ai.operation.name": "execute_tool", "jsonrpc.request.id": "q",
			"penstock.gateway": "eng", "network.transport": "tcp", "penstock.auth.method": "bearer_token",
		}},
		{"mcp tools/call", "tool_error", nil},
		{"mcp tools/call", "-32042", nil},
		{"mcp tools/call", "-32603", map[string]string{"rpc.response.status_code": "-32603", "penstock.fault.reason": "INTERNAL"}},
		{"mcp other", "-32601", map[string]string{"mcp.method.name": "tools/secret"}},
		{"mcp initialize", "", map[string]string{"mcp.protocol.version": "2025-03-26"}},
		{"mcp ping", "", map[string]string{"jsonrpc.request.id": "6"}},
	}
	if len(ended) != len(want) {
		t.Fatalf("%d spans, want %d", len(ended), len(want))
	}
	for i, tt := range want {
		got := attributes(ended[i].Attributes())
		if ended[i].Name() != tt.name || ended[i].SpanKind() != trace.SpanKindServer || got["error.type"] != tt.kind {
			t.Errorf("span %d is %s %v %v, want %s %s", i, ended[i].Name(), ended[i].SpanKind(), got, tt.name, tt.kind)
		}
		for key, value := range tt.attributes {
			if got[key] != value {
				t.Errorf("span %d: %s = %q, want %q", i, key, got[key], value)
			}
		}
		if got["penstock.principal_hash"] == "" || got["penstock.request_id"] == "" {
			t.Errorf("span %d has %v", i, got)
		}
		for _, value := range got {
			if strings.Contains(value, "ada@") {
				t.Errorf("span %d has an e-mail address", i)
			}
		}
	}
	if id := attributes(ended[1].Attributes())["mcp.session.id"]; id == "" || strings.Contains(session, id) {
		t.Errorf("the span's session is %q", id)
	}
}

// TestSpanOfRunTool is G-24: the span of a run_tool has the name of the tool that it runs, as that of a direct call does.
func TestSpanOfRunTool(t *testing.T) {
	tel, spans, _, _ := recorded(t, slog.LevelInfo)
	w := newWorld(t, options{telemetry: tel})
	b := view.From(w.holder.Load().View)
	g := engGateway(engTools()...)
	g.LoadToolsWhenNeeded = true
	b.PutGateway(g)
	w.holder.Publish(b.Build("e", 2))
	session := "Mcp-Session-Id: " + ask(w, http.MethodPost,
		`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`).Header().Get("Mcp-Session-Id")
	want := []string{""} // of initialize
	for _, tt := range []struct{ params, tool string }{
		{`{"name":"run_tool","arguments":{"tool_name":"echo","arguments":{}}}`, "echo"},
		{`{"name":"run_tool","arguments":{"tool_name":"nope"}}`, "run_tool"},
		{`{"name":"run_tool","arguments":{"tool_name":"echo","tool_name":"fail"}}`, "run_tool"},
		{`{"name":"run_tool"}`, "run_tool"},
		{`{"name":"search_tools","arguments":{"query":"x"}}`, "search_tools"},
		{`{"name":"echo"}`, "echo"},
	} {
		ask(w, http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+tt.params+`}`, session)
		want = append(want, tt.tool)
	}
	var got []string
	for _, s := range served(t, spans) {
		got = append(got, attributes(s.Attributes())["gen_ai.tool.name"])
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans of %q, want %q", got, want)
	}
}

// TestTraceParent is M-56.
func TestTraceParent(t *testing.T) {
	const (
		a = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		b = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
		c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	)
	for _, tt := range []struct {
		name, header, meta, parent, link string
	}{
		{"none", "", "", "", ""},
		{"header", a, "", a, ""},
		{"_meta", "", c, c, ""},
		{"both of one trace: the header is nearer", a, b, a, ""},
		{"both of different traces: _meta is the caller's view", a, c, c, a},
		{"malformed header", "00-xyz", c, c, ""},
		{"malformed _meta", a, "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", a, ""},
		{"both malformed", "x", "y", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tel, spans, _, _ := recorded(t, slog.LevelInfo)
			w := newWorld(t, options{telemetry: tel})
			body, headers := modernCall("echo")
			if tt.meta != "" {
				body = strings.Replace(body, `"_meta":{`, `"_meta":{"tracestate":"v=m","traceparent":"`+tt.meta+`",`, 1)
			}
			if tt.header != "" {
				headers = append(headers, "Traceparent: "+tt.header, "Tracestate: v=h")
			}
			if got := ask(w, http.MethodPost, body, headers...); got.Code != http.StatusOK {
				t.Fatalf("%d %s", got.Code, got.Body)
			}
			span := served(t, spans)[0]
			parent := ""
			if p := span.Parent(); p.IsValid() {
				parent = "00-" + p.TraceID().String() + "-" + p.SpanID().String() + "-01"
			}
			if parent != tt.parent {
				t.Errorf("parent %s, want %s", parent, tt.parent)
			}
			link := ""
			for _, l := range span.Links() {
				link = "00-" + l.SpanContext.TraceID().String() + "-" + l.SpanContext.SpanID().String() + "-01"
			}
			if link != tt.link {
				t.Errorf("link %q, want %q", link, tt.link)
			}
			state := ""
			switch tt.parent {
			case "":
			case tt.header:
				state = "v=h"
			case tt.meta:
				state = "v=m"
			}
			if got := w.calls.last(t); got.Traceparent != tt.parent || got.Tracestate != state {
				t.Errorf("dispatch is told %q %q, want %q %q", got.Traceparent, got.Tracestate, tt.parent, state)
			}
		})
	}
}

// TestMetrics: durations by bounded labels, HTTP requests by status.
func TestMetrics(t *testing.T) {
	tel, _, reader, _ := recorded(t, slog.LevelInfo)
	w := newWorld(t, options{telemetry: tel})
	body, headers := modernCall("echo")
	ask(w, http.MethodPost, body, headers...)
	ask(w, http.MethodPost, body, headers...)
	ask(w, http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"chosen/by/client","params":{`+metaModel+`}}`,
		"MCP-Protocol-Version: "+modern, "Mcp-Method: chosen/by/client")
	ask(w, http.MethodPost, body, "Authorization: Bearer nobody")
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				a := attributes(p.Attributes.ToSlice())
				counts[strings.Join([]string{m.Name, a["mcp.method.name"], a["mcp.protocol.version"], a["error.type"]}, " ")] += int64(p.Count)
			}
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				counts[m.Name+" "+attributes(p.Attributes.ToSlice())["http.response.status_code"]] += p.Value
			}
		case metricdata.Gauge[int64]:
			counts[m.Name] = data.DataPoints[0].Value
		}
	}
	for name, want := range map[string]int64{
		"mcp.server.operation.duration tools/call 2026-07-28 ":   2,
		"mcp.server.operation.duration _OTHER 2026-07-28 -32601": 1,
		"penstock_edge_requests_total 200":                       2,
		"penstock_edge_requests_total 404":                       1,
		"penstock_edge_requests_total 401":                       1,
		"penstock_edge_in_flight_requests":                       0,
		"penstock_edge_dropped_log_messages_total ":              0,
	} {
		if n, ok := counts[name]; !ok || n != want {
			t.Errorf("%s = %d (there: %v), want %d", name, n, ok, want)
		}
	}
	if t.Failed() {
		t.Logf("all: %v", counts)
	}
}

// TestLogs: a bug is logged once with its cause, requests at Debug only, and no token ever.
func TestLogs(t *testing.T) {
	body, headers := modernCall("bug")
	tel, _, _, log := recorded(t, slog.LevelInfo)
	w := newWorld(t, options{telemetry: tel})
	answer := ask(w, http.MethodPost, body, headers...).Body.String()
	ask(w, http.MethodGet, "", "Authorization: Bearer secret-token-value")
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "secret detail") || strings.Contains(answer, "secret detail") {
		t.Errorf("%d lines:\n%s\nanswer %s", lines, log, answer)
	}
	_, id, _ := strings.Cut(answer, `"request_id":"`)
	if id, _, _ = strings.Cut(id, `"`); id == "" || !strings.Contains(log.String(), id) {
		t.Errorf("the log does not have the request id %q of the answer", id)
	}
	tel, _, _, log = recorded(t, slog.LevelDebug)
	w = newWorld(t, options{telemetry: tel})
	ask(w, http.MethodGet, "", "Authorization: Bearer secret-token-value")
	if text := log.String(); !strings.Contains(text, `"status":401`) || strings.Contains(text, "secret-token-value") {
		t.Errorf("the access log is %s", text)
	}
}
