// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/dataplane/internal/wire/mirrored"
)

// prober is a test, or one case of a property.
type prober interface {
	rapid.TB
	Context() context.Context
}

// reserved are the _meta members that a modern request must have; everything can be asked of its client.
const (
	declaredForms = `{"sampling":{"tools":{},"context":{}},"elicitation":{"form":{},"url":{}},"roots":{}}`
	reserved      = `"io.modelcontextprotocol/protocolVersion":"` + modernVersion + `","io.modelcontextprotocol/clientCapabilities":` + declaredForms +
		`,"io.modelcontextprotocol/logLevel":"debug"`
)

// consumer is an MCP client of one era at one gateway. It sends and gets bytes.
type consumer struct {
	url     string
	modern  bool
	session string
	http    *http.Client
	door    bool // tools are called through run_tool
}

func newConsumer(t prober, client *http.Client, base, gateway string, modern bool) *consumer {
	t.Helper()
	c := &consumer{url: base + "/v1/mcp/" + gateway, modern: modern, http: client}
	if modern {
		return c
	}
	resp := c.post(t, "initialize", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+legacyVersion+
		`","capabilities":`+declaredForms+`,"clientInfo":{"name":"c","version":"1"}}}`)
	defer resp.Body.Close()
	if c.session = resp.Header.Get("Mcp-Session-Id"); c.session == "" {
		t.Fatalf("no session: %s", resp.Status)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	level := c.request(t, "logging/setLevel", `{"level":"debug"}`, nil)
	if level.result == "" {
		t.Fatalf("logging/setLevel: %s", level.fault)
	}
	return c
}

// outcome is the answer to a request: the raw result or error of its response.
type outcome struct {
	result, fault string
	streamed      bool // it came as an event, so that line breaks have become spaces
}

// request sends a request, its params as they are, and gives what comes before the response to hear.
func (c *consumer) request(t prober, method, params string, hear func(message string)) outcome {
	t.Helper()
	if c.door && method == "tools/call" {
		params = throughDoor(t, params)
	}
	resp := c.post(t, method, `{"jsonrpc":"2.0","id":"q","method":"`+method+`","params":`+params+`}`)
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response(t, string(body), false)
	}
	events := bufio.NewReader(resp.Body)
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: the stream ended before the response: %v", method, err)
		}
		data, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: ")
		switch {
		case !ok || data == "":
		case memberOf(t, data, "method") != "":
			if hear == nil {
				t.Fatalf("%s: unexpected %s", method, data)
			}
			hear(data)
		default:
			return response(t, data, true)
		}
	}
}

func response(t prober, raw string, streamed bool) outcome {
	t.Helper()
	if id := memberOf(t, raw, "id"); id != `"q"` {
		t.Fatalf("the response to \"q\" is %s", raw)
	}
	return outcome{memberOf(t, raw, "result"), memberOf(t, raw, "error"), streamed}
}

func (c *consumer) post(t prober, method, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if c.modern {
		c.mirror(t, r.Header, method, body)
	} else if c.session != "" {
		r.Header.Set("Mcp-Session-Id", c.session)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// mirror sets the headers that repeat what is in the body (M-24).
func (c *consumer) mirror(t prober, h http.Header, method, body string) {
	t.Helper()
	h.Set("Mcp-Protocol-Version", modernVersion)
	h.Set("Mcp-Method", method)
	params := memberOf(t, body, "params")
	key := map[string]string{"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}[method]
	if raw := memberOf(t, params, key); key != "" && raw != "" {
		var name string
		if err := json.Unmarshal([]byte(raw), &name); err != nil {
			t.Fatal(err)
		}
		h.Set("Mcp-Name", mirrored.Text(name))
	}
}

// answer sends the response to a question of the server.
func (c *consumer) answer(t prober, id, result string) {
	t.Helper()
	resp := c.post(t, "", `{"jsonrpc":"2.0","id":`+id+`,"result":`+result+`}`)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("the answer got %s", resp.Status)
	}
}

// part is one member of an object.
type part struct {
	key   string
	text  string // from the first quote of the key to the end of the value
	value string
	at    int // of text in the object
}

// partsOf lists the members of an object with the bytes they are written in, by means of encoding/json only: what the node
// splices with is not what it is measured by. It is nil for anything but an object.
func partsOf(t prober, raw string) (out []part) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(raw))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil
	}
	for d.More() {
		from := int(d.InputOffset())
		from += strings.IndexByte(raw[from:], '"')
		key, err := d.Token()
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		out = append(out, part{key.(string), raw[from:d.InputOffset()], string(value), from})
	}
	return out
}

// memberOf returns the raw value of a member, "" if there is none.
func memberOf(t prober, raw, key string) string {
	t.Helper()
	for _, p := range partsOf(t, raw) {
		if p.key == key {
			return p.value
		}
	}
	return ""
}

// elementsOf lists the elements of an array as they are written.
func elementsOf(t prober, raw string) (out []string) {
	t.Helper()
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for _, e := range list {
		out = append(out, string(bytes.TrimSpace(e)))
	}
	return out
}
