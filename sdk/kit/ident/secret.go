// SPDX-License-Identifier: Apache-2.0

package ident

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

const (
	tokenSecret   = 32 // random bytes
	tokenDigits   = 43 // base-62 digits of the random bytes
	tokenChecksum = 6  // base-62 digits of the CRC

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// tokenMax is 2^256-1 in base 62. The digits are in ASCII order, so comparing text compares numbers.
	tokenMax = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
)

// MintSecret makes a new secret of the form of a bearer token with another prefix, for example "psr_" for a refresh token
// (auth.md ST-1): the prefix, 32 random bytes as 43 base-62 digits, and the CRC-32 (IEEE) of everything before as 6. Only
// sha, the SHA-256 of the whole secret, is ever stored (SE-1).
func MintSecret(prefix string) (token string, sha [sha256.Size]byte) {
	var secret [tokenSecret]byte
	_, _ = rand.Read(secret[:]) // never fails: the runtime ends the process instead
	token = formatSecret(prefix, secret)
	return token, sha256.Sum256([]byte(token))
}

// ParseSecret checks the form and the checksum of a secret with a prefix and returns the SHA-256 of the whole secret. ok
// is false for everything that [MintSecret] cannot have made for this prefix; whether the secret exists is for the look-up
// by sha to say.
func ParseSecret(prefix, s string) (sha [sha256.Size]byte, ok bool) {
	body := len(prefix) + tokenDigits
	if len(s) != body+tokenChecksum || !strings.HasPrefix(s, prefix) {
		return sha, false
	}
	if s[len(prefix):body] > tokenMax || !only(s[len(prefix):], isBase62) {
		return sha, false
	}
	if sum := checksum(s[:body]); string(sum[:]) != s[body:] {
		return sha, false
	}
	return sha256.Sum256([]byte(s)), true
}

func formatSecret(prefix string, secret [tokenSecret]byte) string {
	out := make([]byte, 0, len(prefix)+tokenDigits+tokenChecksum)
	out = append(out, prefix...)
	n, digit, base := new(big.Int).SetBytes(secret[:]), new(big.Int), big.NewInt(int64(len(base62)))
	var digits [tokenDigits]byte
	for i := tokenDigits - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		digits[i] = base62[digit.Int64()]
	}
	out = append(out, digits[:]...)
	sum := checksum(string(out))
	return string(append(out, sum[:]...))
}

func checksum(body string) (digits [tokenChecksum]byte) {
	n := crc32.ChecksumIEEE([]byte(body))
	for i := tokenChecksum - 1; i >= 0; i-- {
		digits[i] = base62[n%uint32(len(base62))]
		n /= uint32(len(base62))
	}
	return digits
}

func isBase62(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
