// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
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
	calls   []*call.Outbound
	watched []*call.Outbound
	log     bytes.Buffer
	by      map[string]call.Reply // replies by server and method, before reply
	mu      sync.Mutex
	changed []string
	attach  func(connection string, message []byte)
	client  call.Client                     // of the last Attach
	watch   map[string]func(message []byte) // by server
	watches chan string                     // gets the server of each watch that begins or, with "-", ends
	ended   []string
	during  func(o *call.Outbound, sink func([]byte) error) // runs before the reply; nil for nothing

	subjects []call.Presented // of each Resolve
}

func (w *world) Attach(_ string, c call.Client, _ wire.Version, deliver func(string, []byte)) (detach func()) {
	w.attach, w.client = deliver, c
	return func() { w.attach = nil }
}

func (w *world) Watch(ctx context.Context, o *call.Outbound, want call.Subscription, deliver func([]byte)) error {
	name := fmt.Sprint(o.Server.Name, want.URIs)
	w.mu.Lock()
	if w.watch == nil {
		w.watch = make(map[string]func([]byte))
	}
	w.watch[name] = deliver
	w.watched = append(w.watched, o)
	w.mu.Unlock()
	want.Established()
	w.watches <- name
	<-ctx.Done()
	w.watches <- "-" + name
	return nil
}

func (w *world) Notify(session, method string, params []byte, _ http.Header) {
	w.ended = append(w.ended, session+" "+method+" "+string(params))
}

func (w *world) EndSession(session string) { w.ended = append(w.ended, session) }

func (w *world) changes(server, connection string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, server+"/"+connection)
}

func (w *world) Call(_ context.Context, o *call.Outbound, sink func([]byte) error) (call.Reply, error) {
	w.mu.Lock()
	w.calls = append(w.calls, o)
	w.mu.Unlock()
	if reply, ok := w.by[o.Server.Name+" "+o.Method]; ok {
		return reply, nil
	}
	if w.during != nil {
		w.during(o, sink)
		return w.reply, w.err
	}
	if err := sink([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`)); err != nil {
		return call.Reply{}, err
	}
	return w.reply, w.err
}

func (w *world) Resolve(_ context.Context, o *call.Outbound) (call.Credential, error) {
	w.mu.Lock()
	w.subjects = append(w.subjects, o.Subject)
	w.mu.Unlock()
	return call.Credential{Key: o.Connection.UID + "/" + o.Principal.UID}, w.missing
}

func (w *world) Holds(*call.Outbound) bool { return w.missing == nil }

func (*world) SealCursor(gateway, last string) string { return gateway + "!" + last }

func (*world) OpenCursor(gateway, cursor string) (string, bool) {
	return strings.CutPrefix(cursor, gateway+"!")
}

func (*world) SealInvite(gateway string, plain []byte) string {
	return "pst1." + gateway + "!" + hex.EncodeToString(plain)
}

func (*world) OpenInvite(gateway, token string) ([]byte, bool) {
	text, ok := strings.CutPrefix(token, "pst1."+gateway+"!")
	plain, err := hex.DecodeString(text)
	return plain, ok && err == nil
}

func (*world) SealApproval(gateway string, plain []byte) string {
	return "pst1.approval!" + gateway + "!" + hex.EncodeToString(plain)
}

func (*world) OpenApproval(gateway, token string) ([]byte, bool) {
	text, ok := strings.CutPrefix(token, "pst1.approval!"+gateway+"!")
	plain, err := hex.DecodeString(text)
	return plain, ok && err == nil
}

func (*world) SealTask(gateway string, plain []byte) string {
	return gateway + "!" + hex.EncodeToString(plain)
}

func (*world) OpenTask(gateway, id string) ([]byte, bool) {
	text, ok := strings.CutPrefix(id, gateway+"!")
	plain, err := hex.DecodeString(text)
	return plain, ok && err == nil
}

func newDispatcher(t testing.TB, w *world) *Dispatcher {
	t.Helper()
	w.watches = make(chan string, 16)
	d, err := New(Config{
		Upstream: w, Credentials: w, Sealer: w, Changed: w.changes, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Tracer: tracenoop.NewTracerProvider().Tracer(""), Meter: metricnoop.NewMeterProvider().Meter(""),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
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
	return call.Call{Method: "tools/call", Name: name, Params: m.Params.Of(raw), Message: m, Body: raw}
}

// M-9, M-63: only the name changes on the way up.
func TestCallGoesUpUnchanged(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
	var relayed []string
	reply, err := newDispatcher(t, w).Call(t.Context(), caller(snapshot(echo()), wire.V20251125), toolCall(t, "ev__echo"),
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
		world *world // nil for one that answers
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
			world: &world{missing: fault.New(fault.Precondition, "CREDENTIAL_MISSING", "no credential")}, want: "no credential",
		},
		{
			name: "upstream down (G-52)", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: &world{err: fault.New(fault.Unavailable, "UPSTREAM_UNREACHABLE", "server ev is down")}, want: "server ev is down",
		},
		{
			name: "upstream slow", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: &world{err: fault.New(fault.Timeout, "UPSTREAM_TIMEOUT", "server ev is slow")}, want: "server ev is slow",
		},
		{
			name: "client gone", tools: []*view.Tool{echo()}, ask: "ev__echo",
			world: &world{err: context.Canceled}, fault: fault.From(context.Canceled).Reason,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.world == nil {
				tt.world = &world{}
			}
			reply, err := newDispatcher(t, tt.world).Call(t.Context(), caller(snapshot(tt.tools...), wire.V20251125),
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

// G-15, M-73: a definition leaves as it came, but for its name, an overridden description and what the version lacks.
func TestListTools(t *testing.T) {
	described := &view.Tool{Exposed: "a", Name: "ev/a", Body: plain(`{"name":"x"}`), Description: `say "hi"`}
	broken := &view.Tool{Exposed: "b", Name: "ev/b", Body: plain(`{"name":`)}
	s := snapshot(echo(), described, broken)
	page, err := newDispatcher(t, &world{}).List(t.Context(), caller(s, wire.V20251125), "tools/list", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"tools":[{"description":"say \"hi\"","name":"a"},` +
		`{"name":"ev__echo","description":"d","inputSchema":{"type":"object","x-odd":9007199254740993}}]}`
	if diff := cmp.Diff(want, string(page.Result)); diff != "" {
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
			seen, cursor := 0, (*string)(nil)
			for deadline := time.Now().Add(10 * time.Second); ; {
				listed, err := d.List(t.Context(), caller(s, wire.V20260728), "tools/list", cursor)
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("page: %v", err)
				}
				raw := listed.Result
				var page struct {
					Tools      []struct{ Name string }
					NextCursor *string
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
				if cursor = page.NextCursor; cursor == nil {
					break
				}
			}
			if seen != n {
				t.Errorf("%d tools listed, want %d", seen, n)
			}
		})
	}
}

// M-70: a cursor of another gateway, of another list or of nobody is refused.
func TestBadCursor(t *testing.T) {
	for _, cursor := range []string{"uid-other!tx", "uid-eng!px", "uid-eng!", "nonsense", ""} {
		for _, method := range []string{"tools/list", "resources/list"} {
			_, err := newDispatcher(t, &world{}).List(t.Context(), caller(snapshot(echo()), wire.V20251125), method, &cursor)
			if f := fault.From(err); f.Kind != fault.Invalid || f.Reason != ReasonBadCursor {
				t.Errorf("%s after %q: got %v", method, cursor, err)
			}
		}
	}
}
