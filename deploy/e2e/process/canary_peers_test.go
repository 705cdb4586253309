// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// telling is a real MCP server that remembers the headers of every request. While it refuses, it tells whoever asks what they sent, as
// careless servers do: in the challenge, in the text and in a header of its own.
type telling struct {
	URL    string
	refuse atomic.Bool

	to   *upstream
	mu   sync.Mutex // guards seen
	seen strings.Builder
}

func newTelling(t *testing.T) *telling {
	t.Helper()
	s := &telling{to: newUpstream(t, "")}
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.CloseClientConnections() // a node may listen for messages still
		web.Close()
	})
	s.URL = web.URL + "/mcp"
	return s
}

// ServeHTTP implements [http.Handler].
func (s *telling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	_, _ = fmt.Fprintln(&s.seen, r.Header) // a builder takes everything
	s.mu.Unlock()
	if !s.refuse.Load() {
		s.to.handler.ServeHTTP(w, r)
		return
	}
	sent := r.Header.Get("Authorization") + " " + r.Header.Get(secretHeader)
	w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer error=%q, error_description=%q", "invalid_token", "not good: "+sent))
	w.Header().Set("X-Sent", sent)
	http.Error(w, "not good: "+sent, http.StatusUnauthorized)
}

// recording is what the server saw.
func (s *telling) recording() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// overheard is an authorization server of others all of whose secrets are remembered: what it is sent to its token endpoint, and the
// codes and tokens that it gives. While it refuses, its errors repeat what they are about.
type overheard struct {
	t      *testing.T
	to     http.Handler
	known  *canaries
	refuse atomic.Bool

	mu       sync.Mutex // guards repeated
	repeated []string   // names of what refusals were about, a text for each
}

// ServeHTTP implements [http.Handler].
func (o *overheard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	atToken := r.URL.Path == "/oauth/token"
	var sent, names []string
	if atToken {
		for _, name := range []string{"code", "code_verifier", "client_secret", "refresh_token", "subject_token", "assertion"} {
			if value := r.PostFormValue(name); value != "" {
				o.known.note(name+" at a provider", value)
				sent, names = append(sent, value), append(names, name)
			}
		}
		if _, secret, ok := r.BasicAuth(); ok {
			sent, names = append(sent, secret), append(names, "client_secret_basic")
		}
	}
	if atToken && o.refuse.Load() {
		o.mu.Lock()
		o.repeated = append(o.repeated, strings.Join(names, " "))
		o.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{ // who asked may be gone
			"error": "invalid_grant", "error_description": "not good: " + strings.Join(sent, " "), "error_uri": "https://as.example/?" + strings.Join(sent, "&"),
		})
		return
	}
	answer := httptest.NewRecorder()
	o.to.ServeHTTP(answer, r)
	var given map[string]any
	if atToken && json.Unmarshal(answer.Body.Bytes(), &given) == nil {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if value, _ := given[name].(string); value != "" {
				o.known.note(name+" of a provider", value)
			}
		}
	}
	if to, err := url.Parse(answer.Header().Get("Location")); err == nil && to.Query().Get("code") != "" {
		o.known.note("code of a provider", to.Query().Get("code"))
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // who asked may be gone
}
