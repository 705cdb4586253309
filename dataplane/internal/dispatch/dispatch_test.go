// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// world is an upstream, a credential store and a sealer that remember what they were asked.
type world struct {
	reply   call.Reply
	err     error
	missing error // of Resolve
	calls   []UpstreamCall
	log     bytes.Buffer
}

func (w *world) CallTool(_ context.Context, u UpstreamCall, sink func([]byte) error) (call.Reply, error) {
	w.calls = append(w.calls, u)
	if err := sink([]byte("progress")); err != nil {
		return call.Reply{}, err
	}
	return w.reply, w.err
}

func (w *world) Resolve(_ context.Context, c *view.Connection, p ident.Principal) (Credential, error) {
	return Credential{Key: c.UID + "/" + p.UID}, w.missing
}

func (*world) SealCursor(gateway, last string) string { return gateway + "!" + last }

func (*world) OpenCursor(gateway, cursor string) (string, bool) {
	return strings.CutPrefix(cursor, gateway+"!")
}

func newDispatcher(t *testing.T, w *world) *Dispatcher {
	t.Helper()
	d, err := New(Config{
		Upstream: w, Credentials: w, Sealer: w, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Tracer: tracenoop.NewTracerProvider().Tracer(""), Meter: metricnoop.NewMeterProvider().Meter(""),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const body = `{"name":"echo","description":"d","inputSchema":{"type":"object","x-odd":9007199254740993},"execution":{}}`

// plain is a definition kept as it is.
type plain string

func (p plain) Bytes() []byte { return []byte(p) }

func (p plain) Len() int { return len(p) }

func snapshot(tools ...*view.Tool) *view.Snapshot {
	b := view.From(nil)
	b.PutServer("ev", &view.Server{Name: "ev", NeedsSecret: true})
	b.PutConnection("shared", &view.Connection{Name: "shared", UID: "uid-shared", Server: "ev", CredentialVersion: "1"})
	b.PutConnection("bare", &view.Connection{Name: "bare", UID: "uid-bare", Server: "ev"})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "uid-eng"}, Tools: tools})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	return h.Load()
}

func echo() *view.Tool {
	return &view.Tool{
		Exposed: "ev__echo", Upstream: "echo", Name: "ev/echo", Server: "ev", Connection: "shared", Body: plain(body),
	}
}

func caller(s *view.Snapshot, v wire.Version) call.Caller {
	return call.Caller{
		Principal: ident.Principal{Kind: ident.KindUser, UID: "ada"}, Snapshot: s, Gateway: s.Gateway("eng"), Version: v,
	}
}

func toolCall(t *testing.T, name string) call.Call {
	t.Helper()
	raw := []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"n":9007199254740993}, "name":%q}}`, name))
	m := new(wire.Message)
	if err := wire.Scan(raw, m); err != nil {
		t.Fatal(err)
	}
	return call.Call{Name: name, Params: m.Params.Of(raw), Message: m, Body: raw}
}

// M-9, M-63: only the name changes on the way up.
func TestCallGoesUpUnchanged(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
	var relayed []string
	reply, err := newDispatcher(t, w).CallTool(t.Context(), caller(snapshot(echo()), wire.V20251125), toolCall(t, "ev__echo"),
		func(m []byte) error { relayed = append(relayed, string(m)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(w.calls[0].Params), `{"arguments":{"n":9007199254740993}, "name":"echo"}`; got != want {
		t.Errorf("params %s, want %s", got, want)
	}
	if got, want := w.calls[0].Credential.Key, "uid-shared/ada"; got != want {
		t.Errorf("credential %s, want %s", got, want)
	}
	if string(reply.Result) != `{"content":[]}` || len(relayed) != 1 {
		t.Errorf("reply %s, relayed %v", reply.Result, relayed)
	}
}

func TestRefusals(t *testing.T) {
	held := echo()
	held.Held = true
	orphan := echo()
	orphan.Connection = "deleted"
	bare := echo()
	bare.Connection = "bare"
	tests := []struct {
		name  string
		tools []*view.Tool
		ask   string
		world world
		fault string // reason, or
		want  string // part of the isError text
	}{
		{name: "unknown tool (RS-21)", tools: []*view.Tool{echo()}, ask: "ev__nope", fault: ReasonUnknownTool},
		{name: "upstream name is no exposed name", tools: []*view.Tool{echo()}, ask: "echo", fault: ReasonUnknownTool},
		{name: "held tool (G-16)", tools: []*view.Tool{held}, ask: "ev__echo", want: "waits for an administrator"},
		{name: "deleted connection is named (G-11)", tools: []*view.Tool{orphan}, ask: "ev__echo", want: `\"deleted\"`},
		{name: "connection without its secret is named (G-13)", tools: []*view.Tool{bare}, ask: "ev__echo", want: `\"bare\" that this tool runs with has no credential`},
		{
			name: "credential missing", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: world{missing: fault.New(fault.Precondition, "CREDENTIAL_MISSING", "no credential")}, want: "no credential",
		},
		{
			name: "upstream down (G-52)", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: world{err: fault.New(fault.Unavailable, "UPSTREAM_UNREACHABLE", "server ev is down")}, want: "server ev is down",
		},
		{
			name: "upstream slow", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: world{err: fault.New(fault.Timeout, "UPSTREAM_TIMEOUT", "server ev is slow")}, want: "server ev is slow",
		},
		{
			name: "client gone", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: world{err: context.Canceled}, fault: fault.From(context.Canceled).Reason,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := newDispatcher(t, &tt.world).CallTool(t.Context(), caller(snapshot(tt.tools...), wire.V20251125),
				toolCall(t, tt.ask), func([]byte) error { return nil })
			if tt.world.log.Len() > 0 {
				t.Errorf("logged %s: a fault is logged once, by edge, and a client that is gone is none", tt.world.log.String())
			}
			if tt.fault != "" {
				if got := fault.From(err).Reason; err == nil || got != tt.fault {
					t.Errorf("fault %v, want %s", err, tt.fault)
				}
				return
			}
			var result struct {
				IsError           bool `json:"isError"`
				StructuredContent struct {
					Error struct{ Type, Server string } `json:"penstock_error"`
				} `json:"structuredContent"`
			}
			if err != nil || json.Unmarshal(reply.Result, &result) != nil {
				t.Fatalf("reply %s, error %v", reply.Result, err)
			}
			if !result.IsError || !strings.Contains(string(reply.Result), tt.want) {
				t.Errorf("reply %s, want isError with %s", reply.Result, tt.want)
			}
			if e := result.StructuredContent.Error; e.Type == "" || e.Server != "ev" {
				t.Errorf("penstock_error %+v", e)
			}
		})
	}
}

