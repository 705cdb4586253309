// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TestTeams: the index from people to teams follows each change, views before keep theirs, and denials count at once.
func TestTeams(t *testing.T) {
	team := func(name string, members ...string) *Team {
		m := make(map[string]struct{})
		for _, user := range members {
			m[user] = struct{}{}
		}
		return &Team{Name: name, UID: "uid-" + name, Members: m}
	}
	ada := ident.Principal{Kind: ident.KindUser, Name: "ada"}
	holder := NewHolder()
	check := func(what string, s *Snapshot, p ident.Principal, want ...string) {
		t.Helper()
		var got []string
		s.Teams(p, func(t *Team) { got = append(got, t.Name) })
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	b := From(nil)
	b.PutTeam("eng", team("eng", "ada", "bob"))
	b.PutTeam("ops", team("ops", "ada"))
	first := b.Build("e", 1)
	holder.Publish(first)
	before := holder.Load()
	check("member of two", before, ada, "eng", "ops")
	check("member of one", before, ident.Principal{Kind: ident.KindUser, Name: "bob"}, "eng")
	check("member of none", before, ident.Principal{Kind: ident.KindUser, Name: "carl"})
	check("a team's token", before, ident.Principal{Kind: ident.KindTeam, Name: "ops"}, "ops")
	check("a machine", before, ident.Principal{Kind: ident.KindServiceAccount, Name: "ada"})

	b = From(first)
	b.PutTeam("eng", team("eng", "bob", "carl"))
	b.PutTeam("new", team("new", "ada"))
	holder.Publish(b.Build("e", 2))
	check("after a change", holder.Load(), ada, "new", "ops")
	check("the view before", before, ada, "eng", "ops")

	holder.Deny(3, []Key{{"team", "ops"}, {"team_member", "new/ada"}})
	check("denied", holder.Load(), ada)
	b = From(first)
	b.PutTeam("ops", nil)
	b.PutTeam("eng", nil)
	holder.Publish(b.Build("e", 4))
	check("no teams", holder.Load(), ada)
}
