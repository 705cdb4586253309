// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	maxToken = 16 << 10 // of a token
	maxProof = 4 << 10  // of each parameter that a provider wants at the next login
)

// Tokens are what a login leaves, or a refresh token gives.
type Tokens struct {
	Access    obs.Secret
	Expires   time.Time // of Access; zero: the provider did not say
	ID        obs.Secret
	IDExpires time.Time
	Refresh   obs.Secret // empty: none, or the one that was sent stays good

	// Of the login: sub and nonce of its ID token. An ID token that comes later has the same (OpenID Connect Core 1.0 §12.2).
	Subject, Nonce string
}

// Refresh is a request for tokens with a refresh token.
type Refresh struct {
	Token          obs.Secret
	Subject, Nonce string   // of the login
	Scopes         []string // of those that the login was given; empty: all of them
	Resource       string   // that the access token is for (RFC 8707); empty: the provider's choice
}

// Refresh gets tokens with a refresh token (RFC 6749 §6). secret is the client secret, empty for a public client. A new refresh
// token is returned together with an error, too: the one that was sent may be worth nothing any more. With PROOF_WANTED the proof
// says what the next login is to be asked for, as far as the provider says so.
//
// The faults are Denied REFRESH_TOKEN_ENDED, PROOF_WANTED, CLIENT_REFUSED, RESPONSE_INVALID, and those of an ID token and of the
// discovery document; and Unavailable PROVIDER_UNREACHABLE.
func (p *Party) Refresh(ctx context.Context, idp *directory.Provider, secret obs.Secret, r Refresh) (Tokens, Proof, error) {
	found, err := p.discover(ctx, idp.Issuer)
	if err != nil {
		return Tokens{}, Proof{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.Token.Reveal()}}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, " "))
	}
	if r.Resource != "" {
		form.Set("resource", r.Resource)
	}
	asked := p.now()
	var said answered
	status, err := p.post(ctx, p.config(idp, found, secret, ""), found.provider.Endpoint().TokenURL, form, &said)
	switch {
	case err != nil:
		return Tokens{}, Proof{}, err
	case status != http.StatusOK || said.Error != "": // some answer 200 with an error
		return Tokens{}, said.proof(), said.refused()
	}
	t := Tokens{Refresh: secretOf(said.Refresh), Subject: r.Subject, Nonce: r.Nonce}
	if secretOf(said.Access) == "" || !strings.EqualFold(said.Type, "Bearer") {
		return t, Proof{}, refuse(ReasonResponse, errors.New("there is no bearer token in it that a header can carry"))
	}
	if said.ID != "" {
		c, err := p.verifyAnew(ctx, idp, found, said.ID, said.Access, r)
		if err != nil {
			return t, Proof{}, err
		}
		t.ID, t.IDExpires = secretOf(said.ID), c.expires
	}
	t.Access, t.Expires = secretOf(said.Access), endOf(asked, said.Life)
	return t, Proof{}, nil
}

// Revoke ends a refresh token at its provider (RFC 7009), if that has an endpoint for it.
func (p *Party) Revoke(ctx context.Context, idp *directory.Provider, secret, token obs.Secret) error {
	found, err := p.discover(ctx, idp.Issuer)
	if err != nil || found.revocation == "" {
		return err
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"refresh_token"}}
	var said answered
	status, err := p.post(ctx, p.config(idp, found, secret, ""), found.revocation, form, &said)
	if err == nil && status != http.StatusOK {
		err = said.refused()
	}
	return err
}

// post sends a form as a client (RFC 6749 §2.3.1) and reads the answer, which is empty if it is no JSON. Nothing of it is in an error.
func (p *Party) post(ctx context.Context, c *oauth2.Config, at string, form url.Values, into *answered) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, http.NoBody)
	if err != nil {
		return 0, refuse(ReasonDocument, errors.New("an endpoint is no URL"))
	}
	if c.Endpoint.AuthStyle == oauth2.AuthStyleInHeader {
		r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	} else {
		form.Set("client_id", c.ClientID)
		if c.ClientSecret != "" {
			form.Set("client_secret", c.ClientSecret)
		}
	}
	body := form.Encode()
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	answer, err := p.client.Do(r)
	if err != nil {
		return 0, unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if s := answer.StatusCode; s >= http.StatusInternalServerError || s == http.StatusTooManyRequests {
		return 0, unreachable(fmt.Errorf("it answers %d", s))
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, unreachable(errors.New("the answer cannot be read"))
	}
	if json.Unmarshal(text, into) != nil {
		*into = answered{}
	}
	return answer.StatusCode, nil
}

// answered is an answer of a token or revocation endpoint.
type answered struct {
	Access  string  `json:"access_token"`
	Refresh string  `json:"refresh_token"`
	ID      string  `json:"id_token"`
	Type    string  `json:"token_type"`
	Life    float64 `json:"expires_in"` // some send 3600.0

	Error    string          `json:"error"`
	SubError string          `json:"suberror"` // Entra ID
	Claims   string          `json:"claims"`   // Entra ID: a claims challenge
	ACR      string          `json:"acr_values"`
	MaxAge   json.RawMessage `json:"max_age"`
}

// refused makes a fault of an error. Nothing but its code is repeated.
func (a *answered) refused() error {
	cause := errors.New("error is " + errorCode(a.Error))
	switch a.Error {
	case "invalid_grant":
		switch {
		case a.SubError == "consent_required": // of an administrator, for a scope: the login is as good as before
			return refuse(ReasonResponse, cause)
		case a.Claims != "":
			return refuse(ReasonProof, cause)
		}
		return refuse(ReasonEnded, cause)
	case "interaction_required", "login_required", "insufficient_user_authentication": // OpenID Connect Core 1.0 §3.1.2.6, RFC 9470 §3
		return refuse(ReasonProof, cause)
	case "invalid_client", "unauthorized_client":
		return refuse(ReasonClient, cause)
	case "temporarily_unavailable", "server_error":
		return unreachable(cause)
	default:
		return refuse(ReasonResponse, cause)
	}
}

// proof returns what the next login is to be asked for. What cannot be sent back as it came is left out.
func (a *answered) proof() Proof {
	var p Proof
	var object map[string]json.RawMessage
	if len(a.Claims) <= maxProof && json.Unmarshal([]byte(a.Claims), &object) == nil {
		p.Claims = a.Claims
	}
	if len(a.ACR) <= maxProof {
		p.ACRValues = a.ACR
	}
	if seconds, err := strconv.ParseUint(strings.Trim(string(a.MaxAge), `"`), 10, 31); err == nil {
		p.MaxAge = time.Duration(max(seconds, 1)) * time.Second // 0 is at once: there is no such login
	}
	return p
}

// endOf returns when a token is over that was asked for at a time, zero if its life is not known.
func endOf(asked time.Time, seconds float64) time.Time {
	if !(seconds > 0) {
		return time.Time{}
	}
	return asked.Add(time.Duration(min(seconds, 1e8)) * time.Second).UTC()
}

// secretOf returns a token, or nothing for what none can be: tokens are printable ASCII without spaces (RFC 6750 §2.1 is stricter
// than what providers give).
func secretOf(text string) obs.Secret {
	if len(text) > maxToken || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return obs.Secret(text)
}
