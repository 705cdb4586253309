// SPDX-License-Identifier: Apache-2.0

package assertion

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Type is the value of client_assertion_type (RFC 7523 §2.2).
const Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Bounds of an assertion.
const (
	maxToken = 16 << 10
	maxJTI   = 256
	maxLife  = 5 * time.Minute // from now to exp
	skew     = 30 * time.Second
)

// ErrNoKey is inside the error of [Assertion.Verify] if no key goes with the assertion: a newer key set may have one.
var ErrNoKey = errors.New("no key goes with the assertion")

// Assertion is one that is not verified yet.
type Assertion struct {
	token   *jwt.JSONWebToken
	subject string
}

// Algorithms returns the accepted algorithms. None is symmetrical: a public key must not pass for a secret.
func Algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}
}

// Parse reads an assertion. It verifies nothing.
func Parse(text string) (*Assertion, error) {
	if len(text) > maxToken {
		return nil, errors.New("the assertion is too long")
	}
	token, err := jwt.ParseSigned(text, Algorithms())
	if err != nil {
		return nil, fmt.Errorf("parse the assertion: %w", err)
	}
	var c jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&c); err != nil {
		return nil, fmt.Errorf("read the claims: %w", err)
	}
	if len(token.Headers) != 1 || c.Subject == "" {
		return nil, errors.New("the assertion has no subject")
	}
	typ, _ := token.Headers[0].ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains([]string{"", "jwt", "client-authentication+jwt"}, strings.TrimPrefix(strings.ToLower(typ), "application/")) {
		return nil, errors.New("the assertion is a token of another kind")
	}
	return &Assertion{token: token, subject: c.Subject}, nil
}

// Subject returns the client_id that the assertion claims, unverified.
func (a *Assertion) Subject() string { return a.subject }

// Use is a verified assertion.
type Use struct {
	JTI      string    // of the client, to be used once
	Until    time.Time // when it can be forgotten
	Audience string
}

// Verify checks signature and claims: iss and sub are the client, aud is one of the audiences and nothing else, exp is at
// most 5 minutes ahead, there is a jti.
func (a *Assertion) Verify(keys []jose.JSONWebKey, client string, audiences []string, now time.Time) (Use, error) {
	var c jwt.Claims
	if err := a.claims(keys, &c); err != nil {
		return Use{}, err
	}
	switch {
	case c.Issuer != client || c.Subject != client:
		return Use{}, errors.New("iss and sub are not the client")
	case len(c.Audience) != 1 || !slices.Contains(audiences, c.Audience[0]):
		return Use{}, errors.New("aud is not this authorization server alone")
	case c.Expiry == nil || !now.Before(c.Expiry.Time().Add(skew)):
		return Use{}, errors.New("exp is missing or over")
	case c.Expiry.Time().After(now.Add(maxLife + skew)):
		return Use{}, errors.New("exp is more than 5 minutes ahead")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(skew)), c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(skew)):
		return Use{}, errors.New("nbf or iat is in the future")
	case c.ID == "" || len(c.ID) > maxJTI:
		return Use{}, errors.New("jti is missing or too long")
	}
	return Use{JTI: c.ID, Until: c.Expiry.Time().Add(skew), Audience: c.Audience[0]}, nil
}

// claims verifies the signature with the key that the header names, or with each where it names none.
func (a *Assertion) claims(keys []jose.JSONWebKey, into *jwt.Claims) error {
	header := a.token.Headers[0]
	tried := false
	for _, k := range keys {
		if header.KeyID != "" && k.KeyID != "" && k.KeyID != header.KeyID ||
			k.Algorithm != "" && k.Algorithm != header.Algorithm && k.Algorithm != "Ed25519" {
			continue
		}
		tried = true
		if err := a.token.Claims(k.Key, into); err == nil {
			return nil
		}
	}
	if !tried {
		return ErrNoKey
	}
	return errors.New("the signature is wrong")
}
