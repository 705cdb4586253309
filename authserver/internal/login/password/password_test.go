// SPDX-License-Identifier: Apache-2.0

package password_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/login/password"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func newHasher(t *testing.T, p password.Params) *password.Hasher {
	t.Helper()
	h, err := password.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func cheap() password.Params { return password.Params{Memory: 64, Passes: 1, Threads: 1} }

// TestKnownHash: a hash that the reference implementation made (phc-winner-argon2, `argon2 somesalt -id -t 2 -m 16 -p 1` of
// "password") is understood.
func TestKnownHash(t *testing.T) {
	h := newHasher(t, cheap())
	const known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for text, want := range map[string]bool{"password": true, "Password": false, "": false} {
		if ok, err := h.Verify(t.Context(), known, text); err != nil || ok != want {
			t.Errorf("%q: %v, %v", text, ok, err)
		}
	}
}

func TestHash(t *testing.T) {
	h := newHasher(t, password.Params{})
	a, err := h.Hash(t.Context(), "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^\$argon2id\$v=19\$m=65536,t=3,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`).MatchString(a) {
		t.Errorf("the hash is %s", a)
	}
	b, err := h.Hash(t.Context(), "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("two hashes have one salt")
	}
	for text, want := range map[string]bool{"correct horse battery": true, "correct horse batterz": false} {
		if ok, err := h.Verify(t.Context(), a, text); err != nil || ok != want {
			t.Errorf("%q: %v, %v", text, ok, err)
		}
	}
}

// TestNoHash: an empty hash is that of no password, not even of the zero key's.
func TestNoHash(t *testing.T) {
	h := newHasher(t, cheap())
	for _, text := range []string{"", "correct horse battery"} {
		if ok, err := h.Verify(t.Context(), "", text); err != nil || ok {
			t.Errorf("%q: %v, %v", text, ok, err)
		}
	}
}

func TestDamagedHash(t *testing.T) {
	h := newHasher(t, cheap())
	good, err := h.Hash(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"another algorithm":    strings.Replace(good, "argon2id", "argon2i", 1),
		"another version":      strings.Replace(good, "v=19", "v=16", 1),
		"memory out of bounds": strings.Replace(good, "m=64", "m=4194304", 1),
		"no pass":              strings.Replace(good, "t=1", "t=0", 1),
		"no thread":            strings.Replace(good, "p=1", "p=0", 1),
		"text after the cost":  strings.Replace(good, "p=1", "p=1,x=1", 1),
		"short key":            good[:len(good)-30],
		"a part too many":      good + "$",
		"not a hash":           "x",
	} {
		if bad == good {
			t.Fatalf("%s: nothing is damaged", name)
		}
		if ok, err := h.Verify(t.Context(), bad, "x"); err == nil || ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct{ name, text, problem string }{
		{"12 characters", "twelve chars", ""},
		{"11 characters", "eleven char", "is shorter than 12 characters"},
		{"12 characters of 3 bytes", strings.Repeat("語", 12), ""},
		{"256 characters", strings.Repeat("x", 256), ""},
		{"257 characters", strings.Repeat("x", 257), "is longer than 256 characters"},
		{"not UTF-8", "twelve chars\xff", "is not UTF-8"},
		{"a line break", "twelve\nchars", "has a control character"},
		{"11 characters in 12 code points", password.Prepare("eleven cha" + "e\u0301"), "is shorter than 12 characters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := password.Check(tc.text)
			if tc.problem == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			f := fault.From(err)
			if f == nil || f.Kind != fault.Invalid || f.Reason != password.ReasonInvalid || len(f.Fields) != 1 || f.Fields[0].Problem != tc.problem {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// TestPrepare: what two keyboards make of one word is one password.
func TestPrepare(t *testing.T) {
	if a, b := password.Prepare("caf\u00e9"), password.Prepare("cafe\u0301"); a != b {
		t.Errorf("%q and %q", a, b)
	}
}

// TestLongText: what is longer than any password is not equal to its beginning.
func TestLongText(t *testing.T) {
	h := newHasher(t, cheap())
	text := strings.Repeat("x", 4*password.MaxLength)
	hash, err := h.Hash(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.Verify(t.Context(), hash, text+"y"); err != nil || ok {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestManyAtOnce: a flood of passwords is refused in part, and those that are worked on are right.
func TestManyAtOnce(t *testing.T) {
	h := newHasher(t, password.Params{Memory: 4 << 10, Passes: 2, Threads: 1})
	hash, err := h.Hash(t.Context(), "right")
	if err != nil {
		t.Fatal(err)
	}
	var right, busy, wrong atomic.Int32
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			ok, err := h.Verify(t.Context(), hash, "right")
			switch {
			case err == nil && ok:
				right.Add(1)
			case errors.Is(err, fault.New(fault.Unavailable, password.ReasonBusy, "")):
				busy.Add(1)
			default:
				wrong.Add(1)
			}
		})
	}
	all.Wait()
	if wrong.Load() != 0 || right.Load() < 64 || busy.Load() == 0 {
		t.Errorf("%d right, %d busy, %d wrong", right.Load(), busy.Load(), wrong.Load())
	}
}

func TestCanceled(t *testing.T) {
	h := newHasher(t, password.Params{Memory: 64 << 10, Passes: 3, Threads: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var canceled atomic.Int32
	var all sync.WaitGroup
	for range 30 { // those that find a slot are worked on, as nobody waits
		all.Go(func() {
			if _, err := h.Hash(ctx, "x"); errors.Is(err, context.Canceled) {
				canceled.Add(1)
			}
		})
	}
	all.Wait()
	if canceled.Load() == 0 {
		t.Error("nobody who waited noticed the end")
	}
}

func TestCost(t *testing.T) {
	for _, p := range []password.Params{
		{Memory: 4, Passes: 1, Threads: 1}, {Memory: 64, Passes: 0, Threads: 1}, {Memory: 64, Passes: 1}, {Memory: 2 << 20, Passes: 1, Threads: 1},
	} {
		if _, err := password.New(p); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}
