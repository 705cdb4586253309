// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/state"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

type sealer struct{ keys *seal.Keyset }

func (s sealer) Seal(gateway string, plain []byte) string {
	return string(s.keys.Seal(nil, seal.RequestState, gateway, plain))
}

func (s sealer) Open(gateway, token string) ([]byte, bool) {
	plain, err := s.keys.Open(nil, seal.RequestState, gateway, token)
	return plain, err == nil
}

func book(t testing.TB) state.Book {
	t.Helper()
	keys, err := seal.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		t.Fatal(err)
	}
	return state.Book{Sealer: sealer{keys}}
}

func digest(t testing.TB, params string) state.Digest {
	t.Helper()
	d, ok := state.DigestOf("srv", "con", "tools/call", []byte(params))
	if !ok {
		t.Fatal("no digest")
	}
	return d
}

func TestRoundTrip(t *testing.T) {
	b := book(t)
	for _, want := range []state.State{
		{
			Kind: state.Hold, ID: [16]byte{1, 2, 3}, Node: "node-a", Round: 16, Expires: time.Unix(1_900_000_000, 0),
			Principal: "user:1", Client: "c", Digest: digest(t, `{"a":1}`),
		},
		{Kind: state.Resend, Expires: time.Unix(5, 0), Principal: "organization:organization", Round: 1},
		{Kind: state.Wrapped, Expires: time.Unix(5, 0), Upstream: []byte(`"` + strings.Repeat("s", 32<<10) + `"`)},
	} {
		raw := b.Seal("gw", &want)
		if !state.IsOurs(raw) {
			t.Errorf("%s is not recognised", raw[:20])
		}
		got, err := b.Open("gw", raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Error(diff)
		}
		if _, err := b.Open("gw2", raw); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("opens at another gateway: %v", err)
		}
	}
}

func TestCheck(t *testing.T) {
	now := time.Unix(1000, 0)
	s := state.State{Principal: "user:1", Client: "c", Digest: digest(t, `{"a":1}`), Expires: now.Add(time.Second)}
	same := digest(t, `{"a":1}`)
	for _, tt := range []struct {
		name, principal, client string
		digest                  state.Digest
		now                     time.Time
		want                    error
	}{
		{"good", "user:1", "c", same, now, nil},
		{"user", "user:2", "c", same, now, state.ErrInvalid},
		{"client", "user:1", "", same, now, state.ErrInvalid},
		{"request", "user:1", "c", digest(t, `{"a":2}`), now, state.ErrInvalid},
		{"time", "user:1", "c", same, now.Add(time.Second), state.ErrExpired},
		{"time and user", "user:2", "c", same, now.Add(time.Second), state.ErrInvalid},
	} {
		if err := s.Check(tt.principal, tt.client, tt.digest, tt.now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestDigest(t *testing.T) {
	base := digest(t, `{"name":"t","arguments":{"a":[1,2]}}`)
	for _, same := range []string{
		`{"arguments":{"a":[1,2]},"name":"t"}`, `{ "name" : "t", "arguments" : { "a" : [ 1 , 2 ] } }`,
		`{"name":"t","arguments":{"a":[1,2]},"_meta":{"x":1},"inputResponses":{"q":1},"requestState":"s"}`,
	} {
		if digest(t, same) != base {
			t.Errorf("%s is another request", same)
		}
	}
	for _, other := range []string{
		`{"name":"t","arguments":{"a":[12]}}`, `{"name":"t","arguments":{"a":[1,2]},"x":1}`, `{"name":"t"}`,
		`{"name":"t","arguments":{"a":[1,2]," ":1}}`, `{"namet":"","arguments":{"a":[1,2]}}`, `{"name":"t ","arguments":{"a":[1,2]}}`,
	} {
		if digest(t, other) == base {
			t.Errorf("%s is the same request", other)
		}
	}
	for _, at := range [][3]string{{"s", "con", "tools/call"}, {"srv", "c", "tools/call"}, {"srv", "con", "prompts/get"}, {"srvcon", "", "tools/call"}} {
		if d, _ := state.DigestOf(at[0], at[1], at[2], []byte(`{"name":"t","arguments":{"a":[1,2]}}`)); d == base {
			t.Errorf("%v is the same request", at)
		}
	}
	if _, ok := state.DigestOf("s", "c", "m", []byte(`[]`)); ok {
		t.Error("an array has a digest")
	}
}

// FuzzState: what a client gives as requestState never opens unless it was sealed, and never breaks the node.
func FuzzState(f *testing.F) {
	b := book(f)
	good := b.Seal("gw", &state.State{Kind: state.Hold, Node: "n", Expires: time.Unix(1, 0), Principal: "p"})
	plain := func(s string) []byte { return wire.Quote(b.Sealer.Seal("gw", []byte(s))) }
	f.Add(good)
	f.Add(plain(""))
	f.Add(plain(strings.Repeat("\x01", 58)))
	f.Add(plain(strings.Repeat("\x01", 58) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte(`"pst1."`))
	f.Add([]byte(`"pst1\u002eAAAA"`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !wire.Valid(raw) {
			return
		}
		s, err := b.Open("gw", raw)
		if err != nil {
			return
		}
		// A fuzzing worker seals the seed anew, so its text differs from the one that it is given.
		if s.Node != "n" || s.Principal != "p" || !s.Expires.Equal(time.Unix(1, 0)) {
			t.Errorf("%s opens as %+v", raw, s)
		}
	})
}

// FuzzPlain: nor does a sealed text that another version of the node might have made.
func FuzzPlain(f *testing.F) {
	b := book(f)
	f.Add([]byte(strings.Repeat("\x01", 58) + "\x01a\x01b\x01c"))
	f.Add([]byte(strings.Repeat("\x03", 58) + "\x00\x00\x00\"s\""))
	f.Fuzz(func(t *testing.T, plain []byte) {
		s, err := b.Open("gw", wire.Quote(b.Sealer.Seal("gw", plain)))
		if err == nil && (s.Kind < state.Hold || s.Kind > state.Wrapped) {
			t.Errorf("%q opens as %+v", plain, s)
		}
	})
}
