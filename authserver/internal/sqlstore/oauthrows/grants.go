// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"errors"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const (
	grantColumns = `grant_id, user_uid, client_id, redirect_host, gateway, resource, scopes, amr, provider, auth_time,
		 create_time, use_time, expire_time, revoke_time, subject_issuer, subject, subject_session, session`
	codeColumns  = `hash, redirect_uri, challenge, redeem_time, code_expire_time, ` + grantColumns
	tokenColumns = `hash, grant_id, create_time, expire_time, rotate_time, successor`
)

func grantFields(g *store.Grant) []any {
	return []any{
		&g.ID, &g.User, &g.Client, &g.RedirectHost, &g.Gateway, &g.Resource,
		texts{&g.Scopes},
		texts{&g.AMR},
		&g.Provider,
		moment{&g.AuthTime},
		moment{&g.CreateTime},
		moment{&g.UseTime},
		moment{&g.ExpireTime},
		moment{&g.RevokeTime},
		&g.Origin.Issuer, &g.Origin.Subject, &g.Origin.Session,
		&g.Session,
	}
}

func grantValues(g store.Grant) []any {
	return []any{
		g.ID, g.User, g.Client, g.RedirectHost, g.Gateway, g.Resource, list(g.Scopes), list(g.AMR), g.Provider,
		micros(g.AuthTime), micros(g.CreateTime), micros(g.UseTime), micros(g.ExpireTime), micros(g.RevokeTime),
		g.Origin.Issuer, g.Origin.Subject, g.Origin.Session, g.Session,
	}
}

func scanGrant(s scanner) (store.Grant, error) {
	var g store.Grant
	err := s.Scan(grantFields(&g)...)
	return g, err
}

func scanCode(s scanner) (store.Code, error) {
	var c store.Code
	err := s.Scan(append([]any{digest{&c.Hash}, &c.RedirectURI, &c.Challenge, moment{&c.RedeemTime}, moment{&c.ExpireTime}},
		grantFields(&c.Grant)...)...)
	return c, err
}

func scanToken(s scanner) (store.RefreshToken, error) {
	var t store.RefreshToken
	err := s.Scan(digest{&t.Hash}, &t.Grant, moment{&t.CreateTime}, moment{&t.ExpireTime}, moment{&t.RotateTime}, &t.Successor)
	return t, err
}

// Grant implements [store.OAuthReader].
func (r Reader) Grant(ctx context.Context, id string) (store.Grant, error) {
	if !storable(id) {
		return store.Grant{}, store.RowMissing()
	}
	return row(ctx, r, "read a grant", scanGrant, `SELECT `+grantColumns+` FROM oauth_grants WHERE grant_id = $1`+r.forUpdate, id)
}

// Grants implements [store.OAuthReader].
func (r Reader) Grants(ctx context.Context, user string, now time.Time) ([]store.Grant, error) {
	return rows(ctx, r, "list the grants of a user", scanGrant, `SELECT `+grantColumns+` FROM oauth_grants
		 WHERE user_uid = $1 AND revoke_time = 0 AND expire_time > $2 ORDER BY create_time DESC, grant_id`, user, micros(now))
}

// SessionGrants implements [store.OAuthReader].
func (r Reader) SessionGrants(ctx context.Context, provider, session string, now time.Time) ([]store.Grant, error) {
	if session == "" || !storable(session) {
		return nil, nil
	}
	return rows(ctx, r, "list the grants of a session", scanGrant, `SELECT `+grantColumns+` FROM oauth_grants
		 WHERE provider = $1 AND session = $2 AND session <> '' AND revoke_time = 0 AND expire_time > $3 ORDER BY create_time DESC, grant_id`,
		provider, session, micros(now))
}

// PutGrant implements [store.OAuthTx].
func (t *Tx) PutGrant(ctx context.Context, g store.Grant) error {
	return t.insert(ctx, "store a grant", `INSERT INTO oauth_grants (`+grantColumns+`)
		 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT DO NOTHING`, grantValues(g)...)
}

// RevokeGrant implements [store.OAuthTx].
func (t *Tx) RevokeGrant(ctx context.Context, id string, at time.Time) (bool, error) {
	if !storable(id) {
		return false, nil
	}
	n, err := t.exec(ctx, "revoke a grant", `UPDATE oauth_grants SET revoke_time = $2 WHERE grant_id = $1 AND revoke_time = 0`, id, micros(at))
	return n == 1, err
}

// Code implements [store.OAuthReader].
func (r Reader) Code(ctx context.Context, secret store.Hash) (store.Code, error) {
	return row(ctx, r, "read a code", scanCode, `SELECT `+codeColumns+` FROM oauth_codes WHERE hash = $1`+r.forUpdate, secret[:])
}

