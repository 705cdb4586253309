// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// FuzzHandler sends arbitrary methods, headers and bodies with a good token: the handler never panics, and every answer
// is empty, one JSON-RPC message, a stream of them, or the JSON of an answer before the body was read.
func FuzzHandler(f *testing.F) {
	w := newWorld(f, options{})
	close(w.calls.release) // the tool "wait" ends at once
	id := ask(w, http.MethodPost, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}`).Header().Get("Mcp-Session-Id")
	if id == "" {
		f.Fatal("no session")
	}
	fill := strings.NewReplacer("<session1>", id, "<meta>", metaModel, "<V>", metaV)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(text).Files {
			if strings.HasPrefix(part.Name, "request") {
				head, body, _ := strings.Cut(fill.Replace(string(part.Data)), "\n\n")
				first, headers, _ := strings.Cut(head, "\n")
				method, _, _ := strings.Cut(first, " ")
				f.Add(method, headers, []byte(body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, method, headers string, body []byte) {
		if method == http.MethodGet {
			return // a stream that is open goes on until the client leaves
		}
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/mcp/eng", bytes.NewReader(body))
		r.Method = method
		r.Header = http.Header{"Authorization": {"Bearer ada"}, "Content-Type": {"application/json"}}
		for _, line := range strings.Split(headers, "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				r.Header.Add(name, strings.TrimSpace(value))
			}
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		checkAnswer(t, rec)
	})
}

func checkAnswer(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	answer := rec.Body.Bytes()
	switch kind := rec.Header().Get("Content-Type"); {
	case len(answer) == 0:
	case kind == "text/event-stream":
		for _, line := range strings.Split(rec.Body.String(), "\n") {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				checkMessage(t, []byte(data))
			}
		}
	case kind != "application/json":
		t.Errorf("Content-Type %q", kind)
	case bytes.HasPrefix(answer, []byte(`{"error":"`)):
		var problem struct{ Error, Description string }
		if err := json.Unmarshal(answer, &problem); err != nil {
			t.Errorf("%s: %v", answer, err)
		}
	default:
		checkMessage(t, answer)
	}
}

func checkMessage(t *testing.T, raw []byte) {
	t.Helper()
	var m wire.Message
	if err := wire.Scan(raw, &m); err != nil {
		t.Errorf("%q is no JSON-RPC message: %v", raw, err)
	}
}
