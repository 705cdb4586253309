// SPDX-License-Identifier: Apache-2.0

package rank_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/rank"
)

func TestLexiconRefuses(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"no kind":         {"ticket issue", `read lexicon: line 1: "ticket issue" is none of: a = b, a > b, a : b`},
		"line is counted": {"# words\n\nbug = defect\nnothing", `read lexicon: line 4: "nothing" is none of: a = b, a > b, a : b`},
		"empty side":      {"ticket >", `read lexicon: line 1: "": want one to 5 words that are no stop words`},
		"stop words only": {"who am i > whoami", `read lexicon: line 1: "who am i": want one to 5 words that are no stop words`},
		"long phrase":     {"one two three four five six = b2", `read lexicon: line 1: "one two three four five six": want one to 5 words that are no stop words`},
		"two kinds":       {"ticket > issue = bug", `read lexicon: line 1: "issue = bug": want one to 5 words that are no stop words`},
		"too long":        {strings.Repeat("#", 1<<20+1), "read lexicon: 1048577 bytes, at most 1048576"},
	} {
		if _, err := (*rank.Lexicon)(nil).With(row.text); err == nil || err.Error() != row.want {
			t.Errorf("%s: got %v, want %s", name, err, row.want)
		}
	}
}

// TestLexiconKinds: each kind of entry does what it says, in the direction it says.
func TestLexiconKinds(t *testing.T) {
	lexicon, err := (*rank.Lexicon)(nil).With("merge request = pull request = pr\nsomebody > member\ndelete : get rid of")
	if err != nil {
		t.Fatal(err)
	}
	x := rank.New([]rank.Document{
		{Name: "create_pull_request"}, {Name: "list_members"}, {Name: "delete_branch"}, {Name: "find_somebody"}, {Name: "accept_merge_request"},
	}, lexicon)
	for query, want := range map[string]int{
		"merge request":          4,
		"new pr":                 0,
		"somebody":               3,
		"members":                1,
		"get rid of that branch": 2,
	} {
		if r := x.Search(query, rank.Options{}); len(r.Hits) == 0 || r.Hits[0].Doc != want {
			t.Errorf("%q: got %+v, want document %d first", query, r.Hits, want)
		}
	}
	if r := x.Search("somebody", rank.Options{}); r.Matches != 2 {
		t.Errorf("somebody: %d matches, want the two that say somebody and member", r.Matches)
	}
	if r := x.Search("member", rank.Options{}); r.Matches != 1 {
		t.Errorf("member: %d matches, want one: the entry holds in one direction", r.Matches)
	}
}

// TestLexiconWith: entries of an administrator are added to a copy.
func TestLexiconWith(t *testing.T) {
	standard, err := rank.Standard()
	if err != nil {
		t.Fatal(err)
	}
	own, err := standard.With("zeppelin > issue\nissue > balloon")
	if err != nil {
		t.Fatal(err)
	}
	documents := []rank.Document{{Name: "list_branches"}, {Name: "create_issue"}, {Name: "inflate_balloon"}}
	if r := rank.New(documents, own).Search("zeppelins", rank.Options{}); len(r.Hits) != 1 || r.Hits[0].Doc != 1 {
		t.Errorf("own entry: got %+v", r)
	}
	if r := rank.New(documents, own).Search("ticket", rank.Options{}); len(r.Hits) == 0 || r.Hits[0].Doc != 1 {
		t.Errorf("an entry of the standard lexicon is lost: got %+v", r)
	}
	for _, query := range []string{"zeppelins", "balloons"} {
		r := rank.New(documents[:2], standard).Search(query, rank.Options{})
		if len(r.Hits) != 0 || len(r.Unmatched) != 1 || r.Unmatched[0] != query {
			t.Errorf("the standard lexicon learned of %s: got %+v", query, r)
		}
	}
	if r := rank.New(documents, standard).Search("issue", rank.Options{}); r.Matches != 1 {
		t.Errorf("the standard lexicon was changed: got %+v", r)
	}
}

// TestLexiconNeverBeatsTheWord: a rare word of the lexicon tells no more than the word that was typed, which many tools have.
func TestLexiconNeverBeatsTheWord(t *testing.T) {
	lexicon, err := (*rank.Lexicon)(nil).With("milestone = sprint")
	if err != nil {
		t.Fatal(err)
	}
	x := rank.New([]rank.Document{{Name: "sprint_summary"}, {Name: "milestone_summary"}, {Name: "milestone_list"}, {Name: "milestone_edit"}, {Name: "page"}}, lexicon)
	r := x.Search("milestones", rank.Options{})
	if len(r.Hits) != 4 || r.Hits[3].Doc != 0 {
		t.Errorf("want the sprint last of four: %+v", r.Hits)
	}
}
