// SPDX-License-Identifier: Apache-2.0

package view_test

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// An account at an identity provider finds its user, whoever had it before, and nobody who is deactivated or taken away. Views
// before are not changed.
func TestAccounts(t *testing.T) {
	one, two := view.Identity{Issuer: "i", Subject: "1"}, view.Identity{Issuer: "i", Subject: "2"}
	user := func(name string, ids ...view.Identity) *view.User {
		return &view.User{Name: name, UID: "uid-" + name, Identities: ids}
	}
	holder := view.NewHolder()
	revision := uint64(0)
	publish := func(users ...*view.User) *view.Snapshot {
		b := view.From(nil)
		if s := holder.Load(); s != nil {
			b = view.From(s.View)
		}
		for _, u := range users {
			b.PutUser(u.Name, u)
		}
		revision++
		holder.Publish(b.Build("e", revision))
		return holder.Load()
	}
	who := func(s *view.Snapshot, id view.Identity) string {
		u, refused := s.Account(id)
		switch {
		case refused:
			return "refused"
		case u == nil:
			return "nobody"
		default:
			return u.Name
		}
	}
	off := user("a", one)
	off.Deactivated = true
	first := publish(user("a", one), user("b", two))
	for _, tt := range []struct {
		name     string
		snapshot *view.Snapshot
		one, two string
	}{
		{"at first", first, "a", "b"},
		{"moved, whose it was first", publish(user("a"), user("b", one, two)), "b", "b"},
		{"moved, whose it is first", publish(user("a", one), user("b", two)), "a", "b"},
		{"taken away", publish(user("b")), "a", "nobody"},
		{"unchanged", publish(user("a", one)), "a", "nobody"},
		{"deactivated", publish(off), "refused", "nobody"},
		{"the first view", first, "a", "b"},
	} {
		if got := who(tt.snapshot, one) + " " + who(tt.snapshot, two); got != tt.one+" "+tt.two {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	if got := who(publish(user("a", one)), view.Identity{Issuer: "I", Subject: "1"}); got != "nobody" {
		t.Errorf("issuer in capitals: %s", got)
	}
	holder.Deny(revision+1, []view.Key{{Kind: "user", Name: "a"}})
	if got := who(holder.Load(), one); got != "refused" {
		t.Errorf("denied: %s", got)
	}
	b := view.From(holder.Load().View)
	b.PutUser("a", nil)
	holder.Publish(b.Build("e", revision+1))
	if got := who(holder.Load(), one); got != "nobody" {
		t.Errorf("deleted: %s", got)
	}
}
