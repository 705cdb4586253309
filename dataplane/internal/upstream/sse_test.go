// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// sseServer is an HTTP+SSE server as seen on the wire.
type sseServer struct {
	url      string
	endpoint string // of the endpoint event; default is right
	answer   func(c *sseConn, m message)

	mu    sync.Mutex
	got   []message
	conns []*sseConn
	heads map[string][]http.Header // by "GET" or JSON-RPC method
}

// head notes the headers of a request.
func (s *sseServer) head(what string, h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads == nil {
		s.heads = make(map[string][]http.Header)
	}
	s.heads[what] = append(s.heads[what], h.Clone())
}

type sseConn struct {
	out    chan string // whole events
	closed chan struct{}
	once   sync.Once
}

func (c *sseConn) say(text string) {
	select {
	case c.out <- "event: message\ndata: " + text + "\n\n":
	case <-c.closed:
	}
}

func (c *sseConn) cut() { c.once.Do(func() { close(c.closed) }) }

func newSSEServer(t testing.TB, answer func(c *sseConn, m message)) *sseServer {
	t.Helper()
	s := &sseServer{answer: answer}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer upstream-secret" {
			t.Errorf("%s without the credential", r.Method)
		}
		switch {
		case r.URL.Path == "/sse" && r.Method == http.MethodGet:
			s.stream(w, r)
		case r.URL.Path == "/post" && r.Method == http.MethodPost:
			s.post(t, w, r)
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	}))
	t.Cleanup(web.Close)
	s.url = web.URL + "/sse"
	return s
}

