// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource/oauthrule"
)

// The longest scopes, in bytes. Those that tokens are exchanged for may be URLs, as Entra ID's are.
const (
	maxScope         = 128
	maxExchangeScope = 256
)

// credential checks how calls of a server authenticate.
func (p *Problems) credential(s *Server) {
	c := s.Credential
	if c == nil {
		return
	}
	n := 0
	for _, set := range []bool{
		c.None != nil, c.StaticHeaders != nil, c.StaticEnv != nil, c.OAuth != nil, c.OAuthClientCredentials != nil,
		c.TokenExchange != nil, c.CallerIDPToken != nil,
	} {
		if set {
			n++
		}
	}
	tokens := c.OAuth != nil || s.Made() // which are headers
	switch at := "credential." + c.kind(); {
	case n > 1:
		p.field("credential", "set at most one of none, static_headers, static_env, oauth, oauth_client_credentials, token_exchange and caller_idp_token")
	case c.StaticHeaders != nil && s.Stdio != nil:
		p.field(at, "a stdio server has no headers; use static_env")
	case c.StaticEnv != nil && s.Stdio == nil:
		p.field(at, "only a stdio server has an environment; use static_headers")
	case tokens && s.Stdio != nil:
		p.field(at, "a stdio server has no headers for access tokens; use static_env")
	case c.OAuth != nil:
		p.upstreamOAuth(c.OAuth)
	case c.OAuthClientCredentials != nil:
		p.clientCredentials(c.OAuthClientCredentials)
	case c.TokenExchange != nil:
		p.tokenExchange(c.TokenExchange)
	case c.CallerIDPToken != nil:
		p.callerIDPToken(c.CallerIDPToken)
	}
	if c.StaticHeaders != nil {
		p.headerNames("credential.static_headers.names", c.StaticHeaders.Names)
	}
}

// kind returns the name of the field that is set.
func (c *ServerCredential) kind() string {
	switch {
	case c.StaticHeaders != nil:
		return "static_headers"
	case c.StaticEnv != nil:
		return "static_env"
	case c.OAuth != nil:
		return "oauth"
	case c.OAuthClientCredentials != nil:
		return "oauth_client_credentials"
	case c.TokenExchange != nil:
		return "token_exchange"
	case c.CallerIDPToken != nil:
		return "caller_idp_token"
	default:
		return "none"
	}
}

// clientCredentials checks Penstock as a client of its own (RFC 6749, section 4.4).
func (p *Problems) clientCredentials(o *OAuthClientCredentials) {
	const at = "credential.oauth_client_credentials."
	if o.Issuer != "" {
		p.issuer(at+"issuer", o.Issuer)
	}
	if o.ClientID == "" {
		p.field(at+"client_id", "it is not set; register Penstock at the authorization server and give the client_id that it got")
	}
	p.clientID(at+"client_id", o.ClientID)
	p.clientSecret(at, o.ClientSecret, o.Authentication)
	p.scopes(at+"scopes", o.Scopes, maxScope)
	if o.TokenEndpoint != "" {
		p.secureURL(at+"token_endpoint", o.TokenEndpoint)
	}
}

// tokenExchange checks what callers' tokens are exchanged for, where, and how (UP-6, UP-7, auth.md §6b).
func (p *Problems) tokenExchange(o *TokenExchange) {
	const at = "credential.token_exchange."
	p.slug(at+"identity_provider", o.IdentityProvider)
	p.oneOf(at+"grant", string(o.Grant), string(ExchangeGrantTokenExchange), string(ExchangeGrantEntraOnBehalfOf), string(ExchangeGrantIdentityAssertion))
	p.oneOf(at+"subject_token", string(o.SubjectToken), string(SubjectTokenAccess), string(SubjectTokenID), string(SubjectTokenRefresh))
	p.text(at+"audience", o.Audience, 512)
	p.scopes(at+"scopes", o.Scopes, maxExchangeScope)
	switch o.Grant {
	case ExchangeGrantEntraOnBehalfOf:
		p.onBehalfOf(at, o)
	case ExchangeGrantIdentityAssertion:
		p.identityAssertion(at, o)
	case "", ExchangeGrantTokenExchange:
	}
	if o.Issuer != "" && o.Grant != ExchangeGrantIdentityAssertion {
		p.field(at+"issuer", "only ID_JAG has a second authorization server; leave it out")
	}
	if o.TokenEndpoint != "" {
		p.secureURL(at+"token_endpoint", o.TokenEndpoint)
	}
	p.clientID(at+"client_id", o.ClientID)
	switch {
	case o.ClientID != "":
		p.clientSecret(at, o.ClientSecret, o.Authentication)
	case o.ClientSecret != "":
		p.field(at+"client_secret", "it belongs to a client_id, which is not set")
	case o.Authentication != "":
		p.field(at+"authentication", "it says how client_id authenticates, which is not set")
	}
}

