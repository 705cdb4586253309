// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
)

// FuzzSealed: a token opens as what was sealed, for its kind, gateway and fleet, and for nothing else; changed anywhere, it
// does not open at all (M-86).
func FuzzSealed(f *testing.F) {
	k := keyset(f, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	other := keyset(f, seal.Generate())
	kinds := []seal.Kind{seal.Session, seal.Cursor, seal.RequestState, seal.Task}
	f.Add([]byte("plain"), gateway, "g-2", uint8(0), uint16(7), uint8(1))
	f.Add([]byte{}, "", "\x00", uint8(1), uint16(0), uint8(0x80))
	f.Add([]byte("x"), "a\x00b", "a", uint8(2), uint16(60), uint8(0x20))
	f.Add([]byte("task"), "a", "b", uint8(3), uint16(90), uint8(0x20))
	f.Fuzz(func(t *testing.T, plain []byte, to, elsewhere string, kind uint8, at uint16, flip uint8) {
		if len(plain) > 2<<10 {
			return
		}
		of := kinds[int(kind)%len(kinds)]
		token := string(k.Seal(nil, of, to, plain))
		if of == seal.Task { // it is the same each time
			token = string(k.SealSame(nil, of, to, plain))
			if again := string(k.SealSame(nil, of, to, plain)); again != token {
				t.Fatalf("%q is sealed as %q and as %q", plain, token, again)
			}
		}
		if got, err := k.Open(nil, of, to, token); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%q opens as %q: %v", plain, got, err)
		}
		closed := func(what string, k *seal.Keyset, kind seal.Kind, gateway, token string) {
			t.Helper()
			if got, err := k.Open([]byte("before"), kind, gateway, token); !errors.Is(err, seal.ErrNotOpened) || string(got) != "before" {
				t.Fatalf("%s: opens as %q, %v", what, got, err)
			}
		}
		for _, as := range kinds {
			if as != of {
				closed("another kind", k, as, to, token)
			}
		}
		if elsewhere != to {
			closed("another gateway", k, of, elsewhere, token)
		}
		closed("another fleet", other, of, to, token)
		closed("shorter", k, of, to, token[:int(at)%len(token)])
		closed("longer", k, of, to, token+"A")
		closed("another alphabet", k, of, to, token+"=")
		i := int(at) % len(token)
		if changed := token[:i] + string([]byte{token[i] ^ flip}) + token[i+1:]; flip != 0 {
			closed("changed", k, of, to, changed)
		}
		// Changed below the encoding: no bit of what is sealed is free.
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, seal.Prefix))
		if err != nil {
			t.Fatal(err)
		}
		raw[int(at)%len(raw)] ^= flip | 1
		closed("changed inside", k, of, to, seal.Prefix+base64.RawURLEncoding.EncodeToString(raw))
	})
}
