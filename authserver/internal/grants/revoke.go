// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// RevokeToken takes a token of a client back (RFC 7009 §2.1): with a refresh token its whole family, with an access token
// that one token. A token that is unknown, over, or of another client is no error and changes nothing (TK-21).
func (g *Grants) RevokeToken(ctx context.Context, client, token string) error {
	if hash, ok := ident.ParseSecret(RefreshPrefix, token); ok {
		return g.revokeFamily(ctx, client, hash)
	}
	claims, ok, err := g.read(token)
	if err != nil || !ok || claims.Client != client {
		return err
	}
	end := time.Unix(claims.Expires, 0).UTC().Add(g.c.Skew)
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		fresh, err := tx.UseJTI(ctx, revokedTokens, claims.ID, end)
		if err != nil || !fresh {
			return err
		}
		out := store.Revocation{Kind: store.RevokeToken, Key: sha256.Sum256([]byte(claims.ID)), ExpireTime: end}
		if err := tx.Revoke(ctx, out); err != nil {
			return err
		}
		about, err := tx.Grant(ctx, claims.Grant)
		if isMissing(err) { // collected already, or of client credentials
			about, err = store.Grant{ID: claims.Grant, Client: claims.Client}, nil
		}
		if err != nil {
			return err
		}
		return tx.Record(ctx, event(ctx, "token.revoked", "ok", "access_token", about))
	})
}

func (g *Grants) revokeFamily(ctx context.Context, client string, hash store.Hash) error {
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		_, grant, err := tx.RefreshToken(ctx, hash)
		if isMissing(err) {
			return nil
		}
		if err != nil || grant.Client != client {
			return err
		}
		return g.end(ctx, tx, grant, "refresh_token")
	})
}

// RevokeGrant ends one grant of a user, by its ID. Another user's is NotFound, OAUTH_STATE_MISSING, as one that is not there.
func (g *Grants) RevokeGrant(ctx context.Context, user, id string) error {
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		grant, err := tx.Grant(ctx, id)
		if err != nil {
			return err
		}
		if user == "" || grant.User != user {
			return store.RowMissing()
		}
		return g.end(ctx, tx, grant, "user")
	})
}

// RevokeConsent takes back what a user (uid) allowed a client at a gateway (uid): the consents, and every grant that rests on
// them. It is no error if there is nothing.
func (g *Grants) RevokeConsent(ctx context.Context, user, client, gateway string) error {
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		if err := tx.DeleteConsents(ctx, user, client, gateway); err != nil {
			return err
		}
		// A trusted client's code rests on no consent: it would make a grant after this.
		if err := tx.DeleteCodes(ctx, user, client, gateway); err != nil {
			return err
		}
		list, err := tx.Grants(ctx, user, g.now())
		if err != nil {
			return err
		}
		for _, grant := range list {
			if grant.Client == client && grant.Gateway == gateway {
				if err := g.end(ctx, tx, grant, "consent_revoked"); err != nil {
					return err
				}
			}
		}
		about := store.Grant{User: user, Client: client, Gateway: gateway}
		return tx.Record(ctx, event(ctx, "consent.revoked", "ok", "", about))
	})
}

// RevokeUser ends everything that a user (uid) has: logins, grants, and all access tokens issued up to now.
func (g *Grants) RevokeUser(ctx context.Context, user string) error {
	return g.EndUser(ctx, user, time.Time{})
}