func (s *sseServer) stream(w http.ResponseWriter, r *http.Request) {
	c := &sseConn{out: make(chan string), closed: make(chan struct{})}
	s.head(r.Method, r.Header)
	s.mu.Lock()
	s.conns = append(s.conns, c)
	n, endpoint := len(s.conns)-1, s.endpoint
	s.mu.Unlock()
	defer c.cut()
	if endpoint == "" {
		endpoint = fmt.Sprintf("/post?n=%d", n)
	}
	w.Header().Set("Content-Type", sseType)
	_, _ = io.WriteString(w, "event: endpoint\ndata: "+endpoint+"\n\n")
	w.(http.Flusher).Flush()
	for {
		select {
		case text := <-c.out:
			_, _ = io.WriteString(w, text)
			w.(http.Flusher).Flush()
		case <-c.closed:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *sseServer) post(t testing.TB, w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		t.Error(err)
	}
	s.head(m.Method, r.Header)
	var n int
	_, _ = fmt.Sscanf(r.URL.Query().Get("n"), "%d", &n)
	s.mu.Lock()
	s.got = append(s.got, m)
	c := s.conns[n]
	s.mu.Unlock()
	select {
	case <-c.closed:
		w.WriteHeader(http.StatusNotFound)
		return
	default:
	}
	w.WriteHeader(http.StatusAccepted)
	w.(http.Flusher).Flush()
	switch {
	case m.Method == "initialize":
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{},"resources":{"subscribe":true}},"serverInfo":{"name":"old","version":"0"}}}`, m.ID))
	case m.Method == "tools/list":
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"a"}]}}`, m.ID))
	case m.Method == "resources/subscribe" || m.Method == "resources/list":
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"resources":[]}}`, m.ID))
	case m.Method == "resources/templates/list":
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, m.ID))
	case s.answer != nil:
		s.answer(c, m)
	}
}

func (s *sseServer) all(method string) (out []message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		if m.Method == method {
			out = append(out, m)
		}
	}
	return out
}

func (s *sseServer) conn(n int) *sseConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= len(s.conns) {
		return nil
	}
	return s.conns[n]
}

func sseTarget(url string, v wire.Version) Target {
	to := target(url, v)
	to.SSE = true
	return to
}

// TestSSE: calls at the same time share a stream, whose messages belong to the
// right one (M-45); the transport is found when it is not known (M-2 step 3).
func TestSSE(t *testing.T) {
	s := newSSEServer(t, func(c *sseConn, m message) {
		if m.ID == nil {
			return
		}
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"wrong":1}}`, m.ID))
		for i := range 3 {
			c.say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, m.ID, i))
		}
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"for":%s}}`, m.ID, m.ID))
	})
	known, found, unknown := sseTarget(s.url, wire.V20241105), target(s.url, ""), target(s.url, wire.V20241105)
	for name, to := range map[string]Target{"known": known, "found": found, "found, with the version known": unknown} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, nil)
			var calls sync.WaitGroup
			for i := range 8 {
				calls.Go(func() {
					var got []string
					token := fmt.Sprintf(`"t%d"`, i)
					r, err := p.Call(t.Context(), to, Request{Method: "tools/call", ProgressToken: []byte(token)}, func(e Event) error {
						got = append(got, string(e.Params))
						return nil
					})
					if err != nil || !strings.HasPrefix(string(r.Raw), `{"for":`) || r.Version != wire.V20241105 || len(got) != 3 {
						t.Errorf("%s %s %v %q", r.Raw, r.Error, err, got)
					}
					for n, m := range got {
						if want := fmt.Sprintf(`{"progressToken":%s,"progress":%d}`, token, n); m != want {
							t.Errorf("%s, want %s", m, want)
						}
					}
				})
			}
			calls.Wait()
			d, err := p.Describe(t.Context(), to)
			if err != nil || !d.SSE || d.Version != wire.V20241105 || len(d.Tools) != 1 || d.Resources == nil || d.Templates != nil || d.Missing != nil {
				t.Errorf("%+v %v", d, err)
			}
		})
	}
}

// TestSSEQuestions: the upstream asks on its stream; the answer is posted.
func TestSSEQuestions(t *testing.T) {
	var call message
	s := newSSEServer(t, func(c *sseConn, m message) {
		switch {
		case m.Method == "tools/call":
			call = m
			c.say(elicit)
		case m.Method == "" && m.Result != nil:
			c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"answer":%s}}`, call.ID, m.Result))
		}
	})
	p := newPool(t, nil)
	to := sseTarget(s.url, wire.V20241105)
	to.Session, to.Capabilities = "c", []byte(anything)
	r, err := p.Call(t.Context(), to, toolCall("tools/call"), func(e Event) error {
		if e.Kind != ServerRequest {
			t.Errorf("%+v", e)
		}
		e.Answer([]byte(`{"action":"accept"}`), nil)
		return nil
	})
	if err != nil || string(r.Raw) != `{"answer":{"action":"accept"}}` {
		t.Errorf("%s %s %v", r.Raw, r.Error, err)
	}
	h := newHeard()
	defer p.Attach("c", nil, h.sink)()
	s.conn(0).say(changed)
	receive(t, h.all)
	s.conn(0).cut() // M-92: opened anew for the one who is attached
	until(t, func() bool { return len(s.all("notifications/initialized")) == 2 })
	until(t, func() bool {
		s.conn(1).say(changed)
		select {
		case <-h.all:
			return true
		default:
			return false
		}
	})
	p.EndSession("c")
	receive(t, s.conn(1).closed)
}

