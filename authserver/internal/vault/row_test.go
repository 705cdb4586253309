// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"bytes"
	"testing"
)

// SE-2: what is sealed for one place opens nowhere else.
func TestSealRow(t *testing.T) {
	b := newBench(t)
	keyID, sealed, err := b.SealRow(t.Context(), "signing_keys", "k1", "sealed", []byte(canary))
	must(t, err)
	if keyID == "" || bytes.Contains(sealed, []byte(canary)) {
		t.Fatal("it is not sealed")
	}
	plain, err := b.OpenRow(t.Context(), "signing_keys", "k1", "sealed", keyID, sealed)
	must(t, err)
	if string(plain) != canary {
		t.Errorf("opened %q", plain)
	}
	for _, place := range [][3]string{{"secrets", "k1", "sealed"}, {"signing_keys", "k2", "sealed"}, {"signing_keys", "k1", "other"}} {
		if _, err := b.OpenRow(t.Context(), place[0], place[1], place[2], keyID, sealed); err == nil {
			t.Errorf("it opens at %v", place)
		}
	}
	if _, err := b.OpenRow(t.Context(), "signing_keys", "k1", "sealed", "another", sealed); err == nil {
		t.Error("it opens with a key that is not there")
	}
}
