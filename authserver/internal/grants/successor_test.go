// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// TK-9: only who has the token opens its successor, and only in the row of that token and family.
func TestSuccessor(t *testing.T) {
	const presented, successor = "psr_parent", "psr_child"
	row := store.RefreshToken{Hash: sha256.Sum256([]byte(presented)), Grant: "g1"}
	sealed, err := sealSuccessor(presented, row, successor)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte(successor)) {
		t.Fatal("it is not sealed")
	}
	row.Successor = sealed
	if got, err := openSuccessor(presented, row); err != nil || got != successor {
		t.Fatalf("opened %q, %v", got, err)
	}
	again, err := sealSuccessor(presented, row, successor)
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("the same ciphertext twice, %v", err)
	}
	moved, other, changed := row, row, row
	moved.Hash[0]++
	other.Grant = "g2"
	changed.Successor = bytes.Clone(sealed)
	changed.Successor[len(sealed)-1]++
	for name, r := range map[string]store.RefreshToken{"moved": moved, "other family": other, "changed": changed} {
		if _, err := openSuccessor(presented, r); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
	if _, err := openSuccessor("psr_parenT", row); err == nil {
		t.Error("it opens with another token")
	}
}

// RFC 7636 Appendix B, and the form of verifiers.
func TestVerifies(t *testing.T) {
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	s256 := func(v string) string {
		sum := sha256.Sum256([]byte(v))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for _, tc := range []struct {
		name, challenge, verifier string
		want                      bool
	}{
		{"vector", challenge, verifier, true},
		{"other verifier", challenge, verifier[:42] + "l", false},
		{"plain", verifier, verifier, false},
		{"no challenge", "", verifier, false},
		{"no verifier", challenge, "", false},
		{"43", s256(strings.Repeat("~", 43)), strings.Repeat("~", 43), true},
		{"128", s256(strings.Repeat(".", 128)), strings.Repeat(".", 128), true},
		{"42", s256(strings.Repeat("a", 42)), strings.Repeat("a", 42), false},
		{"129", s256(strings.Repeat("a", 129)), strings.Repeat("a", 129), false},
		{"reserved", s256(strings.Repeat("+", 43)), strings.Repeat("+", 43), false},
		{"beyond ASCII", s256(strings.Repeat("ä", 43)), strings.Repeat("ä", 43), false},
		{"padded challenge", challenge + "=", verifier, false},
	} {
		if got := Verifies(tc.challenge, tc.verifier); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
