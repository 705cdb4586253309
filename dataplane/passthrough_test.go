// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// wiretap is in front of the MCP server of a pair, and keeps every HTTP request of the nodes.
type wiretap struct {
	url    string
	origin *origin

	mu  sync.Mutex
	got []tapped
}

// tapped is one request: "POST tools/call", "POST reply", "GET" or "DELETE".
type tapped struct {
	what   string
	header http.Header
	params string // raw
}

func newWiretap(t *testing.T, o *origin) *wiretap {
	t.Helper()
	tap := &wiretap{origin: o}
	web := httptest.NewServer(tap)
	t.Cleanup(web.Close)
	tap.url = web.URL + "/mcp"
	return tap
}

// ServeHTTP implements http.Handler.
func (tap *wiretap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node gave the request up
	}
	one := tapped{what: r.Method, header: r.Header.Clone()}
	if r.Method == http.MethodPost {
		var m struct {
			Method string
			Params json.RawMessage
		}
		_ = json.Unmarshal(body, &m) // the origin says so
		if one.params = string(m.Params); m.Method == "" {
			m.Method = "reply"
		}
		one.what += " " + m.Method
	}
	tap.mu.Lock()
	tap.got = append(tap.got, one)
	tap.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	tap.origin.ServeHTTP(w, r)
}

// take returns what came since the last time.
func (tap *wiretap) take() []tapped {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	got := tap.got
	tap.got = nil
	return got
}

