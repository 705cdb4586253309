// SPDX-License-Identifier: Apache-2.0

package oauthclient

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	maxCode   = 64       // of an error code of OAuth that may be logged
	maxToken  = 16 << 10 // of an access token: it becomes a header
	maxClaims = 8 << 10  // of a claims challenge: it becomes a parameter of a URL
	maxLife   = 1e8      // seconds of a token's life that are believed

	// tokenTypeBearer is the token_type of what a header can carry (RFC 6750).
	tokenTypeBearer = "Bearer"
	// TokenTypeNone is the token_type of what is no access token (RFC 8693 §2.2.1).
	TokenTypeNone = "N_A"
)

// TokenRequest is a request to a token endpoint.
type TokenRequest struct {
	Endpoint   string   // URL of it
	Issuer     string   // of the authorization server; empty: not known, the endpoint was set by hand
	Algorithms []string // its token_endpoint_auth_signing_alg_values_supported; empty: not said
	Identity   Identity
	Form       url.Values // grant_type and what goes with it; the client's authentication is added
	TokenType  string     // token_type that the answer must have, whatever its case; empty: Bearer
}

// Tokens is what a token endpoint gave.
type Tokens struct {
	Access     obs.Secret // printable ASCII without spaces, at most 16 KiB
	Refresh    obs.Secret // empty: none
	ID         obs.Secret // empty: none
	IssuedType string     // issued_token_type (RFC 8693 §2.2.1); empty: not said
	Scope      string     // empty: what was asked for
	Expires    time.Time  // of Access; zero: not said
}

// Refusal is an error response of a token endpoint (RFC 6749 §5.2), as an error. What it means for a credential, and who can mend
// it, only the caller knows.
type Refusal struct {
	Code     string // of [a-z_]; "unreadable" for anything else. temporarily_unavailable and server_error are none.
	Suberror string // of Entra ID, of [a-z_]; empty: none

	// What the next authorization request is to ask for; zero values: nothing. Never logged.
	Claims    string        // claims challenge of Entra ID
	ACRValues string        // with insufficient_user_authentication (draft-ietf-oauth-identity-assertion-authz-grant, RFC 9470 §3)
	MaxAge    time.Duration // likewise, in whole seconds; at least one, also where the person is to log in at once
}

// Error says the code and nothing else.
func (r *Refusal) Error() string { return "error is " + r.Code }

// Token sends a token request and reads the answer. The errors are a [Refusal] (errors.As), Precondition UPSTREAM_RESPONSE_INVALID,
// and those of [Requester.Get], [Requester.Secure] and [Identity.Authenticate]; temporarily_unavailable and server_error are
// Unavailable UPSTREAM_UNREACHABLE.
func (r Requester) Token(ctx context.Context, q TokenRequest) (Tokens, error) {
	issuer := cmp.Or(q.Issuer, q.Endpoint)
	if err := r.Secure(TheToken, issuer, q.Endpoint); err != nil {
		return Tokens{}, err
	}
	asked := r.Now()
	header, err := q.Identity.Authenticate(q.Form, issuer, q.Algorithms, asked)
	if err != nil {
		return Tokens{}, err
	}
	a, err := r.PostForm(ctx, TheToken, q.Endpoint, q.Form, header)
	if err != nil {
		return Tokens{}, err
	}
	return a.tokens(asked, cmp.Or(q.TokenType, tokenTypeBearer))
}

// tokens reads a token response (RFC 6749 §5.1, RFC 8693 §2.2).
func (a Answer) tokens(asked time.Time, tokenType string) (Tokens, error) {
	var said struct {
		Access  string  `json:"access_token"`
		Refresh string  `json:"refresh_token"`
		ID      string  `json:"id_token"`
		Type    string  `json:"token_type"`
		Issued  string  `json:"issued_token_type"`
		Scope   string  `json:"scope"`
		Life    float64 `json:"expires_in"` // some servers send 3600.0
		Error   string  `json:"error"`
	}
	decoded := a.Decode(&said)
	switch {
	case a.Status != http.StatusOK || said.Error != "": // some answer 200 with an error
		return Tokens{}, a.refusal(said.Error)
	case decoded != nil:
		return Tokens{}, fault.Newf(fault.Precondition, ReasonResponse, "The answer of the %s cannot be read.", TheToken).Because(decoded)
	case !strings.EqualFold(said.Type, tokenType):
		if tokenType != tokenTypeBearer {
			return Tokens{}, refuse(ReasonResponse, "The %s gives tokens of another type than %s.", TheToken, tokenType)
		}
		return Tokens{}, refuse(ReasonResponse, "The %s gives tokens that are no bearer tokens.", TheToken)
	case !isToken(said.Access):
		return Tokens{}, refuse(ReasonResponse, "The %s gives no access token that a header can carry.", TheToken)
	}
	t := Tokens{
		Access: obs.Secret(said.Access), Refresh: obs.Secret(said.Refresh), ID: obs.Secret(said.ID), IssuedType: said.Issued, Scope: said.Scope,
	}
	if said.Life > 0 {
		t.Expires = asked.Add(time.Duration(min(said.Life, maxLife)) * time.Second).UTC()
	}
	return t, nil
}

// refusal reads what stands beside an error code, as far as it can be read.
func (a Answer) refusal(code string) error {
	r := &Refusal{Code: ErrorCode(code)}
	if r.Code == "temporarily_unavailable" || r.Code == "server_error" {
		return unreachable(TheToken, errors.New(r.Error()))
	}
	var said map[string]any
	if a.Decode(&said) != nil {
		return r
	}
	text := func(name string) string {
		if value, _ := said[name].(string); len(value) <= maxClaims {
			return value
		}
		return ""
	}
	r.Claims, r.ACRValues = text("claims"), text("acr_values")
	if sub := text("suberror"); sub != "" {
		r.Suberror = ErrorCode(sub)
	}
	age, there := said["max_age"].(float64)
	if value := text("max_age"); value != "" { // RFC 9470 has it as a parameter of a header, so some send a string
		parsed, err := strconv.ParseFloat(value, 64)
		age, there = parsed, err == nil
	}
	if there && age >= 0 {
		r.MaxAge = time.Duration(max(1, min(age, maxLife))) * time.Second
	}
	return r
}

// isToken reports whether a text can stand after "Bearer " in a header: printable ASCII without spaces (RFC 6750 §2.1 is stricter
// than what servers give).
func isToken(text string) bool {
	return text != "" && len(text) <= maxToken && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// ErrorCode returns an error code of OAuth as it may be logged: RFC 6749 §5.2 allows more, nobody uses it. Everything else is
// "unreadable".
func ErrorCode(code string) string {
	known := code != "" && len(code) <= maxCode
	for _, r := range code {
		known = known && (r == '_' || 'a' <= r && r <= 'z')
	}
	if !known {
		return "unreadable"
	}
	return code
}
