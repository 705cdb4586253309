// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func start() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func key(n int) (k [sha256.Size]byte) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func revocation(kind RevokedKind, n int, life time.Duration) Revocation {
	return Revocation{Kind: kind, Key: key(n), Expires: start().Add(life)}
}

// Revocations are dropped when no token is left that they concern, and not before.
func TestRevocationsExpire(t *testing.T) {
	r := newRevocations(10)
	r.add(start(), []Revocation{
		revocation(RevokedToken, 1, time.Minute), revocation(RevokedKey, 2, time.Minute), revocation(RevokedGrant, 3, time.Hour),
		revocation(RevokedToken, 4, 0), revocation(RevokedToken, 1, 30*time.Second),
	})
	if r.Counts() != 3 {
		t.Errorf("%d are kept", r.Counts())
	}
	r.add(start().Add(59*time.Second), nil)
	if !r.Revoked(&TokenKeys{Token: key(1)}) || !r.Revoked(&TokenKeys{Key: key(2)}) {
		t.Error("gone before the tokens")
	}
	r.add(start().Add(2*time.Minute), nil)
	if r.Counts() != 1 || r.Revoked(&TokenKeys{Token: key(1)}) || r.Revoked(&TokenKeys{Key: key(2)}) || !r.Revoked(&TokenKeys{Grant: key(3)}) {
		t.Errorf("%d are kept", r.Counts())
	}
}

// Of two revocations of one subject the later time counts, in whichever order they come.
func TestRevokedSubject(t *testing.T) {
	early, late := revocation(RevokedSubject, 1, time.Hour), revocation(RevokedSubject, 1, time.Hour)
	early.IssuedBefore, late.IssuedBefore = start(), start().Add(time.Minute)
	for _, order := range [][]Revocation{{early, late}, {late, early}} {
		r := newRevocations(10)
		r.add(start(), order)
		if !r.Revoked(&TokenKeys{Subject: key(1), Issued: late.IssuedBefore}) || r.Revoked(&TokenKeys{Subject: key(1), Issued: late.IssuedBefore.Add(time.Second)}) {
			t.Error("the later time does not count")
		}
	}
}

// More than memory holds revokes every token of that time, and keeps what concerns keys: those could be forged anew.
func TestRevocationsOverflow(t *testing.T) {
	r := newRevocations(10)
	list := []Revocation{revocation(RevokedKey, 99, time.Hour)}
	for i := range 11 {
		list = append(list, revocation(RevokedToken, i, time.Hour))
	}
	r.add(start(), list[:11])
	if fine := (TokenKeys{Token: key(50), Issued: start()}); r.Revoked(&fine) {
		t.Error("revoked though there is room")
	}
	r.add(start(), list[11:])
	for name, token := range map[string]TokenKeys{
		"the first": {Token: key(0), Issued: start()}, "the last": {Token: key(10), Issued: start()}, "another": {Token: key(50), Issued: start()},
		"of a clock ahead": {Token: key(50), Issued: start().Add(clockSkew)}, "of the key": {Key: key(99), Issued: start().Add(time.Hour)},
	} {
		if !r.Revoked(&token) {
			t.Errorf("%s counts", name)
		}
	}
	if later := (TokenKeys{Token: key(0), Issued: start().Add(clockSkew + time.Second)}); r.Revoked(&later) {
		t.Error("a later token is revoked")
	}
	if r.Counts() > 11 {
		t.Errorf("%d are kept", r.Counts())
	}
}

// What is revoked before there is a view counts once there is one.
func TestRevokedBeforeView(t *testing.T) {
	h := NewHolder()
	h.Revoke(start(), []Revocation{revocation(RevokedToken, 1, time.Hour)})
	if h.Load() != nil {
		t.Fatal("a view out of nothing")
	}
	h.Publish(From(nil).Build("e", 1))
	s := h.Load()
	if !s.Revocations().Revoked(&TokenKeys{Token: key(1)}) {
		t.Error("forgotten")
	}
	generation, changed := s.Revocations().Generation(), h.Changed()
	h.Revoke(start(), []Revocation{revocation(RevokedToken, 2, time.Hour)})
	<-changed
	if h.Load() == s || h.Load().View != s.View || s.Revocations().Generation() == generation {
		t.Error("streams do not see the difference")
	}
	h.Deny(2, []Key{{"user", "ada"}})
	h.Publish(From(nil).Build("other", 1))
	if !h.Load().Revocations().Revoked(&TokenKeys{Token: key(2)}) {
		t.Error("another view takes revocations back")
	}
}

// A user is found by uid under whatever name it has now.
func TestUserByUID(t *testing.T) {
	h := NewHolder()
	publish := func(f func(b *Builder)) *Snapshot {
		var old *View
		if s := h.Load(); s != nil {
			old = s.View
		}
		b := From(old)
		f(b)
		h.Publish(b.Build("e", 1))
		return h.Load()
	}
	name := func(s *Snapshot, uid string) string {
		if u := s.UserByUID(uid); u != nil {
			return u.Name
		}
		return ""
	}
	first := publish(func(b *Builder) { b.PutUser("ada", &User{Name: "ada", UID: "1"}) })
	renamed := publish(func(b *Builder) {
		b.PutUser("ada@new", &User{Name: "ada@new", UID: "1"})
		b.PutUser("ada", nil)
	})
	again := publish(func(b *Builder) {
		b.PutUser("ada@new", nil)
		b.PutUser("ada", &User{Name: "ada", UID: "2"})
	})
	off := publish(func(b *Builder) { b.PutUser("ada", &User{Name: "ada", UID: "2", Deactivated: true}) })
	for i, got := range []string{name(first, "1"), name(renamed, "1"), name(again, "1"), name(again, "2"), name(off, "2"), name(first, "2")} {
		if want := []string{"ada", "ada@new", "", "ada", "", ""}[i]; got != want {
			t.Errorf("%d: got %q, want %q", i, got, want)
		}
	}
}

func TestClient(t *testing.T) {
	h := NewHolder()
	b := From(nil)
	b.PutClient("on", &Client{Name: "on"})
	b.PutClient("off", &Client{Name: "off", Disabled: true})
	h.Publish(b.Build("e", 1))
	check := func(id string, there, refused bool) {
		t.Helper()
		if c, no := h.Load().Client(id); (c != nil) != there || no != refused {
			t.Errorf("%s: %v, refused %v", id, c, no)
		}
	}
	check("on", true, false)
	check("off", false, true)
	check("https://client.example/c.json", false, false)
	h.Deny(2, []Key{{"oauth_client", "on"}})
	check("on", false, true)
}

// RS-19: the scopes of a gateway are mcp and those that its tools require.
func TestGatewayScopes(t *testing.T) {
	b := From(nil)
	b.PutGateway(&Gateway{Gateway: compile.Gateway{Name: "g", UID: "1"}, Tools: []*Tool{
		{Exposed: "a", RequiredScopes: []string{"mcp:write"}}, {Exposed: "b"}, {Exposed: "c", RequiredScopes: []string{"files", "mcp:write"}},
	}})
	got := b.Build("e", 1).Gateway("g").Scopes
	if len(got) != 3 || got[0] != "files" || got[1] != "mcp" || got[2] != "mcp:write" {
		t.Errorf("scopes %v", got)
	}
}
