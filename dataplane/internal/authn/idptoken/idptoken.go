// SPDX-License-Identifier: Apache-2.0

package idptoken

import (
	"crypto"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Bounds, in bytes but for the list.
const (
	maxLength   = 16 << 10 // of a token, before anything of it is read
	maxSubject  = 255      // OpenID Connect Core 1.0 §2
	maxScopes   = 4 << 10
	maxClient   = 512
	maxTokenID  = 256
	maxAudience = 100 // entries
)

// ErrInvalid is every reason why a token does not count: nobody is told which.
var ErrInvalid = errors.New("the token is not one for this gateway")

// Token is what a token says. As long as Verify has not returned nil, nothing of it may be believed.
type Token struct {
	Algorithm string // alg, as it stands in the header
	KeyID     string // kid, empty if there is none
	Issuer    string // iss

	typ, compact string
	body         []byte
	claims       []wire.Field
	audience     []string

	issued, expires, notBefore time.Time // notBefore may be zero
}

// Parse reads a token without verifying it. Of the header it takes alg, kid and typ; keys that it brings along (jwk, jku, x5u,
// x5c) are never looked at, and what would change how it is read (crit, zip, b64, enc) is refused.
func Parse(text string) (*Token, error) {
	if len(text) > maxLength || strings.Count(text, ".") != 2 {
		return nil, ErrInvalid
	}
	head, rest, _ := strings.Cut(text, ".")
	body, signature, _ := strings.Cut(rest, ".")
	if raw, well := decode(signature); !well || len(raw) == 0 {
		return nil, ErrInvalid
	}
	t := &Token{compact: text}
	if !t.readHeader(head) || !t.readClaims(body) {
		return nil, ErrInvalid
	}
	return t, nil
}

// decode reads strict, unpadded base64url: one text for one token.
func decode(text string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return raw, err == nil && !strings.ContainsAny(text, "\r\n")
}

func (t *Token) readHeader(text string) bool {
	raw, ok := decode(text)
	if !ok {
		return false
	}
	var room [8]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return false
	}
	for _, name := range []string{"crit", "zip", "enc", "b64"} {
		if wire.Lookup(fields, name).Present() {
			return false
		}
	}
	t.Algorithm, ok = wire.DecodeString(wire.Lookup(fields, "alg").Of(raw))
	if !ok || !optional(raw, fields, "kid", &t.KeyID) || !optional(raw, fields, "typ", &t.typ) {
		return false
	}
	return t.KeyID != "" || !wire.Lookup(fields, "kid").Present()
}

// optional reads a member that is text if it is there.
func optional(raw []byte, fields []wire.Field, name string, into *string) (ok bool) {
	m := wire.Lookup(fields, name)
	if !m.Present() {
		return true
	}
	*into, ok = wire.DecodeString(m.Of(raw))
	return ok
}

// Claims returns all claims, a raw JSON object, which must not be changed. It is never longer than the token, of 16 KiB at most.
func (t *Token) Claims() []byte { return t.body }

// readClaims reads what every token must have: iss, aud, exp and iat.
func (t *Token) readClaims(text string) (ok bool) {
	if t.body, ok = decode(text); !ok {
		return false
	}
	var err error
	if t.claims, err = wire.Fields(nil, t.body); err != nil {
		return false
	}
	if t.Issuer, ok = t.text("iss"); !ok || t.Issuer == "" {
		return false
	}
	if t.audience, ok = t.list("aud"); !ok || len(t.audience) == 0 {
		return false
	}
	if t.expires, ok = seconds(t.raw("exp")); !ok {
		return false
	}
	if t.issued, ok = seconds(t.raw("iat")); !ok {
		return false
	}
	if nbf := t.raw("nbf"); nbf != nil {
		t.notBefore, ok = seconds(nbf)
	}
	return ok
}

func (t *Token) raw(claim string) []byte { return wire.Lookup(t.claims, claim).Of(t.body) }

func (t *Token) has(claim string) bool { return wire.Lookup(t.claims, claim).Present() }

func (t *Token) text(claim string) (string, bool) {
	s, ok := wire.DecodeString(t.raw(claim))
	return s, ok && utf8.ValidString(s)
}

// list reads a claim that is one text or a list of texts (RFC 7519 §4.1.3).
func (t *Token) list(claim string) ([]string, bool) {
	raw := t.raw(claim)
	if one, ok := wire.DecodeString(raw); ok {
		return []string{one}, true
	}
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	spans, err := wire.Elements(nil, raw)
	if err != nil || len(spans) > maxAudience {
		return nil, false
	}
	out := make([]string, len(spans))
	for i, span := range spans {
		var ok bool
		if out[i], ok = wire.DecodeString(span.Of(raw)); !ok {
			return nil, false
		}
	}
	return out, true
}

// seconds reads a NumericDate, which may have a fraction (RFC 7519 §2); anything past the year 9999 is none.
func seconds(raw []byte) (time.Time, bool) {
	const last = 253402300799
	if len(raw) == 0 || raw[0] == '"' {
		return time.Time{}, false
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || n <= 0 || n > last || math.IsNaN(n) {
		return time.Time{}, false
	}
	whole, part := math.Modf(n)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

// Verify checks the signature by a key. The caller has made sure that the key is for the token's algorithm.
func (t *Token) Verify(key crypto.PublicKey) error {
	signed, err := jose.ParseSignedCompact(t.compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.Algorithm)})
	if err != nil {
		return ErrInvalid
	}
	if _, err := signed.Verify(key); err != nil {
		return ErrInvalid
	}
	t.compact = "" // a token in memory is of no use to whoever reads the memory
	return nil
}