// EndUser is [Grants.RevokeUser] for somebody who was deactivated at a time, which is noted: what was ended once for that time is not
// ended again, or the user would lose what came since. The zero time always ends it, and is not noted.
func (g *Grants) EndUser(ctx context.Context, user string, at time.Time) error {
	if user == "" {
		return fault.New(fault.Bug, fault.ReasonInternal, "There is no user to revoke.")
	}
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		now := g.now()
		if !at.IsZero() {
			if done, err := tx.Ended(ctx, user); err != nil || !done.Before(at) {
				return err
			}
			if err := tx.PutEnded(ctx, user, at); err != nil {
				return err
			}
		}
		if err := tx.DeleteLogins(ctx, user); err != nil {
			return err
		}
		if err := tx.DeleteCodes(ctx, user, "", ""); err != nil {
			return err
		}
		list, err := tx.Grants(ctx, user, now)
		if err != nil {
			return err
		}
		for _, grant := range list {
			if _, err := g.revoke(ctx, tx, grant.ID); err != nil {
				return err
			}
		}
		// `iat` has whole seconds: the entry for the user is about the seconds before this one, or it would take away what she
		// gets by logging in again at once. In this second, and for a token that is being signed right now, the entries of her
		// grants are the ones that count.
		out := store.Revocation{
			Kind: store.RevokeSubject, Key: sha256.Sum256([]byte(user)), ExpireTime: now.Add(g.c.AccessTTL + g.c.Skew),
			IssuedBefore: now.Truncate(time.Second).Add(-time.Second),
		}
		if err := tx.Revoke(ctx, out); err != nil {
			return err
		}
		return tx.Record(ctx, event(ctx, "token.revoked", "ok", "user", store.Grant{User: user}))
	})
}

// LogOut ends what a user (uid) has from an identity provider, by name: the logins with it, and the grants that rest on them.
// jti is the identifier of the logout token that asks for it, at that provider; one that was used before ends nothing again
// (SF-2). It is remembered until a time.
func (g *Grants) LogOut(ctx context.Context, user, provider, jti string, end time.Time) error {
	if user == "" || provider == "" {
		return fault.New(fault.Bug, fault.ReasonInternal, "There is nobody to log out.")
	}
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		fresh, err := tx.UseJTI(ctx, logoutTokens+provider, jti, end)
		if err != nil || !fresh {
			return err
		}
		if err := tx.DeleteProviderLogins(ctx, user, provider); err != nil {
			return err
		}
		// A code does not say by itself which login it came from, and lives a minute: all of them go.
		if err := tx.DeleteCodes(ctx, user, "", ""); err != nil {
			return err
		}
		list, err := tx.Grants(ctx, user, g.now())
		if err != nil {
			return err
		}
		for _, grant := range list {
			if grant.Provider != provider {
				continue
			}
			if err := g.end(ctx, tx, grant, "provider_logout"); err != nil {
				return err
			}
		}
		e := reqctx.Event(ctx, "login.ended", "ok")
		e.ActorType, e.Actor, e.Target, e.Reason = "identity_provider", provider, user, "provider_logout"
		return tx.Record(ctx, e)
	})
}

// LogOutSession is [Grants.LogOut] where the logout token names a session at the provider and nobody (OpenID Connect Back-Channel
// Logout 1.0 §2.4): exactly the logins that came from it end, and the grants that rest on them.
func (g *Grants) LogOutSession(ctx context.Context, provider, session, jti string, end time.Time) error {
	if provider == "" || session == "" {
		return fault.New(fault.Bug, fault.ReasonInternal, "There is no session to end.")
	}
	return g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		fresh, err := tx.UseJTI(ctx, logoutTokens+provider, jti, end)
		if err != nil || !fresh {
			return err
		}
		users, err := tx.DeleteSession(ctx, provider, session)
		if err != nil {
			return err
		}
		list, err := tx.SessionGrants(ctx, provider, session, g.now())
		if err != nil {
			return err
		}
		for _, grant := range list {
			if err := g.end(ctx, tx, grant, "provider_logout"); err != nil {
				return err
			}
		}
		for _, user := range users {
			e := reqctx.Event(ctx, "login.ended", "ok")
			e.ActorType, e.Actor, e.Target, e.Reason = "identity_provider", provider, user, "provider_logout"
			if err := tx.Record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// end revokes a grant and records it, if it was good.
func (g *Grants) end(ctx context.Context, tx store.OAuthTx, grant store.Grant, why string) error {
	revoked, err := g.revoke(ctx, tx, grant.ID)
	if err != nil || !revoked {
		return err
	}
	return tx.Record(ctx, event(ctx, "token.revoked", "ok", why, grant))
}
