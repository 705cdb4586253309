// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Versions of MCP that the calls are made in.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// caller calls tools of one gateway.
type caller struct {
	url, token string
	session    string // of the legacy era; empty calls in the modern one
	forms      bool   // its person can be asked with forms
}

// answer is what came back.
type answer struct {
	status  int
	session string // Mcp-Session-Id
	body    string // the last JSON-RPC message
	text    string // of the result's first content
	state   string // requestState, of a result that asks
	failed  bool   // isError, or a JSON-RPC error

	challenge string // WWW-Authenticate
}

// tool calls a tool.
func (c caller) tool(ctx context.Context, name string, arguments any) (answer, error) {
	return c.send(ctx, "tools/call", name, map[string]any{"name": name, "arguments": arguments}, nil)
}

// watch calls a tool that reports progress, and event for each line of the answer as it comes.
func (c caller) watch(ctx context.Context, name string, arguments any, event func(line string)) (answer, error) {
	return c.send(ctx, "tools/call", name, map[string]any{
		"name": name, "arguments": arguments, "_meta": map[string]any{"progressToken": "p"},
	}, event)
}

// echo calls a tool that returns its message and fails unless that came back.
func (c caller) echo(ctx context.Context, name string) error {
	message := fmt.Sprintf("hello %d", time.Now().UnixNano())
	a, err := c.tool(ctx, name, map[string]any{"message": message})
	if err != nil {
		return err
	}
	if a.status != http.StatusOK || a.failed || a.text != message {
		return fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return nil
}

// initialize opens a legacy session and returns a caller in it.
func (c caller) initialize(ctx context.Context) (caller, error) {
	c.session = "none"
	a, err := c.send(ctx, "initialize", "", map[string]any{
		"protocolVersion": legacy, "capabilities": c.capabilities(), "clientInfo": map[string]any{"name": "process", "version": "1"},
	}, nil)
	if err != nil {
		return c, err
	}
	if a.status != http.StatusOK || a.session == "" {
		return c, fmt.Errorf("initialize: status %d: %s", a.status, a.body)
	}
	c.session = a.session
	return c, nil
}

func (c caller) capabilities() map[string]any {
	if c.forms {
		return map[string]any{"elicitation": map[string]any{}}
	}
	return map[string]any{}
}

func (c caller) header() http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Authorization": {"Bearer " + c.token},
	}
}

func (c caller) send(ctx context.Context, method, name string, params map[string]any, event func(string)) (answer, error) {
	header := c.header()
	switch {
	case c.session == "":
		header.Set("MCP-Protocol-Version", modern)
		header.Set("Mcp-Method", method)
		if name != "" {
			header.Set("Mcp-Name", name)
		}
		meta, ok := params["_meta"].(map[string]any)
		if !ok {
			meta = map[string]any{}
			params["_meta"] = meta
		}
		meta["io.modelcontextprotocol/protocolVersion"] = modern
		meta["io.modelcontextprotocol/clientCapabilities"] = c.capabilities()
	case method != "initialize":
		header.Set("MCP-Protocol-Version", legacy)
		header.Set("Mcp-Session-Id", c.session)
	}
	return c.post(ctx, header, map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, event)
}

// post sends a message of JSON-RPC.
func (c caller) post(ctx context.Context, header http.Header, message map[string]any, event func(string)) (answer, error) {
	request, err := json.Marshal(message)
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(request))
	if err != nil {
		return answer{}, err
	}
	r.Header = header
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	var body strings.Builder
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		body.WriteString(lines.Text() + "\n")
		if event != nil {
			event(lines.Text())
		}
	}
	if err := errors.Join(lines.Err(), res.Body.Close()); err != nil {
		return answer{}, err
	}
	a := read(body.String())
	a.status, a.session, a.challenge = res.StatusCode, res.Header.Get("Mcp-Session-Id"), res.Header.Get("WWW-Authenticate")
	return a, nil
}

// read takes a JSON-RPC response out of a body, which is JSON or a stream of events that ends with it.
func read(body string) answer {
	a := answer{body: strings.TrimSpace(body)}
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data:"); ok && strings.TrimSpace(data) != "" {
			a.body = strings.TrimSpace(data)
		}
	}
	var m struct {
		Result struct {
			IsError      bool
			Content      []struct{ Text string }
			RequestState string
		}
		Error json.RawMessage
	}
	if json.Unmarshal([]byte(a.body), &m) != nil {
		a.failed = true // the test shows the body
		return a
	}
	a.failed, a.state = m.Result.IsError || m.Error != nil, m.Result.RequestState
	if len(m.Result.Content) > 0 {
		a.text = m.Result.Content[0].Text
	}
	return a
}

// get fetches a page and returns its status and body; 0 if nobody answers.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }() // read to the end
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// ready waits until a readiness page says 200.
func ready(t *testing.T, origin string) {
	t.Helper()
	eventually(t, startTimeout, func() error {
		if status, body := get(t, origin+"/readyz"); status != http.StatusOK {
			return fmt.Errorf("%s/readyz: status %d: %s", origin, status, body)
		}
		return nil
	})
}
