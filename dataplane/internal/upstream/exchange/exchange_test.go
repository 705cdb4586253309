// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/rewrite"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver notes what it gets.
type receiver struct{ got []string }

func (r *receiver) Notification(_ context.Context, m Inbound) error {
	r.got = append(r.got, m.Method+" "+string(m.Params)+" in "+string(m.Raw))
	return nil
}

func (r *receiver) Question(_ context.Context, m Inbound) error {
	r.got = append(r.got, "question "+m.Method+" "+string(m.ID))
	return nil
}

func (r *receiver) Dropped(context.Context) { r.got = append(r.got, "dropped") }

// TestExchange: what is sent for each version, and what reaches the receiver,
// with one Exchange used again and again.
func TestExchange(t *testing.T) {
	const stream = "data: {\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"ping\"}\n\n" +
		"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":5}}\n\n" +
		"data: {\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{}}\n\n" +
		"data: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"ok\":1}}\n\n"
	var header http.Header
	var body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		header, body = r.Header, r.Method+" "+string(raw)
		if r.Header.Get("X-Tell") != "" || r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Mcp-Session-Id", "new")
		_, _ = io.WriteString(w, stream)
	}))
	defer s.Close()
	client, err := httpclient.New(httpclient.Config{Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	to, err := httpclient.ParseEndpoint(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	const progress = `notifications/progress {"progressToken":"t"} in {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t"}}`
	tests := []struct {
		version wire.Version
		headers map[string]string
		got     []string
	}{
		{"", map[string]string{"Mcp-Protocol-Version": "", "Mcp-Session-Id": ""}, []string{"question ping \"q\"", progress, "dropped"}},
		{wire.V20250326, map[string]string{"Mcp-Protocol-Version": "", "Mcp-Session-Id": "s-1"}, []string{"question ping \"q\"", progress, "dropped"}},
		{wire.V20250618, map[string]string{"Mcp-Protocol-Version": "2025-06-18", "Mcp-Method": ""}, []string{"question ping \"q\"", progress, "dropped"}},
		{wire.V20260728, map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "n"}, []string{"dropped", progress, "dropped"}},
	}
	var x Exchange
	for _, tt := range tests {
		t.Run(string(tt.version), func(t *testing.T) {
			r := &receiver{}
			x.Peer = Peer{HTTP: client, To: to, Pool: "p", Version: tt.version, Limit: 1 << 20, UserAgent: "a/1"}
			if tt.version.Era() == wire.Legacy {
				x.Session = "s-1"
			}
			x.ID, x.Token, x.Timeout, x.Receiver = 5, []byte(`"t"`), 5*time.Second, r
			if err := x.Prepare(rewrite.Input{Method: "tools/call", Params: []byte(`{"name":"n"}`), ClientInfo: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
			a, err := x.Request(t.Context(), "tools/call")
			if err != nil || string(a.Result) != `{"ok":1}` || a.Session != "new" || !x.Sent || !x.Relayed {
				t.Fatalf("%+v %v", a, err)
			}
			tt.headers["User-Agent"] = "a/1"
			for name, want := range tt.headers {
				if got := header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if d := cmp.Diff(tt.got, r.got); d != "" {
				t.Errorf("received (-want +got):\n%s", d)
			}
			x.Header = http.Header{"X-Tell": {"1"}}
			if status, err := x.Tell(t.Context(), []byte(`{"a":1}`)); err != nil || status != 202 || body != `POST {"a":1}` {
				t.Errorf("Tell: %d %v, sent %s", status, err, body)
			}
			if status, err := x.Delete(t.Context()); err != nil || status != 202 || body != "DELETE " {
				t.Errorf("Delete: %d %v, sent %s", status, err, body)
			}
			x.Reset()
		})
	}
	if d := client.Stats().Dials; d != 1 {
		t.Errorf("%d connections", d)
	}
}
