// SPDX-License-Identifier: Apache-2.0

package obs_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

func request(t *testing.T, h http.Handler, method, path string) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Header(), w.Body.String()
}

func TestReadyz(t *testing.T) {
	pass := func() (string, error) { return "revision 12", nil }
	fail := func() (string, error) { return "retrying", errors.New("no view loaded") }
	for _, tc := range []struct {
		name   string
		checks map[string]obs.Check
		code   int
		want   string
	}{
		{"no checks", nil, 200, `{"status":"ready","service":"svc","version":"1.2.3"}`},
		{
			"all pass",
			map[string]obs.Check{"view": pass, "authserver": func() (string, error) { return "", nil }},
			200,
			`{"status":"ready","service":"svc","version":"1.2.3","checks":[{"name":"authserver","ok":true},{"name":"view","ok":true,"detail":"revision 12"}]}`,
		},
		{
			"one fails",
			map[string]obs.Check{"view": fail, "a": pass},
			503,
			`{"status":"unready","service":"svc","version":"1.2.3","checks":[{"name":"a","ok":true,"detail":"revision 12"},{"name":"view","ok":false,"detail":"retrying","error":"no view loaded"}]}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := obs.Ops(obs.OpsConfig{Service: "svc", Version: "1.2.3", Checks: tc.checks})
			code, header, body := request(t, h, http.MethodGet, "/readyz")
			if code != tc.code || header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %v, want %d", code, header, tc.code)
			}
			if diff := cmp.Diff(tc.want+"\n", body); diff != "" {
				t.Error(diff)
			}
			// Alive is another question than ready.
			code, _, body = request(t, h, http.MethodGet, "/healthz")
			if code != 200 || body != `{"status":"ok","service":"svc","version":"1.2.3"}`+"\n" {
				t.Errorf("healthz gives %d %s", code, body)
			}
		})
	}
}

func TestReadyzRunsTheChecksEachTime(t *testing.T) {
	var err error
	h := obs.Ops(obs.OpsConfig{Checks: map[string]obs.Check{"store": func() (string, error) { return "", err }}})
	for _, step := range []struct {
		err  error
		code int
	}{{nil, 200}, {io.ErrClosedPipe, 503}, {nil, 200}} {
		err = step.err
		if code, _, body := request(t, h, http.MethodGet, "/readyz"); code != step.code || !json.Valid([]byte(body)) {
			t.Errorf("with %v: got %d %s, want %d", step.err, code, body, step.code)
		}
	}
}

func TestOpsPaths(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1") })
	with, without := obs.Ops(obs.OpsConfig{Metrics: page}), obs.Ops(obs.OpsConfig{})
	for _, tc := range []struct {
		name         string
		handler      http.Handler
		method, path string
		code         int
		holds        string
	}{
		{"metrics", with, "GET", "/metrics", 200, "up 1"},
		{"no metrics", without, "GET", "/metrics", 404, ""},
		{"HEAD of health", with, "HEAD", "/healthz", 200, ""},
		{"POST to health", with, "POST", "/healthz", 405, ""},
		{"profiles", with, "GET", "/debug/pprof/", 200, "goroutine"},
		{"one profile", with, "GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"command line", with, "GET", "/debug/pprof/cmdline", 200, "obs"},
		{"symbols", with, "POST", "/debug/pprof/symbol", 200, "num_symbols"},
		{"anything else", with, "GET", "/", 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, body := request(t, tc.handler, tc.method, tc.path)
			if code != tc.code || !strings.Contains(body, tc.holds) {
				t.Errorf("got %d %q, want %d and %q in it", code, body, tc.code, tc.holds)
			}
		})
	}
}
