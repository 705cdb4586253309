// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Redemption is what a client shows to redeem an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5, RFC 8707 §2.2).
type Redemption struct {
	Client      Client
	Code        string
	Verifier    string
	RedirectURI string // empty: not sent, which OAuth 2.1 allows
	Gateway     string // uid of the gateway that the resource parameter names; empty: not sent
}

// Redeem makes the grant of a code. A wrong, expired or used code, a wrong verifier, another client or redirect URI, and a
// user who may not any more are invalid_grant; another resource is invalid_target.
//
// Everything is checked before the code is taken, and whether it was taken before is asked after the client and the verifier
// are known to be right: a stranger who got hold of a used code can end nothing (TK-3).
func (g *Grants) Redeem(ctx context.Context, r Redemption) (Issue, error) {
	hash, ok := ident.ParseSecret(CodePrefix, r.Code)
	if !ok {
		return Issue{}, wrongCode("code_malformed")
	}
	var issue Issue
	err := g.update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
		issue, err = g.redeem(ctx, tx, hash, r)
		return err
	})
	if err != nil {
		return Issue{}, err
	}
	return issue, nil
}

func (g *Grants) redeem(ctx context.Context, tx store.OAuthTx, hash store.Hash, r Redemption) (Issue, error) {
	code, err := tx.Code(ctx, hash)
	if isMissing(err) {
		return Issue{}, wrongCode("code_unknown")
	}
	if err != nil {
		return Issue{}, err
	}
	now := g.now()
	switch {
	case code.Grant.Client != r.Client.ID:
		return Issue{}, wrongCode("code_of_another_client")
	case !Verifies(code.Challenge, r.Verifier):
		return Issue{}, wrongCode("code_verifier_wrong")
	case r.RedirectURI != "" && r.RedirectURI != code.RedirectURI:
		return Issue{}, wrongCode("redirect_uri_differs")
	case !code.RedeemTime.IsZero():
		return Issue{}, g.replayed(ctx, tx, code)
	case !now.Before(code.ExpireTime):
		return Issue{}, wrongCode("code_expired")
	case r.Gateway != "" && r.Gateway != code.Grant.Gateway:
		return Issue{}, otherTarget()
	}
	resource, err := g.usable(ctx, tx, r.Client, code.Grant)
	if err != nil {
		return Issue{}, err
	}
	taken, err := tx.RedeemCode(ctx, hash, now)
	if err != nil {
		return Issue{}, err
	}
	if !taken { // by another request since it was read (TK-2)
		return Issue{}, g.replayed(ctx, tx, code)
	}
	issue := Issue{Grant: code.Grant, Resource: resource, Scopes: code.Grant.Scopes}
	if g.wantsRefresh(r.Client, code.Grant) {
		token, sha := ident.MintSecret(RefreshPrefix)
		issue.Refresh = token
		first := store.RefreshToken{Hash: sha, Grant: code.Grant.ID, CreateTime: now, ExpireTime: g.idle(now, code.Grant)}
		if err := tx.PutRefreshToken(ctx, first); err != nil {
			return Issue{}, err
		}
	}
	return issue, errors.Join(
		r.Client.touch(ctx, tx),
		tx.Record(ctx, event(ctx, "code.redeemed", "ok", "", code.Grant)),
		tx.Record(ctx, event(ctx, "token.issued", "ok", "authorization_code", code.Grant)))
}

// replayed ends what a code was redeemed for: the right client with the right verifier showed it again, so two parties have
// it (OAuth 2.1 §4.1.3).
func (g *Grants) replayed(ctx context.Context, tx store.OAuthTx, code store.Code) error {
	if _, err := g.revoke(ctx, tx, code.Grant.ID); err != nil {
		return err
	}
	if err := tx.Record(ctx, event(ctx, "code.replayed", "refused", ReasonCodeReplayed, code.Grant)); err != nil {
		return err
	}
	return settled{wrongCode(ReasonCodeReplayed)}
}

// wrongCode is one answer for everything that is wrong with a code, so that nobody learns which codes exist.
func wrongCode(reason string) error {
	return invalid(reason, "The authorization code or its verifier is wrong, expired, used, or of another client. Log in again.")
}

// Verifies reports whether a code verifier, 43 to 128 unreserved characters, is the one of an S256 challenge (RFC 7636 §4.6).
// It takes the same time for every verifier of that form.
func Verifies(challenge, verifier string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	for _, c := range []byte(verifier) {
		if !unreserved(c) {
			return false
		}
	}
	sum := sha256.Sum256([]byte(verifier))
	made := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(made), []byte(challenge)) == 1
}

// unreserved is that of RFC 3986 §2.3.
func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c == '-' || c == '.' || c == '_' || c == '~'
	}
}
