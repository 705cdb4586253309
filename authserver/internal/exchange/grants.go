// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"net/url"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
)

const (
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
	grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523 §2.1
)

// tokenExchange is RFC 8693 (UP-6).
func (x *Exchanger) tokenExchange(ctx context.Context, j *job, subject Token) (given, error) {
	form := url.Values{
		"grant_type": {grantExchange}, "requested_token_type": {typeAccessToken},
		"subject_token": {subject.Value.Reveal()}, "subject_token_type": {typeOf(j.how.Subject)},
	}
	setScope(form, j.how.Scopes)
	if j.how.Audience != "" {
		form.Set("audience", j.how.Audience)
	}
	if !j.how.NoResource {
		r, err := x.resource(ctx, j.server)
		if err != nil {
			return given{}, err
		}
		form.Set("resource", r.Resource)
	}
	t, err := x.askProvider(ctx, j, form, "")
	switch {
	case err != nil:
		return given{}, err
	case t.IssuedType != typeAccessToken && t.IssuedType != typeJWT:
		return given{}, refuse(oauthclient.ReasonResponse, "The identity provider %q gives another type of token than an access token (issued_token_type).", j.provider.Title())
	}
	if err := fresh(t.Access, subject.Value); err != nil {
		return given{}, err
	}
	return given{t.Access, earlier(t.Expires, subject.Expires)}, nil
}

// onBehalfOf is the on-behalf-of flow of Entra ID (UP-7). The parameter resource is never sent: the v2 endpoint refuses it.
func (x *Exchanger) onBehalfOf(ctx context.Context, j *job, subject Token) (given, error) {
	client := j.how.ClientID
	if client == "" {
		client = j.provider.ClientID
	}
	if err := checkOnBehalfOf(j.provider, client, subject.Value); err != nil {
		return given{}, err
	}
	form := url.Values{
		"grant_type": {grantJWTBearer}, "requested_token_use": {"on_behalf_of"}, "assertion": {subject.Value.Reveal()},
	}
	setScope(form, j.how.Scopes)
	t, err := x.askProvider(ctx, j, form, oauthclient.MethodPost) // as Microsoft documents it
	if err != nil {
		return given{}, err
	}
	if err := fresh(t.Access, subject.Value); err != nil {
		return given{}, err
	}
	return given{t.Access, earlier(t.Expires, subject.Expires)}, nil
}

// askProvider sends an exchange. method overrides how a secret is sent; empty leaves that to the metadata.
func (x *Exchanger) askProvider(ctx context.Context, j *job, form url.Values, method string) (oauthclient.Tokens, error) {
	e, err := x.exchangeEndpoint(ctx, j)
	if err != nil {
		return oauthclient.Tokens{}, err
	}
	if method != "" {
		e.methods = []string{method}
	}
	identify := x.atServer
	if j.how.ClientID == "" {
		identify = x.atProvider
	}
	client, err := identify(ctx, j, e)
	if err != nil {
		return oauthclient.Tokens{}, err
	}
	t, err := x.ask.Token(ctx, oauthclient.TokenRequest{
		Endpoint: e.token, Issuer: e.issuer, Algorithms: e.algorithms, Identity: client, Form: form,
	})
	return t, j.atIDP(err)
}

func setScope(form url.Values, scopes []string) {
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
}
