// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"net/url"
	"slices"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// typAssertion is the typ of an identity assertion, in lower case, without "application/".
const typAssertion = "oauth-id-jag+jwt"

// assert has the identity provider assert who the caller is, and redeems that at the server's authorization server (JAU-1…JAU-5). Each
// assertion is redeemed once.
func (x *Exchanger) assert(ctx context.Context, j *job, subject Token) (given, error) {
	if j.how.Subject == directory.SubjectAccessToken { // JAU-2
		return given{}, refuse(ReasonSubject, "Identity assertions are made of ID tokens and refresh tokens only (token_exchange.subject_token).")
	}
	r, err := x.resource(ctx, j.server)
	if err != nil {
		return given{}, err
	}
	at, err := x.redeemEndpoint(ctx, j, r)
	if err != nil {
		return given{}, err
	}
	client, err := x.atServer(ctx, j, at)
	if err != nil {
		return given{}, err
	}
	assertion, err := x.assertion(ctx, j, subject, r.Resource, client.ID)
	if err != nil {
		return given{}, err
	}
	t, err := x.ask.Token(ctx, oauthclient.TokenRequest{
		Endpoint: at.token, Issuer: at.issuer, Algorithms: at.algorithms, Identity: client,
		Form: url.Values{"grant_type": {grantJWTBearer}, "assertion": {assertion.Reveal()}},
	})
	if err != nil {
		return given{}, j.atServerAS(err)
	}
	for _, never := range []obs.Secret{assertion, subject.Value} {
		if err := fresh(t.Access, never); err != nil {
			return given{}, err
		}
	}
	return given{t.Access, t.Expires}, nil
}

// assertion gets an identity assertion for the client that Penstock is at the server's authorization server.
func (x *Exchanger) assertion(ctx context.Context, j *job, subject Token, resource, client string) (obs.Secret, error) {
	e, err := x.exchangeEndpoint(ctx, j)
	if err != nil {
		return "", err
	}
	identity, err := x.atProvider(ctx, j, e)
	if err != nil {
		return "", err
	}
	form := url.Values{
		"grant_type": {grantExchange}, "requested_token_type": {typeIDJAG}, "audience": {j.how.Issuer}, "resource": {resource},
		"subject_token": {subject.Value.Reveal()}, "subject_token_type": {typeOf(j.how.Subject)},
	}
	setScope(form, j.how.Scopes)
	t, err := x.ask.Token(ctx, oauthclient.TokenRequest{
		Endpoint: e.token, Issuer: e.issuer, Algorithms: e.algorithms, Identity: identity, Form: form, TokenType: oauthclient.TokenTypeNone,
	})
	if err != nil {
		if f := fault.From(err); f.Reason == oauthclient.ReasonResponse {
			return "", j.noAssertion("cannot be read, or its token_type is not N_A").Because(err)
		}
		return "", j.atIDP(err)
	}
	if t.IssuedType != typeIDJAG {
		return "", j.noAssertion("is another type of token (issued_token_type)")
	}
	return t.Access, j.checkAssertion(t.Access, resource, client)
}

// checkAssertion refuses an assertion that cannot be what was asked for, so that nobody else gets it. Its issuer is the server's
// authorization server to judge: providers assert under other issuers than people log in at, as Okta's custom authorization servers do.
func (j *job) checkAssertion(assertion obs.Secret, resource, client string) error {
	c, ok := peek(assertion)
	switch {
	case !ok || c.typ != typAssertion:
		return j.noAssertion("is no identity assertion, by its typ")
	case len(c.Audience) != 1 || c.Audience[0] != j.how.Issuer:
		return j.noAssertion("is for another authorization server than " + j.how.Issuer)
	case c.Client != client:
		return j.noAssertion("names another client than " + client + ": map Penstock to it at the provider, or set token_exchange.client_id")
	case len(c.Resource) > 0 && !slices.Contains(c.Resource, resource):
		return j.noAssertion("is for another resource than " + resource)
	}
	return nil
}

func (j *job) noAssertion(what string) *fault.Fault {
	return refuse(ReasonAssertion, "What the identity provider %q gives for %q %s. It was not redeemed.", j.provider.Title(), j.server.Name, what)
}
