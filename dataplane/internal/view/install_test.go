// SPDX-License-Identifier: Apache-2.0

package view

import (
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// installed is a world with the server "s", which wants a secret, and people in teams.
func installed(server *Server, list ...*Connection) *Builder {
	b := From(nil)
	b.PutServer(server.Name, server)
	for _, name := range []string{"ada", "bob"} {
		b.PutUser(name, &User{Name: name, UID: "uid-" + name})
	}
	ada := map[string]struct{}{"ada": {}}
	for _, name := range []string{"ops", "eng", "art"} { // not in the order of their names
		b.PutTeam(name, &Team{Name: name, UID: "uid-" + name, Members: ada})
	}
	b.PutGateway(&Gateway{Gateway: compile.Gateway{Name: "g", UID: "uid-g", Visibility: Visibility{Teams: []string{"ops", "eng"}}}})
	for _, c := range list {
		b.PutConnection(c.Name, c)
	}
	return b
}

func conn(name string, kind compile.OwnerKind, owner string) *Connection {
	return &Connection{Name: name, UID: "uid-" + name, Server: "s", OwnerKind: kind, Owner: owner, CredentialVersion: "v"}
}

func bareConn(name string, kind compile.OwnerKind, owner string) *Connection {
	c := conn(name, kind, owner)
	c.CredentialVersion = ""
	return c
}

// G-12: the caller's own, then a team's, the gateway's teams first and then by name, then the organisation's.
func TestChoose(t *testing.T) {
	secret, open, ownOnly := &Server{Name: "s", NeedsSecret: true}, &Server{Name: "s"}, &Server{Name: "s", NeedsSecret: true, OwnOnly: true}
	made := &Server{Name: "s", NeedsSecret: true, Made: "m_1"}
	user, team, organization := compile.OwnerUser, compile.OwnerTeam, compile.OwnerOrganization
	ada := ident.Principal{Kind: ident.KindUser, UID: "uid-ada", Name: "ada"}
	of := func(team string) ident.Principal { return ident.Principal{Kind: ident.KindTeam, Name: team} }
	for _, tc := range []struct {
		name   string
		server *Server
		p      ident.Principal
		list   []*Connection
		denied []Key
		want   string
	}{
		{"own of several, by name", secret, ada, []*Connection{conn("b", user, "ada"), conn("a", user, "ada"), conn("0", organization, "")}, nil, "a"},
		{"another's", secret, ada, []*Connection{conn("b", user, "bob")}, nil, ""},
		{"a team of the gateway before one that is not", secret, ada, []*Connection{conn("x", team, "art"), conn("y", team, "ops")}, nil, "y"},
		{"two teams of the gateway, by name", secret, ada, []*Connection{conn("x", team, "ops"), conn("y", team, "eng")}, nil, "y"},
		{"a team that is not the gateway's", secret, ada, []*Connection{conn("x", team, "art"), conn("y", organization, "")}, nil, "x"},
		{"a team that it is in no more", secret, ada, []*Connection{conn("x", team, "eng"), conn("y", organization, "")}, []Key{{"team_member", "eng/ada"}}, "y"},
		{"another team's token", secret, of("ops"), []*Connection{conn("x", team, "eng"), conn("y", organization, "")}, nil, "y"},
		{"own denied", secret, ada, []*Connection{conn("a", user, "ada"), conn("y", organization, "")}, []Key{{"connection", "a"}}, "y"},
		{"own without its secret is in nobody's way", secret, ada, []*Connection{bareConn("a", user, "ada"), conn("y", organization, "")}, nil, "y"},
		{"nothing but own without its secret", secret, ada, []*Connection{bareConn("a", user, "ada"), bareConn("y", organization, "")}, nil, "a"},
		{"a credential that is made: no connection holds one", made, ada, []*Connection{bareConn("a", user, "ada"), conn("y", organization, "")}, nil, "a"},
		{"the organisation's, which is the installation only", made, of("ops"), []*Connection{bareConn("a", user, "ada"), bareConn("y", organization, "")}, nil, "y"},
		{"own only, without its secret", ownOnly, ada, []*Connection{bareConn("a", user, "ada"), conn("y", organization, "")}, nil, "a"},
		{"a server without secrets", open, ada, []*Connection{bareConn("a", user, "ada"), conn("y", organization, "")}, nil, "a"},
		{"an owner of newer releases", secret, ada, []*Connection{conn("a", 0, "ada")}, nil, ""},
		{"another server's", &Server{Name: "z"}, ada, []*Connection{conn("a", user, "ada")}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := NewHolder()
			h.Publish(installed(tc.server, tc.list...).Build("e", 1))
			h.Deny(2, tc.denied)
			s, got := h.Load(), ""
			if c := s.Choose(s.Gateway("g"), s.Server(tc.server.Name), tc.p); c != nil {
				got = c.Name
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// The index follows each change, and views before keep theirs.
func TestInstalled(t *testing.T) {
	server := &Server{Name: "s", NeedsSecret: true}
	ada := ident.Principal{Kind: ident.KindUser, UID: "uid-ada", Name: "ada"}
	first := installed(server, conn("a", compile.OwnerUser, "ada"), conn("b", compile.OwnerUser, "ada")).Build("e", 1)
	holder := NewHolder()
	check := func(what string, v *View, want string) {
		t.Helper()
		holder.Publish(v)
		s, got := holder.Load(), ""
		if c := s.Choose(s.Gateway("g"), server, ada); c != nil {
			got = c.Name + "@" + c.CredentialVersion
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	check("at first", first, "a@v")
	b := From(first)
	again := conn("a", compile.OwnerUser, "ada")
	again.CredentialVersion = "w"
	b.PutConnection("a", again)
	second := b.Build("e", 2)
	check("a new version of its credential", second, "a@w")
	b = From(second)
	b.PutConnection("a", nil)
	b.PutConnection("nothing", nil)
	third := b.Build("e", 3)
	check("deleted", third, "b@v")
	b = From(third)
	b.PutConnection("b", conn("b", compile.OwnerUser, "bob"))
	check("of another now", b.Build("e", 4), "")
	check("the view before", second, "a@w")
}

// MayRunWith is what Choose may come to, Connects what connecting the server mends.
func TestMayRunWith(t *testing.T) {
	list := []*Connection{
		conn("a", compile.OwnerUser, "ada"), conn("b", compile.OwnerUser, "ada"), conn("bobs", compile.OwnerUser, "bob"),
		conn("eng", compile.OwnerTeam, "eng"), conn("org", compile.OwnerOrganization, ""), conn("new", 0, ""),
	}
	h := NewHolder()
	h.Publish(installed(&Server{Name: "s"}, list...).Build("e", 1))
	s, open, ownOnly := h.Load(), &Server{Name: "s"}, &Server{Name: "s", OwnOnly: true}
	ada, bob := ident.Principal{Kind: ident.KindUser, Name: "ada"}, ident.Principal{Kind: ident.KindUser, Name: "bob"}
	token, machine := ident.Principal{Kind: ident.KindTeam, Name: "eng"}, ident.Principal{Kind: ident.KindServiceAccount, Name: "ada"}
	for _, tc := range []struct {
		p          ident.Principal
		may, alone string // names that it may run with, if the server allows own ones only
		connects   string
	}{
		{ada, "a b eng org", "a b", "a"},
		{bob, "bobs org", "bobs", "bobs"},
		{token, "eng org", "", ""},
		{machine, "org", "", ""},
	} {
		var may, alone, connects string
		for _, c := range list {
			if s.MayRunWith(open, c, tc.p) {
				may += " " + c.Name
			}
			if s.MayRunWith(ownOnly, c, tc.p) {
				alone += " " + c.Name
			}
			if s.Connects(c, tc.p) {
				connects += " " + c.Name
			}
		}
		for _, x := range [][2]string{{may, tc.may}, {alone, tc.alone}, {connects, tc.connects}} {
			if want := x[1]; want != "" && x[0] != " "+want || want == "" && x[0] != "" {
				t.Errorf("%s %s: got %q, want %q", tc.p.Kind, tc.p.Name, x[0], want)
			}
		}
	}
	if s.MayRunWith(open, nil, ada) || s.MayRunWith(&Server{Name: "z"}, list[0], ada) {
		t.Error("a call may run with nothing, or with another server's connection")
	}
}

// The choice lies on the path of every call and costs no memory.
func TestChooseDoesNotAllocate(t *testing.T) {
	h := NewHolder()
	h.Publish(installed(&Server{Name: "s", NeedsSecret: true}, conn("x", compile.OwnerTeam, "art"), conn("y", compile.OwnerTeam, "eng")).Build("e", 1))
	s := h.Load()
	g, server, ada := s.Gateway("g"), s.Server("s"), ident.Principal{Kind: ident.KindUser, Name: "ada"}
	if n := testing.AllocsPerRun(100, func() { s.Choose(g, server, ada) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Rechosen is about the caller's connections and no others, Lists about whose view of a server is the server's.
func TestRechosen(t *testing.T) {
	server := &Server{Name: "s", NeedsSecret: true}
	make := func(atCall bool, list ...*Connection) *Snapshot {
		b := installed(server, list...)
		b.PutGateway(&Gateway{Gateway: compile.Gateway{Name: "g", UID: "uid-g"}, Tools: []*Tool{{Exposed: "t", Server: "s", AtCall: atCall}}})
		h := NewHolder()
		h.Publish(b.Build("e", 1))
		return h.Load()
	}
	ada, bobs, org := conn("ada", compile.OwnerUser, "ada"), conn("bob", compile.OwnerUser, "bob"), conn("org", compile.OwnerOrganization, "")
	p := ident.Principal{Kind: ident.KindUser, Name: "ada"}
	for name, tc := range map[string]struct {
		was, is *Snapshot
		want    bool
	}{
		"nothing":               {make(true, org), make(true, org), false},
		"connected":             {make(true), make(true, ada), true},
		"own in place of other": {make(true, org), make(true, org, ada), true},
		"another's":             {make(true, org), make(true, org, bobs), false},
		"pinned":                {make(false, org), make(false, org, ada), false},
	} {
		if got := tc.is.Rechosen(tc.was, tc.was.Gateway("g"), p); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
	everybodys, personal := &Gateway{}, &Gateway{Gateway: compile.Gateway{Visibility: Visibility{Owner: "ada"}}}
	if everybodys.Lists(ada) || !personal.Lists(ada) || !everybodys.Lists(org) {
		t.Error("what one person is shown is taken for what the server has, or the organisation's is not")
	}
}
