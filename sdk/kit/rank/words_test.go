// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                    nil,
		"  -- __ ":                            nil,
		"github__create_issue":                {"github", "create", "issue"},
		"listPullRequests":                    {"list", "pull", "requests"},
		"HTTPServer2Config":                   {"http", "server2", "config"},
		"getURLs of PRs":                      {"get", "urls", "of", "prs"},
		"s3 and oauth2":                       {"s3", "and", "oauth2"},
		"atlas-list-db-users":                 {"atlas", "list", "db", "users"},
		"the server's don't":                  {"the", "server", "s", "don", "t"},
		"Größe ändern":                        {"größe", "ändern"},
		strings.Repeat("x", wordMax+1) + " a": {"a"},
		"\xff\xfea":                           {"a"},
	} {
		if diff := cmp.Diff(want, newSplitter(false).words(nil, text)); diff != "" {
			t.Errorf("words of %q (-want +got):\n%s", text, diff)
		}
	}
}

func TestTerms(t *testing.T) {
	got := newSplitter(true).terms("Please show me the issues that are assigned to my repositories")
	if diff := cmp.Diff([]string{"show", "issu", "assign", "repositori"}, got); diff != "" {
		t.Errorf("terms (-want +got):\n%s", diff)
	}
}

func FuzzWords(f *testing.F) {
	f.Add("listPullRequests URLs' ’x\xffÄb")
	f.Fuzz(func(t *testing.T, text string) {
		for _, word := range newSplitter(false).words(nil, text) {
			if word == "" || strings.ContainsAny(word, " _-") {
				t.Errorf("word %q of %q", word, text)
			}
		}
	})
}
