// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// UP-10, UP-3: what a server's answer to a credential says of it, and that it is sent nowhere else.
func TestTry(t *testing.T) {
	const canary = "canary-value-of-the-person"
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	gone := httptest.NewServer(status(200))
	gone.Close()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		url     string // in place of the handler's
		tried   bool
		reason  string
	}{
		{"taken", status(200), "", true, ""},
		{"accepted", status(202), "", true, ""},
		{"not known", status(401), "", true, "CREDENTIAL_REFUSED"},
		{"not allowed", status(403), "", true, "CREDENTIAL_REFUSED"},
		{"a server of the SSE transport", status(405), "", false, ""},
		{"a bad request", status(400), "", false, ""},
		{"in trouble", status(503), "", false, ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "", false, ""},
		{"a stream without an end", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "", true, ""},
		{"away", nil, gone.URL, false, ""},
		{"no URL", nil, "stdio", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := &directory.Server{Name: "github", URL: tt.url}
			asked := 0
			if tt.handler != nil {
				server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					asked++
					_, _ = io.Copy(io.Discard, r.Body) // so that the server sees who hangs up
					if r.Header.Get("X-Api-Key") != canary || r.Header.Get("Content-Type") != "application/json" {
						t.Errorf("asked with %v", r.Header)
					}
					tt.handler(rw, r)
				}))
				defer server.Close()
				s.URL = server.URL + "/mcp"
			}
			tried, err := w.up.Try(t.Context(), s, vault.Secret{Headers: map[string]obsSecret{"X-Api-Key": canary}})
			if tt.reason == "" && err != nil || tt.reason != "" && fault.From(err).Reason != tt.reason || tried != tt.tried {
				t.Errorf("tried %t, %v", tried, err)
			}
			if tt.handler != nil && asked != 1 || elsewhere != 0 {
				t.Errorf("asked %d times, elsewhere %d", asked, elsewhere)
			}
			if strings.Contains(w.log.String(), canary) || err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the value is in the log or the error")
			}
		})
	}
}
