// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/authn/accesstoken"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// skew is how far the clocks of authserver and node may differ (RS-10).
const skew = 60 * time.Second

// verified is an access token whose signature was checked.
type verified struct {
	*accesstoken.Token
	keys view.TokenKeys
	// good is one more than the generation of revocations at which the token was last found to be none of them.
	good atomic.Uint64
}

func newVerified(t *accesstoken.Token) *verified {
	v := &verified{Token: t, keys: view.TokenKeys{
		Token: sha256.Sum256([]byte(t.TokenID)), Key: sha256.Sum256([]byte(t.KeyID)), Subject: sha256.Sum256([]byte(t.Subject)),
		Issued: t.Issued,
	}}
	if t.Grant != "" {
		v.keys.Grant = sha256.Sum256([]byte(t.Grant))
	}
	return v
}

// revoked reports whether the token was taken away. In the normal case nothing was since the last time.
func (v *verified) revoked(r *view.Revocations) bool {
	now := r.Generation() + 1 // before the set is read: what is added meanwhile has the next one
	if v.good.Load() == now {
		return false
	}
	if r.Revoked(&v.keys) {
		return true
	}
	v.good.Store(now)
	return false
}

// access returns the principal of an access token of the authserver (RS-10).
func (a *Authenticator) access(
	ctx context.Context, s *view.Snapshot, g *view.Gateway, token string, hash [sha256.Size]byte,
) (p ident.Principal, err error) {
	if !g.AccessTokens() {
		return p, invalid()
	}
	v, err := a.verify(ctx, token, hash)
	if err != nil {
		return p, err
	}
	if !takes(g, v.Method) {
		return p, invalid()
	}
	// Whether the token counts is one question, until when another: what was revoked has not just expired.
	if name, ok := strings.CutPrefix(v.Audience, a.c.Resources); !ok || name != g.Name {
		return p, invalid()
	}
	if v.revoked(s.Revocations()) {
		return p, revoked()
	}
	p, err = holder(s, g, v)
	if g.ReadsClaims {
		p.Claims = v.Claims
	}
	ok, expired := v.Current(a.c.Now(), skew)
	switch {
	case fault.KindOf(err) == fault.Unauthenticated:
		return p, err
	case expired:
		return p, fault.New(fault.Unauthenticated, ReasonTokenExpired, "The access token has expired")
	case !ok:
		return p, invalid()
	}
	return p, err
}

// takes reports whether a gateway accepts access tokens that were got on a path, each of which has a switch of its own (RS-20).
func takes(g *view.Gateway, method string) bool {
	switch method {
	case accesstoken.MethodOAuth, accesstoken.MethodClientCredentials:
		return g.OAuth
	case accesstoken.MethodIDJAG:
		return g.IDJAG
	default:
		return false
	}
}

// verify returns a token that the authserver has signed.
func (a *Authenticator) verify(ctx context.Context, token string, hash [sha256.Size]byte) (*verified, error) {
	if v := a.cache.get(hash); v != nil {
		return v, nil
	}
	issuer := a.c.Issuer.Issuer()
	if issuer == "" {
		return nil, fault.New(fault.Unavailable, ReasonNoIssuer, "This node does not know the authorization server yet")
	}
	t, err := accesstoken.Parse(token)
	if err != nil || t.Issuer != issuer {
		return nil, invalid()
	}
	key := a.c.Issuer.Key(ctx, t.KeyID)
	if key == nil || t.Verify(key) != nil {
		return nil, invalid()
	}
	v := newVerified(t)
	if ok, _ := t.Current(a.c.Now(), skew); ok {
		a.cache.put(hash, v)
	}
	return v, nil
}

// hashOf is the SHA-256 of a token, which needs no memory for one of ordinary length.
func hashOf(token string) [sha256.Size]byte {
	var room [1024]byte
	return sha256.Sum256(append(room[:0], token...))
}

// holder makes the principal that a token acts as: a person, or the client itself.
func holder(s *view.Snapshot, g *view.Gateway, v *verified) (ident.Principal, error) {
	p := ident.Principal{
		Method: v.Method, TokenID: v.TokenID, ClientID: v.ClientID, Scopes: v.Scopes, Expires: v.Expires,
	}
	client, refused := s.Client(v.ClientID)
	if refused {
		return p, revoked()
	}
	switch v.Method {
	case accesstoken.MethodOAuth, accesstoken.MethodIDJAG:
		u := s.UserByUID(v.Subject)
		if u == nil {
			return p, revoked()
		}
		p.Kind, p.UID, p.Name = ident.KindUser, u.UID, u.Name
	case accesstoken.MethodClientCredentials:
		if v.Subject != v.ClientID {
			return p, invalid()
		}
		if client == nil || !client.Machine {
			return p, revoked()
		}
		p.Kind, p.UID, p.Name = ident.KindServiceAccount, client.UID, client.Name
		if _, listed := client.Gateways[g.Name]; !listed {
			return p, fault.New(fault.Denied, ReasonNoAccess, "You may not use this gateway")
		}
		for _, scope := range v.Scopes {
			if !compile.HasScope(client.Scopes, scope) {
				return p, revoked() // the client may have less than it had
			}
		}
	default:
		return p, invalid()
	}
	return p, nil
}

// revoked looks like invalid to the client.
func revoked() error {
	return fault.New(fault.Unauthenticated, ReasonTokenRevoked, textInvalid)
}
