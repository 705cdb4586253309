// SPDX-License-Identifier: Apache-2.0

package resource

// Made reports whether Penstock makes the credential of the server's calls: its connections hold none.
func (s *Server) Made() bool {
	c := s.Credential
	return c != nil && (c.OAuthClientCredentials != nil || c.TokenExchange != nil || c.CallerIDPToken != nil)
}

// CallerOnly reports whether calls run as the person who makes them, whichever connection they run with (G-12).
func (s *Server) CallerOnly() bool {
	return s.Credential != nil && (s.Credential.TokenExchange != nil || s.Credential.CallerIDPToken != nil)
}

// Connectable reports whether a person can give a credential for the server on a page of the authserver, or log in there for one that
// Penstock makes.
func (s *Server) Connectable() bool {
	return s.Credential != nil && (s.Credential.StaticHeaders != nil || s.Credential.OAuth != nil) || s.CallerOnly()
}

// ServiceAccount reports whether calls run with the tokens of one client of Penstock's, the same for all callers.
func (s *Server) ServiceAccount() bool {
	return s.Credential != nil && s.Credential.OAuthClientCredentials != nil
}

// IdentityProvider returns the name of the identity provider whose tokens the credential is made of, and the path of the field that
// names it. Both are empty if it is made of none.
func (s *Server) IdentityProvider() (name, path string) {
	switch c := s.Credential; {
	case c == nil:
		return "", ""
	case c.TokenExchange != nil:
		return c.TokenExchange.IdentityProvider, "credential.token_exchange.identity_provider"
	case c.CallerIDPToken != nil:
		return c.CallerIDPToken.IdentityProvider, "credential.caller_idp_token.identity_provider"
	default:
		return "", ""
	}
}

// Lacks reports whether a connection of the server cannot be used for want of a secret: its own, or that of the client that all
// share. What is made for each caller is no matter of the connection.
func (s *Server) Lacks(c *Connection) bool {
	return s.NeedsSecret() && c.CredentialVersion == "" || s.LacksClientSecret()
}

// LacksClientSecret reports whether the client that the credential is got with has to authenticate, and has no secret stored to do so.
func (s *Server) LacksClientSecret() bool {
	c := s.upstreamClient()
	return c != nil && c.confidential && *c.version == ""
}

// upstreamClient is Penstock as the client of an authorization server, as the credential of a server describes it. Secret and version
// lead into that credential.
type upstreamClient struct {
	at              string // path of the fields
	secret, version *string
	confidential    bool // it has to authenticate
	place           clientPlace
}

// clientPlace is where the secret of a client goes, whose it is, and what it is.
type clientPlace struct {
	kind, clientID, issuer, tokenEndpoint, identityProvider string

	privateKey bool
}

// upstreamClient returns the client of the server's credential, nil if it has none.
func (s *Server) upstreamClient() *upstreamClient {
	if s == nil || s.Credential == nil {
		return nil
	}
	switch k := s.Credential; {
	case k.OAuth != nil:
		c := k.OAuth
		return &upstreamClient{
			at: "credential.oauth.", secret: &c.ClientSecret, version: &c.SecretVersion,
			place: clientPlace{kind: "oauth", clientID: c.ClientID, issuer: c.Issuer, tokenEndpoint: c.TokenEndpoint},
		}
	case k.OAuthClientCredentials != nil:
		c := k.OAuthClientCredentials
		return &upstreamClient{
			at: "credential.oauth_client_credentials.", secret: &c.ClientSecret, version: &c.SecretVersion, confidential: true,
			place: clientPlace{
				kind: "oauth_client_credentials", clientID: c.ClientID, issuer: c.Issuer, tokenEndpoint: c.TokenEndpoint,
				privateKey: c.Authentication == ClientAuthenticationPrivateKeyJWT,
			},
		}
	case k.TokenExchange != nil:
		c := k.TokenExchange
		return &upstreamClient{
			at: "credential.token_exchange.", secret: &c.ClientSecret, version: &c.SecretVersion,
			confidential: c.ClientID != "" && (c.Authentication != "" || c.Grant == ExchangeGrantEntraOnBehalfOf),
			place: clientPlace{
				kind: "token_exchange", clientID: c.ClientID, issuer: c.Issuer, tokenEndpoint: c.TokenEndpoint,
				identityProvider: c.IdentityProvider, privateKey: c.Authentication == ClientAuthenticationPrivateKeyJWT,
			},
		}
	default:
		return nil
	}
}

// ClientSecret returns the secret of the client that the server's credential is got with, as it was given; empty if none was.
func (s *Server) ClientSecret() string {
	if c := s.upstreamClient(); c != nil {
		return *c.secret
	}
	return ""
}

// SetSecretVersion refers the client that the server's credential is got with to its stored secret.
func (s *Server) SetSecretVersion(version string) {
	if c := s.upstreamClient(); c != nil {
		*c.version = version
	}
}

// KeepClientSecret puts into a server the reference to its client secret that a former state has, and no other: whatever a
// writer sent as reference is dropped. It goes with the client at the place that it was given for, or whoever may change the
// server could have it sent elsewhere. A nil before is a new server.
func (s *Server) KeepClientSecret(before *Server) {
	now, old, kept := s.upstreamClient(), before.upstreamClient(), ""
	if now == nil {
		return
	}
	if old != nil && old.place == now.place && (!now.discovered() || before.address() == s.address()) {
		kept = *old.version
	}
	*now.version = kept
}

// discovered reports whether the server says where the secret goes.
func (c *upstreamClient) discovered() bool {
	p := c.place
	return p.issuer == "" && p.tokenEndpoint == "" && p.identityProvider == ""
}

// withoutSecret returns the credential without the secret of its client, which is not stored with it.
func (c *ServerCredential) withoutSecret() *ServerCredential {
	kept := *c
	if o := c.OAuth; o != nil {
		plain := *o
		plain.ClientSecret, kept.OAuth = "", &plain
	}
	if o := c.OAuthClientCredentials; o != nil {
		plain := *o
		plain.ClientSecret, kept.OAuthClientCredentials = "", &plain
	}
	if o := c.TokenExchange; o != nil {
		plain := *o
		plain.ClientSecret, kept.TokenExchange = "", &plain
	}
	return &kept
}

// KeepPollToken puts into an identity provider the reference to its poll_token that a former state has, and no other, as
// [Server.KeepClientSecret] does: it goes with the address that it was given for. A nil before is a new identity provider.
func (o *IdentityProvider) KeepPollToken(before *IdentityProvider) {
	if o.SharedSignals == nil {
		return
	}
	kept := ""
	if before != nil && before.SharedSignals != nil && before.SharedSignals.PollEndpoint == o.SharedSignals.PollEndpoint {
		kept = before.SharedSignals.PollTokenVersion
	}
	o.SharedSignals.PollTokenVersion = kept
}
