// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/authn/accesstoken"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Assume returns the principal of a request that nobody makes (G-36): what it would prove itself with is taken for good, and all that
// the view says of it, and of the gateway, decides as for [Authenticator.Authenticate], with the same faults. Nothing is counted, and
// no token is marked as used. The principal is complete also with a fault of another kind than Unauthenticated.
func (a *Authenticator) Assume(s *view.Snapshot, g *view.Gateway, who call.Assumed) (p ident.Principal, err error) {
	if !ready(s, g) {
		return p, refuse("")
	}
	method := who.Method
	if who.Token == "" && method == "" {
		method = firstMethod(s, g, who.Kind)
	}
	lasting := false
	switch {
	case who.Token != "":
		lasting = true
		t := s.TokenNamed(who.Token)
		if t == nil {
			return p, invalid()
		}
		p, err = a.accept(s, g, t)
	case method == MethodBearerToken:
		lasting = true
		kind, _ := ownerKind(who.Kind)
		p, err = a.accept(s, g, &view.Token{
			OwnerKind: kind, Owner: who.Name, Gateways: map[string]struct{}{g.Name: {}}, Scopes: scopesOf(g, who.Scopes),
		})
	case method == MethodJWKS:
		lasting = true
		p, err = known(s, g, who)
	case !takes(g, method):
		err = invalid()
	default:
		p, err = holder(s, g, &verified{Token: granted(s, g, who, method)})
	}
	if err != nil {
		return p, err
	}
	return p, a.admit(s, g, p, lasting)
}

// firstMethod is how a caller would prove itself at a gateway.
func firstMethod(s *view.Snapshot, g *view.Gateway, kind ident.Kind) string {
	switch {
	case kind == ident.KindServiceAccount && g.OAuth:
		return accesstoken.MethodClientCredentials
	case kind != ident.KindUser:
		return MethodBearerToken
	case g.OAuth:
		return accesstoken.MethodOAuth
	case s.Issuers(g) != nil:
		return MethodJWKS
	case g.IDJAG:
		return accesstoken.MethodIDJAG
	default:
		return MethodBearerToken
	}
}

func ownerKind(k ident.Kind) (compile.OwnerKind, bool) {
	kinds := map[ident.Kind]compile.OwnerKind{
		ident.KindUser: compile.OwnerUser, ident.KindTeam: compile.OwnerTeam, ident.KindOrganization: compile.OwnerOrganization,
		ident.KindServiceAccount: compile.OwnerServiceAccount,
	}
	kind, ok := kinds[k]
	return kind, ok
}

// scopesOf are the scopes that are assumed of a token: those that are said, else all that the gateway knows.
func scopesOf(g *view.Gateway, said []string) []string {
	switch {
	case len(said) > 0:
		return said
	case len(g.Scopes) == 0:
		return []string{compile.ScopeMCP}
	default:
		return g.Scopes
	}
}

// granted is the access token that the authserver would have given.
func granted(s *view.Snapshot, g *view.Gateway, who call.Assumed, method string) *accesstoken.Token {
	t := &accesstoken.Token{Method: method, ClientID: who.Client, Scopes: scopesOf(g, who.Scopes)}
	if method != accesstoken.MethodClientCredentials {
		if u := s.User(who.Name); u != nil && who.Kind == ident.KindUser {
			t.Subject = u.UID
		}
		return t
	}
	t.Subject, t.ClientID = who.Name, who.Name
	if c, _ := s.Client(who.Name); c != nil && len(who.Scopes) == 0 {
		t.Scopes = c.Scopes // it gets no others
	}
	return t
}

// known is the person to whom an identity provider of the gateway would give a token.
func known(s *view.Snapshot, g *view.Gateway, who call.Assumed) (ident.Principal, error) {
	p := ident.Principal{Method: MethodJWKS, ClientID: who.Client, Scopes: scopesOf(g, who.Scopes)}
	if s.Issuers(g) == nil || who.Kind != ident.KindUser {
		return p, invalid()
	}
	u := s.User(who.Name)
	if u == nil {
		return p, revoked()
	}
	p.Kind, p.UID, p.Name = ident.KindUser, u.UID, u.Name
	for i := range g.JWKS {
		provider := s.Provider(g.JWKS[i].Provider)
		if provider == nil || !slices.ContainsFunc(u.Identities, func(id view.Identity) bool { return id.Issuer == provider.Issuer }) {
			continue
		}
		if who.Client != "" {
			p.ClientID = provider.Name + providerEnd + who.Client
		}
		return p, nil
	}
	return p, fault.New(fault.Denied, ReasonNoAccess, "You may not use this gateway") // as to anybody whom nobody here knows (JW-11)
}
