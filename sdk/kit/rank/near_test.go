// SPDX-License-Identifier: Apache-2.0

package rank_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// cosines says of each document how near it is, -2 that this is not known.
func cosines(list ...float32) func(int) (float32, bool) {
	return func(i int) (float32, bool) { return list[i], list[i] > -2 }
}

func names(r rank.Result) (list []string) {
	for _, h := range r.Hits {
		list = append(list, documents()[h.Doc].Name)
	}
	return list
}

// TestNearGuesses: what is near without a word of the query is found, marked as a guess, and counted; what has a word keeps its mark.
func TestNearGuesses(t *testing.T) {
	x := rank.New(documents(), nil)
	const query = "shipment whereabouts"
	if r := x.Search(query, rank.Options{}); len(r.Hits) != 0 {
		t.Fatalf("by words: %v", names(r))
	}
	near := cosines(0, 0, 0, 0, 0, 0.9, 0.1, 0)
	r := x.Search(query, rank.Options{Near: near})
	if len(r.Hits) == 0 || r.Hits[0].Doc != 5 || r.Matches != len(r.Hits) {
		t.Errorf("by meaning: %v, %d match", names(r), r.Matches)
	}
	for _, h := range r.Hits {
		if !h.Guess || !h.Low || h.Score <= 0 {
			t.Errorf("a hit without a word is no guess: %+v", h)
		}
	}
	if diff := cmp.Diff([]string{"shipment", "whereabouts"}, r.Unmatched); diff != "" {
		t.Errorf("unmatched (-want +got):\n%s", diff)
	}
	for limit := 1; limit <= 3; limit++ {
		if l := x.Search(query, rank.Options{Near: near, Limit: limit}); l.Matches != r.Matches || len(l.Hits) > limit {
			t.Errorf("limit %d: %d of %d", limit, len(l.Hits), l.Matches)
		}
	}
	if r := x.Search(query, rank.Options{Near: near, Keep: func(i int) bool { return i != 5 }}); slices.ContainsFunc(r.Hits, func(h rank.Hit) bool { return h.Doc == 5 }) {
		t.Errorf("a document that is not kept is found: %v", names(r))
	}
	by := x.Search("issue comment", rank.Options{})
	with := x.Search("issue comment", rank.Options{Near: cosines(0, 0, 1, 0, 0, 0, 0, 0)})
	low := map[int]bool{}
	for _, h := range by.Hits {
		low[h.Doc] = h.Low
	}
	for _, h := range with.Hits {
		if was, found := low[h.Doc]; h.Guess == found || found && h.Low != was {
			t.Errorf("marks of %s: %+v, by words Low is %t", documents()[h.Doc].Name, h, was)
		}
	}
}

// TestNearOrders: of documents that words cannot tell apart the nearer comes first.
func TestNearOrders(t *testing.T) {
	docs := []rank.Document{{Name: "b__ping"}, {Name: "c__ping"}, {Name: "d__ping"}}
	r := rank.New(docs, nil).Search("ping", rank.Options{Near: cosines(0.1, 0.5, 0.3)})
	if len(r.Hits) != 3 || r.Hits[0].Doc != 1 || r.Hits[1].Doc != 2 || r.Matches != 3 {
		t.Errorf("got %+v", r)
	}
}

// TestNearUnknown: where nothing is known, or all are as near, words alone rank.
func TestNearUnknown(t *testing.T) {
	x := rank.New(documents(), standard(t))
	for name, near := range map[string]func(int) (float32, bool){
		"unknown": cosines(-2, -2, -2, -2, -2, -2, -2, -2),
		"alike":   cosines(0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7),
	} {
		for _, query := range []string{"create issue", "comment on an issue", "zebra", "get rid of records"} {
			want, got := x.Search(query, rank.Options{}), x.Search(query, rank.Options{Near: near})
			if diff := cmp.Diff(names(want), names(got)); diff != "" || want.Matches != got.Matches {
				t.Errorf("%s, %s: %d match, want %d (-want +got):\n%s", name, query, got.Matches, want.Matches, diff)
			}
		}
	}
}

// TestNearScale: cosines of one model lie elsewhere than those of another; only their order and distances count.
func TestNearScale(t *testing.T) {
	x := rank.New(documents(), standard(t))
	queries := []string{"create issue", "list", "zebra", "a message to a channel"}
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 0))
		near, squeezed := make([]float32, 8), make([]float32, 8)
		for i := range near {
			n := random.IntN(17) - 8
			near[i], squeezed[i] = float32(n)/8, 0.75+float32(n)/64
		}
		query := queries[seed%uint64(len(queries))]
		scores := map[int]float64{}
		for _, h := range x.Search(query, rank.Options{Near: cosines(near...)}).Hits {
			scores[h.Doc] = h.Score
		}
		for _, h := range x.Search(query, rank.Options{Near: cosines(squeezed...)}).Hits {
			if score, ok := scores[h.Doc]; ok && math.Abs(score-h.Score) > 1e-3 {
				t.Fatalf("seed %d, document %d: %v and %v", seed, h.Doc, score, h.Score)
			}
		}
	}
}

// TestText: what the meaning of a document is taken from.
func TestText(t *testing.T) {
	d := rank.Document{Name: "git_hub__createPullRequest", Title: "Open a PR", Description: "Proposes changes. " + strings.Repeat("é", 400)}
	text := d.Text()
	if !strings.HasPrefix(text, "git hub create pull request. Open a PR. Proposes changes. éé") || len(text) > 400 || strings.ContainsRune(text, '�') {
		t.Errorf("got %q", text)
	}
	if text := (rank.Document{Name: "ping"}).Text(); text != "ping" {
		t.Errorf("got %q", text)
	}
}
