// SPDX-License-Identifier: Apache-2.0

// Package rawclient is an MCP client without a library: it sends the bytes a test wants, right or wrong, and returns the bytes
// that came back, in both eras.
//
// End-to-end tests call it. It must never read more into an answer than HTTP and event streams.
package rawclient

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Versions of the protocol that tests speak.
const (
	Modern = "2026-07-28"
	Legacy = "2025-11-25"
)

// Meta is the _meta of a modern request.
const Meta = `{"io.modelcontextprotocol/protocolVersion":"` + Modern + `","io.modelcontextprotocol/clientCapabilities":{}}`

// Client calls one gateway as one caller. The zero Token sends none.
type Client struct {
	HTTP  *http.Client
	URL   string
	Token string

	session string // of the legacy era, set by Initialize
}

// Answer is what came back. After a transport error, which fails the test, it is zero.
type Answer struct {
	Status   int
	Header   http.Header
	Body     string   // as it came
	Messages []string // JSON-RPC messages in it, from JSON or from an event stream
}

// Last returns the last message, the response; empty if there is none.
func (a Answer) Last() string {
	if len(a.Messages) == 0 {
		return ""
	}
	return a.Messages[len(a.Messages)-1]
}

// Request is one HTTP request. Header entries, Host among them, replace what a right client sends; one that is nil takes a header
// away.
type Request struct {
	Method  string // POST if empty
	Query   string // with its question mark
	Header  http.Header
	Body    string
	Chunked bool // does not say how long the body is
}

// Send sends a request. It may be called from any goroutine.
func (c *Client) Send(t testing.TB, r Request) Answer {
	t.Helper()
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(t.Context(), r.Method, c.URL+r.Query, strings.NewReader(r.Body))
	if err != nil {
		t.Errorf("make request: %v", err)
		return Answer{}
	}
	if r.Chunked {
		request.ContentLength = -1
	}
	c.head(request.Header)
	for name, values := range r.Header {
		switch {
		case name == "Host":
			request.Host = values[0]
		case values == nil:
			request.Header.Del(name)
		default:
			request.Header[name] = values
		}
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		t.Errorf("send request: %v", err)
		return Answer{}
	}
	defer func() { _ = response.Body.Close() }() // it was read to its end
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("read answer: %v", err)
	}
	a := Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	switch {
	case strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream"):
		a.Messages = events(body)
	case len(body) > 0:
		a.Messages = []string{a.Body}
	}
	return a
}

func (c *Client) head(h http.Header) {
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	if c.Token != "" {
		h.Set("Authorization", "Bearer "+c.Token)
	}
	if c.session != "" {
		h.Set("Mcp-Session-Id", c.session)
		h.Set("Mcp-Protocol-Version", Legacy)
	}
}

// events returns the data of the events of a stream; events without data are skipped.
func events(body []byte) []string {
	var list []string
	var data []string
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "data:"):
			data = append(data, strings.TrimPrefix(strings.TrimPrefix(line, "data:"), " "))
		case line == "" && data != nil:
			list = append(list, strings.Join(data, "\n"))
			data = nil
		}
	}
	return list
}

// Initialize starts a legacy session; what it returns is the answer to initialize.
func (c *Client) Initialize(t testing.TB) Answer {
	t.Helper()
	c.session = ""
	a := c.Send(t, Request{Body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + Legacy +
		`","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`})
	if c.session = a.Header.Get("Mcp-Session-Id"); c.session != "" {
		done := c.Send(t, Request{Body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`})
		if done.Status != http.StatusAccepted || done.Body != "" {
			t.Errorf("notifications/initialized answered %d %q", done.Status, done.Body)
		}
	}
	return a
}

// Session returns the legacy session id, empty before Initialize.
func (c *Client) Session() string { return c.session }

// Legacy sends a request, with id 1, in the session. params is a JSON object.
func (c *Client) Legacy(t testing.TB, method, params string) Answer {
	t.Helper()
	return c.Send(t, Request{Body: `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`})
}

// Modern sends a request, with id 1, of the modern era. params is a JSON object without _meta; headers are as in [Request].
func (c *Client) Modern(t testing.TB, method, params string, headers http.Header) Answer {
	t.Helper()
	return c.Send(t, ModernRequest(method, params, headers))
}

// ModernRequest is what [Client.Modern] sends.
func ModernRequest(method, params string, headers http.Header) Request {
	h := http.Header{"Mcp-Protocol-Version": {Modern}, "Mcp-Method": {method}, "Mcp-Session-Id": nil}
	if _, name, ok := strings.Cut(params, `"name":"`); ok && method == "tools/call" {
		name, _, _ = strings.Cut(name, `"`)
		h.Set("Mcp-Name", name)
	}
	for name, values := range headers {
		h[name] = values
	}
	rest := strings.TrimPrefix(params, "{")
	if rest != "}" {
		rest = "," + rest
	}
	return Request{Header: h, Body: `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{"_meta":` + Meta + rest + `}`}
}

// Call calls a tool in the modern era.
func (c *Client) Call(t testing.TB, tool, arguments string) Answer {
	t.Helper()
	return c.Modern(t, "tools/call", `{"name":"`+tool+`","arguments":`+arguments+`}`, nil)
}
