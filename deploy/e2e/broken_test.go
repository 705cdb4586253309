// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/collector"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// answerWith is an upstream's answer of any kind.
func answerWith(status int, contentType, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the gateway may have hung up
	})
}

// brokenUpstream has the server behind the gateway misbehave: each call fails as a tool result that says which server and
// what, nothing of the upstream's HTTP gets through, and the list stays (G-51, G-52, M-46, M-72, UP-3, UP-8).
func (w *badWorld) brokenUpstream(t *testing.T) {
	_, err := w.env.Admin.Servers.UpdateServer(t.Context(), &adminv1.UpdateServerRequest{
		Server:     &resourcev1.Server{Name: "rec", MaxResponseBytes: 64 << 10, CallTimeout: durationpb.New(1e9)},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"max_response_bytes", "call_timeout"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.env.WaitEnforced(t)
	elsewhere := recorder.Start(t)
	cut := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	moved := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	big := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 128<<10) + `"}]}}`
	for _, tc := range []struct {
		name         string
		upstream     http.Handler
		text, reason string
		retryable    bool
	}{
		{"HTML", answerWith(200, "text/html", "<html>oops</html>"), "gave an answer that is not MCP: its content type is neither JSON nor an event stream", "UPSTREAM_PROTOCOL", true},
		{"half a document", answerWith(200, "application/json", `{"jsonrpc":"2.0","id":`), "gave an answer that is not MCP: a message is broken", "UPSTREAM_PROTOCOL", true},
		{"answer to another request", answerWith(200, "application/json", `{"jsonrpc":"2.0","id":987654321,"result":{}}`), "gave an answer that is not MCP: it does not belong to the request", "UPSTREAM_PROTOCOL", true},
		{"too large", answerWith(200, "application/json", big), "answered with more than is allowed", "RESPONSE_TOO_LARGE", true},
		{"401", answerWith(401, "application/json", `{"error":"invalid_token"}`), "refused the credential of its connection", "UPSTREAM_AUTH_FAILED", false},
		{"403", answerWith(403, "text/plain", "no"), "refused the credential of its connection", "UPSTREAM_AUTH_FAILED", false},
		{"500", answerWith(500, "text/plain", "panic"), "failed while it had the request, which may have run", "OUTCOME_UNKNOWN", false},
		{"503", answerWith(503, "text/plain", "busy"), "takes no requests at the moment", "UPSTREAM_UNREACHABLE", true},
		{"connection cut", cut, "broke the connection after it got the request, which may have run", "OUTCOME_UNKNOWN", false},
		{"redirect to another host", moved, "gave an answer that is not MCP: an HTTP status without an answer", "UPSTREAM_PROTOCOL", true},
		{"slow", silent, "did not answer in time", "UPSTREAM_TIMEOUT", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.upstream.Misbehave(tc.upstream)
			w.checkBroken(t, `The server "rec" `+tc.text+".", tc.reason, tc.retryable)
			w.upstream.Misbehave(nil)
			works(t, "after it", w.client().Modern(t, "tools/call", callEcho, nil), "hello")
		})
	}
	if n := len(elsewhere.Requests()); n > 0 {
		t.Errorf("%d requests followed a redirect to another host", n)
	}
	t.Run("circuit", w.circuit)
	t.Run("down", func(t *testing.T) {
		w.upstream.Stop()
		w.checkBroken(t, `The server "rec" cannot be reached.`, "UPSTREAM_UNREACHABLE", true)
	})
}

