// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPool(t testing.TB, change func(*Config)) *Pool {
	t.Helper()
	cfg := Config{Dial: (&net.Dialer{}).DialContext, ClientName: "node", ClientVersion: "1.0"}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

func target(url string, v wire.Version) Target {
	return Target{
		Server: "fixture", Connection: "fixture-shared", URL: url, Version: v, Key: "conn-1", PrincipalKey: "user:ada",
		CallTimeout: 5 * time.Second, Header: http.Header{"Authorization": {"Bearer upstream-secret"}},
	}
}

// fixture is a real MCP server made with mcp-go, and what it saw over HTTP.
type fixture struct {
	url       string
	opened    atomic.Int32 // initialize requests
	deleted   atomic.Int32
	cancelled chan struct{} // closed when the slow tool sees its cancellation
	started   chan struct{} // gets a value when the slow tool runs
	relayed   chan struct{} // the steps tool waits for a value after each step

	mu      sync.Mutex
	headers []http.Header
}

func (f *fixture) last() http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.headers[len(f.headers)-1]
}

const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","x-keep":9007199254740993,"properties":{"text":{"type":"string"}}}`

func newFixture(t testing.TB, opts ...server.StreamableHTTPOption) *fixture {
	t.Helper()
	f := &fixture{cancelled: make(chan struct{}), started: make(chan struct{}, 1), relayed: make(chan struct{})}
	s := server.NewMCPServer("real", "9.9", server.WithToolCapabilities(true), server.WithInstructions("be kind"), server.WithPaginationLimit(2))
	s.AddTool(mcp.NewToolWithRawSchema("echo", "says it again", json.RawMessage(schema)),
		func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText(r.GetString("text", "")), nil
		})
	s.AddTool(mcp.NewTool("steps"), func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 5 {
			params := map[string]any{"progressToken": r.Params.Meta.ProgressToken, "progress": i, "total": 5}
			if err := s.SendNotificationToClient(ctx, "notifications/progress", params); err != nil {
				return nil, err
			}
			select {
			case <-f.relayed:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return mcp.NewToolResultText("done"), nil
	})
	s.AddTool(mcp.NewTool("slow"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		f.started <- struct{}{}
		<-ctx.Done()
		close(f.cancelled)
		return nil, ctx.Err()
	})
	s.AddTool(mcp.NewTool("meta"), func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		text, err := json.Marshal(r.Params.Meta)
		return mcp.NewToolResultText(string(text)), err
	})
	h := server.NewStreamableHTTPServer(s, append([]server.StreamableHTTPOption{server.WithStateful(true)}, opts...)...)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.headers = append(f.headers, r.Header.Clone())
		f.mu.Unlock()
		if r.Method == http.MethodDelete {
			f.deleted.Add(1)
		}
		if r.Method == http.MethodPost && r.Header.Get("Mcp-Session-Id") == "" && r.Header.Get("Mcp-Method") == "" {
			f.opened.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	f.url = web.URL + "/mcp"
	return f
}

func callParams(tool, text string) []byte {
	return wire.AppendString([]byte(`{"name":"`+tool+`","arguments":{"text":`), text)
}

func closed(params []byte) []byte { return append(params, "}}"...) }

func text(t testing.TB, r Result) string {
	t.Helper()
	var v struct{ Content []struct{ Text string } }
	if err := json.Unmarshal(r.Raw, &v); err != nil || len(v.Content) != 1 {
		t.Fatalf("result %s, error %s: %v", r.Raw, r.Error, err)
	}
	return v.Content[0].Text
}

func legacyOnly() server.StreamableHTTPOption {
	return server.WithStreamableHTTPProtocolVersions("2025-11-25", "2025-06-18", "2025-03-26")
}

// TestRealServer drives a real server in both eras, with the version pinned and
// with it unknown.
func TestRealServer(t *testing.T) {
	tests := []struct {
		name   string
		pinned wire.Version
		opts   []server.StreamableHTTPOption
		want   wire.Version
	}{
		{"modern pinned", wire.V20260728, nil, wire.V20260728},
		{"modern found", "", nil, wire.V20260728},
		{"legacy pinned", wire.V20251125, nil, wire.V20251125},
		{"older legacy pinned", wire.V20250326, nil, wire.V20250326},
		{"legacy found", "", []server.StreamableHTTPOption{legacyOnly()}, wire.V20251125},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, tt.opts...)
			p := newPool(t, nil)
			to := target(f.url, tt.pinned)

			info, err := p.Describe(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			if info.Version != tt.want || info.Instructions != "be kind" || !strings.Contains(string(info.ServerInfo.ServerInfo), `"real"`) {
				t.Errorf("info %+v, server %s", info, info.ServerInfo.ServerInfo)
			}
			if len(info.Tools) != 4 || !strings.Contains(string(info.Tools[0]), `"name":"echo"`) {
				t.Errorf("%d tools, first %s", len(info.Tools), info.Tools[0])
			}
			for _, want := range []string{`"$schema"`, `9007199254740993`} {
				if !strings.Contains(string(info.Tools[0]), want) {
					t.Errorf("M-73: %s is lost in %s", want, info.Tools[0])
				}
			}

			for _, said := range []string{"hello", "ü€😀 \"quoted\"\n"} {
				r, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("echo", said))}, nil)
				if err != nil || text(t, r) != said {
					t.Errorf("%s %s %v", r.Raw, r.Error, err)
				}
			}
			if got := f.last().Get("Authorization"); got != "Bearer upstream-secret" {
				t.Errorf("credential %q", got)
			}
			r, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("nothing", ""))}, nil)
			if err != nil || r.Raw != nil || era.Code(r.Error) != wire.CodeInvalidParams {
				t.Errorf("unknown tool: %s %s %v", r.Raw, r.Error, err)
			}
		})
	}
}