// PutCode implements [store.OAuthTx].
func (t *Tx) PutCode(ctx context.Context, c store.Code) error {
	return t.insert(ctx, "store a code", `INSERT INTO oauth_codes (`+codeColumns+`)
		 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23) ON CONFLICT DO NOTHING`,
		append([]any{c.Hash[:], c.RedirectURI, c.Challenge, micros(c.RedeemTime), micros(c.ExpireTime)}, grantValues(c.Grant)...)...)
}

// RedeemCode implements [store.OAuthTx]. The condition of the update is what makes a code good for one use (TK-2).
func (t *Tx) RedeemCode(ctx context.Context, secret store.Hash, at time.Time) (bool, error) {
	n, err := t.exec(ctx, "redeem a code",
		`UPDATE oauth_codes SET redeem_time = $2 WHERE hash = $1 AND redeem_time = 0 AND code_expire_time > $2`, secret[:], micros(at))
	if err != nil || n == 0 {
		return false, err
	}
	err = t.insert(ctx, "store the grant of a code", `INSERT INTO oauth_grants (`+grantColumns+`)
		 SELECT grant_id, user_uid, client_id, redirect_host, gateway, resource, scopes, amr, provider, auth_time,
		   create_time, redeem_time, expire_time, revoke_time, subject_issuer, subject, subject_session, session
		 FROM oauth_codes WHERE hash = $1 ON CONFLICT DO NOTHING`, secret[:])
	return err == nil, err
}

// DeleteCodes implements [store.OAuthTx].
func (t *Tx) DeleteCodes(ctx context.Context, user, client, gateway string) error {
	const what, query = "delete codes", `DELETE FROM oauth_codes WHERE user_uid = $1 AND redeem_time = 0`
	switch {
	case client == "" && gateway == "":
		return t.change(ctx, what, query, user)
	case !storable(client, gateway): // as a form said
		return nil
	default:
		return t.change(ctx, what, query+` AND client_id = $2 AND gateway = $3`, user, client, gateway)
	}
}

// RefreshToken implements [store.OAuthReader]. In a transaction the grant is locked, and with it the family.
func (r Reader) RefreshToken(ctx context.Context, secret store.Hash) (store.RefreshToken, store.Grant, error) {
	g, err := row(ctx, r, "read the grant of a refresh token", scanGrant, `SELECT `+grantColumns+` FROM oauth_grants
		 WHERE grant_id = (SELECT t.grant_id FROM oauth_refresh_tokens AS t WHERE t.hash = $1)`+r.forUpdate, secret[:])
	if err != nil {
		return store.RefreshToken{}, store.Grant{}, err
	}
	// After the grant, so that it is what the last holder of the lock left.
	t, err := row(ctx, r, "read a refresh token", scanToken, `SELECT `+tokenColumns+` FROM oauth_refresh_tokens WHERE hash = $1`, secret[:])
	if err != nil {
		return store.RefreshToken{}, store.Grant{}, err
	}
	return t, g, nil
}

// PutRefreshToken implements [store.OAuthTx].
func (t *Tx) PutRefreshToken(ctx context.Context, n store.RefreshToken) error {
	return t.insert(ctx, "store a refresh token",
		`INSERT INTO oauth_refresh_tokens (`+tokenColumns+`) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		n.Hash[:], n.Grant, micros(n.CreateTime), micros(n.ExpireTime), micros(n.RotateTime), n.Successor)
}

// RotateRefreshToken implements [store.OAuthTx].
func (t *Tx) RotateRefreshToken(ctx context.Context, parent store.Hash, next store.RefreshToken, sealed []byte) (bool, error) {
	if next.CreateTime.IsZero() {
		return false, errors.New("rotate a refresh token: its successor has no create time")
	}
	// First the grant: it stands for the family, and one that is revoked meanwhile gets no new token.
	n, err := t.exec(ctx, "note the use of a grant", `UPDATE oauth_grants SET use_time = CASE WHEN use_time < $2 THEN $2 ELSE use_time END
		 WHERE grant_id = $1 AND revoke_time = 0
		   AND EXISTS (SELECT 1 FROM oauth_refresh_tokens AS t WHERE t.hash = $3 AND t.grant_id = $1 AND t.rotate_time = 0)`,
		next.Grant, micros(next.CreateTime), parent[:])
	if err != nil || n == 0 {
		return false, err
	}
	n, err = t.exec(ctx, "rotate a refresh token",
		`UPDATE oauth_refresh_tokens SET rotate_time = $3, successor = $4 WHERE hash = $1 AND grant_id = $2 AND rotate_time = 0`,
		parent[:], next.Grant, micros(next.CreateTime), bytes(sealed))
	if err != nil || n == 0 {
		return false, err
	}
	err = t.PutRefreshToken(ctx, store.RefreshToken{
		Hash: next.Hash, Grant: next.Grant, CreateTime: next.CreateTime, ExpireTime: next.ExpireTime,
	})
	return err == nil, err
}
