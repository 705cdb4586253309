// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// A transcript is a txtar file: its comment says which rule it shows, a file "headers" holds what every request sends,
// then come files "request …" and "response …" in turn. A header line "!Name" leaves a default out. <name> stands for a
// variable; sessions are called <session1>, <session2>, … in the order they are made. "go test -update" writes the
// responses anew: read the diff.
//
//nolint:gochecknoglobals // flags of a test are
var update = flag.Bool("update", false, "write the responses of the transcripts anew")

const (
	metaV     = `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`
	metaModel = `"_meta":{` + metaV + `,"io.modelcontextprotocol/clientCapabilities":{}}`
)

// settings change the world of a transcript, by the word after "settings:" in its comment.
func settings(t *testing.T, comment string) *world {
	t.Helper()
	_, words, _ := strings.Cut(comment, "settings:")
	o := options{settings: edge.Settings{ChatGPTCompat: true}}
	words, _, _ = strings.Cut(words, "\n")
	set := strings.Fields(words)
	o.settings.ChatGPTCompat = !slices.Contains(set, "no-compat")
	o.empty = slices.Contains(set, "no-view")
	if slices.Contains(set, "small-body") {
		o.settings.Limits.Body = 300
	}
	w := newWorld(t, o)
	for _, s := range set {
		switch s {
		case "draining":
			w.health.draining.Store(true)
		case "drained":
			w.Drain()
			w.Drain()
		case "stale":
			w.health.stale.Store(int64(61 * time.Second))
		case "authn-away":
			w.authn.fail(fault.New(fault.Unavailable, "REVOCATIONS_STALE", "Revocations are too old.").After(time.Second))
		case "authn-flood":
			w.authn.fail(fault.New(fault.Exhausted, "AUTHN_FLOOD", "Too many attempts.").After(30 * time.Second))
		case "authn-bug":
			w.authn.fail(io.ErrUnexpectedEOF)
		}
	}
	return w
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { transcript(t, file) })
	}
}

func transcript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(text)
	w := settings(t, string(a.Comment))
	server := httptest.NewServer(w)
	defer server.Close()
	c := &conversation{t: t, url: server.URL, vars: map[string]string{
		"meta": metaModel, "V": metaV, "eng-uid": engUID, "host": strings.TrimPrefix(server.URL, "http://"),
		"1KiB": strings.Repeat("x", 1024), "deep": strings.Repeat("[", 300) + strings.Repeat("]", 300),
		"254": strings.Repeat("[", 254) + strings.Repeat("]", 254), "255": strings.Repeat("[", 255) + strings.Repeat("]", 255),
		"64": batch(64), "65": batch(65), "64-params": params(64), "65-params": params(65),
		"513": strings.Repeat("x", 513), "64KiB": strings.Repeat("x", 64<<10), "bom": "\ufeff", "latin-1": "\xe4",
	}}
	out := &txtar.Archive{Comment: a.Comment}
	var got string
	for _, f := range a.Files {
		kind, _, _ := strings.Cut(f.Name, " ")
		switch kind {
		case "headers":
			c.defaults = string(f.Data)
		case "request":
			got = c.do(f.Name, string(f.Data))
			if *update {
				out.Files = append(out.Files, f, txtar.File{Name: "response" + strings.TrimPrefix(f.Name, "request"), Data: []byte(got)})
				continue
			}
		case "response":
			if *update {
				continue
			}
			if diff := cmp.Diff(string(f.Data), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", f.Name, diff)
			}
		default:
			t.Fatalf("a file of a transcript is called %q", f.Name)
		}
		out.Files = append(out.Files, f)
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// batch is an array of n notifications.
func batch(n int) string {
	return "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"notifications/x"},`, n-1) + `{"jsonrpc":"2.0","method":"notifications/x"}]`
}

// params are n headers that repeat arguments.
func params(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Mcp-Param-X%d: x\n", i)
	}
	return b.String()
}

// conversation is one run of a transcript.
type conversation struct {
	t        *testing.T
	url      string
	defaults string
	vars     map[string]string
	sessions int
	streams  int
	schema   schemas
}

