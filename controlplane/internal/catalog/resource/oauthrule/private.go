// SPDX-License-Identifier: Apache-2.0

package oauthrule

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// minRSA is the shortest RSA key that signs assertions, in bits (RFC 7518, section 3.3).
const minRSA = 2048

// PrivateKeyProblem says what is wrong with a private key that signs client assertions (RFC 7523); empty if nothing is. It is one
// block of PEM with a key in PKCS #8 (RFC 5958): EC on P-256 or P-384, RSA of at least 2,048 bits, or Ed25519. The text quotes
// nothing of the key.
func PrivateKeyProblem(text string) string {
	const form = "it is not one PRIVATE KEY block of PEM (PKCS #8)"
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || strings.TrimSpace(string(rest)) != "" || !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN "):
		return form
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return "the private key is encrypted; give it without a passphrase: openssl pkcs8 -topk8 -nocrypt"
	case block.Type == "EC PRIVATE KEY" || block.Type == "RSA PRIVATE KEY":
		return "the private key is not in PKCS #8; turn it into that: openssl pkcs8 -topk8 -nocrypt"
	case block.Type != "PRIVATE KEY":
		return form
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return form
	}
	const kinds = "; use EC on P-256 or P-384, RSA of at least 2,048 bits, or Ed25519"
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return "its curve is " + k.Curve.Params().Name + kinds
		}
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minRSA {
			return fmt.Sprintf("its RSA key has %d bits%s", bits, kinds)
		}
	case ed25519.PrivateKey:
	default:
		return "it is a key of a kind that signs no assertions" + kinds
	}
	return ""
}
