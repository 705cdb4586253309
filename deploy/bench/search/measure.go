// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// many is the number of tools for the times (P-11).
const many = 10_000

// measure asks every system every query, and lists what the ranking did not find among five of the tuning half.
func measure(ctx context.Context, tools []tool, queries []query, near *meanings) (*result, []string, error) {
	lexicon, err := rank.Standard()
	if err != nil {
		return nil, nil, err
	}
	index, bare := rank.New(documents(tools), lexicon), rank.New(documents(tools), nil)
	r := &result{Time: time.Now().UTC().Format(time.RFC3339), CPUs: runtime.NumCPU(), Tools: len(tools), Servers: servers(tools), Queries: len(queries)}
	var misses []string
	asked := systems(tools, index, bare)
	if near != nil {
		r.Embeddings = near.figures()
		asked = append(asked, system{reranked, near.search(index)}, system{rerankedBare, near.search(bare)})
	}
	for _, s := range asked {
		f := figures{System: s.Name, Halves: map[string]map[string]*score{tuning: {}, test: {}}}
		for _, q := range queries {
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			hits := s.Search(q.Query)
			place := place(q, tools, hits)
			f.count(q, place, hits)
			if s.Name == ranked && q.Half == tuning && (place == 0 || place > 5) {
				misses = append(misses, miss(q, tools, hits))
			}
		}
		r.Systems = append(r.Systems, f)
	}
	r.saved(tools, queries, index)
	if err := r.times(ctx, tools, queries, lexicon, near); err != nil {
		return nil, nil, err
	}
	return r, misses, nil
}

func documents(tools []tool) []rank.Document {
	list := make([]rank.Document, len(tools))
	for i, t := range tools {
		list[i] = t.Document
	}
	return list
}

func servers(tools []tool) int {
	seen := map[string]bool{}
	for _, t := range tools {
		server, _, _ := strings.Cut(t.Name, "__")
		seen[server] = true
	}
	return len(seen)
}

// place is where the first wanted tool is among the hits, from 1; 0 if it is not. Where nothing fits it is 1 if no hit claims to.
func place(q query, tools []tool, hits []hit) int {
	if q.Kind == nothing {
		if slices.ContainsFunc(hits, func(h hit) bool { return !h.Low }) {
			return 0
		}
		return 1
	}
	return 1 + slices.IndexFunc(hits, func(h hit) bool { return slices.Contains(q.Want, tools[h.Doc].Name) })
}

// miss says what was found for a query of the tuning half.
func miss(q query, tools []tool, hits []hit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %q want %v got", q.ID, q.Kind, q.Query, q.Want)
	for _, h := range hits[:min(5, len(hits))] {
		b.WriteString(" " + tools[h.Doc].Name)
		if h.Low {
			b.WriteString("?")
		}
	}
	return b.String()
}

// saved reckons what a model has to read: the whole list, or two tools and the answer to one search. A token counts as four bytes.
func (r *result) saved(tools []tool, queries []query, index *rank.Index) {
	const perToken, twoTools = 4, 1800 // bytes; the definitions of search_tools and run_tool
	list := 0
	for _, t := range tools {
		list += t.Bytes + 1
	}
	answers := 0
	for _, q := range queries {
		for _, h := range index.Search(q.Query, rank.Options{Limit: deepest}).Hits {
			t := tools[h.Doc]
			answers += len(t.Name) + len(t.Description) + len(t.Signature) + len(`{"name":"","description":"","server":"","signature":"","available":true,"low_confidence":false},`)
		}
	}
	r.ListTokens = list / perToken
	r.SearchTokens = (twoTools + answers/max(1, len(queries))) / perToken
}

// times measures the index of 10,000 tools: the corpus over and over, each time as other servers. With vectors it measures that, too.
func (r *result) times(ctx context.Context, tools []tool, queries []query, lexicon *rank.Lexicon, near *meanings) error {
	docs := make([]rank.Document, 0, many)
	for n := 0; len(docs) < many; n++ {
		for _, t := range tools {
			if len(docs) == many {
				break
			}
			d := t.Document
			d.Name = fmt.Sprintf("copy%d%s", n, d.Name)
			docs = append(docs, d)
		}
	}
	start := time.Now()
	index := rank.New(docs, lexicon)
	r.BuildSeconds = time.Since(start).Seconds()
	var err error
	if r.P50Micros, r.P99Micros, err = took(ctx, index, queries, func(string) func(int) (float32, bool) { return nil }); err != nil || near == nil {
		return err
	}
	e := r.Embeddings
	e.P50Micros, e.P99Micros, err = took(ctx, index, queries, near.of)
	return err
}

// took is the median and the 99th percentile, in microseconds, of the times of all queries: of each the median of some rounds, because
// what other work on the machine adds is not the index's. near says what re-ranks a query, nil for words alone.
func took(ctx context.Context, index *rank.Index, queries []query, near func(text string) func(int) (float32, bool)) (p50, p99 float64, err error) {
	const rounds = 5
	all := make([]time.Duration, 0, len(queries))
	for _, q := range queries {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		o := rank.Options{Limit: deepest, Keep: func(int) bool { return true }, Near: near(q.Query)}
		var times [rounds]time.Duration
		for i := range times {
			start := time.Now()
			index.Search(q.Query, o)
			times[i] = time.Since(start)
		}
		slices.Sort(times[:])
		all = append(all, times[rounds/2])
	}
	if len(all) == 0 {
		return 0, 0, errors.New("no query can be answered by the recorded tools")
	}
	p50, p99 = percentiles(all, time.Microsecond)
	return p50, p99, nil
}

// percentiles are the median and the 99th percentile in a unit. It sorts what it is given.
func percentiles(times []time.Duration, unit time.Duration) (p50, p99 float64) {
	slices.Sort(times)
	in := func(d time.Duration) float64 { return float64(d) / float64(unit) }
	return in(times[len(times)/2]), in(times[len(times)*99/100])
}
