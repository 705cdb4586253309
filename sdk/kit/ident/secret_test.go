// SPDX-License-Identifier: Apache-2.0

package ident_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestMintSecret(t *testing.T) {
	seen := make(map[string]bool)
	for _, prefix := range []string{"psr_", "psa_", "psc_"} {
		for range 50 {
			secret, sha := ident.MintSecret(prefix)
			if !strings.HasPrefix(secret, prefix) || len(secret) != len(prefix)+49 {
				t.Fatalf("secret has form %q", secret)
			}
			if seen[secret] {
				t.Fatal("two secrets are equal")
			}
			seen[secret] = true
			if sha != sha256.Sum256([]byte(secret)) {
				t.Fatal("the hash is not that of the whole secret")
			}
			if got, ok := ident.ParseSecret(prefix, secret); !ok || got != sha {
				t.Fatalf("ParseSecret = %v, want the same hash", ok)
			}
			if _, ok := ident.ParseSecret("psx_", secret); ok {
				t.Fatal("a secret of another prefix is accepted")
			}
			if _, _, ok := ident.ParseBearer(secret); ok {
				t.Fatal("a secret is taken for a bearer token")
			}
		}
	}
}

func TestParseSecretRefuses(t *testing.T) {
	good, _ := ident.MintSecret("psr_")
	zero := "psr_" + strings.Repeat("0", 43)
	over := "psr_" + strings.Repeat("z", 43)
	for _, tc := range []struct {
		name, secret string
		ok           bool
	}{
		{"all zero", zero + crcOf(zero), true},
		{"more than 256 bits", over + crcOf(over), false},
		{"empty", "", false},
		{"prefix only", "psr_", false},
		{"one short", good[:len(good)-1], false},
		{"one long", good + "0", false},
		{"wrong checksum", zero + "000000", false},
		{"digit outside base 62", "psr_-" + zero[5:] + crcOf("psr_-"+zero[5:]), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, ok := ident.ParseSecret("psr_", tc.secret); ok != tc.ok {
				t.Fatalf("ok = %v, want %v", ok, tc.ok)
			}
		})
	}
	// A bearer token is a secret whose prefix ends with its kind.
	bearer, want := ident.MintBearer(ident.KindUser)
	if got, ok := ident.ParseSecret("pst_u_", bearer); !ok || got != want {
		t.Fatal("a bearer token has another form")
	}
}
