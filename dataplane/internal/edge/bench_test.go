// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// quick authenticates and dispatches without allocating, so that what is measured is the edge's own.
type quick struct {
	reply  call.Reply
	scopes []string
}

func (q *quick) Authenticate(*view.Snapshot, *view.Gateway, *http.Request) (ident.Principal, error) {
	return ident.Principal{Kind: ident.KindUser, UID: "u-ada", Name: "ada@example.com", Scopes: q.scopes}, nil
}

func (q *quick) List(context.Context, call.Caller, string, *string) (call.Page, error) {
	return call.Page{Result: q.reply.Result}, nil
}

func (q *quick) Call(context.Context, call.Caller, call.Call, func([]byte) error) (call.Reply, error) {
	return q.reply, nil
}

func (q *quick) Attach(call.Caller, func([]byte)) func() { return func() {} }

func (q *quick) Subscribe(_ call.Caller, want call.Subscription) (call.Subscription, error) {
	return want, nil
}

func (q *quick) Watch(ctx context.Context, _ call.Caller, _ call.Subscription, _ func([]byte)) {
	<-ctx.Done()
}

func (q *quick) Notify(call.Caller, string, []byte) {}

func (q *quick) EndSession(string) {}

// sink is a response writer that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(code int)        { s.status = code }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) FlushError() error           { return nil }

func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// benched is a handler with metrics on and tracing off, as most nodes run, and a call in the form of each era.
func benched(t testing.TB, result string) (h http.Handler, requests map[string]*http.Request) {
	w := newWorld(t, options{})
	q := &quick{call.Reply{Result: []byte(result)}, []string{"mcp"}}
	h, err := edge.New(edge.Config{
		View: w.holder, Authenticator: q, Dispatcher: q, Sessions: w.sessions, Health: w.health,
		Telemetry: &obs.Telemetry{
			Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.NewTracerProvider(),
			Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		},
		Settings: edge.Settings{PublicURLs: []string{"http://127.0.0.1"}, Build: "1.2.3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	request := func(body string, headers ...string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/mcp/eng", nil)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		r.ContentLength = int64(len(body))
		r.Body = &again{text: body}
		return r
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, request(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`))
	id := rec.Header().Get("Mcp-Session-Id")
	if id == "" {
		t.Fatalf("initialize: %d %s", rec.Code, rec.Body)
	}
	body, headers := modernCall("echo")
	argument := `,"arguments":{"text":"` + strings.Repeat("x", 64) + `"}`
	return h, map[string]*http.Request{
		"legacy": request(strings.Replace(callBody("1", "echo"), `"echo"`, `"echo"`+argument, 1), "Mcp-Session-Id: "+id, "Mcp-Protocol-Version: "+newest),
		"modern": request(strings.Replace(body, `"echo"`, `"echo"`+argument, 1), headers...),
	}
}

// again is a body that can be read any number of times.
type again struct {
	text string
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.text[a.at:])
	if a.at += n; a.at == len(a.text) {
		a.at = 0
		return n, io.EOF
	}
	return n, nil
}

func (a *again) Close() error { return nil }

const echoResult = `{"content":[{"type":"text","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}`

// TestAllocations holds the edge's share of a tools/call (P-13): all of the node may take 45, net/http and the upstream
// client take most of them.
func TestAllocations(t *testing.T) {
	h, requests := benched(t, echoResult)
	for era, want := range map[string]float64{"legacy": 8, "modern": 3} {
		r := requests[era]
		w := &sink{header: http.Header{}}
		got := testing.AllocsPerRun(200, func() {
			clear(w.header)
			h.ServeHTTP(w, r)
		})
		if w.status != http.StatusOK {
			t.Errorf("%s: status %d", era, w.status)
		}
		if got != want && !raceBuild { // under the race detector pools drop what they hold
			t.Errorf("%s: %v allocations per call, want %v", era, got, want)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	for name, result := range map[string]string{"64B": echoResult, "64KiB": `{"content":[{"type":"text","text":"` + strings.Repeat("x", 64<<10) + `"}]}`} {
		h, requests := benched(b, result)
		for era, r := range requests {
			b.Run(era+"/"+name, func(b *testing.B) {
				w := &sink{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					h.ServeHTTP(w, r)
				}
			})
		}
	}
}

// BenchmarkList is tools/list of 1,000 tools, which must cost little more than writing it.
func BenchmarkList(b *testing.B) {
	entry := `{"name":"tool","description":"` + strings.Repeat("x", 200) + `","inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}}`
	h, _ := benched(b, `{"tools":[`+strings.Repeat(entry+",", 999)+entry+`]}`)
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + metaModel + `}}`
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/mcp/eng", bytes.NewReader(nil))
	r.Header = http.Header{"Content-Type": {"application/json"}, "Mcp-Protocol-Version": {modern}, "Mcp-Method": {"tools/list"}}
	r.ContentLength, r.Body = int64(len(body)), &again{text: body}
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Errorf("status %d", w.status)
	}
}
