// SPDX-License-Identifier: Apache-2.0

package visitors_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/visitors"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/witness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStraight: visitors at the witnesses themselves lose nothing, so that what is lost behind a gateway is the gateway's
// doing; and what was done to them is found.
func TestStraight(t *testing.T) {
	journal := witness.NewJournal()
	start := func(sessions bool) http.Handler {
		w, err := witness.Start(t.Context(), witness.Config{Journal: journal, Sessions: sessions})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close() }) // some connections are open still
		u, err := url.Parse(w.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = ""
		return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	}
	keeper, plain := start(true), start(false)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("MCP-Protocol-Version") == "2026-07-28" {
			plain.ServeHTTP(w, r)
			return
		}
		keeper.ServeHTTP(w, r)
	}))
	defer front.Close()
	crowd := visitors.New(visitors.Config{
		URL: front.URL + "/mcp", Tokens: []string{"any"}, Count: 20, Pace: 200 * time.Millisecond, Timeout: 10 * time.Second,
	})
	defer crowd.Close()
	if err := crowd.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-time.After(4 * time.Second)
	goOn := crowd.Pause()
	defer goOn()
	<-time.After(time.Second) // the last notices
	tally, notices := crowd.Take(), crowd.CheckNotices(journal.Notices, func(time.Time) bool { return false }, func(string, time.Time) string { return "the witness" })
	t.Logf("%d calls, %d notices, %d streams", len(tally.Succeeded), notices.Sent, crowd.Streams())
	if len(tally.Failed) > 0 || tally.Lost > 0 || tally.Twice > 0 || len(tally.Succeeded) < 100 {
		t.Errorf("%d succeeded, failed: %+v; progress: %d lost, %d twice", len(tally.Succeeded), tally.Failed, tally.Lost, tally.Twice)
	}
	if notices.Lost > 0 || notices.Twice > 0 || notices.Sent < 20 {
		t.Errorf("notices: %+v", notices)
	}
	for token := range tally.Succeeded {
		if n := journal.Runs(token); n != 1 {
			t.Errorf("%s ran %d times", token, n)
		}
	}
}
