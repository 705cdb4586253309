// SPDX-License-Identifier: Apache-2.0

package ident_test

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// published is the expression that secret scanners search for (ST-10).
var published = regexp.MustCompile(`^pst_[utos]_[0-9A-Za-z]{49}$`)

func TestMintBearer(t *testing.T) {
	letters := map[ident.Kind]string{
		ident.KindUser: "pst_u_", ident.KindTeam: "pst_t_",
		ident.KindOrganization: "pst_o_", ident.KindServiceAccount: "pst_s_",
	}
	seen := make(map[string]bool)
	for kind, prefix := range letters {
		for range 50 {
			token, sha := ident.MintBearer(kind)
			if !published.MatchString(token) || !strings.HasPrefix(token, prefix) {
				t.Fatalf("%s: token has form %q", kind, token)
			}
			if seen[token] {
				t.Fatal("two tokens are equal")
			}
			seen[token] = true
			if sha != sha256.Sum256([]byte(token)) {
				t.Fatal("the hash is not that of the whole token")
			}
			got, gotSHA, ok := ident.ParseBearer(token)
			if !ok || got != kind || gotSHA != sha {
				t.Fatalf("ParseBearer = %q, %v; want %q and the same hash", got, ok, kind)
			}
		}
	}
	if token, _ := ident.MintBearer("robot"); token != "" {
		t.Fatalf("an unknown kind gave %q", token)
	}
}

// A fixed token pins the format: base 62 with 0-9A-Za-z, most significant digit first, CRC-32 over what comes before.
func TestParseBearerKnown(t *testing.T) {
	const zero = "pst_u_" + "0000000000000000000000000000000000000000000"
	for _, tc := range []struct {
		name, token string
		ok          bool
	}{
		{"all zero", zero + crcOf(zero), true},
		{"largest", largest() + crcOf(largest()), true},
		{"more than 256 bits", tooLarge() + crcOf(tooLarge()), false},
		{"wrong checksum", zero + "000000", false},
		{"empty", "", false},
		{"prefix only", "pst_u_", false},
		{"one short", (zero + crcOf(zero))[:54], false},
		{"one long", zero + crcOf(zero) + "0", false},
		{"other prefix", "psr" + zero[3:] + crcOf("psr"+zero[3:]), false},
		{"unknown kind", "pst_x_" + zero[6:] + crcOf("pst_x_"+zero[6:]), false},
		{"no second underscore", "pst_u0" + zero[6:] + crcOf("pst_u0"+zero[6:]), false},
		{"digit outside base 62", "pst_u_-" + zero[7:] + crcOf("pst_u_-"+zero[7:]), false},
		{"white space around", " " + (zero + crcOf(zero))[1:], false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, ok := ident.ParseBearer(tc.token); ok != tc.ok {
				t.Fatalf("ok = %v, want %v", ok, tc.ok)
			}
		})
	}
}

// Every single-character slip is caught by the checksum (ST-1).
func TestParseBearerSlips(t *testing.T) {
	token, _ := ident.MintBearer(ident.KindTeam)
	for i := range token {
		for _, c := range []byte("0Az_-") {
			if token[i] == c {
				continue
			}
			slip := token[:i] + string(c) + token[i+1:]
			if _, _, ok := ident.ParseBearer(slip); ok {
				t.Fatalf("a token with another character at %d was accepted", i)
			}
		}
	}
}

func FuzzParseBearer(f *testing.F) {
	token, _ := ident.MintBearer(ident.KindUser)
	f.Add(token)
	f.Add(token[:20])
	f.Add("pst_u_")
	f.Add(strings.Repeat("z", 55))
	f.Fuzz(func(t *testing.T, s string) {
		kind, sha, ok := ident.ParseBearer(s)
		if !ok {
			if kind != "" || sha != [32]byte{} {
				t.Fatal("a refused token gave something away")
			}
			return
		}
		if !published.MatchString(s) {
			t.Fatalf("%q was accepted and is not of the published form", s)
		}
		if s[49:] != crcOf(s[:49]) {
			t.Fatalf("%q was accepted with a wrong checksum", s)
		}
		if sha != sha256.Sum256([]byte(s)) {
			t.Fatal("wrong hash")
		}
	})
}
