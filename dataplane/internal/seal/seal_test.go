// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const gateway = "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c11"

func keyset(t testing.TB, setting string) *seal.Keyset {
	t.Helper()
	k, err := seal.Parse(setting)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedTokenOpensAgain(t *testing.T) {
	k := keyset(t, seal.Generate())
	for _, plain := range []string{"", "a", strings.Repeat("x", 51), strings.Repeat("long ", 400)} {
		token := string(k.Seal(nil, seal.Session, gateway, []byte(plain)))
		if !strings.HasPrefix(token, seal.Prefix) {
			t.Errorf("token %q has no prefix", token)
		}
		for _, c := range token {
			if c <= ' ' || c > '~' {
				t.Fatalf("token holds %q, which is not visible ASCII (M-34)", c)
			}
		}
		if limit := len(plain)*4/3 + 66; len(token) > limit {
			t.Errorf("token of %d bytes is %d long, want at most %d", len(plain), len(token), limit)
		}
		got, err := k.Open([]byte("before:"), seal.Session, gateway, token)
		if err != nil || string(got) != "before:"+plain {
			t.Errorf("Open = %q, %v, want %q", got, err, "before:"+plain)
		}
	}
}

// A state of an upstream is up to 32 KiB long (mcp.md §2.1), and is wrapped; other tokens are never that long.
func TestLengthBelongsToTheKind(t *testing.T) {
	k := keyset(t, seal.Generate())
	plain := make([]byte, 33<<10)
	state := string(k.Seal(nil, seal.RequestState, gateway, plain))
	if got, err := k.Open(nil, seal.RequestState, gateway, state); err != nil || len(got) != len(plain) {
		t.Errorf("a long request state does not open: %v", err)
	}
	cursor := string(k.Seal(nil, seal.Cursor, gateway, plain))
	if _, err := k.Open(nil, seal.Cursor, gateway, cursor); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("a long cursor opens: %v", err)
	}
}

func TestSealTwiceGivesTwoTokens(t *testing.T) {
	k := keyset(t, seal.Generate())
	one, two := k.Seal(nil, seal.Session, gateway, []byte("same")), k.Seal(nil, seal.Session, gateway, []byte("same"))
	if string(one) == string(two) {
		t.Errorf("both tokens are %s: the nonce is not random", one)
	}
}

// A task has one id in all messages about it (M-55), and no two tasks share a nonce.
func TestSealSame(t *testing.T) {
	k := keyset(t, seal.Generate())
	make1 := func(kind seal.Kind, gateway, plain string) string {
		return string(k.SealSame(nil, kind, gateway, []byte(plain)))
	}
	one := make1(seal.Task, gateway, "task 1")
	if again := make1(seal.Task, gateway, "task 1"); again != one {
		t.Errorf("%s and %s are of one task", one, again)
	}
	if got, err := k.Open(nil, seal.Task, gateway, one); err != nil || string(got) != "task 1" {
		t.Errorf("Open = %q, %v", got, err)
	}
	heads := map[string]bool{one[:40]: true}
	for _, other := range []string{make1(seal.Task, gateway, "task 2"), make1(seal.Cursor, gateway, "task 1"), make1(seal.Task, "other", "task 1")} {
		if heads[other[:40]] {
			t.Errorf("%s has the nonce of another token", other)
		}
		heads[other[:40]] = true
	}
	if _, err := k.Open(nil, seal.Task, "other", one); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("it opens at another gateway: %v", err)
	}
}

// TestOpenRefuses changes one thing at a time about a good token (M-86).
func TestOpenRefuses(t *testing.T) {
	k := keyset(t, seal.Generate())
	good := string(k.Seal(nil, seal.Session, gateway, []byte("0123456789abcdef0123456789abcdef012345678901234567")))
	other := string(keyset(t, seal.Generate()).Seal(nil, seal.Session, gateway, []byte("foreign")))
	raw, err := base64.RawURLEncoding.DecodeString(good[len(seal.Prefix):])
	if err != nil {
		t.Fatal(err)
	}
	encode := func(b []byte) string { return seal.Prefix + base64.RawURLEncoding.EncodeToString(b) }
	tests := []struct {
		name, token string
		kind        seal.Kind
		gateway     string
	}{
		{"another gateway", good, seal.Session, "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c12"},
		{"another kind", good, seal.Cursor, gateway},
		{"kind and gateway shifted", good, seal.Kind(string(seal.Session) + "\x00" + gateway[:1]), gateway[1:]},
		{"no gateway", good, seal.Session, ""},
		{"another keyset", other, seal.Session, gateway},
		{"empty", "", seal.Session, gateway},
		{"prefix only", seal.Prefix, seal.Session, gateway},
		{"no prefix", good[len(seal.Prefix):], seal.Session, gateway},
		{"other prefix", "pst2." + good[len(seal.Prefix):], seal.Session, gateway},
		{"not base64", seal.Prefix + "!!!!", seal.Session, gateway},
		{"padded", good + "=", seal.Session, gateway},
		{"line break inside", good[:20] + "\n" + good[20:], seal.Session, gateway},
		{"line break at the end", good + "\n", seal.Session, gateway},
		{"shorter than a tag", encode(raw[:40]), seal.Session, gateway},
		{"cut", encode(raw[:len(raw)-1]), seal.Session, gateway},
		{"longer", encode(append(raw[:len(raw):len(raw)], 0)), seal.Session, gateway},
		{"huge", seal.Prefix + strings.Repeat("A", 1<<20), seal.Session, gateway},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := k.Open(nil, tt.kind, tt.gateway, tt.token); !errors.Is(err, seal.ErrNotOpened) || len(got) != 0 {
				t.Errorf("Open = %q, %v, want ErrNotOpened", got, err)
			}
		})
	}
	for i := range raw {
		bad := append([]byte(nil), raw...)
		bad[i] ^= 1
		if _, err := k.Open(nil, seal.Session, gateway, encode(bad)); !errors.Is(err, seal.ErrNotOpened) {
			t.Errorf("a token with byte %d changed opens: %v", i, err)
		}
	}
}

