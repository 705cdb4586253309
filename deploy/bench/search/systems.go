// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// deepest is how many hits are looked at.
const deepest = 8

// hit is one tool that a system found.
type hit struct {
	Doc int
	Low bool
}

// system is one way to search.
type system struct {
	Name   string
	Search func(query string) []hit // best first, at most deepest
}

// Names of the systems.
const (
	ranked    = "penstock"
	unlearned = "penstock, no lexicon"
	plain     = "plain BM25"
	literal   = "substring"
)

func systems(tools []tool, index, bare *rank.Index) []system {
	return []system{
		{ranked, rankSearch(index)}, {unlearned, rankSearch(bare)}, {plain, bm25(tools)}, {literal, substring(tools)},
	}
}

func rankSearch(x *rank.Index) func(string) []hit {
	return func(query string) []hit {
		var hits []hit
		for _, h := range x.Search(query, rank.Options{Limit: deepest}).Hits {
			hits = append(hits, hit{h.Doc, h.Low})
		}
		return hits
	}
}

// tokens is what the two reference systems make of a text: lower-case letters and digits.
func tokens(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// everything is what the reference systems search: name, title and description.
func everything(t tool) string { return t.Name + " " + t.Title + " " + t.Description }

// bm25 is Okapi BM25 (k1 1.2, b 0.75) over one field, without stemming, stop words or anything else.
func bm25(tools []tool) func(string) []hit {
	const k1, b = 1.2, 0.75
	counts, lengths, with, total := make([]map[string]float64, len(tools)), make([]float64, len(tools)), map[string]float64{}, 0.0
	for d, t := range tools {
		counts[d] = map[string]float64{}
		for _, token := range tokens(everything(t)) {
			if counts[d][token]++; counts[d][token] == 1 {
				with[token]++
			}
			lengths[d]++
			total++
		}
	}
	n := float64(len(tools))
	mean := total / n
	return func(query string) []hit {
		scores := make([]float64, len(tools))
		for _, token := range tokens(query) {
			idf := math.Log(1 + (n-with[token]+0.5)/(with[token]+0.5))
			for d := range tools {
				if f := counts[d][token]; f > 0 {
					scores[d] += idf * f * (k1 + 1) / (f + k1*(1-b+b*lengths[d]/mean))
				}
			}
		}
		return best(scores)
	}
}

// substring counts which of the query's words are somewhere in the text: what a search box without an index does.
func substring(tools []tool) func(string) []hit {
	texts := make([]string, len(tools))
	for d, t := range tools {
		texts[d] = strings.ToLower(everything(t))
	}
	return func(query string) []hit {
		scores := make([]float64, len(tools))
		for _, token := range tokens(query) {
			for d := range texts {
				if strings.Contains(texts[d], token) {
					scores[d]++
				}
			}
		}
		return best(scores)
	}
}

func best(scores []float64) []hit {
	var docs []int
	for d, score := range scores {
		if score > 0 {
			docs = append(docs, d)
		}
	}
	slices.SortStableFunc(docs, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	var hits []hit
	for _, d := range docs[:min(len(docs), deepest)] {
		hits = append(hits, hit{Doc: d})
	}
	return hits
}