// M-47: codes that would blame the client's own request do not pass.
func TestUpstreamErrors(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"ordinary", `{"code":-32602,"message":"bad","data":{"big":9007199254740993}}`, `{"code":-32602,"message":"bad","data":{"big":9007199254740993}}`},
		{"own code of the server", `{"code":7,"message":"x"}`, `{"code":7,"message":"x"}`},
		{"resource not found", `{"code":-32002,"message":"x"}`, `{"code":-32002,"message":"x"}`},
		{"header mismatch", `{"code":-32020,"message":"hdr"}`, `{"code":-32603,"message":"hdr","data":{"upstream_code":-32020}}`},
		{"end of the range", `{"code":-32099,"message":"x"}`, `{"code":-32603,"message":"x","data":{"upstream_code":-32099}}`},
		{"below the range", `{"code":-32100,"message":"x"}`, `{"code":-32100,"message":"x"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(convertError([]byte(tt.raw)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// G-15, M-73: a definition leaves as it came, but for its name, an overridden description and what the version lacks.
func TestListTools(t *testing.T) {
	described := &view.Tool{Exposed: "a", Name: "ev/a", Body: plain(`{"name":"x"}`), Description: `say "hi"`}
	broken := &view.Tool{Exposed: "b", Name: "ev/b", Body: plain(`{"name":`)}
	s := snapshot(echo(), described, broken)
	got, err := newDispatcher(t, &world{}).ListTools(t.Context(), caller(s, wire.V20251125), "")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"tools":[{"description":"say \"hi\"","name":"a"},` +
		`{"name":"ev__echo","description":"d","inputSchema":{"type":"object","x-odd":9007199254740993}}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPages(t *testing.T) {
	for _, n := range []int{0, 1, pageSize - 1, pageSize, pageSize + 1, 2 * pageSize, 2*pageSize + 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var tools []*view.Tool
			for i := range n {
				tools = append(tools, &view.Tool{Exposed: fmt.Sprintf("t%05d", i), Body: plain(`{"name":"x"}`)})
			}
			d, s := newDispatcher(t, &world{}), snapshot(tools...)
			seen, cursor := 0, ""
			for deadline := time.Now().Add(10 * time.Second); ; {
				raw, err := d.ListTools(t.Context(), caller(s, wire.V20260728), cursor)
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("page after %q: %v", cursor, err)
				}
				var page struct {
					Tools      []struct{ Name string }
					NextCursor string
				}
				if err := json.Unmarshal(raw, &page); err != nil {
					t.Fatalf("%v in %s", err, raw)
				}
				for _, tool := range page.Tools {
					if want := fmt.Sprintf("t%05d", seen); tool.Name != want {
						t.Fatalf("got %s, want %s", tool.Name, want)
					}
					seen++
				}
				if cursor = page.NextCursor; cursor == "" {
					break
				}
			}
			if seen != n {
				t.Errorf("%d tools listed, want %d", seen, n)
			}
		})
	}
}

// M-70: a cursor of another gateway or of nobody is refused.
func TestBadCursor(t *testing.T) {
	_, err := newDispatcher(t, &world{}).ListTools(t.Context(), caller(snapshot(echo()), wire.V20251125), "uid-other!x")
	if f := fault.From(err); f.Kind != fault.Invalid || f.Reason != ReasonBadCursor {
		t.Errorf("got %v", err)
	}
}
