// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// named lets every request in as whom its headers name.
type named struct{}

func (named) Authenticate(_ *view.Snapshot, _ *view.Gateway, r *http.Request) (ident.Principal, error) {
	return ident.Principal{Kind: ident.KindUser, UID: r.Header.Get("X-User"), Method: "oauth", ClientID: r.Header.Get("X-Client"), Scopes: []string{"mcp"}}, nil
}

// wary is two nodes on one Redis, in front of a server with the tools "web", whose results are not trusted, "pay", which must not be
// called once such a result was seen, and "free". The gateways "track", "always" and "never" differ in that.
type wary struct {
	t      *testing.T
	server *redistest.Server
	redis  *redisx.Client
	origin *memory
	a, b   *httptest.Server
}

func newWary(t *testing.T) *wary {
	t.Helper()
	server := redistest.Start(t)
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	f := &wary{t: t, server: server, redis: newFleetClient(t, server), origin: newMemory(t)}
	f.a, f.b = f.join("node-a", keys), f.join("node-b", keys)
	f.pass(time.Hour)
	return f
}

func (f *wary) join(name string, keys *seal.Keyset) *httptest.Server {
	f.t.Helper()
	client := newFleetClient(f.t, f.server)
	n := &relayed{name: name, keys: keys, shared: redisstate.NewSessions(client), marks: redisstate.NewContexts(client)}
	if _, err := n.marks.Watch(f.t.Context()); err != nil { // as the node does when it starts
		f.t.Fatal(err)
	}
	n.start(f.t, (&net.Dialer{}).DialContext, func(_ *relayed, c *edge.Config) { c.Authenticator = named{} })
	b := view.From(nil)
	b.PutServer("s", &view.Server{Name: "s", URL: f.origin.url, Protocol: legacyVersion, Capabilities: compile.Capabilities{Tools: true}})
	b.PutConnection("s", &view.Connection{Name: "s", UID: "c-s", Server: "s"})
	for name, mode := range map[string]compile.Contexts{
		"track": compile.ContextsTracked, "other": compile.ContextsTracked, "always": compile.ContextsUntrusted, "never": compile.ContextsTrusted,
	} {
		g := compile.Gateway{Name: name, UID: "g-" + name, Visibility: view.Visibility{Organization: true}, OAuth: true, Contexts: mode}
		b.PutGateway(&view.Gateway{Gateway: g, Tools: []*view.Tool{
			aTool("s", "web", `{"name":"web","inputSchema":{"type":"object"}}`), aTool("s", "pay", `{"name":"pay","inputSchema":{"type":"object"}}`),
			aTool("s", "free", `{"name":"free","inputSchema":{"type":"object"}}`),
		}})
	}
	rule, err := compile.MakePolicy(&resourcev1.Policy{
		Name: "clean", Tools: []string{"s__pay"}, Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	mark, err := compile.MakeResultPolicy(&resourcev1.ResultPolicy{
		Name: "web", Tools: []string{"s__web"}, Mark: resourcev1.ResultMark_RESULT_MARK_UNTRUSTED,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	b.PutPolicy("clean", rule)
	b.PutResultPolicy("web", mark)
	n.holder.Publish(b.Build("e", 1))
	web := httptest.NewServer(n.edge)
	f.t.Cleanup(web.Close)
	return web
}

// pass makes everything that is known of contexts older: the clock of a Redis cannot be moved.
func (f *wary) pass(by time.Duration) {
	f.t.Helper()
	ctx := f.t.Context()
	for _, key := range f.redis.Keys(ctx, "pst:{ctx:*").Val() {
		for name, value := range f.redis.HGetAll(ctx, key).Val() {
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && (name == "at" || name == "used") {
				f.redis.HSet(ctx, key, name, ms-by.Milliseconds())
			}
		}
	}
}

// client is whoever calls: without a session it speaks 2026-07-28.
type client struct {
	f                      *wary
	gateway, user, program string
	session                string
	handle                 string // sent with each call, raw; empty for none
}

func (f *wary) client() *client { return &client{f: f, gateway: "track", user: "ada", program: "cli"} }

func (c *client) post(node *httptest.Server, headers map[string]string, body string) (string, http.Header) {
	c.f.t.Helper()
	r, err := http.NewRequestWithContext(c.f.t.Context(), http.MethodPost, node.URL+"/v1/mcp/"+c.gateway, strings.NewReader(body))
	if err != nil {
		c.f.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-User", c.user)
	r.Header.Set("X-Client", c.program)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	resp, err := node.Client().Do(r)
	if err != nil {
		c.f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.f.t.Fatal(err)
	}
	return string(text), resp.Header
}

// open begins a legacy session.
func (c *client) open(node *httptest.Server) *client {
	c.f.t.Helper()
	text, header := c.post(node, nil, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+legacyVersion+
		`","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
	if c.session = header.Get("Mcp-Session-Id"); c.session == "" {
		c.f.t.Fatalf("initialize: %s", text)
	}
	return c
}

// call calls a tool and returns the answer.
func (c *client) call(node *httptest.Server, tool string) string {
	c.f.t.Helper()
	headers, meta := map[string]string{"Mcp-Session-Id": c.session, "Mcp-Protocol-Version": legacyVersion}, `"k":1`
	if c.session == "" {
		headers, meta = map[string]string{"Mcp-Protocol-Version": modernVersion, "Mcp-Method": "tools/call", "Mcp-Name": "s__" + tool}, reserved
	}
	if c.handle != "" {
		meta += `,"io.penstock/context":` + c.handle
	}
	text, _ := c.post(node, headers, fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"s__%s","_meta":{%s}}}`, tool, meta))
	return text
}

// takeHandle asks for a handle with a call that all may make, and keeps it.
func (c *client) takeHandle(node *httptest.Server) *client {
	c.f.t.Helper()
	c.handle = "true"
	text := c.call(node, "free")
	var answer struct {
		Result struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		c.f.t.Fatalf("%v in %s", err, text)
	}
	if c.handle = string(answer.Result.Meta["io.penstock/context"]); c.handle == "" {
		c.f.t.Fatalf("no handle in %s", text)
	}
	return c
}

func (c *client) runs(step string, node *httptest.Server, tool string) {
	c.f.t.Helper()
	if text := c.call(node, tool); !strings.Contains(text, `"content":[]`) {
		c.f.t.Errorf("%s: %s", step, text)
	}
}

// since opens sessions until one runs the tool: those of the very second in which data was lost count as being of before.
func (c *client) since(step string, node *httptest.Server, tool string) *client {
	c.f.t.Helper()
	text := ""
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if text = c.open(node).call(node, tool); strings.Contains(text, `"content":[]`) {
			return c
		}
	}
	c.f.t.Fatalf("%s: %s", step, text)
	return nil
}

func (c *client) stopped(step string, node *httptest.Server, tool, because string) {
	c.f.t.Helper()
	if text := c.call(node, tool); !strings.Contains(text, because) {
		c.f.t.Errorf("%s: %s", step, text)
	}
}

const (
	refusedByClean = `The policy \"clean\" refuses this call.`
	heldBack       = "CONTEXT_NOT_MARKED"
)

// G-33: who has seen an untrusted result on one node is stopped on the other, at once, and after the first has gone; nobody else is.
func TestContextsOfAFleet(t *testing.T) {
	f := newWary(t)
	for name, begin := range map[string]func(program string) *client{
		"session":   func(program string) *client { c := f.client(); c.program = program; return c.open(f.a) },
		"stateless": func(program string) *client { c := f.client(); c.program = program; return c },
		"handle": func(program string) *client {
			c := f.client()
			c.program = program + "-with-handle"
			return c.takeHandle(f.a)
		},
		"handle in a session": func(program string) *client {
			c := f.client()
			c.program = program
			return c.open(f.b).takeHandle(f.a)
		},
	} {
		c := begin(name)
		other := begin(name + "2")
		c.runs(name+", clean", f.a, "pay")
		c.runs(name+", clean, elsewhere", f.b, "pay")
		c.runs(name+", reads", f.a, "web")
		c.stopped(name+", elsewhere", f.b, "pay", refusedByClean)
		c.stopped(name, f.a, "pay", refusedByClean)
		c.runs(name+", what no rule concerns", f.b, "free")
		other.runs(name+", another client", f.b, "pay")
		if c.session == "" && c.handle == "" {
			for _, change := range []func(*client){
				func(c *client) { c.user = "bob" }, func(c *client) { c.gateway = "other" }, func(c *client) { c.open(f.a) },
			} {
				changed := *c
				change(&changed)
				changed.runs(name+", somebody else", f.a, "pay")
			}
		}
		if c.handle != "" {
			without := *c
			without.handle = ""
			without.stopped(name+", without it", f.b, "pay", refusedByClean)
			without.takeHandle(f.b).stopped(name+", with a new one", f.a, "pay", refusedByClean)
			changed := *c
			changed.user = "bob"
			if c.session == "" {
				changed.stopped(name+", of somebody else", f.a, "free", "is no handle that this gateway gave")
			}
		}
	}
	f.modes()

	c, d, e := f.client().open(f.a), f.client(), f.client()
	d.program, e.program = "d", "e"
	e.takeHandle(f.a)
	for _, c := range []*client{c, d, e} {
		c.runs("reads", f.a, "web")
	}
	f.a.CloseClientConnections()
	f.a.Close()
	for _, c := range []*client{c, d, e} {
		c.stopped("after a takeover", f.b, "pay", refusedByClean)
	}
	f.pass(29 * time.Minute)
	d.stopped("29 minutes later", f.b, "pay", refusedByClean)
	f.pass(31 * time.Minute)
	d.runs("31 minutes without use", f.b, "pay")
	c.stopped("the session", f.b, "pay", refusedByClean)
	e.stopped("the handle", f.b, "pay", refusedByClean)
}

func (f *wary) modes() {
	always, never := f.client(), f.client()
	always.gateway, never.gateway = "always", "never"
	always.stopped("always", f.a, "pay", refusedByClean)
	never.runs("never", f.a, "web")
	never.runs("never", f.b, "pay")
}

// G-33: without Redis contexts count as untrusted, untrusted results are held back, and calls that no rule concerns go on; after its data
// was lost, contexts of before and stateless ones are untrusted.
func TestContextsWithoutRedis(t *testing.T) {
	f := newWary(t)
	s, c := f.client().open(f.a), f.client()
	h := f.client().takeHandle(f.a)
	all := []*client{s, c, h}
	for _, c := range all {
		c.runs("at first", f.a, "pay")
	}
	f.redis.FlushAll(t.Context())
	for _, c := range all {
		c.stopped("after its data was lost", f.a, "pay", refusedByClean)
	}
	if _, err := redisstate.NewContexts(f.redis).Watch(t.Context()); err != nil { // as nodes do all the time
		t.Fatal(err)
	}
	since := f.client().since("a session since", f.a, "pay")
	f.pass(29 * time.Minute) // for what is known of contexts, not for sessions: TestDataLost (taint) has their time, too
	c.stopped("29 minutes after", f.b, "pay", refusedByClean)
	f.pass(2 * time.Minute)
	c.runs("31 minutes after", f.b, "pay")
	f.pass(time.Hour)

	f.server.Stop()
	never := f.client()
	never.gateway = "never"
	for _, c := range []*client{since, c, h} {
		c.stopped("without Redis", f.a, "pay", refusedByClean)
		c.stopped("without Redis, what is not trusted", f.b, "web", heldBack)
		c.runs("without Redis, what no rule concerns", f.a, "free")
	}
	never.runs("without Redis, never untrusted", f.a, "web")
	never.runs("without Redis, never untrusted", f.a, "pay")
	asks := f.client()
	asks.takeHandle(f.a).stopped("a handle that was given without Redis", f.a, "pay", refusedByClean)
}

// What a client has of an untrusted result comes after every node knows: whatever it sends then is decided by that.
func TestContextsRace(t *testing.T) {
	f := newWary(t)
	var running sync.WaitGroup
	for i := range 32 {
		running.Go(func() {
			c := f.client()
			c.program = fmt.Sprint("racer-", i)
			for range 4 { // decided before, or after: either is right
				running.Go(func() { c.call(f.b, "pay") })
			}
			c.runs("reads", f.a, "web")
			c.stopped("right after", f.b, "pay", refusedByClean)
		})
	}
	running.Wait()
}
