// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// AccessType is the typ of the header of access tokens (RFC 9068 §2.1).
const AccessType = "at+jwt"

// The values of pst_method: by which path of the gateway a token came (TK-4).
const (
	MethodOAuth             = "oauth"
	MethodClientCredentials = "client_credentials"
	MethodIDJAG             = "id_jag"
)

// revokedTokens is the issuer under which the store remembers the jti of revoked access tokens.
const revokedTokens = "penstock:revoked-access-tokens"

// Claims is the claims of an access token (RFC 9068 §2.2, TK-4). Times are seconds since 1970.
type Claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"` // uid of the user, or client_id
	Audience string   `json:"aud"` // canonical resource of one gateway
	Client   string   `json:"client_id"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Scope    string   `json:"scope"`
	Method   string   `json:"pst_method"`
	Grant    string   `json:"gid"`
	AuthTime int64    `json:"auth_time,omitempty"` // of a person only, as is AMR
	AMR      []string `json:"amr,omitempty"`
}

// Inspect returns the claims of an access token of ours that can still be used, and the uid of its gateway. For everything
// else ok is false; the error is for a store or directory that cannot be asked.
func (g *Grants) Inspect(ctx context.Context, token string) (claims Claims, gateway string, ok bool, err error) {
	if claims, ok, err = g.read(token); err != nil || !ok {
		return Claims{}, "", false, err
	}
	grant, err := g.c.Store.Grant(ctx, claims.Grant)
	if isMissing(err) {
		return Claims{}, "", false, nil
	}
	if err != nil {
		return Claims{}, "", false, err
	}
	if !grant.RevokeTime.IsZero() {
		return Claims{}, "", false, nil
	}
	resource, err := g.c.Access.Usable(ctx, grant)
	if refused, isRefusal := errors.AsType[*oauthfault.Error](err); isRefusal && refused.Code == oauthfault.InvalidGrant {
		return Claims{}, "", false, nil
	}
	if err != nil {
		return Claims{}, "", false, err
	}
	revoked, err := g.c.Store.JTIUsed(ctx, revokedTokens, claims.ID)
	if err != nil || revoked || resource != claims.Audience {
		return Claims{}, "", false, err
	}
	return claims, grant.Gateway, true, nil
}

// read returns the claims of a token that we signed and that is not over.
func (g *Grants) read(token string) (Claims, bool, error) {
	payload, err := g.c.Keys.Verify(token, AccessType)
	if err != nil {
		if fault.From(err).Reason == keys.ReasonUnverified {
			return Claims{}, false, nil
		}
		return Claims{}, false, err
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, false, fmt.Errorf("read our own access token: %w", err)
	}
	return c, c.Issuer == g.c.Issuer && g.now().Unix() < c.Expires, nil
}
