// SPDX-License-Identifier: Apache-2.0

package digest_test

import (
	"encoding/hex"
	"testing"

	"github.com/penstockhq/penstock/sdk/node/digest"
)

type triple struct{ kind, name, version string }

func sum(members ...triple) digest.Digest {
	var d digest.Digest
	for _, m := range members {
		d.Add(m.kind, m.name, []byte(m.version))
	}
	return d
}

func TestDigestEqual(t *testing.T) {
	a, b, c := triple{"tool", "s/a", "1"}, triple{"tool", "s/b", "1"}, triple{"gateway", "a", "1"}
	tests := []struct {
		name  string
		x, y  digest.Digest
		equal bool
	}{
		{"order carries no meaning", sum(a, b, c), sum(c, a, b), true},
		{"empty", sum(), digest.Digest{}, true},
		{"another version", sum(a), sum(triple{"tool", "s/a", "2"}), false},
		{"another kind", sum(a), sum(triple{"server", "s/a", "1"}), false},
		{"parts that join to the same bytes", sum(triple{"a", "bc", "d"}), sum(triple{"ab", "c", "d"}), false},
		{"a member twice", sum(a), sum(a, a), false},
		{"one missing", sum(a, b), sum(a), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.x == tt.y; got != tt.equal {
				t.Fatalf("%x == %x: %t", tt.x.Bytes(), tt.y.Bytes(), got)
			}
			if got := tt.x.Equal(tt.y.Bytes()); got != tt.equal {
				t.Fatalf("Equal: %t", got)
			}
		})
	}
}

func TestRemoveIsTheInverse(t *testing.T) {
	d := sum(triple{"tool", "s/a", "1"}, triple{"tool", "s/b", "2"})
	d.Remove("tool", "s/a", []byte("1"))
	if want := sum(triple{"tool", "s/b", "2"}); d != want {
		t.Fatalf("got %x, want %x", d.Bytes(), want.Bytes())
	}
	d.Remove("tool", "s/b", []byte("2"))
	if d != (digest.Digest{}) {
		t.Fatalf("the empty set has digest %x", d.Bytes())
	}
	d.Remove("tool", "s/a", []byte("1")) // below zero and back
	d.Add("tool", "s/a", []byte("1"))
	if d != (digest.Digest{}) {
		t.Fatalf("borrow and carry do not cancel: %x", d.Bytes())
	}
}

// TestDigestIsStable pins the bytes: nodes and control planes of different releases must agree.
func TestDigestIsStable(t *testing.T) {
	d := sum(triple{"tool", "s/a", "1"}, triple{"gateway", "demo", "2"})
	if got, want := hex.EncodeToString(d.Bytes()), "964b9d30539cee232fa9bdb619cab0f1"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestParse(t *testing.T) {
	want := sum(triple{"tool", "s/a", "1"})
	if got, ok := digest.Parse(want.Bytes()); !ok || got != want {
		t.Fatalf("got %x, %t", got.Bytes(), ok)
	}
	for _, b := range [][]byte{nil, {1}, make([]byte, 17)} {
		if _, ok := digest.Parse(b); ok {
			t.Errorf("%d bytes were read as a digest", len(b))
		}
	}
}
