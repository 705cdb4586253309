// SPDX-License-Identifier: Apache-2.0

package loginfake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// ES256 signs claims as the provider's metadata say.
func ES256(claims []byte, key *ecdsa.PrivateKey) string {
	return sign(claims, jose.ES256, jose.JSONWebKey{Key: key, KeyID: "k1"})
}

// Unsigned makes a token with alg "none".
func Unsigned(claims []byte, _ *ecdsa.PrivateKey) string {
	b64 := base64.RawURLEncoding
	return b64.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64.EncodeToString(claims) + "."
}

// HS256 signs with the public key as if it were a shared secret.
func HS256(claims []byte, key *ecdsa.PrivateKey) string {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err.Error()
	}
	return sign(claims, jose.HS256, jose.JSONWebKey{Key: public, KeyID: "k1"})
}

// Stranger signs with another key under the same kid.
func Stranger(claims []byte, _ *ecdsa.PrivateKey) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err.Error()
	}
	return ES256(claims, key)
}

// Embedded signs with a key of its own that the header brings along.
func Embedded(claims []byte, _ *ecdsa.PrivateKey) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err.Error()
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		return err.Error()
	}
	return compact(s, claims)
}

func sign(claims []byte, alg jose.SignatureAlgorithm, key jose.JSONWebKey) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return err.Error()
	}
	return compact(s, claims)
}

func compact(s jose.Signer, claims []byte) string {
	object, err := s.Sign(claims)
	if err != nil {
		return err.Error()
	}
	text, err := object.CompactSerialize()
	if err != nil {
		return err.Error()
	}
	return text
}

// challenge is RFC 7636 §4.2.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// accessHash is at_hash (OpenID Connect Core 1.0 §3.1.3.6).
func accessHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

func splitScope(s string) []string { return strings.Fields(s) }

func cutBearer(header string) (string, bool) { return strings.CutPrefix(header, "Bearer ") }
