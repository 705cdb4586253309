// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/penstockhq/penstock/authserver/internal/directory"
)

// Signed returns the claims of an identity assertion, a compact JWS, that a provider has signed with one of its algorithms,
// and checks nothing else of it. The keys are those that the provider's discovery document names, read through the same
// guarded client, and read anew for one that is not among them (JAG-2). A wrong signature is Denied, SIGNATURE_INVALID; keys
// that cannot be had are Unavailable, PROVIDER_UNREACHABLE, or Denied where the document cannot be used.
func (p *Party) Signed(ctx context.Context, idp *directory.Provider, compact string) (claims []byte, err error) {
	found, err := p.discover(ctx, idp.Issuer)
	if err != nil {
		return nil, err
	}
	keys := &askedKeys{keys: found.keys}
	token, err := oidc.NewVerifier(idp.Issuer, keys, &oidc.Config{
		SupportedSigningAlgs: idp.IDJAG.Algorithms, SkipClientIDCheck: true, SkipExpiryCheck: true, // with bounds of their own
	}).Verify(ctx, compact)
	switch {
	case keys.unreachable:
		return nil, unreachable(errors.New("the keys of the provider cannot be read"))
	case err != nil:
		return nil, refuse(ReasonSignature, errors.New("the provider has not signed it")) // the error may quote the token
	}
	var raw json.RawMessage
	if err := token.Claims(&raw); err != nil {
		return nil, refuse(ReasonSignature, errors.New("the claims cannot be read"))
	}
	return raw, nil
}

// askedKeys notes why a key set verified nothing: the library keeps only the text.
type askedKeys struct {
	keys        *oidc.RemoteKeySet
	unreachable bool
}

// VerifySignature implements [oidc.KeySet].
func (k *askedKeys) VerifySignature(ctx context.Context, compact string) ([]byte, error) {
	payload, err := k.keys.VerifySignature(ctx, compact)
	k.unreachable = err != nil && strings.HasPrefix(err.Error(), "fetching keys")
	return payload, err
}

// Asserted returns whom the claims of an identity assertion tell of, groups apart: it is about one access, not about teams. The
// claims that the administrator requires must be there. An address that the provider calls unverified is left out (JAG-12).
func Asserted(idp *directory.Provider, payload []byte) (Account, error) {
	var c claims
	if err := errors.Join(json.Unmarshal(payload, &c.known), json.Unmarshal(payload, &c.all)); err != nil {
		return Account{}, refuse(ReasonToken, errors.New("the claims cannot be read"))
	}
	if err := c.require(idp.RequiredClaims); err != nil {
		return Account{}, err
	}
	a := Account{Subject: c.known.Subject, DisplayName: c.name(), AMR: c.methods()}
	a.Email, a.EmailVerified = c.email()
	if c.known.EmailVerified != nil && !a.EmailVerified {
		a.Email = ""
	}
	return a, nil
}
