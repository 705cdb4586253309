// SPDX-License-Identifier: Apache-2.0

package loginfake

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"time"
)

// Signature signs what is before the last dot of a compact JWS.
type Signature func(input []byte, key *ecdsa.PrivateKey) []byte

// P1363 is the signature of ES256 (RFC 7518 §3.4).
func P1363(input []byte, key *ecdsa.PrivateKey) []byte {
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return nil
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

// DER is a signature of the same key in the form of X.509.
func DER(input []byte, key *ecdsa.PrivateKey) []byte {
	sum := sha256.Sum256(input)
	out, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		return nil
	}
	return out
}

// PublicAsSecret is an HMAC with the public key as its secret.
func PublicAsSecret(input []byte, key *ecdsa.PrivateKey) []byte {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil
	}
	m := hmac.New(sha256.New, public)
	m.Write(input)
	return m.Sum(nil)
}

// Foreign is a good signature by another key.
func Foreign(input []byte, key *ecdsa.PrivateKey) []byte {
	other, err := ecdsa.GenerateKey(key.Curve, rand.Reader)
	if err != nil {
		return nil
	}
	return P1363(input, other)
}

// None is no signature.
func None([]byte, *ecdsa.PrivateKey) []byte { return nil }

// Assertion makes an identity assertion (ID-JAG) for five minutes. header and claims change those of a good one: nil takes one
// away. aud, client_id, jti, resource and scope are among the claims that a caller has to give. A nil sign is [P1363].
func (p *Provider) Assertion(header, claims map[string]any, sign Signature) string {
	now := p.Now()
	h := map[string]any{"alg": "ES256", "kid": "k1", "typ": "oauth-id-jag+jwt"}
	c := map[string]any{"iss": p.Issuer, "sub": p.Subject, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for _, change := range []struct{ of, with map[string]any }{{h, header}, {c, claims}} {
		maps.Copy(change.of, change.with)
		maps.DeleteFunc(change.of, func(_ string, v any) bool { return v == nil })
	}
	if sign == nil {
		sign = P1363
	}
	input := part(h) + "." + part(c)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input), p.key))
}

// part encodes one; a [json.RawMessage] under the name "" is the whole of it.
func part(m map[string]any) string {
	raw, _ := m[""].(json.RawMessage)
	if raw == nil {
		raw, _ = json.Marshal(m) // maps of a test
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
