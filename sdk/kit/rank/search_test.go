// SPDX-License-Identifier: Apache-2.0

package rank_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/rank"
)

func documents() []rank.Document {
	return []rank.Document{
		{Name: "github__create_issue", Description: "Create a new issue in a repository", Arguments: []rank.Argument{{Name: "title"}, {Name: "assignees", Description: "Logins of users"}}},
		{Name: "github__list_issues", Description: "List issues of a repository"},
		{Name: "github__add_issue_comment", Description: "Add a comment to an issue"},
		{Name: "github__createPullRequest", Description: "Propose changes of one branch for another"},
		{Name: "slack__post_message", Title: "Send to a channel", Description: "Post a message", Arguments: []rank.Argument{{Name: "channel_id"}, {Name: "text"}}},
		{Name: "maps__geocode", Description: "Convert an address into coordinates"},
		{Name: "db__delete_many", Description: "Remove all documents that match the filter"},
		{Name: "git__stash", Description: "Shelve changes"},
	}
}

func standard(t testing.TB) *rank.Lexicon {
	t.Helper()
	l, err := rank.Standard()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSearchFindsFirst(t *testing.T) {
	x := rank.New(documents(), standard(t))
	for query, want := range map[string]string{
		"create issue":                "github__create_issue",
		"Create an issue, please!":    "github__create_issue",
		"comment on an issue":         "github__add_issue_comment",
		"pull requests":               "github__createPullRequest",
		"open a PR":                   "github__createPullRequest",
		"raise a ticket":              "github__create_issue",
		"browse the tickets":          "github__list_issues",
		"crate isue":                  "github__create_issue",
		"assignees":                   "github__create_issue",
		"send something to a channel": "slack__post_message",
		"geo code":                    "maps__geocode",
		"cordinates of an adress":     "maps__geocode",
		"get rid of records":          "db__delete_many",
		"slack":                       "slack__post_message",
	} {
		r := x.Search(query, rank.Options{})
		if len(r.Hits) == 0 || documents()[r.Hits[0].Doc].Name != want {
			t.Errorf("%q: got %+v, want %s first", query, r.Hits, want)
		}
	}
}

func TestSearchResult(t *testing.T) {
	x := rank.New(documents(), nil)
	for name, row := range map[string]struct {
		query     string
		options   rank.Options
		hits      int
		matches   int
		unmatched []string
	}{
		"empty query":           {"", rank.Options{}, 0, 0, nil},
		"stop words only":       {"how do I", rank.Options{}, 0, 0, nil},
		"limit":                 {"issue", rank.Options{Limit: 2}, 2, 3, nil},
		"limit is eight":        {"issue repository message address documents shelve propose", rank.Options{Limit: -1}, 8, 8, nil},
		"unmatched":             {"Zebra issue", rank.Options{}, 3, 3, []string{"zebra"}},
		"nothing":               {"zebra crossing", rank.Options{}, 0, 0, []string{"zebra", "crossing"}},
		"none kept":             {"issue", rank.Options{Keep: func(int) bool { return false }}, 0, 0, []string{"issue"}},
		"one kept":              {"issue comment", rank.Options{Keep: func(i int) bool { return i == 1 }}, 1, 1, []string{"comment"}},
		"error hidden from him": {"isue", rank.Options{Keep: func(i int) bool { return i > 2 }}, 0, 0, []string{"isue"}},
		"long query":            {strings.Repeat("issue ", 5000), rank.Options{}, 3, 3, nil},
		"digits are no errors":  {"1234", rank.Options{}, 0, 0, []string{"1234"}},
	} {
		r := x.Search(row.query, row.options)
		if len(r.Hits) != row.hits || r.Matches != row.matches {
			t.Errorf("%s: %d hits and %d matches, want %d and %d", name, len(r.Hits), r.Matches, row.hits, row.matches)
		}
		if diff := cmp.Diff(row.unmatched, r.Unmatched); diff != "" {
			t.Errorf("%s: unmatched (-want +got):\n%s", name, diff)
		}
		for i, h := range r.Hits {
			if h.Score <= 0 || i > 0 && h.Score > r.Hits[i-1].Score {
				t.Errorf("%s: hits out of order: %+v", name, r.Hits)
			}
		}
	}
	if r := rank.New(nil, standard(t)).Search("issue", rank.Options{}); len(r.Hits) != 0 || r.Matches != 0 {
		t.Errorf("no documents: %+v", r)
	}
}

// TestSearchEqual: of equal documents the first one is first, whatever the limit.
func TestSearchEqual(t *testing.T) {
	x := rank.New([]rank.Document{{Name: "a__ping"}, {Name: "b__ping"}, {Name: "c__ping"}}, nil)
	for limit := 1; limit <= 3; limit++ {
		for i, h := range x.Search("ping", rank.Options{Limit: limit}).Hits {
			if h.Doc != i {
				t.Errorf("limit %d: document %d at place %d", limit, h.Doc, i)
			}
		}
	}
}

func TestSearchLow(t *testing.T) {
	x := rank.New(documents(), standard(t))
	for query, low := range map[string]bool{
		"create an issue":                        false,
		"raise a ticket":                         false,
		"isues":                                  false,
		"order a pepperoni pizza with a comment": true,
		"translate the address into Japanese kanji": true,
	} {
		r := x.Search(query, rank.Options{})
		if len(r.Hits) == 0 || r.Hits[0].Low != low {
			t.Errorf("%q: got %+v, want Low %t", query, r.Hits, low)
		}
	}
}

// TestSearchKeepLeaksNothing: what is not kept shows neither in hits nor in scores, counts or unmatched words: they are those of an
// index that has the kept documents only (G-21).
func TestSearchKeepLeaksNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 1)) // repeatable
	words := strings.Fields("create issue isue ticket list listing messages mesage channel chanel delete branch brunch stash stahs geocode code geo pull request pr merge who assignees user zebra")
	text := func(n int) string {
		var list []string
		for range n {
			list = append(list, words[random.IntN(len(words))])
		}
		return strings.Join(list, " ")
	}
	for _, lexicon := range []*rank.Lexicon{nil, standard(t)} {
		for range 300 {
			var all, mine []rank.Document
			var kept []int
			for i := range 12 {
				d := rank.Document{Name: text(2), Description: text(3)}
				all = append(all, d)
				if random.IntN(2) == 0 {
					mine, kept = append(mine, d), append(kept, i)
				}
			}
			query := text(3)
			keep := func(i int) bool {
				for _, k := range kept {
					if k == i {
						return true
					}
				}
				return false
			}
			got, want := rank.New(all, lexicon).Search(query, rank.Options{Limit: 12, Keep: keep}), rank.New(mine, lexicon).Search(query, rank.Options{Limit: 12})
			for i := range want.Hits {
				want.Hits[i].Doc = kept[want.Hits[i].Doc]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q over %v, kept %v (-alone +kept):\n%s", query, all, kept, diff)
			}
		}
	}
}

