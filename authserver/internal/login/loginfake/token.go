// SPDX-License-Identifier: Apache-2.0

package loginfake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

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

// LogoutToken makes a logout token of the provider (OpenID Connect Back-Channel Logout 1.0 §2.4), for the client and the subject,
// with its claims and the typ of its header changed.
func (p *Provider) LogoutToken(typ string, change func(c map[string]any)) string {
	p.Lock()
	defer p.Unlock()
	now := p.Now()
	c := map[string]any{
		"iss": p.Issuer, "aud": p.Client.ID, "sub": p.Subject, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": random(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	if change != nil {
		change(c)
	}
	claims, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	if p.Behavior.Sign != nil {
		return p.Behavior.Sign(claims, p.key)
	}
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k1"}}, options)
	if err != nil {
		return err.Error()
	}
	return compact(s, claims)
}