// TestProgressInOrder: each step is relayed before the upstream makes the next
// (M-12, M-50).
func TestProgressInOrder(t *testing.T) {
	for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
		t.Run(string(v), func(t *testing.T) {
			p := newPool(t, nil)
			f := newFixture(t)
			to := target(f.url, v)
			var got []string
			sink := func(e Event) error {
				got = append(got, e.Method+" "+string(e.Raw))
				f.relayed <- struct{}{}
				return nil
			}
			r, err := p.Call(t.Context(), to, Request{
				Method: "tools/call", ProgressToken: []byte(`"tok\"en"`),
				Params: []byte(`{"_meta":{"progressToken":"tok\"en"},"name":"steps"}`),
			}, sink)
			if err != nil || text(t, r) != "done" {
				t.Fatal(err)
			}
			if len(got) != 5 {
				t.Fatalf("%d notifications", len(got))
			}
			for i, m := range got {
				if !strings.HasPrefix(m, "notifications/progress ") || !strings.Contains(m, `"progressToken":"tok\"en"`) ||
					!strings.Contains(m, fmt.Sprintf(`"progress":%d`, i)) {
					t.Errorf("message %d is %s", i, m)
				}
			}
		})
	}
}

// TestCancelReachesUpstream: M-51.
func TestCancelReachesUpstream(t *testing.T) {
	for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
		t.Run(string(v), func(t *testing.T) {
			f := newFixture(t)
			p := newPool(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-f.started
				cancel()
			}()
			_, err := p.Call(ctx, target(f.url, v), Request{Method: "tools/call", Params: []byte(`{"name":"slow"}`)}, nil)
			if fault.KindOf(err) != fault.Canceled {
				t.Errorf("%v", err)
			}
			select {
			case <-f.cancelled:
			case <-time.After(5 * time.Second):
				t.Error("the tool was not cancelled")
			}
		})
	}
}

// TestMetaMadeAnew: M-61, M-63 and the headers of both eras.
func TestMetaMadeAnew(t *testing.T) {
	const params = `{"name":"meta","_meta":{"io.penstock/context":"h","io.modelcontextprotocol/clientInfo":{"name":"client"},` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{}},` +
		`"io.modelcontextprotocol/logLevel":"debug","example.com/keep":1,"progressToken":"x"}}`
	request := Request{
		Method: "tools/call", Params: []byte(params), ClientVersion: wire.V20260728, Traceparent: "00-" + strings.Repeat("a", 32) + "-00f067aa0ba902b7-01",
		Passthrough: http.Header{
			"X-Correlation-Id": {"c-1"}, "Authorization": {"Bearer client"}, "Cookie": {"c"}, "Mcp-Session-Id": {"forged"},
			"X-Forwarded-For": {"1.2.3.4"}, "Connection": {"close"}, "X-Fixed": {"client's"},
		},
	}
	for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
		t.Run(string(v), func(t *testing.T) {
			f := newFixture(t)
			p := newPool(t, nil)
			to := target(f.url, v)
			to.Header = http.Header{"Authorization": {"Bearer upstream-secret"}, "X-Fixed": {"server's"}}
			r, err := p.Call(t.Context(), to, request, nil)
			if err != nil {
				t.Fatal(err)
			}
			meta := text(t, r)
			want := []string{`"example.com/keep":1`}
			forbid := []string{"io.penstock", `"sampling"`, `"client"`, "progressToken"}
			if v.Era() == wire.Modern {
				want = append(want, `"node"`, `"debug"`, `"2026-07-28"`, request.Traceparent)
			} else {
				forbid = append(forbid, "io.modelcontextprotocol/")
			}
			for _, w := range want {
				if !strings.Contains(meta, w) {
					t.Errorf("%s lacks %s", meta, w)
				}
			}
			for _, w := range forbid {
				if strings.Contains(meta, w) {
					t.Errorf("%s has %s", meta, w)
				}
			}
			h := f.last()
			for name, want := range map[string]string{
				"Authorization": "Bearer upstream-secret", "X-Correlation-Id": "c-1", "X-Fixed": "server's", "Cookie": "", "X-Forwarded-For": "",
				"Traceparent": request.Traceparent, "User-Agent": "node/1.0", "Mcp-Protocol-Version": string(v),
			} {
				if got := strings.Join(h.Values(name), "|"); got != want {
					t.Errorf("header %s = %q, want %q", name, got, want)
				}
			}
			if v.Era() == wire.Modern && (h.Get("Mcp-Method") != "tools/call" || h.Get("Mcp-Name") != "meta" || h.Get("Mcp-Session-Id") != "") {
				t.Errorf("modern headers: %v", h)
			}
			if v.Era() == wire.Legacy && (h.Get("Mcp-Method") != "" || h.Get("Mcp-Session-Id") == "forged") {
				t.Errorf("legacy headers: %v", h)
			}
		})
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		<-time.After(time.Millisecond)
	}
}
