// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"errors"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
)

// Error codes that mean more than that a request is refused.
const (
	errorGrant     = "invalid_grant"
	errorRequest   = "invalid_request"
	errorConsent   = "consent_required"
	errorUserLogin = "insufficient_user_authentication" // draft-ietf-oauth-identity-assertion-authz-grant
)

// atIDP makes an error of what the identity provider answered to an exchange. RFC 8693 §2.2.2 has invalid_request for a subject token
// that it does not take, some have invalid_grant; Entra ID says with claims, or a code of its own, that a stronger login is wanted.
func (j *job) atIDP(err error) error {
	r, ok := errors.AsType[*oauthclient.Refusal](err)
	if !ok {
		return err
	}
	name := j.provider.Title()
	invalid := refuse(oauthclient.ReasonResponse, "The identity provider %q refuses the exchange for %q (%s): check token_exchange.", name, j.server.Name, r.Code).Because(r)
	switch r.Code {
	case errorUserLogin, "interaction_required", "login_required", "insufficient_claims":
		return &refusedSubject{refusal: r, stepUp: true}
	case errorGrant:
		if r.Suberror == errorConsent { // AADSTS65001
			return notAllowed(name, j, r)
		}
		return &refusedSubject{refusal: r}
	case errorRequest:
		if j.how.Grant == directory.GrantOnBehalfOf { // Entra ID does not mean the token by it
			return invalid
		}
		return &refusedSubject{refusal: r, other: invalid}
	case "invalid_client", "unauthorized_client":
		what := "client_id and client_secret of the provider"
		if j.how.Grant != directory.GrantIDJAG && j.how.ClientID != "" {
			what = "token_exchange.client_id and client_secret"
		}
		return refuse(oauthclient.ReasonClient, "The identity provider %q does not let Penstock's client exchange tokens: check %s, and what the client may do there.", name, what).Because(r)
	case "invalid_target", "invalid_scope":
		return refuse(ReasonTarget, "The identity provider %q gives no token for the server %q: check audience, scopes and no_resource of token_exchange.", name, j.server.Name).Because(r)
	case "unsupported_grant_type":
		return refuse(ReasonRefused, "The identity provider %q does no such exchange: check token_exchange.grant.", name).Because(r)
	case errorConsent, "access_denied":
		return notAllowed(name, j, r)
	default:
		return invalid
	}
}

func notAllowed(name string, j *job, r *oauthclient.Refusal) error {
	return refuse(ReasonRefused, "The identity provider %q does not allow Penstock to act for this person at %q: an administrator has to allow or consent to it there.", name, j.server.Name).Because(r)
}

// atServerAS makes an error of what the server's authorization server answered to an identity assertion.
func (j *job) atServerAS(err error) error {
	r, ok := errors.AsType[*oauthclient.Refusal](err)
	if !ok {
		return err
	}
	switch r.Code {
	case errorUserLogin:
		return &refusedSubject{refusal: r, stepUp: true}
	case errorGrant:
		return &refusedSubject{refusal: r, redeeming: true}
	case "invalid_client", "unauthorized_client":
		return refuse(oauthclient.ReasonClient, "The authorization server of %q does not take Penstock's client: check token_exchange.client_id and client_secret.", j.server.Name).Because(r)
	case "invalid_target", "invalid_scope":
		return refuse(ReasonTarget, "The authorization server of %q gives no token for that resource or scope: check token_exchange.scopes.", j.server.Name).Because(r)
	case "unsupported_grant_type":
		return refuse(ReasonRefused, "The authorization server of %q takes no identity assertions.", j.server.Name).Because(r)
	case "access_denied":
		return refuse(ReasonRefused, "The authorization server of %q does not allow this person.", j.server.Name).Because(r)
	default:
		return refuse(oauthclient.ReasonResponse, "The authorization server of %q refuses the identity assertion (%s).", j.server.Name, r.Code).Because(r)
	}
}