// TestSSEBroken: what goes wrong with the stream.
func TestSSEBroken(t *testing.T) {
	tests := []struct {
		name, endpoint, reason string
		answer                 func(c *sseConn, m message)
		idempotent             bool
		conns                  int
	}{
		{"cut in a call", "", ReasonOutcomeUnknown, func(c *sseConn, _ message) { c.cut() }, false, 1},
		{"cut in an idempotent call", "", ReasonUnreachable, func(c *sseConn, _ message) { c.cut() }, true, 2},
		{"another origin", "http://127.0.0.1:1/post", ReasonUnreachable, nil, false, 2},
		{"no address", "http://[", ReasonUnreachable, nil, false, 2},
		{"result that is no object", "", ReasonProtocol, func(c *sseConn, m message) {
			c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":[]}`, m.ID))
		}, false, 1},
		{"too large", "", ReasonOutcomeUnknown, func(c *sseConn, m message) {
			c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"a":"%s"}}`, m.ID, strings.Repeat("x", 70_000)))
		}, false, 1},
		{"silence", "", ReasonTimeout, func(*sseConn, message) {}, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSSEServer(t, func(c *sseConn, m message) {
				if m.Method == "tools/call" {
					tt.answer(c, m)
				}
			})
			s.endpoint = tt.endpoint
			p := newPool(t, nil)
			to := sseTarget(s.url, wire.V20241105)
			to.CallTimeout, to.MaxResponse = 200*time.Millisecond, 64<<10
			_, err := p.Call(t.Context(), to, Request{Method: "tools/call", Idempotent: tt.idempotent}, func(Event) error { return nil })
			if f := fault.From(err); f.Reason != tt.reason || !strings.Contains(f.Public, `"fixture"`) {
				t.Errorf("%v, want %s", err, tt.reason)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.conns) != tt.conns {
				t.Errorf("%d streams, want %d", len(s.conns), tt.conns)
			}
		})
	}
}

// TestSSEReopened: a stream that broke between calls is no failure of the next,
// and an ended one is opened anew.
func TestSSEReopened(t *testing.T) {
	s := newSSEServer(t, func(c *sseConn, m message) {
		if m.ID != nil {
			c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID))
		}
	})
	p := newPool(t, nil)
	to := sseTarget(s.url, wire.V20241105)
	for i := range 3 {
		if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		s.conn(i).cut()
	}
	if s.conn(3) != nil || s.conn(2) == nil {
		t.Error("not three streams")
	}
}

// TestSSEWatch: a watch has a stream of its own.
func TestSSEWatch(t *testing.T) {
	s := newSSEServer(t, nil)
	p := newPool(t, nil)
	events, end := watching(t, p, sseTarget(s.url, wire.V20241105), Subscription{URIs: []string{"a://1"}})
	for n := range 2 {
		until(t, func() bool { return len(s.all("resources/subscribe")) == n+1 })
		s.conn(n).say(updated("a://1"))
		if got := receive(t, events); got != `notifications/resources/updated {"uri":"a://1"}` {
			t.Errorf("%s", got)
		}
		if n == 0 {
			s.conn(0).cut()
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	receive(t, s.conn(1).closed)
}

// TestRealSSEServer drives mcp-go's server.
func TestRealSSEServer(t *testing.T) {
	real := server.NewMCPServer("real", "9.9", server.WithToolCapabilities(true), server.WithPromptCapabilities(true), server.WithLogging())
	real.AddTool(mcp.NewTool("echo"), func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(r.GetString("text", "")), nil
	})
	real.AddPrompt(mcp.NewPrompt("hello"), func(context.Context, mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return mcp.NewGetPromptResult("", nil), nil
	})
	h := server.NewSSEServer(real)
	web := httptest.NewServer(h)
	defer web.Close()
	p := newPool(t, nil)
	defer closePool(t, p)
	d, err := p.Describe(t.Context(), target(web.URL+"/sse", ""))
	if err != nil || !d.SSE || len(d.Tools) != 1 || len(d.Prompts) != 1 || !strings.Contains(string(d.ServerInfo.ServerInfo), `"real"`) {
		t.Fatalf("%+v %v", d, err)
	}
	to := sseTarget(web.URL+"/sse", d.Version)
	to.Session = "c"
	heard := newHeard()
	defer p.Attach("c", nil, heard.sink)()
	for _, said := range []string{"one", "two"} {
		r, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("echo", said)), LogLevel: "debug"}, nil)
		if err != nil || text(t, r) != said {
			t.Errorf("%s %s %v", r.Raw, r.Error, err)
		}
	}
	real.AddTool(mcp.NewTool("more"), nil)
	if e := receive(t, heard.all); e.Method != "notifications/tools/list_changed" {
		t.Errorf("%s", e.Method)
	}
}