var variable = regexp.MustCompile(`<[a-zA-Z0-9-]+>`)

func (c *conversation) fill(s string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := c.vars[strings.Trim(name, "<>")]; ok {
			return v
		}
		return name
	})
}

// do sends a request and renders the response.
func (c *conversation) do(name, text string) string {
	c.t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	body = c.fill(strings.TrimSuffix(body, "\n"))
	method, path, ok := strings.Cut(c.fill(lines[0]), " ")
	if !ok {
		c.t.Fatalf("%s: the first line is %q", name, lines[0])
	}
	ctx, leave := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	for _, line := range strings.Split(strings.TrimSpace(c.defaults), "\n") {
		c.header(r, line)
	}
	named := map[string]bool{}
	for _, line := range lines[1:] {
		if key, _, _ := strings.Cut(line, ":"); !named[key] {
			named[key] = true
			r.Header.Del(key)
		}
		for _, one := range strings.Split(c.fill(line), "\n") {
			c.header(r, one)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	if method == http.MethodGet && resp.Header.Get("Content-Type") == "text/event-stream" {
		return c.render(resp, c.firstEvent(name, resp.Body))
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.schema.check(c.t, name, r, body, resp, answer)
	return c.render(resp, answer)
}

// firstEvent reads a stream that goes on until its first event, and leaves it. The sealed id in it is called <sse1>,
// <sse2>, ….
func (c *conversation) firstEvent(name string, body io.Reader) []byte {
	c.t.Helper()
	var event []byte
	for lines := bufio.NewReader(body); !bytes.HasSuffix(event, []byte("\n\n")); {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", name, err)
		}
		event = append(event, line...)
	}
	return sealedID.ReplaceAllFunc(event, func(id []byte) []byte {
		c.streams++
		key := fmt.Sprint("sse", c.streams)
		c.vars[key] = strings.TrimPrefix(string(id), "sessionId=")
		return []byte("sessionId=<" + key + ">")
	})
}

var sealedID = regexp.MustCompile(`sessionId=[A-Za-z0-9._~-]+`)

func (c *conversation) header(r *http.Request, line string) {
	if gone, ok := strings.CutPrefix(line, "!"); ok {
		r.Header.Del(gone)
		return
	}
	key, value, ok := strings.Cut(line, ":")
	if !ok {
		return
	}
	if value = strings.TrimSpace(value); key == "Host" {
		r.Host = value
		return
	}
	r.Header.Add(key, value)
}

// shown are the headers that a transcript shows.
func shown() []string {
	return []string{
		"Content-Type", "Cache-Control", "X-Accel-Buffering", "Www-Authenticate", "Retry-After", "Allow", "Mcp-Session-Id", "Location",
		"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
		"Access-Control-Expose-Headers", "Vary",
	}
}

// eventID is the part of an event's id that is made anew for each node: its name, and that of the session's shelf.
var eventID = regexp.MustCompile(`(?m)^id: [0-9a-z]+\.[0-9a-z]+\.`)

// sessionKey is what dispatch knows a session by.
var sessionKey = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

var requestID = regexp.MustCompile(`"request_id":"[0-9a-f]{12}-[0-9a-z]+"`)

func (c *conversation) render(resp *http.Response, answer []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", resp.StatusCode)
	for _, key := range shown() {
		for _, value := range resp.Header.Values(key) {
			if key == "Mcp-Session-Id" {
				c.sessions++
				c.vars[fmt.Sprint("session", c.sessions)] = value
				value = fmt.Sprintf("<session%d>", c.sessions)
			}
			fmt.Fprintf(&b, "%s: %s\n", key, strings.ReplaceAll(value, c.vars["host"], "<host>"))
		}
	}
	answer = eventID.ReplaceAll(answer, []byte("id: <stream>."))
	answer = sessionKey.ReplaceAll(answer, []byte("<key>"))
	answer = requestID.ReplaceAll(answer, []byte(`"request_id":"<request-id>"`))
	if answer = bytes.TrimRight(answer, "\n"); len(answer) > 0 {
		fmt.Fprintf(&b, "\n%s\n", answer)
	}
	return b.String()
}
