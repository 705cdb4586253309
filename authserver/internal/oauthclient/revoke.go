// SPDX-License-Identifier: Apache-2.0

package oauthclient

import (
	"context"
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Kinds of tokens that are revoked (token_type_hint of RFC 7009 §2.1).
const (
	HintRefresh = "refresh_token"
	HintAccess  = "access_token"
)

// Revocation is a token that its authorization server is to end.
type Revocation struct {
	Endpoint   string   // URL of the revocation endpoint
	Issuer     string   // of the authorization server
	Algorithms []string // its token_endpoint_auth_signing_alg_values_supported; empty: not said
	Identity   Identity // whom the token was given to; it authenticates as at the token endpoint
	Hint       string   // one of the kinds above
	Token      obs.Secret
}

// Revoke ends a token (RFC 7009 §2.1). It is no error if the token is over already. Errors are [*Refusal] for one that the server
// names, and the faults of [Requester.Get], [Requester.Secure] and [Identity.Authenticate].
func (r Requester) Revoke(ctx context.Context, q Revocation) error {
	if err := r.Secure(TheRevocation, q.Issuer, q.Endpoint); err != nil {
		return err
	}
	form := url.Values{"token": {q.Token.Reveal()}, "token_type_hint": {q.Hint}}
	header, err := q.Identity.Authenticate(form, q.Issuer, q.Algorithms, r.Now())
	if err != nil {
		return err
	}
	a, err := r.PostForm(ctx, TheRevocation, q.Endpoint, form, header)
	if err != nil || a.Status == http.StatusOK || a.Status == http.StatusNoContent {
		return err
	}
	var said struct {
		Error string `json:"error"`
	}
	_ = a.Decode(&said) // an answer without a code is a refusal, too
	if said.Error == "" && a.Status == http.StatusUnauthorized {
		said.Error = "invalid_client"
	}
	return a.refusal(said.Error)
}
