// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValues(t *testing.T) {
	for query, want := range map[string][]string{
		"":                                      nil,
		"create an issue":                       nil,
		"Create an issue for Anna Smith":        {"anna", "smith"},
		"send an SMS":                           nil,
		"Done. Close it. Now":                   nil,
		`a ticket saying "login is broken" now`: {"login", "is", "broken"},
		`say “hello world”, please`:             {"hello", "world"},
		"open acme/web and config.yaml":         {"acme", "web", "config", "yaml"},
		"move JIRA-12 to #general":              {"jira", "12", "general"},
		`an unfinished "quote here`:             {"quote", "here"},
		`"`:                                     nil,
	} {
		if diff := cmp.Diff(want, values(newSplitter(false), nil, query)); diff != "" {
			t.Errorf("values of %q (-want +got):\n%s", query, diff)
		}
	}
}
