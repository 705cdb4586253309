// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/penstockhq/penstock/dataplane/internal/authn/idptoken"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Presented returns the token of an identity provider that a request was authenticated with, and the name of the provider; both are
// empty where the principal proved itself in another way. The token is the subject of token exchanges and nothing else (JW-13).
func Presented(r *http.Request, p ident.Principal) (token obs.Secret, provider string) {
	if p.Method != MethodJWKS {
		return "", ""
	}
	text, err := bearer(r)
	if err != nil || text == "" {
		return "", ""
	}
	provider, _, _ = strings.Cut(p.ClientID, providerEnd)
	return obs.Secret(text), provider
}

// providerEnd stands between the name of the provider, which has none of it, and a client's in the ClientID of a principal.
const providerEnd = "/"

// foreign is a token of an identity provider whose signature was checked.
type foreign struct {
	*idptoken.Token

	thumbprint [sha256.Size]byte // of the key that it was checked with
	judged     atomic.Pointer[judged]
}

// judged is what a token's claims came to by one provider and one gateway, as they stand in a view. Both are immutable, so that
// the same pointers are the same rules.
type judged struct {
	provider *view.Provider
	rules    *view.JWKSIssuer
	holder   idptoken.Holder
	client   string // the ClientID of its principal
}

// jwt takes the path that the issuer of a token names, and no other after it (RS-20): the authserver's own, or that of an
// identity provider of the gateway. The issuer is believed for that only.
func (a *Authenticator) jwt(ctx context.Context, s *view.Snapshot, g *view.Gateway, token string) (p ident.Principal, err error) {
	hash := hashOf(token)
	if len(g.JWKS) == 0 || a.cache.get(hash) != nil {
		return a.access(ctx, s, g, token, hash)
	}
	f := a.foreign.get(hash)
	if f == nil {
		t, err := idptoken.Parse(token)
		if err != nil || t.Issuer == a.c.Issuer.Issuer() {
			return a.access(ctx, s, g, token, hash)
		}
		f = &foreign{Token: t}
	}
	provider, rules := s.Accepts(g, f.Issuer)
	if provider == nil {
		return a.access(ctx, s, g, token, hash)
	}
	p, err = a.provided(ctx, s, provider, rules, f, hash)
	if g.ReadsClaims {
		p.Claims = f.Claims()
	}
	return p, err
}

// provided returns the principal of a token of an identity provider (auth.md §7): the user who has the account that it is about.
func (a *Authenticator) provided(
	ctx context.Context, s *view.Snapshot, provider *view.Provider, rules *view.JWKSIssuer, f *foreign, hash [sha256.Size]byte,
) (p ident.Principal, err error) {
	p.Method = MethodJWKS
	j, err := a.judge(ctx, provider, rules, f, hash)
	if err != nil {
		return p, err
	}
	h := &j.holder
	u, refused := s.Account(view.Identity{Issuer: provider.Issuer, Subject: h.Subject})
	switch ok, expired := h.Current(a.c.Now(), skew); {
	case refused:
		return p, revoked()
	case expired:
		return p, fault.New(fault.Unauthenticated, ReasonTokenExpired, "The access token has expired")
	case !ok:
		return p, invalid()
	case u == nil: // known to the provider, and nobody here (JW-11)
		return p, fault.New(fault.Denied, ReasonNoAccess, "You may not use this gateway")
	}
	p.Kind, p.UID, p.Name, p.Scopes, p.Expires = ident.KindUser, u.UID, u.Name, h.Scopes, h.Expires
	p.TokenID, p.ClientID = h.TokenID, j.client
	return p, nil
}

// judge verifies a token and checks its claims, but for the time. The key is looked for at each request, because one that the
// provider took away counts no longer, whatever is in the cache (JW-10).
func (a *Authenticator) judge(
	ctx context.Context, provider *view.Provider, rules *view.JWKSIssuer, f *foreign, hash [sha256.Size]byte,
) (j *judged, err error) {
	j = f.judged.Load()
	known := j != nil && j.provider == provider && j.rules == rules
	var as idptoken.Rules
	if !known {
		if as = rulesOf(provider, rules); !f.Kind(as) { // before a key is looked for
			return nil, invalid()
		}
	}
	key, err := a.c.Providers.Key(ctx, provider, f.KeyID, f.Algorithm)
	switch {
	case err != nil:
		return nil, err
	case key == nil:
		return nil, invalid()
	}
	unknown := f.thumbprint == [sha256.Size]byte{}
	if unknown && f.Verify(key.Public) != nil || !unknown && f.thumbprint != key.Thumbprint {
		return nil, invalid()
	}
	if known {
		return j, nil
	}
	j = &judged{provider: provider, rules: rules}
	if j.holder, err = f.Check(as); err != nil {
		return nil, invalid()
	}
	j.client = provider.Name + providerEnd + j.holder.ClientID // no client of ours is called so
	f.judged.Store(j)
	if ok, _ := j.holder.Current(a.c.Now(), skew); ok && unknown {
		f.thumbprint = key.Thumbprint // nobody else has it yet
		a.foreign.put(hash, f)
	}
	return j, nil
}

// rulesOf joins what the provider and the gateway demand.
func rulesOf(p *view.Provider, i *view.JWKSIssuer) idptoken.Rules {
	return idptoken.Rules{
		Algorithms: p.Algorithms, Audiences: i.Audiences, Client: p.ClientID, SubjectClaim: i.SubjectClaim, ScopeClaims: i.ScopeClaims,
		RequiredClaims: []map[string]string{p.RequiredClaims, i.RequiredClaims}, AcceptIDTokens: i.AcceptIDTokens,
		RequireATJWT: i.RequireATJWT, AcceptMissingScope: i.AcceptMissingScope, MissingScope: compile.ScopeMCP, MaxAge: p.MaxTokenAge,
	}
}
