// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Refresh is what a client shows to renew its tokens (RFC 6749 §6, RFC 8707 §2.2).
type Refresh struct {
	Client  Client
	Token   string
	Scopes  []string // of the new access token; empty: all of the grant
	Gateway string   // uid of the gateway that the resource parameter names; empty: not sent
}

// races is how often a lost race is looked at again: the winner's result is there at the second look.
const races = 3

// errRace tells that another request rotated the token first.
var errRace = errors.New("another request rotated the refresh token")

// Refresh replaces a refresh token by its one successor. A token that was replaced less than the grace ago gives the same
// successor again, and no second one (TK-9); later than that it ends the family (TK-8). A wrong, expired or revoked token,
// another client, and whatever the grant rests on being gone are invalid_grant; a wider scope is invalid_scope, another
// resource invalid_target.
func (g *Grants) Refresh(ctx context.Context, r Refresh) (Issue, error) {
	hash, ok := ident.ParseSecret(RefreshPrefix, r.Token)
	if !ok {
		return Issue{}, wrongRefresh("refresh_malformed")
	}
	for range races {
		var issue Issue
		err := g.update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
			issue, err = g.refresh(ctx, tx, hash, r)
			return err
		})
		switch {
		case err == nil:
			return issue, nil
		case !errors.Is(err, errRace):
			return Issue{}, err
		}
	}
	return Issue{}, fault.New(fault.Unavailable, store.ReasonUnavailable, "The refresh token is being used.").Because(errRace)
}

func (g *Grants) refresh(ctx context.Context, tx store.OAuthTx, hash store.Hash, r Refresh) (Issue, error) {
	token, grant, err := tx.RefreshToken(ctx, hash)
	if isMissing(err) {
		return Issue{}, wrongRefresh("refresh_unknown")
	}
	if err != nil {
		return Issue{}, err
	}
	now := g.now()
	switch {
	case grant.Client != r.Client.ID:
		return Issue{}, wrongRefresh("refresh_of_another_client")
	case !grant.RevokeTime.IsZero():
		return Issue{}, wrongRefresh("grant_revoked")
	case !now.Before(grant.ExpireTime):
		return Issue{}, wrongRefresh("grant_expired")
	case !token.RotateTime.IsZero() && !g.inGrace(now, token):
		return Issue{}, g.reused(ctx, tx, grant)
	case token.RotateTime.IsZero() && !now.Before(token.ExpireTime):
		return Issue{}, wrongRefresh("refresh_expired")
	}
	issue, err := g.renewed(ctx, tx, grant, r)
	if err != nil {
		return Issue{}, err
	}
	if token.RotateTime.IsZero() {
		issue.Refresh, err = g.rotate(ctx, tx, token, grant, r.Token, now)
	} else {
		issue.Refresh, err = openSuccessor(r.Token, token)
	}
	if err != nil {
		return Issue{}, err
	}
	return issue, errors.Join(r.Client.touch(ctx, tx), tx.Record(ctx, event(ctx, "token.refreshed", "ok", "", grant)))
}

// renewed returns what the grant gives now, without the refresh token.
func (g *Grants) renewed(ctx context.Context, tx store.OAuthReader, grant store.Grant, r Refresh) (Issue, error) {
	resource, err := g.usable(ctx, tx, r.Client, grant)
	if err != nil {
		return Issue{}, err
	}
	if r.Gateway != "" && r.Gateway != grant.Gateway {
		return Issue{}, otherTarget()
	}
	issue := Issue{Grant: grant, Resource: resource, Scopes: grant.Scopes}
	if len(r.Scopes) > 0 {
		for _, scope := range r.Scopes {
			if !slices.Contains(grant.Scopes, scope) {
				return Issue{}, oauthfault.New(oauthfault.InvalidScope, "The scope is wider than what was granted. Log in again to get more.").
					For("scope_wider")
			}
		}
		issue.Scopes = r.Scopes
	}
	return issue, nil
}

// rotate makes the successor of the live token of a family.
func (g *Grants) rotate(
	ctx context.Context, tx store.OAuthTx, token store.RefreshToken, grant store.Grant, presented string, now time.Time,
) (string, error) {
	successor, sha := ident.MintSecret(RefreshPrefix)
	sealed, err := sealSuccessor(presented, token, successor)
	if err != nil {
		return "", err
	}
	next := store.RefreshToken{Hash: sha, Grant: grant.ID, CreateTime: now, ExpireTime: g.idle(now, grant)}
	swapped, err := tx.RotateRefreshToken(ctx, token.Hash, next, sealed)
	if err != nil {
		return "", err
	}
	if !swapped {
		return "", errRace
	}
	return successor, nil
}

func (g *Grants) inGrace(now time.Time, token store.RefreshToken) bool {
	return g.c.Grace > 0 && now.Sub(token.RotateTime) <= g.c.Grace
}

// reused ends a family: a token that was replaced is used again, so somebody has it who should not (OAuth 2.1 §4.3.1).
func (g *Grants) reused(ctx context.Context, tx store.OAuthTx, grant store.Grant) error {
	if _, err := g.revoke(ctx, tx, grant.ID); err != nil {
		return err
	}
	if err := tx.Record(ctx, event(ctx, "refresh.reuse_detected", "refused", ReasonRefreshReused, grant)); err != nil {
		return err
	}
	return settled{wrongRefresh(ReasonRefreshReused)}
}

// wrongRefresh is one answer for everything that is wrong with a refresh token itself.
func wrongRefresh(reason string) error {
	return invalid(reason, "The refresh token is wrong, expired, revoked, or of another client. Log in again.")
}
