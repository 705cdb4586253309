// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"maps"
	"slices"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// defaultHeader is what people are asked for where a server names no header.
const defaultHeader = "Authorization"

// Server is a server that people give a credential for themselves, or that Penstock makes one for, as far as that is concerned.
type Server struct {
	UID, Name, DisplayName string
	URL                    string   // of the MCP endpoint
	Headers                []string // names of the secret headers that people are asked for; empty: none
	OAuth                  *OAuth   // how people give grants; nil: they do not

	Made         string        // version of the credential that is made; empty: connections hold it
	Client       *ServerClient // calls run with tokens of a client of Penstock's; nil: they do not
	Exchange     *Exchange     // calls run with what the caller's tokens are exchanged for; nil: they do not
	ProviderGive *ProviderGive // calls run with what an identity provider gives the caller for the server; nil: they do not
}

// ServerClient is Penstock as a client of its own at a server's authorization server (RFC 6749 §4.4).
type ServerClient struct {
	Issuer, TokenEndpoint string // empty: what the server's metadata name
	ClientID              string
	SecretVersion         string // of the secret or private key in the vault, under the server's uid
	PrivateKey            bool   // that is a private key, which signs assertions (RFC 7523)
	Scopes                []string
	NoResource            bool
}

// Grant is a way to exchange tokens.
type Grant int

// The grants.
const (
	GrantTokenExchange Grant = iota + 1 // RFC 8693
	GrantOnBehalfOf                     // Entra ID
	GrantIDJAG                          // an identity assertion, redeemed at the server's authorization server
)

// Subject is a kind of token that says who a caller is.
type Subject int

// The kinds.
const (
	SubjectAccessToken Subject = iota + 1
	SubjectIDToken
	SubjectRefreshToken
)

// Exchange is how the caller's token of an identity provider is exchanged for one that a server takes.
type Exchange struct {
	Provider              string // name
	Grant                 Grant
	Subject               Subject
	Audience              string
	Scopes                []string
	NoResource            bool
	Issuer, TokenEndpoint string
	ClientID              string // empty: Penstock's client at the provider
	SecretVersion         string // of the secret or private key in the vault, under the server's uid; empty: none
	PrivateKey            bool
}

// ProviderGive is what an identity provider is asked for with the refresh token of a caller's login.
type ProviderGive struct {
	Provider   string // name
	Audience   string // that the token must have
	Scopes     []string
	NoResource bool
}

// Provider returns the name of the identity provider whose tokens the credential is made of, empty if it is made of none.
func (s *Server) Provider() string {
	switch {
	case s.Exchange != nil:
		return s.Exchange.Provider
	case s.ProviderGive != nil:
		return s.ProviderGive.Provider
	default:
		return ""
	}
}

// OAuth is how people give grants for a server at its authorization server.
type OAuth struct {
	Issuer                               string // empty: what the server's metadata name
	ClientID                             string // empty: Penstock finds a client by itself
	SecretVersion                        string // of the client's secret in the vault, under the server's uid; empty: none
	Scopes                               []string
	NoResource                           bool   // the parameter resource is left out
	AuthorizationEndpoint, TokenEndpoint string // empty: discovered
}

// Title returns the display name, or the name where there is none.
func (s *Server) Title() string {
	if s.DisplayName != "" {
		return s.DisplayName
	}
	return s.Name
}

// Connectable reports whether a person can give a credential for the server on a page, or log in there for one that Penstock makes.
func (s *Server) Connectable() bool {
	return len(s.Headers) > 0 || s.OAuth != nil || s.Provider() != ""
}

// Server returns a server by name, nil if there is none that the authserver has a part in.
func (v *View) Server(name string) *Server { return v.servers[name] }

// Servers returns the servers that the authserver has a part in, by name.
func (v *View) Servers() []*Server {
	return slices.SortedFunc(maps.Values(v.servers), func(a, b *Server) int { return strings.Compare(a.Name, b.Name) })
}

// Shared reports whether a team or the organisation has a connection of a server (name).
func (v *View) Shared(server string) bool {
	for _, c := range v.connections {
		if c.Server == server && c.Owner == "" {
			return true
		}
	}
	return false
}

// Connection returns a connection by uid, nil if there is none.
func (v *View) Connection(uid string) *Connection { return v.connections[uid] }

func makeServer(r *resourcev1.Server) *Server {
	s := &Server{UID: r.GetUid(), Name: r.GetName(), DisplayName: r.GetDisplayName(), URL: r.GetStreamableHttp().GetUrl()}
	if s.URL == "" {
		s.URL = r.GetSse().GetUrl()
	}
	if h := r.GetCredential().GetStaticHeaders(); h != nil {
		if s.Headers = h.GetNames(); len(s.Headers) == 0 {
			s.Headers = []string{defaultHeader}
		}
	}
	if o := r.GetCredential().GetOauth(); o != nil {
		s.OAuth = &OAuth{
			Issuer: o.GetIssuer(), ClientID: o.GetClientId(), SecretVersion: o.GetSecretVersion(), Scopes: o.GetScopes(),
			NoResource: o.GetNoResource(), AuthorizationEndpoint: o.GetAuthorizationEndpoint(), TokenEndpoint: o.GetTokenEndpoint(),
		}
	}
	s.made(r.GetCredential())
	return s
}

// made reads how Penstock makes a credential for the server.
func (s *Server) made(r *resourcev1.ServerCredential) {
	s.Made = r.GetVersion()
	switch k := r.GetKind().(type) {
	case *resourcev1.ServerCredential_OauthClientCredentials:
		c := k.OauthClientCredentials
		s.Client = &ServerClient{
			Issuer: c.GetIssuer(), TokenEndpoint: c.GetTokenEndpoint(), ClientID: c.GetClientId(), SecretVersion: c.GetSecretVersion(),
			PrivateKey: isPrivateKey(c.GetAuthentication()), Scopes: c.GetScopes(), NoResource: c.GetNoResource(),
		}
	case *resourcev1.ServerCredential_TokenExchange:
		x := k.TokenExchange
		s.Exchange = &Exchange{
			Provider: x.GetIdentityProvider(), Grant: makeGrant(x.GetGrant()), Subject: Subject(x.GetSubjectToken()), Audience: x.GetAudience(),
			Scopes: x.GetScopes(), NoResource: x.GetNoResource(), Issuer: x.GetIssuer(), TokenEndpoint: x.GetTokenEndpoint(),
			ClientID: x.GetClientId(), SecretVersion: x.GetSecretVersion(), PrivateKey: isPrivateKey(x.GetAuthentication()),
		}
		if s.Exchange.Subject == 0 {
			s.Exchange.Subject = SubjectAccessToken
			if s.Exchange.Grant == GrantIDJAG {
				s.Exchange.Subject = SubjectIDToken
			}
		}
	case *resourcev1.ServerCredential_CallerIdpToken:
		g := k.CallerIdpToken
		s.ProviderGive = &ProviderGive{
			Provider: g.GetIdentityProvider(), Audience: g.GetAudience(), Scopes: g.GetScopes(), NoResource: g.GetNoResource(),
		}
	}
}

func isPrivateKey(a resourcev1.ClientAuthentication) bool {
	return a == resourcev1.ClientAuthentication_CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT
}

func makeGrant(g resourcev1.ExchangeGrant) Grant {
	if g == resourcev1.ExchangeGrant_EXCHANGE_GRANT_UNSPECIFIED {
		return GrantTokenExchange
	}
	return Grant(g)
}
