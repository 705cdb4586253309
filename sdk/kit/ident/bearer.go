// SPDX-License-Identifier: Apache-2.0

package ident

import (
	"crypto/rand"
	"crypto/sha256"
)

// A bearer token is "pst_", one letter for the kind of its principal, "_", 32 random bytes as 43 base-62 digits, and
// the CRC-32 (IEEE) of everything before as 6 base-62 digits (auth.md ST-1). The digits are 0-9A-Za-z, most significant
// first, padded with 0. The checksum is no protection: it lets a mistyped token be refused without a look-up.
const (
	tokenPrefix = "pst_"
	tokenHead   = len(tokenPrefix) + 2 // "pst_u_"
	tokenBody   = tokenHead + tokenDigits
	tokenLen    = tokenBody + tokenChecksum
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
	if kind == "" {
		return "", sha, false
	}
	if sha, ok = ParseSecret(s[:tokenHead], s); !ok {
		return "", sha, false
	}
	return kind, sha, true
}

func formatBearer(letter byte, secret [tokenSecret]byte) string {
	return formatSecret(tokenPrefix+string(letter)+"_", secret)
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
