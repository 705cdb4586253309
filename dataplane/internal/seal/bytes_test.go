// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
)

// TestBytes: sealed bytes open for what they were sealed for, with the present and the last key, and for nothing else.
func TestBytes(t *testing.T) {
	old, now := seal.Generate(), seal.Generate()
	parse := func(setting string) *seal.Keyset {
		t.Helper()
		k, err := seal.Parse(setting)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, rotated, other := parse(old), parse(now+","+old), parse(now)
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("x"), 1<<20)} {
		sealed := first.SealBytes([]byte("before"), seal.Event, "owner", plain)
		if !bytes.HasPrefix(sealed, []byte("before")) || len(sealed) != len("before")+44+len(plain) {
			t.Fatalf("%d bytes became %d", len(plain), len(sealed))
		}
		sealed = sealed[len("before"):]
		if bytes.Equal(sealed, first.SealBytes(nil, seal.Event, "owner", plain)) {
			t.Error("equal bytes are sealed equally")
		}
		for _, k := range []*seal.Keyset{first, rotated} {
			if got, err := k.OpenBytes(nil, seal.Event, "owner", sealed); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: %v", len(plain), err)
			}
		}
		changed := bytes.Clone(sealed)
		changed[len(changed)-1] ^= 1
		for what, open := range map[string]func() ([]byte, error){
			"another owner": func() ([]byte, error) { return first.OpenBytes(nil, seal.Event, "owne", sealed) },
			"another kind":  func() ([]byte, error) { return first.OpenBytes(nil, seal.Record, "owner", sealed) },
			"another key":   func() ([]byte, error) { return other.OpenBytes(nil, seal.Event, "owner", sealed) },
			"a change":      func() ([]byte, error) { return first.OpenBytes(nil, seal.Event, "owner", changed) },
			"a part":        func() ([]byte, error) { return first.OpenBytes(nil, seal.Event, "owner", sealed[:43]) },
			"nothing":       func() ([]byte, error) { return first.OpenBytes(nil, seal.Event, "owner", nil) },
		} {
			if got, err := open(); !errors.Is(err, seal.ErrNotOpened) || len(got) != 0 {
				t.Errorf("%s: %q, %v", what, got, err)
			}
		}
	}
}
