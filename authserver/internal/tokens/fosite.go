// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/ory/fosite"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// fositeEngine is the engine on fosite: its access request, its dispatch to handlers and its access response. The handlers,
// the authentication of clients and everything that is stored are ours.
type fositeEngine struct {
	e      *Endpoint
	fosite *fosite.Fosite
	types  map[string]bool // grant types that have a handler
}

func newFositeEngine(e *Endpoint) *fositeEngine {
	f := &fositeEngine{e: e, types: make(map[string]bool)}
	config := &fosite.Config{
		ClientAuthenticationStrategy: f.authenticate,
		// What is below is asked for by no handler of ours. It is set all the same, so that no default of the library is ever
		// what decides.
		AudienceMatchingStrategy:       fosite.ExactAudienceMatchingStrategy,
		ScopeStrategy:                  fosite.ExactScopeStrategy,
		EnforcePKCE:                    true,
		EnablePKCEPlainChallengeMethod: false,
		RefreshTokenScopes:             []string{},
		MinParameterEntropy:            1,
		SendDebugMessagesToClients:     false,
		UseLegacyErrorFormat:           false,
	}
	for _, h := range e.handlers() {
		// Its Append keeps one handler of each Go type, and ours are all of one.
		config.TokenEndpointHandlers = append(config.TokenEndpointHandlers, h)
		f.types[h.grantType] = true
	}
	// No store: fosite asks it for clients alone, and ours come from authenticate.
	f.fosite = &fosite.Fosite{Config: config}
	return f
}

// answer implements engine.
func (f *fositeEngine) answer(ctx context.Context, r *http.Request, form url.Values) (map[string]any, error) {
	grantType := form.Get("grant_type")
	switch {
	case grantType == "":
		return nil, missing("grant_type")
	case !f.types[grantType]: // fosite says invalid_request
		return nil, oauthfault.New(oauthfault.UnsupportedGrantType, "The authorization server does not support this grant type.")
	}
	// fosite reads the body with net/http, which takes parameters twice and from anywhere. The form is parsed already, and
	// net/http does not do it again.
	r = r.WithContext(ctx)
	r.Form, r.PostForm = form, form
	request, err := f.fosite.NewAccessRequest(ctx, r, &session{DefaultSession: new(fosite.DefaultSession)})
	if err != nil {
		return nil, asOurs(err)
	}
	response, err := f.fosite.NewAccessResponse(ctx, request)
	if err != nil {
		return nil, asOurs(err)
	}
	return response.ToMap(), nil
}

// authenticate is how fosite authenticates clients.
func (f *fositeEngine) authenticate(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	c, err := f.e.c.Clients.Authenticate(ctx, r, form)
	if err != nil {
		return nil, err
	}
	return party{c}, nil
}

// asOurs returns an error of fosite's own as one of ours, without its text: that may quote the request.
func asOurs(err error) error {
	if _, ours := errors.AsType[*oauthfault.Error](err); ours {
		return err
	}
	theirs, ok := errors.AsType[*fosite.RFC6749Error](err)
	if !ok {
		return err
	}
	switch code := oauthfault.Code(theirs.ErrorField); code {
	case oauthfault.InvalidRequest, oauthfault.InvalidClient, oauthfault.InvalidGrant, oauthfault.UnauthorizedClient,
		oauthfault.UnsupportedGrantType, oauthfault.InvalidScope:
		return oauthfault.New(code, "The request cannot be answered as it is.").Because(err)
	default:
		return oauthfault.New(oauthfault.ServerError, "An internal error occurred.").Because(err)
	}
}

// session carries what grants decided from fosite's first phase to its second.
type session struct {
	*fosite.DefaultSession
	issue  grants.Issue
	method string // pst_method
}

// Clone implements [fosite.Session].
func (s *session) Clone() fosite.Session {
	c := *s
	return &c
}

// party is a client as fosite wants to see it.
type party struct{ *clients.Client }

// GetID implements [fosite.Client].
func (p party) GetID() string { return p.ID }

// GetHashedSecret implements [fosite.Client]: none, because fosite does not compare secrets here.
func (p party) GetHashedSecret() []byte { return nil }

// GetRedirectURIs implements [fosite.Client].
func (p party) GetRedirectURIs() []string { return p.RedirectURIs }

// GetGrantTypes implements [fosite.Client].
func (p party) GetGrantTypes() fosite.Arguments { return p.Grants }

// GetResponseTypes implements [fosite.Client].
func (p party) GetResponseTypes() fosite.Arguments { return fosite.Arguments{"code"} }

// GetScopes implements [fosite.Client].
func (p party) GetScopes() fosite.Arguments { return p.Scopes }

// IsPublic implements [fosite.Client].
func (p party) IsPublic() bool { return p.Public() }

// GetAudience implements [fosite.Client]: none, because audiences are resources of gateways.
func (p party) GetAudience() fosite.Arguments { return nil }

// handler is one grant type.
type handler struct {
	e         *Endpoint
	grantType string
	method    string // pst_method of its tokens
	// decide returns what the client gets, and the error if it gets nothing.
	decide func(ctx context.Context, c *clients.Client, form url.Values) (grants.Issue, error)
}

// CanHandleTokenEndpointRequest implements [fosite.TokenEndpointHandler].
func (h handler) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().ExactOne(h.grantType)
}

// CanSkipClientAuth implements [fosite.TokenEndpointHandler]: a public client is identified, too.
func (h handler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest implements [fosite.TokenEndpointHandler].
func (h handler) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	client, ok := r.GetClient().(party)
	if !ok {
		return oauthfault.New(oauthfault.ServerError, "An internal error occurred.")
	}
	issue, err := h.decide(ctx, client.Client, r.GetRequestForm())
	if err != nil {
		return err
	}
	s, ok := r.GetSession().(*session)
	if !ok {
		return oauthfault.New(oauthfault.ServerError, "An internal error occurred.")
	}
	s.issue, s.method = issue, h.method
	return nil
}

// PopulateTokenEndpointResponse implements [fosite.TokenEndpointHandler].
func (h handler) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, out fosite.AccessResponder) error {
	s, ok := r.GetSession().(*session)
	if !ok || !h.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	token, err := h.e.mint(ctx, s.issue, s.method)
	if err != nil {
		return err
	}
	out.SetAccessToken(token)
	out.SetTokenType("Bearer")
	out.SetExpiresIn(h.e.c.AccessTTL)
	out.SetScopes(s.issue.Scopes)
	if s.issue.Refresh != "" {
		out.SetExtra("refresh_token", s.issue.Refresh)
	}
	return nil
}
