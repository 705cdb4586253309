// SPDX-License-Identifier: Apache-2.0

// Package accesstoken reads and verifies the access tokens of Penstock's authserver: JWTs of RFC 9068 in the one form that
// it mints (auth.md TK-4). Everything that this form does not need is refused, not ignored (RFC 8725).
//
// authn uses it. It must never know who the issuer is, where keys come from, or what a token gives access to.
package accesstoken

import (
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Paths by which clients came to a token: values of the claim pst_method.
const (
	MethodOAuth             = "oauth"
	MethodClientCredentials = "client_credentials"
	MethodIDJAG             = "id_jag"
)

// maxLength bounds a token in bytes, before anything of it is read.
const maxLength = 8 << 10

// signatureLength is that of ES256, r and s (RFC 7518 §3.4).
const signatureLength = 64

// ErrInvalid is every reason why a token is none of ours: nobody is told which.
var ErrInvalid = errors.New("the token is not in the form of an access token")

// Token is what an access token says. As long as Verify has not returned nil, nothing of it may be believed.
type Token struct {
	KeyID                      string // kid, a SHA-256 thumbprint (RFC 7638)
	Issuer, Subject, ClientID  string
	Audience                   string // one: never a list
	TokenID, Grant             string // jti, gid
	Method                     string // pst_method
	Scopes                     []string
	Issued, Expires, NotBefore time.Time // NotBefore may be zero
	// Claims is what RFC 9068 has of the above, a raw JSON object: without what Penstock tells itself. It must not be changed.
	Claims []byte

	compact string
}

// Looks reports whether a text has the shape of a JWT, whosesoever it is.
func Looks(text string) bool { return strings.Count(text, ".") == 2 && strings.HasPrefix(text, "ey") }

// Parse reads a token without verifying it.
func Parse(text string) (*Token, error) {
	if len(text) > maxLength {
		return nil, ErrInvalid
	}
	head, rest, ok := strings.Cut(text, ".")
	body, signature, more := strings.Cut(rest, ".")
	if raw, well := decode(signature); !ok || !more || !well || len(raw) != signatureLength { // one text for one token
		return nil, ErrInvalid
	}
	t := &Token{compact: text}
	if !t.readHeader(head) || !t.readClaims(body) {
		return nil, ErrInvalid
	}
	return t, nil
}

// decode reads strict, unpadded base64url.
func decode(text string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return raw, err == nil && !strings.ContainsAny(text, "\r\n")
}

// readHeader takes alg, kid and typ, and nothing else: no crit, jwk, jku, x5u, x5c or zip.
func (t *Token) readHeader(text string) bool {
	raw, ok := decode(text)
	if !ok {
		return false
	}
	var room [4]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil || len(fields) != 3 {
		return false
	}
	alg, _ := wire.DecodeString(wire.Lookup(fields, "alg").Of(raw))
	typ, _ := wire.DecodeString(wire.Lookup(fields, "typ").Of(raw))
	t.KeyID, _ = wire.DecodeString(wire.Lookup(fields, "kid").Of(raw))
	return alg == string(jose.ES256) && isType(typ) && isThumbprint(t.KeyID)
}

// isType reports whether typ is that of RFC 9068 §2.1, in either form.
func isType(typ string) bool {
	return strings.EqualFold(typ, "at+jwt") || strings.EqualFold(typ, "application/at+jwt")
}

func isThumbprint(kid string) bool {
	raw, ok := decode(kid)
	return ok && len(raw) == 32
}

func (t *Token) readClaims(text string) bool {
	raw, ok := decode(text)
	if !ok {
		return false
	}
	var room [16]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return false
	}
	for _, claim := range [...]struct {
		name string
		into *string
	}{
		{"iss", &t.Issuer}, {"sub", &t.Subject}, {"aud", &t.Audience}, {"client_id", &t.ClientID}, {"jti", &t.TokenID}, {"pst_method", &t.Method},
	} {
		if *claim.into, ok = wire.DecodeString(wire.Lookup(fields, claim.name).Of(raw)); !ok || *claim.into == "" {
			return false
		}
	}
	scopes, ok := wire.DecodeString(wire.Lookup(fields, "scope").Of(raw))
	if !ok {
		return false
	}
	t.Grant, _ = wire.DecodeString(wire.Lookup(fields, "gid").Of(raw))
	if t.Grant == "" && t.Method != MethodClientCredentials { // a client that acts as itself was granted nothing by anybody
		return false
	}
	if wire.Lookup(fields, "cnf").Present() { // bound to a key that its bearer would have to prove
		return false
	}
	t.Scopes = strings.Fields(scopes)
	t.Claims = public(raw, fields)
	if t.Issued, ok = seconds(wire.Lookup(fields, "iat").Of(raw)); !ok {
		return false
	}
	if t.Expires, ok = seconds(wire.Lookup(fields, "exp").Of(raw)); !ok {
		return false
	}
	if nbf := wire.Lookup(fields, "nbf").Of(raw); nbf != nil {
		t.NotBefore, ok = seconds(nbf)
	}
	return ok
}

// public returns the claims of a token that others may rely on.
func public(raw []byte, fields []wire.Field) []byte {
	b := []byte{'{'}
	for _, name := range [...]string{"iss", "sub", "aud", "client_id", "jti", "scope", "iat", "exp"} {
		value := wire.Lookup(fields, name).Of(raw)
		if value == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(wire.AppendString(b, name), ':'), value...)
	}
	return append(b, '}')
}

// seconds reads a NumericDate. Ours are whole numbers; anything past the year 9999 is none.
func seconds(raw []byte) (time.Time, bool) {
	const last = 253402300799
	n, ok := wire.Int(raw)
	return time.Unix(n, 0), ok && n > 0 && n <= last
}

// Verify checks the signature by a key of ES256.
func (t *Token) Verify(key *ecdsa.PublicKey) error {
	signed, err := jose.ParseSignedCompact(t.compact, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return ErrInvalid
	}
	if _, err := signed.Verify(key); err != nil {
		return ErrInvalid
	}
	return nil
}

// Current reports whether the token counts at a time by a clock that may differ by skew: expired is true if it did once.
func (t *Token) Current(now time.Time, skew time.Duration) (ok, expired bool) {
	if t.Issued.After(now.Add(skew)) || t.NotBefore.After(now.Add(skew)) || !t.Expires.After(t.Issued) {
		return false, false
	}
	expired = !now.Before(t.Expires.Add(skew))
	return !expired, expired
}
