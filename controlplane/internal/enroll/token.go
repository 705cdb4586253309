// SPDX-License-Identifier: Apache-2.0

package enroll

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// MintToken makes a join token: "pjt_", a secret of 256 bits with its checksum, ".", and the SHA-256 of the authority's
// certificate in base64url, by which who joins knows the control plane. Only sha, the SHA-256 of the part before the dot, is
// stored.
func MintToken(authority [sha256.Size]byte) (token string, sha [sha256.Size]byte) {
	secret, sha := ident.MintSecret(TokenPrefix)
	return secret + "." + base64.RawURLEncoding.EncodeToString(authority[:]), sha
}

// cut separates the secret from the fingerprint.
func cut(token string) (secret, fingerprint string, ok bool) { return strings.Cut(token, ".") }

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
