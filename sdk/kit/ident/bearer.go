// SPDX-License-Identifier: Apache-2.0

package ident

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
)

// A bearer token is "pst_", one letter for the kind of its principal, "_", 32 random bytes as 43 base-62 digits, and
// the CRC-32 (IEEE) of everything before as 6 base-62 digits (auth.md ST-1). The digits are 0-9A-Za-z, most significant
// first, padded with 0. The checksum is no protection: it lets a mistyped token be refused without a look-up.
const (
	tokenPrefix   = "pst_"
	tokenSecret   = 32                   // random bytes
	tokenHead     = len(tokenPrefix) + 2 // "pst_u_"
	tokenDigits   = 43                   // base-62 digits of the random bytes
	tokenChecksum = 6                    // base-62 digits of the CRC
	tokenBody     = tokenHead + tokenDigits
	tokenLen      = tokenBody + tokenChecksum

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	// tokenMax is 2^256-1 in base 62. The digits are in ASCII order, so comparing text compares numbers.
	tokenMax = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
)

// MintBearer makes a new bearer token for a kind of principal. The token is shown once and never stored: sha is the
// SHA-256 of the whole token, by which it is found again (ST-2). An unknown kind gives an empty token.
func MintBearer(kind Kind) (token string, sha [sha256.Size]byte) {
	letter := kindLetter(kind)
	if letter == 0 {
		return "", sha
	}
	var secret [tokenSecret]byte
	_, _ = rand.Read(secret[:]) // never fails: the runtime ends the process instead
	token = formatBearer(letter, secret)
	return token, sha256.Sum256([]byte(token))
}

// ParseBearer checks the form and the checksum of a bearer token and returns the kind of principal it was made for and
// the SHA-256 of the whole token. ok is false for everything that MintBearer cannot have made; whether the token exists
// is for the look-up by sha to say.
func ParseBearer(s string) (kind Kind, sha [sha256.Size]byte, ok bool) {
	if len(s) != tokenLen || s[:len(tokenPrefix)] != tokenPrefix || s[tokenHead-1] != '_' {
		return "", sha, false
	}
	kind = letterKind(s[len(tokenPrefix)])
	if kind == "" || s[tokenHead:tokenBody] > tokenMax || !only(s[tokenHead:], isBase62) {
		return "", sha, false
	}
	if sum := checksum(s[:tokenBody]); string(sum[:]) != s[tokenBody:] {
		return "", sha, false
	}
	return kind, sha256.Sum256([]byte(s)), true
}

func formatBearer(letter byte, secret [tokenSecret]byte) string {
	out := make([]byte, 0, tokenLen)
	out = append(out, tokenPrefix...)
	out = append(out, letter, '_')
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

func kindLetter(k Kind) byte {
	switch k {
	case KindUser:
		return 'u'
	case KindTeam:
		return 't'
	case KindOrganization:
		return 'o'
	case KindServiceAccount:
		return 's'
	default:
		return 0
	}
}

func letterKind(c byte) Kind {
	switch c {
	case 'u':
		return KindUser
	case 't':
		return KindTeam
	case 'o':
		return KindOrganization
	case 's':
		return KindServiceAccount
	default:
		return ""
	}
}
