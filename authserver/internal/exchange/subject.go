// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/unproven"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// reasonMissing is the fault of [Subjects] for somebody who has not logged in with the provider yet.
const reasonMissing = "CREDENTIAL_MISSING"

// Types of tokens (RFC 8693 §3, draft-ietf-oauth-identity-assertion-authz-grant).
const (
	typeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	typeIDToken      = "urn:ietf:params:oauth:token-type:id_token"
	typeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token"
	typeJWT          = "urn:ietf:params:oauth:token-type:jwt"
	typeIDJAG        = "urn:ietf:params:oauth:token-type:id-jag"
)

// typeOf returns the subject_token_type of a kind.
func typeOf(kind directory.Subject) string {
	switch kind {
	case directory.SubjectIDToken:
		return typeIDToken
	case directory.SubjectRefreshToken:
		return typeRefreshToken
	default:
		return typeAccessToken
	}
}

// claims is what a token says, unproven: whoever takes it in exchange checks it. It is read to spare requests that cannot succeed.
type claims struct {
	typ string // of the header, in lower case, without "application/"

	Issuer   string         `json:"iss"`
	Subject  string         `json:"sub"`
	Audience unproven.Texts `json:"aud"`
	Resource unproven.Texts `json:"resource"`
	Client   string         `json:"client_id"`
	Scopes   string         `json:"scp"`   // of delegated permissions, Entra ID
	Kind     string         `json:"idtyp"` // Entra ID: "app" for tokens without a person
	Expiry   json.Number    `json:"exp"`
}

// peek reads the claims of a JWT (compact JWS), and reports whether it is one.
func peek(token obs.Secret) (claims, bool) {
	typ, ok := unproven.Type(token.Reveal())
	c := claims{typ: typ}
	if !ok || !unproven.Claims(token.Reveal(), &c) {
		return claims{}, false
	}
	return c, true
}

// expires returns the end, zero if there is none.
func (c claims) expires() time.Time {
	seconds, err := c.Expiry.Float64()
	if err != nil || seconds <= 0 || seconds > 1e11 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// checkPresented refuses what cannot be the caller's access token, whatever a node says: a node has checked the signature. An
// inbound identity assertion is never a subject (JAU-8).
func checkPresented(view *directory.View, p *directory.Provider, user string, token obs.Secret) (claims, error) {
	c, ok := peek(token)
	switch {
	case !ok:
		return c, presentedFault("is no JWT")
	case !slices.Contains([]string{"", "jwt", "at+jwt"}, c.typ):
		return c, presentedFault("is no access token, by its typ")
	case c.Issuer != p.Issuer:
		return c, presentedFault("is another issuer's than the identity provider's")
	case c.expires().IsZero():
		return c, presentedFault("has no end (exp)")
	}
	// Accounts can go by another claim than sub; then sub is nobody's.
	if other := view.UserByIdentity(c.Issuer, c.Subject); other != nil && other.UID != user {
		return c, presentedFault("is another person's than the caller's")
	}
	return c, nil
}

func presentedFault(what string) *fault.Fault {
	return refuse(ReasonSubject, "The token that the caller presented %s: it cannot be exchanged.", what)
}

// checkOnBehalfOf refuses what Entra ID would not take in its on-behalf-of flow (UP-7): anything but an access token of a person whose
// audience is the app that exchanges it. What is no JWT cannot be judged.
func checkOnBehalfOf(p *directory.Provider, client string, token obs.Secret) error {
	c, ok := peek(token)
	why := ""
	switch {
	case !ok:
		return nil
	case c.Kind == "app":
		why = "is an app's own (idtyp), and on-behalf-of takes those of people only"
	case c.Scopes == "":
		why = "has no scp: it is an ID token, or an app's own, and on-behalf-of takes access tokens of people only"
	case len(c.Audience) != 1 || c.Audience[0] != client && c.Audience[0] != "api://"+client:
		why = "is for another audience than Penstock's app (" + client + " or api://" + client + "): have logins ask for a scope of that app (token_exchange.scopes of the provider)"
	default:
		return nil
	}
	return refuse(ReasonSubject, "The caller's token of the identity provider %q %s.", p.Title(), why)
}