// circuit has the server fail until calls to it fail at once, naming it and a time, while those to another server of the
// gateway and the lists are as ever; it heals by itself (G-51, G-52).
func (w *badWorld) circuit(t *testing.T) {
	w.upstream.Misbehave(answerWith(502, "text/plain", "bad gateway"))
	echo := func() toolResult { return resultOf(t, w.client().Modern(t, "tools/call", callEcho, nil)) }
	testenv.Until(t, "the circuit is open", func() bool { return echo().Result.StructuredContent.Error.Type == "UPSTREAM_CIRCUIT_OPEN" })
	calls := len(w.upstream.Calls())
	r := echo()
	e := r.Result.StructuredContent.Error
	if !strings.HasPrefix(r.text(), `The server "rec" keeps failing; it will not be called again for `) || e.Server != "rec" || !e.Retryable || e.RetryAfterMS <= 0 {
		t.Errorf("got %q, %+v", r.text(), e)
	}
	if n := len(w.upstream.Calls()); n != calls {
		t.Errorf("%d calls reached the server", n-calls)
	}
	if got := strings.Join(names(t, w.client().Modern(t, "tools/list", noArguments, nil)), " "); got != "rec__echo rec__fail rec__hold" {
		t.Errorf("the list became %s", got)
	}
	if _, page := w.env.Nodes[0].Get(t, "/metrics"); !strings.Contains(page, `penstock_upstream_circuit{`) || !strings.Contains(page, `server="rec"`) {
		t.Error("no metric shows it")
	}
	w.upstream.Misbehave(nil)
	testenv.Until(t, "the server works again", func() bool { return !echo().Result.IsError })
}

// checkBroken calls a tool in both eras, and lists.
func (w *badWorld) checkBroken(t *testing.T, text, reason string, retryable bool) {
	t.Helper()
	legacy := w.client()
	legacy.Initialize(t)
	for era, a := range map[string]rawclient.Answer{
		"legacy": legacy.Legacy(t, "tools/call", callEcho), "modern": legacy.Modern(t, "tools/call", callEcho, nil),
	} {
		r := resultOf(t, a)
		e := r.Result.StructuredContent.Error
		if !r.Result.IsError || r.text() != text || e.Type != reason || e.Server != "rec" || e.Retryable != retryable {
			t.Errorf("%s: got %s, want %q (%s)", era, a.Body, text, reason)
		}
		w.answers.WriteString(a.Body)
	}
	if got := strings.Join(names(t, legacy.Legacy(t, "tools/list", noArguments)), " "); got != "rec__echo rec__fail rec__hold" {
		t.Errorf("the list became %s", got)
	}
}

// noSecretAnywhere searches for tokens and upstream secrets in all that the servers said, sent and stored (SE-4, ST-2, AU-4). For
// each place it first checks that it would be found there: what is no secret is.
func (w *badWorld) noSecretAnywhere(t *testing.T, sink *collector.Collector) {
	testenv.Until(t, "the traces", func() bool { return strings.Contains(sink.Text(), "rec__echo") })
	var metrics strings.Builder
	for _, p := range []*testenv.Part{w.env.ControlPlane, w.env.Authserver, w.env.Nodes[0].Part} {
		for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
			status, body := p.Get(t, path)
			if status != http.StatusOK {
				t.Errorf("%s%s answers %d", p.OpsURL, path, status)
			}
			metrics.WriteString(body)
		}
	}
	files := w.files(t)
	for _, place := range []struct{ name, text, control string }{
		{"the log", w.env.Log.String(), `"request answered"`},
		{"answers to clients", w.answers.String(), "UPSTREAM_PROTOCOL"},
		{"traces and pushed metrics", sink.Text(), "rec__echo"},
		{"ops pages", metrics.String(), "penstock_"},
		{"files", files, "streamable_http"},
	} {
		if !strings.Contains(place.text, place.control) {
			t.Errorf("%s: %q is not there, so the search finds nothing", place.name, place.control)
		}
		for i, secret := range w.secrets {
			bare := strings.TrimPrefix(secret, "Bearer ")
			if at := strings.Index(place.text, bare); at >= 0 {
				t.Errorf("%s: secret %d is there: …%q…", place.name, i, place.text[max(0, at-100):at])
			}
		}
	}
}

// files returns everything on disk but the one file whose purpose is a token.
func (w *badWorld) files(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(w.env.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "admin.token" {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the folder is this test's own
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(fmt.Errorf("read the data folder: %w", err))
	}
	return all.String()
}