// onBehalfOf checks what Entra ID's flow takes (UP-7).
func (p *Problems) onBehalfOf(at string, o *TokenExchange) {
	if len(o.Scopes) == 0 {
		p.field(at+"scopes", `it is empty; Entra ID issues tokens by their scopes, for example "api://…/.default"`)
	}
	if o.SubjectToken != "" && o.SubjectToken != SubjectTokenAccess {
		p.field(at+"subject_token", "ENTRA_ON_BEHALF_OF takes ACCESS_TOKEN only")
	}
	if o.Audience != "" {
		p.field(at+"audience", "Entra ID has no such parameter; name the audience in scopes")
	}
	if o.Authentication == ClientAuthenticationPrivateKeyJWT {
		p.field(at+"authentication", "Entra ID takes assertions that name a certificate, and Penstock has a key alone; use CLIENT_SECRET")
	}
}

// identityAssertion checks an ID-JAG and where it is redeemed.
func (p *Problems) identityAssertion(at string, o *TokenExchange) {
	if o.Issuer == "" {
		p.field(at+"issuer", "it is not set; give the issuer of the server's authorization server, which the identity assertion is for")
	} else {
		p.issuer(at+"issuer", o.Issuer)
	}
	if o.SubjectToken == SubjectTokenAccess {
		p.field(at+"subject_token", "ID_JAG takes ID_TOKEN and REFRESH_TOKEN only")
	}
	if o.Audience != "" {
		p.field(at+"audience", "the audience of an identity assertion is the issuer; leave it out")
	}
	if o.NoResource {
		p.field(at+"no_resource", "an identity assertion always names the resource; leave it out")
	}
}

// callerIDPToken checks which tokens an identity provider is asked for (JW-13).
func (p *Problems) callerIDPToken(o *CallerIDPToken) {
	const at = "credential.caller_idp_token."
	p.slug(at+"identity_provider", o.IdentityProvider)
	if o.Audience == "" {
		p.field(at+"audience", "it is not set; a token that is not meant for the server must not be sent to it")
	}
	p.text(at+"audience", o.Audience, 512)
	p.scopes(at+"scopes", o.Scopes, maxExchangeScope)
}

// scopes checks scopes to ask an authorization server for.
func (p *Problems) scopes(at string, scopes []string, most int) {
	p.count(at, len(scopes), 32)
	p.unique(at, scopes)
	p.scopeTokens(at, scopes, most)
}

func (p *Problems) scopeTokens(at string, scopes []string, most int) {
	for i, s := range scopes {
		if len(s) > most || !scopeRE.MatchString(s) {
			p.field(fmt.Sprintf("%s[%d]", at, i), "%q is not a scope of 1 to %d characters (RFC 6749, section 3.3)", clip(s), most)
		}
	}
}

func (p *Problems) clientID(at, id string) {
	if len(id) > 512 || !printable(id) {
		p.field(at, "it is not at most 512 printable characters: the client_id that the authorization server gave Penstock")
	}
}

// clientSecret checks how a client authenticates. No text quotes the secret.
func (p *Problems) clientSecret(at, secret string, how ClientAuthentication) {
	p.oneOf(at+"authentication", string(how), string(ClientAuthenticationSecret), string(ClientAuthenticationPrivateKeyJWT))
	switch {
	case secret == "":
	case len(secret) > maxSecret:
		p.field(at+"client_secret", "it has more than 4,096 bytes")
	case how == ClientAuthenticationPrivateKeyJWT:
		if text := oauthrule.PrivateKeyProblem(secret); text != "" {
			p.field(at+"client_secret", "%s", text)
		}
	case !printable(secret) && strings.Contains(secret, "PRIVATE KEY"):
		p.field(at+"client_secret", "it looks like a private key; set authentication to PRIVATE_KEY_JWT")
	case !printable(secret):
		p.field(at+"client_secret", "it is not at most 4,096 printable characters")
	}
}

// NeedsClientSecret refuses a server whose client has to authenticate and has nothing to do so with, neither given now nor stored.
func NeedsClientSecret(s *Server) error {
	c := s.upstreamClient()
	if !s.LacksClientSecret() || *c.secret != "" {
		return nil
	}
	var p Problems
	p.field(c.at+"client_secret", "it is not set, and none is stored for this client at this place; give the secret, or the private key, of the client")
	return p.Err(fmt.Sprintf("server %q", s.Name))
}

// keptTokens checks what logins with a provider ask for beside who somebody is.
func (p *Problems) keptTokens(k *KeptTokens) {
	if k != nil {
		p.scopes("token_exchange.scopes", k.Scopes, maxExchangeScope)
	}
}

// sharedSignals checks where security events come from (SF-1).
func (p *Problems) sharedSignals(o *SharedSignals) {
	if o == nil {
		return
	}
	const at = "shared_signals."
	if o.Issuer != "" {
		p.issuer(at+"issuer", o.Issuer)
	}
	p.text(at+"audience", o.Audience, 512)
	if o.JWKSURI != "" {
		p.secureURL(at+"jwks_uri", o.JWKSURI)
	}
	if o.PollEndpoint != "" {
		p.secureURL(at+"poll_endpoint", o.PollEndpoint)
	}
	switch {
	case len(o.PollToken) > maxSecret || !printable(o.PollToken):
		p.field(at+"poll_token", "it is not at most 4,096 printable characters")
	case o.PollToken != "" && o.PollEndpoint == "":
		p.field(at+"poll_token", "it authenticates Penstock at poll_endpoint, which is not set")
	}
}
