// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// memory is a legacy server that counts what is told about its sessions. Its tool "echo" answers at once; "steps" sends
// progress and answers when it is told to.
type memory struct {
	t   *testing.T
	url string

	step chan struct{} // a value has "steps" answer

	notices notices

	mu      sync.Mutex
	opened  int
	ended   []string
	calls   []string        // session ids
	levels  []string        // "<session> <level>"
	watched []string        // "<session> <uri>"
	known   map[string]bool // sessions
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	m := &memory{t: t, step: make(chan struct{}, 8), known: map[string]bool{}}
	web := httptest.NewServer(m)
	t.Cleanup(web.Close)
	m.url = web.URL + "/mcp"
	return m
}

func (m *memory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Mcp-Session-Id")
	switch r.Method {
	case http.MethodGet:
		m.notices.listen(w, r, id)
		return
	case http.MethodDelete:
		m.mu.Lock()
		m.ended = append(m.ended, id)
		m.mu.Unlock()
		return
	}
	var q struct {
		Method string
		ID     json.RawMessage
		Params struct {
			Name, Level, URI string
			Meta             struct{ ProgressToken json.RawMessage } `json:"_meta"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return
	}
	if q.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	m.mu.Lock()
	if q.Method != "initialize" && !m.known[id] {
		m.mu.Unlock()
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	result := `{}`
	switch q.Method {
	case "initialize":
		m.opened++
		id = fmt.Sprint("up-", m.opened)
		m.known[id] = true
		w.Header().Set("Mcp-Session-Id", id)
		result = `{"protocolVersion":"` + legacyVersion + `","capabilities":{"tools":{},"logging":{},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}`
	case "logging/setLevel":
		m.levels = append(m.levels, id+" "+q.Params.Level)
	case "resources/subscribe":
		m.watched = append(m.watched, id+" "+q.Params.URI)
	case "tools/call":
		m.notices.tell(id)
		m.calls = append(m.calls, id)
		result = `{"content":[]}`
	}
	m.mu.Unlock()
	if q.Params.Name == "steps" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":%s,\"progress\":1}}\n\n", q.Params.Meta.ProgressToken)
		w.(http.Flusher).Flush()
		select {
		case <-m.step:
		case <-r.Context().Done():
			return
		}
		_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", q.ID, result)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, q.ID, result)
}

// forget ends all sessions, as a restart of the server does.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.known)
}

func (m *memory) seen(f func(m *memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

// fleet is two nodes with one keyset, on one Redis, in front of one server.
type fleet struct {
	t      *testing.T
	redis  *redisx.Client
	server *memory
	a, b   *httptest.Server
	nodes  []*relayed
	own    []*redisx.Client                   // of each node
	keys   *seal.Keyset                       // of all nodes
	join   func(name string) *httptest.Server // starts another node
}

func newFleetClient(t *testing.T, server *redistest.Server) *redisx.Client {
	t.Helper()
	c, err := redisx.Open(redisx.Settings{URL: server.URL()}, redisx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newFleet(t *testing.T, server *redistest.Server) *fleet {
	t.Helper()
	client := func() *redisx.Client { return newFleetClient(t, server) }
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, redis: client(), server: newMemory(t), keys: keys}
	start := func(name string) *httptest.Server {
		f.own = append(f.own, client())
		n := &relayed{name: name, keys: keys, shared: redisstate.NewSessions(f.own[len(f.own)-1])}
		n.start(t, (&net.Dialer{}).DialContext, func(*relayed, *edge.Config) {})
		b := view.From(nil)
		n.putServer(b, &view.Server{Name: "s", URL: f.server.url, Protocol: legacyVersion},
			aTool("s", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`), aTool("s", "steps", `{"name":"steps","inputSchema":{"type":"object"}}`))
		n.holder.Publish(b.Build("e", 1))
		web := httptest.NewServer(n.edge)
		t.Cleanup(web.Close)
		f.nodes = append(f.nodes, n)
		return web
	}
	f.join = start
	f.a, f.b = start("node-a"), start("node-b")
	return f
}

