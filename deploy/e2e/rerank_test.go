// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
)

// searched is what a client reads of an answer of search_tools.
type searched struct {
	Total int
	Count int `json:"match_count"`
	Hint  string
	Tools []struct {
		Name string
		Low  bool `json:"low_confidence"`
	}
}

// TestReranked: a real model re-ranks search_tools once its endpoint is there; while it is not, words alone do, and no client is told of it.
func TestReranked(t *testing.T) {
	model, err := url.Parse(startNPM(t, "embeddings", "http"))
	if err != nil {
		t.Fatal(err)
	}
	path := model.Path
	model.Path = ""
	var up atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(model)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	env := testenv.Start(t, testenv.Config{Embeddings: dataplane.EmbeddingSettings{
		URL: front.URL + path, Model: "universal-sentence-encoder-lite", Timeout: 10 * time.Second, // what one core of a busy machine takes
	}})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	env.Apply(t, gatewayYAML("g", organization, "rec/echo", "rec/fail", "rec/steps")+"load_tools_when_needed: true\n")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "g")
	env.WaitEnforced(t)
	c := client(env, env.Nodes[0], "g", token.Text)
	c.Initialize(t)
	// No tool has a word of it, and the lexicon none for it.
	const paraphrase = "parrot these sentences"
	if got := searchTools(t, c, paraphrase); got.Total != 3 || len(got.Tools) != 0 || !strings.HasPrefix(got.Hint, "No tool matches. No tool has these words: ") {
		t.Errorf("while the endpoint is down: %+v", got)
	}
	up.Store(true)
	var got searched
	for ctx := within(t, 3*time.Minute); len(got.Tools) == 0 && ctx.Err() == nil; {
		got = searchTools(t, c, paraphrase)
	}
	if got.Total != 3 || got.Count != len(got.Tools) || !strings.HasPrefix(got.Hint, "No tool matches by its words; these may be near in meaning.") {
		t.Fatalf("when the endpoint is up: %+v", got)
	}
	for _, tool := range got.Tools {
		if !tool.Low || !slices.Contains([]string{"rec__echo", "rec__fail", "rec__steps"}, tool.Name) {
			t.Errorf("found %+v", tool)
		}
	}
	if got := searchTools(t, c, "echo a message"); len(got.Tools) == 0 || got.Tools[0].Name != "rec__echo" || got.Tools[0].Low {
		t.Errorf("by words and meaning: %+v", got)
	}
	_, page := env.Nodes[0].Get(t, "/metrics")
	for _, line := range []string{`penstock_search_reranks_total{outcome="pending"`, `penstock_search_reranks_total{outcome="reranked"`, `penstock_search_vectors{state="ready"`} {
		if !strings.Contains(page, line) {
			t.Errorf("no %s in the metrics", line)
		}
	}
}

// searchTools asks search_tools.
func searchTools(t *testing.T, c *rawclient.Client, query string) (s searched) {
	t.Helper()
	r := resultOf(t, c.Call(t, "search_tools", `{"query":"`+query+`"}`))
	if err := json.Unmarshal([]byte(r.text()), &s); err != nil {
		t.Fatalf("%v in %s", err, r.text())
	}
	return s
}