// passing publishes a gateway "srv" whose list of headers is x-tenant and x-trace, before a server with a fixed header.
func (p *pair) passing(tap *wiretap, change func(*view.Server)) {
	p.t.Helper()
	p.publish(func(b *view.Builder) {
		s := &view.Server{Name: "srv", URL: tap.url, Protocol: modernVersion}
		if p.origin.legacy {
			s.Protocol = legacyVersion
		}
		change(s)
		p.a.putServer(b, s)
		b.PutGateway(&view.Gateway{
			Gateway: compile.Gateway{
				Name: "srv", UID: "g-srv", Visibility: view.Visibility{Organization: true}, BearerTokens: true, PassedHeaders: []string{"X-Tenant", "X-Trace"},
				Features: []compile.Feature{{Server: "srv", Connection: "srv", Resources: true}},
			},
			Tools: []*view.Tool{aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`)},
		})
	}, p.a, p.b)
}

// with sends a message with headers as they are written.
func (c *caller) with(at *fleetNode, body string, header http.Header) rsReply {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, at.web.URL+"/v1/mcp/srv", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(r.Header, http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + c.name},
	})
	switch {
	case c.modern && strings.Contains(body, `"resources/list"`):
		maps.Copy(r.Header, http.Header{"Mcp-Protocol-Version": {modernVersion}, "Mcp-Method": {"resources/list"}})
	case c.modern:
		maps.Copy(r.Header, http.Header{"Mcp-Protocol-Version": {modernVersion}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"srv__echo"}})
	default:
		r.Header.Set("Mcp-Session-Id", c.session)
	}
	maps.Copy(r.Header, header)
	resp, err := at.web.Client().Do(r) //nolint:bodyclose // read closes it
	if err != nil {
		c.t.Fatal(err)
	}
	return c.read(resp)
}

// eraPairs runs f for clients and servers of both eras.
func eraPairs(t *testing.T, f func(t *testing.T, p *pair, tap *wiretap, c *caller)) {
	t.Helper()
	for _, legacyServer := range []bool{false, true} {
		for _, modernClient := range []bool{false, true} {
			name := map[bool]string{true: "modern", false: "legacy"}
			t.Run(name[modernClient]+" client, "+name[!legacyServer]+" server", func(t *testing.T) {
				p := newPair(t, legacyServer)
				tap := newWiretap(t, p.origin)
				p.passing(tap, func(*view.Server) {})
				p.origin.answers(func(in *inbound) {
					in.result(`{"resultType":"complete","content":[],"resources":[],"ttlMs":0,"cacheScope":"private"}`)
				})
				c := p.caller("ada")
				if c.modern = modernClient; !modernClient {
					c.initialize(p.a)
				}
				f(t, p, tap, c)
			})
		}
	}
}

func (c *caller) echo() string {
	if c.modern {
		return c.call("")
	}
	return legacyCall
}

// TestPassedHeaders is G-40 and G-42 on the wire: listed headers reach the server with the request that brought them and with
// nothing else, the rest does not, and what the server is given anyway wins.
func TestPassedHeaders(t *testing.T) {
	eraPairs(t, func(t *testing.T, p *pair, tap *wiretap, c *caller) {
		list := `{"jsonrpc":"2.0","id":2,"method":"resources/list","params":{}}`
		if c.modern {
			list = `{"jsonrpc":"2.0","id":2,"method":"resources/list","params":{"_meta":{` + reserved + `}}}`
		}
		for _, tc := range []struct {
			name          string
			sent          http.Header
			tenant, trace []string
		}{
			{"any case, several values (G-40)", http.Header{"x-TENANT": {"a", "b"}, "X-trace": {"t"}}, []string{"a, b"}, []string{"t"}},
			{"none of the next request (G-42)", nil, nil, nil},
			{"others are dropped (G-40, RS-13)", http.Header{"X-Other": {"o"}, "Cookie": {"c"}, "X-Api-Key": {"k"}, "X-Forwarded-For": {"1.2.3.4"}, "X-Trace": {"u"}}, nil, []string{"u"}},
			{"of the connection (RFC 9110 7.6.1)", http.Header{"X-Tenant": {"a"}, "Connection": {"X-Tenant"}}, nil, nil},
			{"the caller's token (RS-13)", http.Header{"X-Tenant": {"for ada"}, "X-Trace": {"t"}}, nil, []string{"t"}},
		} {
			t.Run(tc.name, func(t *testing.T) {
				for _, body := range []string{c.echo(), list} {
					tap.take()
					if got := c.with(p.a, body, tc.sent); got.status != http.StatusOK || strings.Contains(got.body, `"error"`) || strings.Contains(got.body, `"isError":true`) {
						t.Fatalf("%+v", got)
					}
					asked := false
					for _, r := range tap.take() {
						tenant, trace := tc.tenant, tc.trace
						if r.what != "POST tools/call" && r.what != "POST resources/list" { // initialize and what follows it belong to nobody
							tenant, trace = nil, nil
						} else {
							asked = true
						}
						if !slices.Equal(r.header["X-Tenant"], tenant) || !slices.Equal(r.header["X-Trace"], trace) {
							t.Errorf("%s: X-Tenant %q, X-Trace %q", r.what, r.header["X-Tenant"], r.header["X-Trace"])
						}
						for _, name := range []string{"X-Other", "Cookie", "X-Api-Key", "X-Forwarded-For", "Authorization"} {
							if len(r.header[name]) > 0 {
								t.Errorf("%s: %s arrives", r.what, name)
							}
						}
					}
					if !asked {
						t.Error("the server was not asked")
					}
				}
			})
		}
		t.Run("fixed headers win (G-42, UP-13)", func(t *testing.T) {
			p.passing(tap, func(s *view.Server) { s.Headers = map[string]string{"x-tenant": "fixed"} })
			tap.take()
			c.with(p.a, c.echo(), http.Header{"X-Tenant": {"mine"}, "X-Trace": {"t"}})
			got := tap.take()
			last := got[len(got)-1]
			if !slices.Equal(last.header["X-Tenant"], []string{"fixed"}) || !slices.Equal(last.header["X-Trace"], []string{"t"}) {
				t.Errorf("%s: %v", last.what, last.header)
			}
		})
	})
}

// TestPassedHeadersDoNotMix is G-42: many callers at once over the connections and sessions that they share.
func TestPassedHeadersDoNotMix(t *testing.T) {
	eraPairs(t, func(t *testing.T, p *pair, tap *wiretap, c *caller) {
		p.passing(tap, func(s *view.Server) { s.Stateless = true })
		callers := []*caller{c, p.caller("bob")}
		if callers[1].modern = c.modern; !c.modern {
			callers[1].initialize(p.a)
		}
		const each = 60
		var calling sync.WaitGroup
		for _, c := range callers {
			for i := range each {
				who := fmt.Sprintf("%s-%d", c.name[:2], i)
				calling.Go(func() {
					header := http.Header{"x-tenant": {who}}
					if i%3 == 0 {
						header = nil
						who = ""
					}
					body := strings.Replace(c.echo(), `"arguments":{}`, `"arguments":{"who":"`+who+`"}`, 1)
					body = strings.Replace(body, `"id":1`, fmt.Sprintf(`"id":%d`, i), 1)
					if got := c.with(p.a, body, header); got.status != http.StatusOK {
						t.Errorf("%+v", got)
					}
				})
			}
		}
		calling.Wait()
		calls := 0
		for _, r := range tap.take() {
			if r.what != "POST tools/call" {
				continue
			}
			calls++
			var params struct{ Arguments struct{ Who string } }
			if err := json.Unmarshal([]byte(r.params), &params); err != nil {
				t.Fatal(err)
			}
			if got := r.header.Get("X-Tenant"); got != params.Arguments.Who {
				t.Errorf("the call of %q came with X-Tenant %q", params.Arguments.Who, got)
			}
		}
		if calls != 2*each {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestPassedHeadersBelongToTheCall: what a call sets off at its server carries its headers too, for clients of both eras; what
// belongs to the session does not.
func TestPassedHeadersBelongToTheCall(t *testing.T) {
	p := newPair(t, true)
	tap := newWiretap(t, p.origin)
	p.passing(tap, func(*view.Server) {})
	p.origin.answers(func(in *inbound) {
		in.event(elicitation)
		<-p.origin.replies
		in.last(`{"content":[]}`)
	})
	c := p.caller("ada")
	c.initialize(p.a)
	s := c.stream(c.send(t.Context(), p.a, "POST", "/v1/mcp/srv", legacyCall, "X-Tenant", "of the call")) //nolint:bodyclose // stream closes it
	_, asked := s.event()
	answer := `{"jsonrpc":"2.0","id":` + memberOf(t, asked, "id") + `,"result":` + declined + `}`
	if got := c.with(p.a, answer, http.Header{"X-Tenant": {"of the answer"}}); got.status != http.StatusAccepted {
		t.Fatalf("%+v", got)
	}
	s.event()
	want := map[string][]string{"POST tools/call": {"of the call"}, "POST reply": {"of the call"}}
	for _, r := range tap.take() {
		if got := r.header["X-Tenant"]; !slices.Equal(got, want[r.what]) {
			t.Errorf("%s: X-Tenant %q", r.what, got)
		}
		delete(want, r.what)
	}
	if len(want) > 0 {
		t.Errorf("did not come: %v", want)
	}
}

// TestPassedHeadersForwarded: a call that another node runs takes its headers along, and no others (G-40, M-94).
func TestPassedHeadersForwarded(t *testing.T) {
	p := newPair(t, true)
	tap := newWiretap(t, p.origin)
	p.passing(tap, func(s *view.Server) { s.Homed = true })
	p.origin.answers(func(in *inbound) { in.result(`{"content":[]}`) })
	c := p.caller("ada")
	c.initialize(p.a)
	c.do(p.a, legacyCall)
	tap.take()
	ran := p.a.upstreamCalls.Load()
	got := c.with(p.b, legacyCall, http.Header{"x-tenant": {"a", "b"}, "X-Other": {"o"}, "X-Trace": {"ada"}, "Penstock-Gateway": {"forged"}})
	if got.status != http.StatusOK || p.a.upstreamCalls.Load() != ran+1 {
		t.Fatalf("%d calls ran on a: %+v", p.a.upstreamCalls.Load()-ran, got)
	}
	calls := tap.take()
	last := calls[len(calls)-1]
	if h := last.header; !slices.Equal(h["X-Tenant"], []string{"a, b"}) || len(h["X-Other"])+len(h["X-Trace"])+len(h["Penstock-Gateway"]) > 0 {
		t.Errorf("%s: %v", last.what, last.header)
	}
}

// TestPassedHeadersOfOldClients: clients of HTTP+SSE and of batches have them too, each message those of its own POST (M-43, M-44).
func TestPassedHeadersOfOldClients(t *testing.T) {
	p := newPair(t, true)
	tap := newWiretap(t, p.origin)
	p.passing(tap, func(*view.Server) {})
	p.origin.answers(func(in *inbound) { in.result(`{"content":[]}`) })
	tenants := func(step string, want ...string) {
		t.Helper()
		var got []string
		for _, r := range tap.take() {
			if r.what == "POST tools/call" {
				got = append(got, r.header.Get("X-Tenant"))
			} else if len(r.header["X-Tenant"]) > 0 {
				t.Errorf("%s: %s has X-Tenant", step, r.what)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
	}
	c := p.caller("ada")
	s := c.stream(c.send(t.Context(), p.a, "GET", "/v1/mcp/srv", "", "Accept", "text/event-stream", "X-Tenant", "of the stream")) //nolint:bodyclose // stream closes it
	_, path := s.event()
	post := func(body, tenant string) {
		t.Helper()
		if got := c.read(c.send(t.Context(), p.a, "POST", path, body, "X-Tenant", tenant)); got.status != http.StatusAccepted { //nolint:bodyclose // read closes it
			t.Fatalf("%+v", got)
		}
	}
	post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, "of initialize")
	s.event()
	post(legacyCall, "one")
	s.event()
	post(legacyCall, "two")
	s.event()
	tenants("HTTP+SSE", "one", "two")

	b := p.caller("bob")
	opened := b.do(p.a, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
	b.session = opened.header.Get("Mcp-Session-Id")
	batch := "[" + legacyCall + "," + strings.Replace(legacyCall, `"id":1`, `"id":2`, 1) + "]"
	if got := b.with(p.a, batch, http.Header{"X-Tenant": {"of the batch"}}); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	tenants("batch", "of the batch", "of the batch")
}

// TestPassedHeadersOfHeldCalls: a call that waits for answers of a client without a session keeps its headers (M-78).
func TestPassedHeadersOfHeldCalls(t *testing.T) {
	p := newPair(t, true)
	tap := newWiretap(t, p.origin)
	p.passing(tap, func(*view.Server) {})
	p.question()
	c := p.caller("ada")
	c.modern = true
	got := c.with(p.a, c.call(""), http.Header{"X-Tenant": {"of the call"}})
	state := memberOf(t, memberOf(t, got.body, "result"), "requestState")
	if state == "" {
		t.Fatalf("the call gets %+v", got)
	}
	retry := c.call(`,"requestState":` + state + `,"inputResponses":{"q1":` + declined + `}`)
	if got := c.with(p.b, retry, http.Header{"X-Tenant": {"of the retry"}}); got.status != http.StatusOK || !strings.Contains(got.body, "decline") {
		t.Fatalf("the retry gets %+v", got)
	}
	seen := 0
	for _, r := range tap.take() {
		if r.what == "POST tools/call" || r.what == "POST reply" {
			seen++
			if !slices.Equal(r.header["X-Tenant"], []string{"of the call"}) {
				t.Errorf("%s: X-Tenant %q", r.what, r.header["X-Tenant"])
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d requests", seen)
	}
}