// send sends a request in a session.
func (f *fleet) send(node *httptest.Server, httpMethod, session, lastEvent, body string) *http.Response {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), httpMethod, node.URL+"/v1/mcp/s", strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	if httpMethod == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if httpMethod == http.MethodGet {
		r.Header.Set("Accept", "text/event-stream")
	}
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
		r.Header.Set("Mcp-Protocol-Version", legacyVersion)
	}
	if lastEvent != "" {
		r.Header.Set("Last-Event-ID", lastEvent)
	}
	resp, err := node.Client().Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp
}

// post sends a request and returns status and body of the answer.
func (f *fleet) post(node *httptest.Server, session, body string) (int, string, http.Header) {
	f.t.Helper()
	resp := f.send(node, http.MethodPost, session, "", body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

const clientCapabilities = `{"sampling":{},"roots":{"listChanged":true},"experimental":{"x":{"y":1}}}`

func (f *fleet) open(node *httptest.Server) string {
	f.t.Helper()
	status, text, header := f.post(node, "", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+
		legacyVersion+`","capabilities":`+clientCapabilities+`,"clientInfo":{"name":"c","version":"1"}}}`)
	if status != http.StatusOK || header.Get("Mcp-Session-Id") == "" {
		f.t.Fatalf("initialize: %d %s", status, text)
	}
	return header.Get("Mcp-Session-Id")
}

const echo = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"s__echo"}}`

func (f *fleet) echo(node *httptest.Server, session string) {
	f.t.Helper()
	if status, text, _ := f.post(node, session, echo); status != http.StatusOK || !strings.Contains(text, `"content":[]`) {
		f.t.Fatalf("echo: %d %s", status, text)
	}
}

// eventsRead is a stream of events.
type eventsRead struct {
	t    *testing.T
	body io.Closer
	scan *bufio.Scanner
}

func (f *fleet) reading(resp *http.Response) *eventsRead {
	f.t.Helper()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		f.t.Fatalf("stream: %d %s", resp.StatusCode, text)
	}
	return &eventsRead{f.t, resp.Body, bufio.NewScanner(resp.Body)}
}

// next returns the id and data of the next event; false at the end.
func (r *eventsRead) next() (id, data string, ok bool) {
	for r.scan.Scan() {
		switch name, value, _ := strings.Cut(r.scan.Text(), ": "); {
		case name == "" && ok:
			return id, data, true
		case name == "id":
			id, ok = value, true
		case name == "data":
			data, ok = value, true
		}
	}
	return id, data, false
}

func (r *eventsRead) want(part string) (id string) {
	r.t.Helper()
	id, data, ok := r.next()
	if !ok || !strings.Contains(data, part) {
		r.t.Fatalf("the stream has %q (%v), want %s", data, ok, part)
	}
	return id
}

func (r *eventsRead) wantEnd() {
	r.t.Helper()
	if _, data, ok := r.next(); ok {
		r.t.Errorf("the stream has %q, want its end", data)
	}
	_ = r.body.Close()
}

// resume comes back for a stream, as often as it takes until the other node has given it to Redis.
func (f *fleet) resume(node *httptest.Server, session, id string) *eventsRead {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		resp := f.send(node, http.MethodGet, session, id, "")
		if resp.StatusCode == http.StatusOK {
			return f.reading(resp)
		}
		_ = resp.Body.Close()
		<-tick.C
	}
	f.t.Fatal("the stream cannot be resumed")
	return nil
}

// until waits for what another node does by itself.
func (f *fleet) until(what string, holds func() bool) {
	f.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if holds() {
			return
		}
		<-tick.C
	}
	f.t.Fatalf("it does not happen: %s", what)
}

const steps = `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"s__steps","_meta":{"progressToken":"p"}}}`
