// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// all is the row of every kind together, fitting that of every kind but nothing.
const (
	all     = "all"
	fitting = "all that fit"
)

// Goals on the test half, and P-11 of performance.md.
const (
	goalRecall5    = 0.83
	goalRecall1    = 0.62
	goalParaphrase = 0.67 // recall@5
	goalAbove      = 0.20 // recall@5 above plain BM25
	goalP99Micros  = 5000
	goalBuild      = 1.0 // seconds
)

// score is what a system answered of the queries of one kind.
type score struct {
	Queries int     `json:"queries"`
	At1     float64 `json:"recall_at_1"`
	At5     float64 `json:"recall_at_5"`
	At8     float64 `json:"recall_at_8"`
	MRR     float64 `json:"mrr"` // mean of 1/place, 0 below the eighth
	// WrongLow is the share of wanted tools among the hits that were marked as a guess.
	WrongLow float64 `json:"wrong_low"`

	found int
}

// figures of one system, by half and kind.
type figures struct {
	System string                       `json:"system"`
	Halves map[string]map[string]*score `json:"halves"`
}

// result is the figures of one measurement.
type result struct {
	Time         string    `json:"time"` // RFC 3339
	CPUs         int       `json:"cpus"`
	Tools        int       `json:"tools"`
	Servers      int       `json:"servers"`
	Queries      int       `json:"queries"`
	LeftOut      int       `json:"left_out"` // queries for tools that were not recorded
	Systems      []figures `json:"systems"`
	ListTokens   int       `json:"list_tokens"`   // of the plain list of all tools
	SearchTokens int       `json:"search_tokens"` // of the two tools and one answer, mean
	BuildSeconds float64   `json:"build_seconds"` // of an index of 10,000 tools
	P50Micros    float64   `json:"p50_micros"`    // of a search over 10,000 tools, without other load
	P99Micros    float64   `json:"p99_micros"`

	Embeddings *embeddings `json:"embeddings,omitempty"` // nil without an endpoint
}

// count adds a query to its rows. Sums become means as they go.
func (f *figures) count(q query, place int, hits []hit) {
	rows := []string{q.Kind, all}
	if q.Kind != nothing {
		rows = append(rows, fitting)
	}
	for _, row := range rows {
		s := f.Halves[q.Half][row]
		if s == nil {
			s = &score{}
			f.Halves[q.Half][row] = s
		}
		s.Queries++
		n := float64(s.Queries)
		mean := func(m *float64, value float64) { *m += (value - *m) / n }
		within := func(k int) float64 {
			if place > 0 && place <= k {
				return 1
			}
			return 0
		}
		mean(&s.At1, within(1))
		mean(&s.At5, within(5))
		mean(&s.At8, within(deepest))
		if place > 0 {
			mean(&s.MRR, 1/float64(place))
		} else {
			mean(&s.MRR, 0)
		}
		if place > 0 && q.Kind != nothing {
			s.found++
			low := 0.0
			if hits[place-1].Low {
				low = 1
			}
			s.WrongLow += (low - s.WrongLow) / float64(s.found)
		}
	}
}

func (r *result) of(system, half, row string) score {
	for _, f := range r.Systems {
		if s := f.Halves[half][row]; f.System == system && s != nil {
			return *s
		}
	}
	return score{}
}

// goal is one figure of the test half next to what it should be.
type goal struct {
	Name  string
	Value float64
	Want  float64
	Most  bool // Want is the most, not the least
}

func (g goal) met() bool {
	if g.Most {
		return g.Value <= g.Want
	}
	return g.Value >= g.Want
}

func (r *result) goals() []goal {
	mine := r.of(ranked, test, all)
	return []goal{
		{"recall@5", mine.At5, goalRecall5, false},
		{"recall@1", mine.At1, goalRecall1, false},
		{"recall@5, paraphrase", r.of(ranked, test, "paraphrase").At5, goalParaphrase, false},
		{"recall@5 above plain BM25", mine.At5 - r.of(plain, test, all).At5, goalAbove, false},
		{"recall@5 above plain BM25, all that fit", r.of(ranked, test, fitting).At5 - r.of(plain, test, fitting).At5, goalAbove, false},
		{"seconds to index 10,000 tools", r.BuildSeconds, goalBuild, true},
		{"µs of a search over 10,000 tools, p99", r.P99Micros, goalP99Micros, true},
	}
}

// missed are the goals that were not met.
func (r *result) missed() []string {
	var names []string
	for _, g := range r.goals() {
		if !g.met() {
			names = append(names, fmt.Sprintf("%s %.2f (%.2f)", g.Name, g.Value, g.Want))
		}
	}
	return names
}

func (r *result) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// writeTable writes the figures by half and kind, then the goals.
func (r *result) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // Flush tells
	p("%d tools of %d servers, %d queries (%d left out: their tools were not recorded)\n", r.Tools, r.Servers, r.Queries, r.LeftOut)
	for _, half := range []string{tuning, test} {
		p("\n%s half\tkind\tqueries\trecall@1\t@5\t@8\tMRR\tright but Low\n", half)
		for _, f := range r.Systems {
			for _, row := range append(kinds(), fitting, all) {
				if s := f.Halves[half][row]; s != nil {
					p("%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\n", f.System, row, s.Queries, s.At1, s.At5, s.At8, s.MRR, s.WrongLow)
				}
			}
		}
	}
	p("\ngoal, on the test half\tvalue\t\t\n")
	for _, g := range r.goals() {
		sign := "≥"
		if g.Most {
			sign = "≤"
		}
		p("%s\t%.2f\t%s %.2f\t%s\n", g.Name, g.Value, sign, g.Want, map[bool]string{true: "met", false: "MISSED"}[g.met()])
	}
	p("\ntokens of the whole list\t%d\t\t\ntokens of two tools and one search, mean\t%d\t\t\n", r.ListTokens, r.SearchTokens)
	if r.ListTokens > 0 {
		p("tokens saved\t%.1f%%\t\t\n", 100*(1-float64(r.SearchTokens)/float64(r.ListTokens)))
	}
	p("µs of a search over 10,000 tools, median\t%.0f\t\t\n", r.P50Micros)
	if e := r.Embeddings; e != nil {
		p("\nre-ranked by %s\t\t\t\ns for the vectors of all tools\t%.1f\t\t\n", e.Model, e.IndexSeconds)
		p("ms a search waits for its vector, median\t%.1f\t\t\nms a search waits for its vector, p99\t%.1f\t\t\n", e.WaitP50, e.WaitP99)
		p("µs of a search over 10,000 tools with vectors, median\t%.0f\t\t\n", e.P50Micros)
		p("µs of a search over 10,000 tools with vectors, p99\t%.0f\t\t\n", e.P99Micros)
	}
	return t.Flush()
}
