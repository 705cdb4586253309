// SPDX-License-Identifier: Apache-2.0

package oauthclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Methods of client authentication (RFC 7591 §2, OpenID Connect Core 1.0 §9).
const (
	MethodNone       = "none"
	MethodBasic      = "client_secret_basic"
	MethodPost       = "client_secret_post"
	MethodPrivateKey = "private_key_jwt"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 §2.2
	assertionLife = time.Minute                                              // each is used once
	minRSA        = 2048                                                     // bits (RFC 7518 §3.3)
)

// Identity is Penstock as a client of an authorization server.
type Identity struct {
	ID     string     // client_id
	Method string     // one of the methods above
	Secret obs.Secret // of client_secret_basic and _post; of private_key_jwt the private key, PKCS #8 in PEM; else empty
}

// SecretMethod returns how a secret is sent: in the header, as every server takes it (RFC 6749 §2.3.1), unless it says otherwise.
// supported is the server's token_endpoint_auth_methods_supported, empty if it does not say.
func SecretMethod(supported []string) string {
	if len(supported) > 0 && !slices.Contains(supported, MethodBasic) && slices.Contains(supported, MethodPost) {
		return MethodPost
	}
	return MethodBasic
}

// Authenticate adds what proves the identity to a request: to its form, or to the header that is returned. audience is the issuer of
// the authorization server (draft-ietf-oauth-rfc7523bis §4), or its token endpoint where no issuer is known; algorithms is its
// token_endpoint_auth_signing_alg_values_supported, empty if it does not say. The fault is Precondition UPSTREAM_CLIENT_REFUSED: the
// private key cannot be used.
func (i Identity) Authenticate(form url.Values, audience string, algorithms []string, now time.Time) (http.Header, error) {
	header := http.Header{}
	switch i.Method {
	case MethodBasic:
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(i.ID), url.QueryEscape(i.Secret.Reveal()))
	case MethodPost:
		form.Set("client_id", i.ID)
		form.Set("client_secret", i.Secret.Reveal())
	case MethodPrivateKey:
		assertion, err := i.assertion(audience, algorithms, now)
		if err != nil {
			return nil, err
		}
		form.Set("client_id", i.ID)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	default:
		form.Set("client_id", i.ID)
	}
	return header, nil
}

// assertion is a signed one of the client about itself (RFC 7523 §3), good for a minute and for one use.
func (i Identity) assertion(audience string, algorithms []string, now time.Time) (string, error) {
	key, fitting, err := privateKey(i.Secret)
	if err != nil {
		return "", err
	}
	algorithm := fitting[0]
	if len(algorithms) > 0 {
		at := slices.IndexFunc(fitting, func(a jose.SignatureAlgorithm) bool { return slices.Contains(algorithms, string(a)) })
		if at < 0 {
			return "", refuse(ReasonClient, "The authorization server takes no signatures of Penstock's private key, which makes %s: use a key for another algorithm.", fitting[0])
		}
		algorithm = fitting[at]
	}
	// The key's own text must not get into an error, whatever a library quotes.
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", errors.New("prepare a client assertion")
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{
		// aud is one string: a list is refused by servers that follow RFC 7523bis to the letter.
		"iss": i.ID, "sub": i.ID, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}).Serialize()
	if err != nil {
		return "", errors.New("sign a client assertion")
	}
	return text, nil
}

// privateKey reads a private key, and which algorithms it signs with, the best known first.
func privateKey(text obs.Secret) (crypto.Signer, []jose.SignatureAlgorithm, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text.Reveal())))
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, nil, refuse(ReasonClient, "What is stored as Penstock's private key is not one key, PKCS #8 in PEM: set client_secret anew.")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, refuse(ReasonClient, "Penstock's private key cannot be read: set client_secret anew.")
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return k, []jose.SignatureAlgorithm{jose.ES256}, nil
		case 384:
			return k, []jose.SignatureAlgorithm{jose.ES384}, nil
		}
	case *rsa.PrivateKey:
		if k.N.BitLen() >= minRSA {
			return k, []jose.SignatureAlgorithm{jose.RS256, jose.PS256}, nil
		}
	case ed25519.PrivateKey:
		return k, []jose.SignatureAlgorithm{jose.EdDSA}, nil
	}
	return nil, nil, fault.New(fault.Precondition, ReasonClient,
		"Penstock's private key is of a kind that signs no assertions: use P-256, P-384, Ed25519, or RSA with 2048 bits or more.").
		Because(fmt.Errorf("it is %T", key))
}