// TestSearchTogether: callers share an index, and what one asked does not show in what another finds.
func TestSearchTogether(t *testing.T) {
	x := rank.New(documents(), standard(t))
	queries := []string{"create issue", "open a PR", "isue", "", "zebra", "send a message to a channel please"}
	want := make([]rank.Result, len(queries))
	for i, q := range queries {
		want[i] = rank.New(documents(), standard(t)).Search(q, rank.Options{})
	}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for n := range 200 {
				i := n % len(queries)
				if diff := cmp.Diff(want[i], x.Search(queries[i], rank.Options{})); diff != "" {
					t.Errorf("%q (-alone +together):\n%s", queries[i], diff)
					return
				}
			}
		})
	}
	callers.Wait()
}

// many are 10,000 tools with texts of the usual length.
func many() []rank.Document {
	verbs := strings.Fields("create list get update delete search add remove merge close send export import start stop move copy rename approve")
	nouns := strings.Fields("issue branch commit message channel invoice contact page database table file folder event deployment pod dashboard alert user team")
	list := make([]rank.Document, 10_000)
	for i := range list {
		verb, noun, more := verbs[i%len(verbs)], nouns[i/len(verbs)%len(nouns)], nouns[i/7%len(nouns)]
		list[i] = rank.Document{
			Name:        fmt.Sprintf("server%d__%s_%s_%s", i/50, verb, noun, more),
			Description: fmt.Sprintf("The tool is used to %s one %s that belongs to a %s, with number%d as its identifier. It fails if there is none, or if access is refused.", verb, noun, more, i),
			Arguments: []rank.Argument{
				{Name: noun + "_id", Description: "Identifier of the " + noun},
				{Name: "limit", Description: "How many results are returned at most"},
				{Name: "cursor", Description: "Where the last answer ended"},
				{Name: more, Description: "Name of the " + more},
			},
		}
	}
	return list
}

func BenchmarkNew(b *testing.B) {
	documents, lexicon := many(), standard(b)
	b.ReportAllocs()
	for b.Loop() {
		rank.New(documents, lexicon)
	}
}

func BenchmarkSearch(b *testing.B) {
	x := rank.New(many(), standard(b))
	for _, query := range []string{"create issue", "please get rid of the ticket that somebody opened on the board", "renme the chanel"} {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Search(query, rank.Options{Keep: func(int) bool { return true }})
			}
		})
	}
}