// TestOneSpelling: a token that differs in a single character never opens, not even in the spare bits of the last one.
func TestOneSpelling(t *testing.T) {
	k := keyset(t, seal.Generate())
	for size := range 6 {
		good := string(k.Seal(nil, seal.Session, gateway, make([]byte, size)))
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, c := range alphabet {
			bad := good[:len(good)-1] + string(c)
			if _, err := k.Open(nil, seal.Session, gateway, bad); bad != good && err == nil {
				t.Errorf("%q opens as well as %q", bad, good)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	oldKey, newKey := seal.Generate(), seal.Generate()
	before, during, after := keyset(t, oldKey), keyset(t, newKey+","+oldKey), keyset(t, newKey)
	token := string(before.Seal(nil, seal.Session, gateway, []byte("s")))
	if _, err := during.Open(nil, seal.Session, gateway, token); err != nil {
		t.Errorf("the previous key does not open: %v", err)
	}
	if _, err := after.Open(nil, seal.Session, gateway, token); !errors.Is(err, seal.ErrNotOpened) {
		t.Errorf("a dropped key opens: %v", err)
	}
	fresh := string(during.Seal(nil, seal.Session, gateway, []byte("s")))
	if _, err := after.Open(nil, seal.Session, gateway, fresh); err != nil {
		t.Errorf("the current key does not seal: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	a, b := seal.Generate(), seal.Generate()
	if x, y := keyset(t, a+" "+b).Fingerprint(), keyset(t, a+","+b).Fingerprint(); x != y || len(x) != 16 {
		t.Errorf("fingerprints of one keyset are %q and %q", x, y)
	}
	seen := map[string]string{}
	for _, setting := range []string{a, b, a + "," + b, b + "," + a} {
		f := keyset(t, setting).Fingerprint()
		if _, ok := seen[f]; ok {
			t.Errorf("two keysets have the fingerprint %s", f)
		}
		seen[f] = setting
	}
}

func TestParse(t *testing.T) {
	good := seal.Generate()
	short := base64.StdEncoding.EncodeToString(make([]byte, 16))
	url := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(good), "=")
	tests := []struct {
		name, setting, problem string
	}{
		{"one", good, ""},
		{"URL alphabet without padding", url, ""},
		{"two lines", good + "\n" + seal.Generate() + "\n", ""},
		{"empty", " ", "must hold one or two keys"},
		{"three", good + "," + seal.Generate() + "," + seal.Generate(), "must hold one or two keys"},
		{"twice the same", good + "," + url, "holds the same key twice"},
		{"not base64", "clearly*no*key", "holds a key that is not base64"},
		{"short", short, "holds a key that is not 32 bytes long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := seal.Parse(tt.setting)
			if tt.problem == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f := fault.From(err)
			want := []fault.Field{{Path: "seal_keyset", Problem: tt.problem}}
			if f.Kind != fault.Invalid || f.Reason != seal.ReasonConfig || !cmp.Equal(f.Fields, want) {
				t.Errorf("fault = %v %s %v, want %v", f.Kind, f.Reason, f.Fields, want)
			}
			if word := strings.TrimSpace(tt.setting); len(word) > 0 && strings.Contains(err.Error(), strings.Split(word, ",")[0]) {
				t.Errorf("the error %q repeats the setting", err)
			}
		})
	}
}

func TestKeysetNeverPrintsKeys(t *testing.T) {
	k := keyset(t, seal.Generate())
	want := "keyset#" + k.Fingerprint()
	for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
		if got := fmt.Sprintf(format, k); got != want {
			t.Errorf("%s prints %q, want %q", format, got, want)
		}
	}
	if got := k.LogValue().String(); got != want {
		t.Errorf("a log shows %q, want %q", got, want)
	}
}

func FuzzOpen(f *testing.F) {
	k := keyset(f, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	f.Add(string(k.Seal(nil, seal.Session, gateway, []byte("seed"))))
	f.Add("pst1.AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := k.Open(nil, seal.Session, gateway, token)
		if err == nil && string(got) != "seed" {
			t.Errorf("%q opens as %q", token, got)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := keyset(b, seal.Generate())
	token := string(k.Seal(nil, seal.Session, gateway, make([]byte, 51)))
	dst := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(dst, seal.Session, gateway, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	k := keyset(b, seal.Generate())
	plain, dst := make([]byte, 51), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(dst, seal.Session, gateway, plain)
	}
}
