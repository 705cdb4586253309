// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const keyColumns = `kid, public_jwk, key_id, sealed, state, create_time, state_time`

func scanKey(s scanner) (store.SigningKey, error) {
	var k store.SigningKey
	err := s.Scan(&k.ID, &k.Public, &k.KeyID, &k.Sealed, (*string)(&k.State), moment{&k.CreateTime}, moment{&k.StateTime})
	return k, err
}

// SigningKeys implements [store.OAuthReader]. In a transaction, what is decided on the list stays true until the commit: two
// processes that find no key do not make one each.
func (r Reader) SigningKeys(ctx context.Context) ([]store.SigningKey, error) {
	if r.forUpdate != "" {
		if err := r.change(ctx, "lock the signing keys", `UPDATE oauth_locks SET name = name WHERE name = 'signing keys'`); err != nil {
			return nil, err
		}
	}
	return rows(ctx, r, "list signing keys", scanKey, `SELECT `+keyColumns+` FROM oauth_signing_keys ORDER BY create_time DESC, kid`)
}

// CreateSigningKey implements [store.OAuthTx].
func (t *Tx) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	return t.insert(ctx, "store a signing key", `INSERT INTO oauth_signing_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		k.ID, bytes(k.Public), k.KeyID, bytes(k.Sealed), string(k.State), micros(k.CreateTime), micros(k.StateTime))
}

// SetSigningKeyState implements [store.OAuthTx].
func (t *Tx) SetSigningKeyState(ctx context.Context, id string, from, to store.SigningKeyState, at time.Time) (bool, error) {
	n, err := t.exec(ctx, "set the state of a signing key", `UPDATE oauth_signing_keys SET state = $3, state_time = $4 WHERE kid = $1 AND state = $2`,
		id, string(from), string(to), micros(at))
	return n == 1, err
}

// DeleteSigningKey implements [store.OAuthTx].
func (t *Tx) DeleteSigningKey(ctx context.Context, id string) error {
	return t.change(ctx, "delete a signing key", `DELETE FROM oauth_signing_keys WHERE kid = $1`, id)
}

// UseJTI implements [store.OAuthTx]. It goes by no clock: what is remembered is refused until it is collected, later than
// when it expires.
func (t *Tx) UseJTI(ctx context.Context, issuer, jti string, expires time.Time) (bool, error) {
	key := jtiKey(issuer, jti)
	n, err := t.exec(ctx, "remember a jti", `INSERT INTO oauth_jtis (hash, expire_time) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		key[:], micros(expires))
	return n == 1, err
}

// JTIUsed implements [store.OAuthReader].
func (r Reader) JTIUsed(ctx context.Context, issuer, jti string) (bool, error) {
	key := jtiKey(issuer, jti)
	return row(ctx, r, "look for a jti", func(s scanner) (used bool, err error) { err = s.Scan(&used); return used, err },
		`SELECT EXISTS (SELECT 1 FROM oauth_jtis WHERE hash = $1)`, key[:])
}

// jtiKey takes any bytes of any length, and nobody can move the border between the two.
func jtiKey(issuer, jti string) [sha256.Size]byte {
	of := sha256.Sum256([]byte(issuer))
	return sha256.Sum256(append(of[:], jti...))
}
