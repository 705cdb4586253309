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
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	f := &fleet{t: t, redis: client(), server: newMemory(t)}
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

func TestSessionMovesBetweenNodes(t *testing.T) {
	server := redistest.Start(t)
	f := newFleet(t, server)
	s := f.open(f.a)

	// M-88, M-92: the session goes on elsewhere, with its log level, all of its capabilities and the same upstream session.
	if status, text, _ := f.post(f.a, s, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`); status != http.StatusOK {
		t.Fatalf("setLevel: %d %s", status, text)
	}
	f.echo(f.a, s)
	f.echo(f.b, s)
	f.echo(f.a, s)
	f.server.seen(func(m *memory) {
		if d := cmp.Diff([]string{"up-1", "up-1", "up-1"}, m.calls); d != "" || m.opened != 1 {
			t.Errorf("the server opened %d sessions; calls:\n%s", m.opened, d)
		}
		if d := cmp.Diff([]string{"up-1 debug", "up-1 debug"}, m.levels); d != "" { // once by each node
			t.Errorf("levels:\n%s", d)
		}
	})

	f.steady(s)
	f.resumes(s)
	f.subscriptionsMove(s)

	// M-91: the newest GET stream has the session, on whatever node.
	atA := f.reading(f.send(f.a, http.MethodGet, s, "", "")) //nolint:bodyclose // wantEnd closes it
	atA.want("")
	atB := f.reading(f.send(f.b, http.MethodGet, s, "", "")) //nolint:bodyclose // wantEnd closes it
	atB.want("")
	atA.wantEnd()
	atA = f.reading(f.send(f.a, http.MethodGet, s, "", "")) //nolint:bodyclose // wantEnd closes it
	atA.want("")
	atB.wantEnd()

	// M-36, M-87: DELETE on one node ends all of it on the other, and the upstream session once.
	resp := f.send(f.b, http.MethodDelete, s, "", "")
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("DELETE: %d", resp.StatusCode)
	}
	atA.wantEnd()
	for _, node := range []*httptest.Server{f.a, f.b} {
		if status, text, _ := f.post(node, s, echo); status != http.StatusNotFound || !strings.Contains(text, "Invalid session ID") {
			t.Errorf("after the end: %d %s", status, text)
		}
	}
	var over []string
	f.until("the upstream session is ended", func() bool {
		f.server.seen(func(m *memory) { over = slices.Clone(m.ended) })
		return slices.Contains(over, "up-2")
	})
	f.noSecrets(s)
	for _, n := range f.nodes {
		if err := n.pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	f.server.seen(func(m *memory) { over = slices.DeleteFunc(m.ended, func(id string) bool { return id != "up-2" }) })
	if len(over) != 1 {
		t.Errorf("the upstream session was ended %d times, want once", len(over))
	}
}

// steady is M-87: requests with JSON answers cost no command of Redis, whichever of the nodes that know the session gets them.
func (f *fleet) steady(s string) {
	f.t.Helper()
	if err := f.redis.ConfigResetStat(f.t.Context()).Err(); err != nil {
		f.t.Fatal(err)
	}
	for range 25 {
		f.echo(f.a, s)
		f.echo(f.b, s)
	}
	stats, err := f.redis.Info(f.t.Context(), "commandstats").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`cmdstat_([a-z|]+):calls=(\d+)`).FindAllStringSubmatch(stats, -1) {
		switch m[1] {
		case "ping", "info", "config|resetstat": // the subscription that is silent, and this test
		default:
			f.t.Errorf("50 requests cost %s commands %s", m[2], m[1])
		}
	}
}

// resumes is M-40, M-41, M-90, M-92: what a call on one node has sent is replayed by the other, whole if it has ended; what is
// in flight on a node that cannot be asked has an unknown outcome.
func (f *fleet) resumes(s string) {
	t := f.t
	t.Helper()
	call := f.reading(f.send(f.a, http.MethodPost, s, "", steps)) //nolint:bodyclose // closed below
	first := call.want("")
	one := call.want(`"progress":1`)
	_ = call.body.Close() // no cancellation: the call goes on (M-41)
	f.server.step <- struct{}{}
	var last string
	f.until("the call has ended on the first node", func() bool {
		again := f.resume(f.a, s, one)
		id, data, ok := again.next()
		_ = again.body.Close()
		last = id
		return ok && strings.Contains(data, `"result"`)
	})
	for _, from := range []struct {
		id   string
		want []string
	}{{first, []string{`"progress":1`, `"id":"c1","result"`}}, {one, []string{`"id":"c1","result"`}}, {last, nil}} {
		again := f.resume(f.b, s, from.id)
		for _, part := range from.want {
			again.want(part)
		}
		again.wantEnd()
	}

	call = f.reading(f.send(f.a, http.MethodPost, s, "", steps)) //nolint:bodyclose // closed below
	call.want("")
	one = call.want(`"progress":1`)
	again := f.resume(f.b, s, one) // without a way to the first node it is as good as dead
	again.want(`"id":"c1","result":{"content":[{"type":"text","text":"The gateway lost the call while it ran.`)
	again.wantEnd()
	again = f.resume(f.b, s, one)
	again.want(`"penstock_error":{"type":"OUTCOME_UNKNOWN","retryable":false}`)
	again.wantEnd()
	f.server.step <- struct{}{}
	call.want(`"id":"c1","result":{"content":[]}`)
	call.wantEnd()
	resp := f.send(f.b, http.MethodGet, s, "nobody.s.1-1", "")
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an event that nobody sent: %d", resp.StatusCode)
	}
}

// subscriptionsMove is M-88, M-92: the server that has lost its sessions is initialized by one node for both, and told what
// the session has subscribed to by the node that has its stream.
func (f *fleet) subscriptionsMove(s string) {
	t := f.t
	t.Helper()
	if status, text, _ := f.post(f.a, s, `{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"test://r"}}`); status != http.StatusOK || strings.Contains(text, "error") {
		t.Fatalf("subscribe: %d %s", status, text)
	}
	f.server.forget()
	f.echo(f.b, s)
	f.echo(f.a, s)
	f.server.seen(func(m *memory) {
		if n := len(m.calls); m.opened != 2 || m.calls[n-1] != "up-2" || m.calls[n-2] != "up-2" {
			t.Errorf("%d sessions were opened, the last calls were in %v, want two and the second", m.opened, m.calls[n-2:])
		}
		if !slices.Contains(m.watched, "up-1 test://r") || !slices.Contains(m.watched, "up-2 test://r") {
			t.Errorf("subscribed %v, want in both sessions of the server", m.watched)
		}
		if !slices.Contains(m.levels, "up-2 debug") {
			t.Errorf("levels %v, want that of the session told anew", m.levels)
		}
	})
}

// noSecrets: what lies in Redis shows nothing of messages, and no session id of an upstream.
func (f *fleet) noSecrets(s string) {
	f.t.Helper()
	keys, err := f.redis.Keys(f.t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		f.t.Fatalf("keys %q, %v", keys, err)
	}
	for _, key := range keys {
		dump, err := f.redis.Dump(f.t.Context(), key).Result()
		if err != nil {
			continue // expired just now
		}
		for _, secret := range []string{"up-1", "up-2", "progress", "content", "test://r", "sampling", s} {
			if strings.Contains(key+dump, secret) {
				f.t.Errorf("%s holds %q in the clear", key, secret)
			}
		}
	}
}

// TestRedisLost is M-88: sessions go on without Redis, also on a node that does not know them, and what ended meanwhile stays
// so; when Redis is back, the nodes go on with it by themselves.
func TestRedisLost(t *testing.T) {
	server := redistest.Start(t)
	f := newFleet(t, server)
	known, ended := f.open(f.a), f.open(f.a)
	f.echo(f.a, known)
	f.echo(f.b, known)
	f.echo(f.a, ended)
	server.Stop()
	fresh := f.open(f.a)
	for _, s := range []string{known, fresh} {
		f.echo(f.a, s)
		f.echo(f.b, s)
	}
	if status, text, _ := f.post(f.a, known, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}`); status != http.StatusOK {
		t.Errorf("setLevel without Redis: %d %s", status, text)
	}
	resp := f.send(f.a, http.MethodDelete, ended, "", "")
	_ = resp.Body.Close()
	if status, _, _ := f.post(f.a, ended, echo); status != http.StatusNotFound {
		t.Errorf("a session that ended here without Redis: %d", status)
	}
	server.Restart()
	f.until("the other node hears of the end", func() bool {
		status, _, _ := f.post(f.b, ended, echo)
		return status == http.StatusNotFound
	})
	f.until("new sessions are shared", func() bool {
		s := f.open(f.a)
		f.echo(f.a, s)
		f.echo(f.b, s)
		f.server.seen(func(m *memory) { s = m.calls[len(m.calls)-1] + m.calls[len(m.calls)-2] })
		return s[:len(s)/2] == s[len(s)/2:]
	})
}
