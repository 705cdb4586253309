// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
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
		"65": "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"notifications/x"},`, 64) + `{"jsonrpc":"2.0","method":"notifications/x"}]`,
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

// conversation is one run of a transcript.
type conversation struct {
	t        *testing.T
	url      string
	defaults string
	vars     map[string]string
	sessions int
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
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
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
		c.header(r, c.fill(line))
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.schema.check(c.t, name, r, body, resp, answer)
	return c.render(resp, answer)
}

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
	answer = requestID.ReplaceAll(answer, []byte(`"request_id":"<request-id>"`))
	if answer = bytes.TrimRight(answer, "\n"); len(answer) > 0 {
		fmt.Fprintf(&b, "\n%s\n", answer)
	}
	return b.String()
}
