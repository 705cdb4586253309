// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/embedding"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// means is an endpoint whose vectors count words, by their hash; words of like are one word to it.
type means struct {
	mu      sync.Mutex
	like    map[string]string
	down    bool
	refuses string // texts of tools with this in them; a query has no full stop
	texts   []string
	metrics *sdkmetric.ManualReader
}

// Embed implements embed.Endpoint.
func (m *means) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errors.New("connection refused")
	}
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		if strings.Contains(text, ". ") {
			if m.refuses != "" && strings.Contains(text, m.refuses) {
				return nil, &embedding.StatusError{Code: 400}
			}
			m.texts = append(m.texts, text)
		}
		v := make([]float32, 64)
		v[0] = 0.01 // of a text without a word
		for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return r == ' ' || r == '.' || r == '_' }) {
			if like, ok := m.like[word]; ok {
				word = like
			}
			h := fnv.New32()
			_, _ = h.Write([]byte(word))
			v[h.Sum32()%64]++
		}
		vectors[i] = v
	}
	return vectors, ctx.Err()
}

// took returns the texts of tools that were embedded since it was called last, sorted.
func (m *means) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.texts
	m.texts = nil
	slices.Sort(got)
	return got
}

func (m *means) turn(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// reranked is how many searches were re-ranked.
func (m *means) reranked(t *testing.T) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := m.metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, i := range scope.Metrics {
			sum, ok := i.Data.(metricdata.Sum[int64])
			if !ok || i.Name != obs.MetricSearchReranks {
				continue
			}
			for _, p := range sum.DataPoints {
				if outcome, _ := p.Attributes.Value("outcome"); outcome.AsString() == "reranked" {
					n += p.Value
				}
			}
		}
	}
	return n
}

// vectors are made by an endpoint of the test's, until the test ends.
func vectors(t *testing.T) (*embed.Vectors, *means) {
	t.Helper()
	m := &means{metrics: sdkmetric.NewManualReader()}
	v, err := embed.New(embed.Config{
		Endpoint: m, Model: "words", Timeout: time.Second, Log: slog.New(slog.DiscardHandler),
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(m.metrics)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // it ends in the clean-up
	ended := make(chan error)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return v, m
}

// TestFoundByMeaning: a tool that has no word of the query is found as a guess, is counted, and the hint says how it was found; the words
// that nothing has are named. One that has a word keeps its confidence.
func TestFoundByMeaning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, e := vectors(t)
		e.like = map[string]string{"zebra": "meeting"}
		s := open(t, search.Config{Vectors: v})
		c := caller(publish(github()...), wire.Latest)
		const query = `{"query":"zebra"}`
		before, _ := find(t, s, c, query, available)
		if len(before.Tools) != 0 || !strings.HasPrefix(before.Hint, "No tool matches. No tool has these words: \"zebra\". Servers:") {
			t.Errorf("before there are vectors: %+v", before)
		}
		synctest.Wait()
		after, _ := find(t, s, c, query, available)
		if len(after.Tools) == 0 || after.Tools[0].Name != "calendar__add_meeting" || after.MatchCount != len(after.Tools) || after.Total != 4 || after.Truncated {
			t.Fatalf("by meaning: %+v", after)
		}
		for _, found := range after.Tools {
			if !found.LowConfidence {
				t.Errorf("%s was found by meaning alone and is no guess", found.Name)
			}
		}
		if want := `No tool matches by its words; these may be near in meaning. No tool has these words: "zebra". Servers: calendar, github, jira.`; after.Hint != want {
			t.Errorf("hint %q, want %q", after.Hint, want)
		}
		both, _ := find(t, s, c, `{"query":"add a meeting to the calendar"}`, available)
		if len(both.Tools) == 0 || both.Tools[0].Name != "calendar__add_meeting" || both.Tools[0].LowConfidence {
			t.Errorf("by words and meaning: %+v", both)
		}
		other, _ := find(t, s, c, `{"query":"zebra","server":"github"}`, available)
		for _, found := range other.Tools {
			if found.Server != "github" {
				t.Errorf("%s is of another server", found.Name)
			}
		}
		if none, _ := find(t, s, c, `{"query":"zebra","server":"nowhere"}`, available); none.Total != 0 || len(none.Tools) != 0 {
			t.Errorf("of no server: %+v", none)
		}
	})
}

// TestVectorsOfRevision: an index is built and embedded once, a new revision embeds what changed alone, and while the endpoint is down
// searches are what they are by words.
func TestVectorsOfRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, e := vectors(t)
		e.turn(true)
		built := 0
		s := open(t, search.Config{Vectors: v, Built: func(int) { built++ }})
		words := open(t, search.Config{})
		same := func(c *call.Caller, when string) {
			t.Helper()
			for _, query := range []string{`{"query":"create an issue"}`, `{"query":"branches"}`, `{"query":"zebra"}`} {
				_, want := find(t, words, c, query, available)
				if _, got := find(t, s, c, query, available); got != want {
					t.Errorf("%s, %s: got %s, want %s", when, query, got, want)
				}
			}
		}
		first := publish(github()...)
		same(caller(first, wire.Latest), "down at start")
		time.Sleep(time.Minute)
		same(caller(first, wire.Latest), "still down")
		e.turn(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := e.took(); len(got) != 4 {
			t.Errorf("embedded %q, want each tool once", got)
		}
		find(t, s, caller(first, wire.Latest), `{"query":"create an issue"}`, available)
		if e.reranked(t) != 1 {
			t.Errorf("%d searches re-ranked, want the last one", e.reranked(t))
		}
		changed := github()
		changed[3] = tool("calendar", "add_meeting", `,"description":"Puts an appointment into the diary."`)
		second := publish(changed...)
		find(t, s, caller(second, wire.Latest), `{"query":"create an issue"}`, available)
		synctest.Wait()
		if got := e.took(); len(got) != 1 || !strings.Contains(got[0], "diary") {
			t.Errorf("the next revision embedded %q, want the tool that changed", got)
		}
		if built != 2 {
			t.Errorf("%d indexes were built for two revisions", built)
		}
		e.turn(true)
		same(caller(second, wire.Latest), "down again")
		runtime.KeepAlive(first)
	})
}
