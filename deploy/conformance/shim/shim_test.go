// SPDX-License-Identifier: Apache-2.0

package shim_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/conformance/shim"
)

func start(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	back := httptest.NewServer(handler)
	t.Cleanup(back.Close)
	target := back.URL + "/v1/mcp/eng"
	s, err := shim.Start(t.Context(), target, "the-token")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s.URL(target)
}

// TestRequest: a token is added, and nothing else changes.
func TestRequest(t *testing.T) {
	var got *http.Request
	var body []byte
	url := start(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Mcp-Session-Id", "s")
		w.WriteHeader(http.StatusAccepted)
	})
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
		text := ""
		if method == http.MethodPost {
			text = `{"jsonrpc":"2.0"}`
		}
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.example"
		r.Header = http.Header{"Origin": {"https://evil.example"}, "Mcp-Name": {" a "}, "User-Agent": {"suite"}, "Accept-Encoding": {"identity"}}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
		if answer.StatusCode != http.StatusAccepted || answer.Header.Get("Mcp-Session-Id") != "s" {
			t.Errorf("%s: answered %d %v", method, answer.StatusCode, answer.Header)
		}
		want := http.Header{
			"Authorization": {"Bearer the-token"}, "Origin": {"https://evil.example"}, "Mcp-Name": {"a"}, "User-Agent": {"suite"}, "Accept-Encoding": {"identity"},
		}
		if method == http.MethodPost {
			want.Set("Content-Length", "17")
		}
		if diff := cmp.Diff(want, got.Header); diff != "" {
			t.Errorf("%s: header (-want +got):\n%s", method, diff)
		}
		if got.Method != method || got.Host != "evil.example" || got.URL.Path != "/v1/mcp/eng" || string(body) != text {
			t.Errorf("got %s %s%s %q", got.Method, got.Host, got.URL, body)
		}
	}
}

// TestStream: what is flushed arrives, while the answer goes on.
func TestStream(t *testing.T) {
	url := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("first"))
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "first" {
		t.Errorf("got %q, %v", first, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
}

// TestWholeAnswers: no answer is cut off, however many come one after the other on a connection.
func TestWholeAnswers(t *testing.T) {
	long := strings.Repeat("x", 16<<10)
	url := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(len(long)))
		_, _ = io.WriteString(w, long)
	})
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // nothing was lost: every answer was read
	answers := bufio.NewReader(c)
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for i := range 2000 {
		// The suite's runtime sends them apart.
		for _, part := range []string{fmt.Sprintf("POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", path, host, len(body)), body} {
			if _, err := io.WriteString(c, part); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil || len(text) != len(long) {
			t.Fatalf("request %d: %d bytes, %v", i, len(text), err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
