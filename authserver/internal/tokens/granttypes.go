// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"net/url"
	"slices"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/grants/params"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// The grant types, as grant_type says them.
const (
	authorizationCode = "authorization_code"
	refreshToken      = "refresh_token"
	clientCredentials = "client_credentials"
	tokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwtBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// handlers returns the grant types that there are.
func (e *Endpoint) handlers() []handler {
	list := []handler{
		{e: e, grantType: authorizationCode, method: grants.MethodOAuth, decide: e.redeem},
		{e: e, grantType: refreshToken, method: grants.MethodOAuth, decide: e.refresh},
		{e: e, grantType: tokenExchange, decide: refuseExchange},
		{e: e, grantType: jwtBearer, method: grants.MethodIDJAG, decide: e.assert},
	}
	if e.c.ClientCredentials {
		list = append(list, handler{e: e, grantType: clientCredentials, method: grants.MethodClientCredentials, decide: e.credentials})
	}
	return list
}

func (e *Endpoint) redeem(ctx context.Context, c *clients.Client, form url.Values) (grants.Issue, error) {
	if err := mayUse(c, authorizationCode); err != nil {
		return grants.Issue{}, err
	}
	for _, name := range []string{"code", "code_verifier"} {
		if form.Get(name) == "" {
			return grants.Issue{}, missing(name)
		}
	}
	gateway, err := e.gateway(form)
	if err != nil {
		return grants.Issue{}, err
	}
	return e.c.Grants.Redeem(ctx, grants.Redemption{
		Client: e.known(c), Code: form.Get("code"), Verifier: form.Get("code_verifier"), RedirectURI: form.Get("redirect_uri"), Gateway: uid(gateway),
	})
}

func (e *Endpoint) refresh(ctx context.Context, c *clients.Client, form url.Values) (grants.Issue, error) {
	if err := mayUse(c, refreshToken); err != nil {
		return grants.Issue{}, err
	}
	if form.Get("refresh_token") == "" {
		return grants.Issue{}, missing("refresh_token")
	}
	gateway, err := e.gateway(form)
	if err != nil {
		return grants.Issue{}, err
	}
	scopes, err := params.Scopes(form.Get("scope"))
	if err != nil {
		return grants.Issue{}, err
	}
	return e.c.Grants.Refresh(ctx, grants.Refresh{
		Client: e.known(c), Token: form.Get("refresh_token"), Scopes: scopes, Gateway: uid(gateway),
	})
}

// credentials is for clients that an administrator registered and that authenticate, for the gateways and scopes that are
// listed on them (TK-19).
func (e *Endpoint) credentials(ctx context.Context, c *clients.Client, form url.Values) (grants.Issue, error) {
	if err := mayUse(c, clientCredentials); err != nil {
		return grants.Issue{}, err
	}
	if c.Public() || c.Origin != clients.Registered || c.Credentials == nil {
		return grants.Issue{}, unauthorized()
	}
	gateway, err := e.gateway(form)
	if err != nil {
		return grants.Issue{}, err
	}
	if gateway == nil && len(c.Credentials.Gateways) == 1 {
		view, err := e.view()
		if err != nil {
			return grants.Issue{}, err
		}
		gateway = view.GatewayByName(c.Credentials.Gateways[0])
	}
	if gateway == nil || gateway.Disabled || !gateway.OAuth || !slices.Contains(c.Credentials.Gateways, gateway.Name) {
		return grants.Issue{}, wrongTarget()
	}
	scopes, err := credentialScopes(c, gateway, form.Get("scope"))
	if err != nil {
		return grants.Issue{}, err
	}
	return e.c.Grants.Credentials(ctx, grants.Credentials{Client: c.ID, Gateway: gateway.UID, Scopes: scopes})
}

// credentialScopes returns the scopes that are asked for, all that the client may have there if it asks for none.
func credentialScopes(c *clients.Client, gateway *directory.Gateway, text string) ([]string, error) {
	var may []string
	for _, scope := range c.Credentials.Scopes {
		if slices.Contains(gateway.Scopes, scope) {
			may = append(may, scope)
		}
	}
	scopes, err := params.Scopes(text)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		scopes = may
	}
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(may, s) }) {
		return nil, oauthfault.New(oauthfault.InvalidScope, "The client may not have this scope.").For("scope_wider")
	}
	return scopes, nil
}

// refuseExchange refuses token exchange (RFC 8693), which no client is offered (TK-20).
func refuseExchange(context.Context, *clients.Client, url.Values) (grants.Issue, error) {
	return grants.Issue{}, unauthorized()
}

// gateway returns the gateway that the resource parameter names, nil if it was not sent (RFC 8707 §2.2).
func (e *Endpoint) gateway(form url.Values) (*directory.Gateway, error) {
	sent, ok := form["resource"]
	if !ok {
		return nil, nil //nolint:nilnil // no resource is an answer
	}
	view, err := e.view()
	if err != nil {
		return nil, err
	}
	if len(sent) != 1 {
		return nil, oauthfault.New(oauthfault.InvalidTarget, "A token is for one resource.").For("resource_repeated")
	}
	gateway, ok := view.ParseResource(sent[0])
	if !ok {
		return nil, wrongTarget()
	}
	return gateway, nil
}

func (e *Endpoint) view() (*directory.View, error) {
	if view := e.c.View(); view != nil {
		return view, nil
	}
	return nil, noDirectory()
}

func (e *Endpoint) known(c *clients.Client) grants.Client {
	return grants.Client{
		ID: c.ID, Refresh: slices.Contains(c.Grants, refreshToken), Trusted: c.Trusted,
		Touch: func(ctx context.Context, tx store.OAuthTx) error { return e.c.Clients.Touch(ctx, tx, c) },
	}
}

func uid(g *directory.Gateway) string {
	if g == nil {
		return ""
	}
	return g.UID
}

func mayUse(c *clients.Client, grantType string) error {
	if slices.Contains(c.Grants, grantType) {
		return nil
	}
	return unauthorized()
}

func unauthorized() error {
	return oauthfault.New(oauthfault.UnauthorizedClient, "The client may not use this grant type.").For("grant_type_not_allowed")
}

func missing(name string) error {
	return oauthfault.New(oauthfault.InvalidRequest, "The parameter "+name+" is missing.")
}

func wrongTarget() error {
	return oauthfault.New(oauthfault.InvalidTarget, "The resource is not a gateway that this client can have a token for.").For("resource_unknown")
}

func noDirectory() error {
	return oauthfault.New(oauthfault.TemporarilyUnavailable, "The authorization server is starting. Try again soon.").For("no_directory")
}
