// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/embedding"
	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// Names of the systems with an embeddings endpoint.
const (
	reranked     = "penstock, re-ranked"
	rerankedBare = "penstock, no lexicon, re-ranked"
)

// meanings are the vectors of tools and queries, as search_tools has them of the same endpoint.
type meanings struct {
	model   string
	tools   [][]float32
	queries map[string][]float32
	index   time.Duration   // that the vectors of the tools took
	waits   []time.Duration // for the vector of each query, one after the other
}

// embeddings is what re-ranking costs.
type embeddings struct {
	Model        string  `json:"model"`
	IndexSeconds float64 `json:"index_seconds"` // for the vectors of all tools
	WaitP50      float64 `json:"wait_p50_ms"`   // for the vector of a query, which is what it adds to a search
	WaitP99      float64 `json:"wait_p99_ms"`
	P50Micros    float64 `json:"p50_micros"` // of a search over 10,000 tools with vectors, without that wait
	P99Micros    float64 `json:"p99_micros"`
}

// openMeanings asks the endpoint for all vectors.
func openMeanings(ctx context.Context, url, model string, tools []tool, queries []query) (*meanings, error) {
	client, err := embedding.New(embedding.Config{URL: url, Model: model, Egress: egress.Policy{AllowLoopback: true, AllowPrivate: true}})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	m := &meanings{model: model, queries: map[string][]float32{}}
	start := time.Now()
	for at := 0; at < len(tools); at += embedding.MaxTexts {
		var texts []string
		for _, t := range tools[at:min(at+embedding.MaxTexts, len(tools))] {
			texts = append(texts, t.Text())
		}
		vectors, err := client.Embed(ctx, texts)
		if err != nil {
			return nil, fmt.Errorf("embed the tools: %w", err)
		}
		m.tools = append(m.tools, vectors...)
	}
	m.index = time.Since(start)
	for _, q := range queries {
		start := time.Now()
		vectors, err := client.Embed(ctx, []string{q.Query})
		if err != nil {
			return nil, fmt.Errorf("embed the queries: %w", err)
		}
		m.waits = append(m.waits, time.Since(start))
		m.queries[q.Query] = vectors[0]
	}
	if len(m.waits) == 0 {
		return nil, errors.New("no query can be answered by the recorded tools")
	}
	return m, nil
}

func (m *meanings) figures() *embeddings {
	e := &embeddings{Model: m.model, IndexSeconds: m.index.Seconds()}
	e.WaitP50, e.WaitP99 = percentiles(m.waits, time.Millisecond)
	return e
}

// of is how near the tools are to a query, over and over if there are more documents than tools.
func (m *meanings) of(text string) func(int) (float32, bool) {
	q := m.queries[text]
	return func(i int) (float32, bool) { return embedding.Cosine(q, m.tools[i%len(m.tools)]), true }
}

func (m *meanings) search(x *rank.Index) func(string) []hit {
	return func(query string) []hit {
		var hits []hit
		for _, h := range x.Search(query, rank.Options{Limit: deepest, Near: m.of(query)}).Hits {
			hits = append(hits, hit{h.Doc, h.Low})
		}
		return hits
	}
}
