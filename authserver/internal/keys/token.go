// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxToken bounds what is parsed as a token, in bytes.
const maxToken = 8 << 10

// Sign returns claims, which are encoded as JSON, as a compact JWS with the header's typ, for example "at+jwt" (RFC 9068
// §2.1). The fault is Unavailable, SIGNING_KEY_NOT_READY.
func (k *Keys) Sign(_ context.Context, typ string, claims any) (string, error) {
	r := k.ring.Load()
	if r == nil {
		return "", notReady()
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader(jose.HeaderKey("kid"), r.kid)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: r.private}, options)
	if err != nil {
		return "", fmt.Errorf("prepare a signature: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return token, nil
}

// Verify returns the claims of a token that a published key signed, as JSON, if its header has this typ and alg ES256. It
// says nothing about their values, exp included. Everything else is Invalid, TOKEN_NOT_VERIFIED.
func (k *Keys) Verify(token, typ string) ([]byte, error) {
	r := k.ring.Load()
	if r == nil {
		return nil, notReady()
	}
	if len(token) > maxToken {
		return nil, unverified(errors.New("it is too long"))
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, unverified(err)
	}
	header := signed.Signatures[0].Protected
	if got, _ := header.ExtraHeaders[jose.HeaderType].(string); got != typ {
		return nil, unverified(errors.New("its typ is another"))
	}
	// The key is found by kid among ours; a key in the header itself counts for nothing.
	public, ok := r.published[header.KeyID]
	if !ok {
		return nil, unverified(errors.New("its key is not published"))
	}
	payload, err := signed.Verify(public)
	if err != nil {
		return nil, unverified(err)
	}
	return payload, nil
}

func unverified(cause error) error {
	return fault.New(fault.Invalid, ReasonUnverified, "The token is not one of this authorization server.").Because(cause)
}

// JWKS returns the JSON Web Key Set with the public members of every key but the revoked (RFC 7517 §5, KM-2). It is nil
// before [Keys.Start], and must not be changed.
func (k *Keys) JWKS() []byte {
	if r := k.ring.Load(); r != nil {
		return r.jwks
	}
	return nil
}

// ServeHTTP answers GET and HEAD of /api/auth/jwks with the key set, for every origin and for five minutes. It is 503 before
// [Keys.Start].
func (k *Keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body := k.JWKS()
	if body == nil {
		h.Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "max-age=300")
	_, _ = w.Write(body)
}
