// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const clientColumns = `client_id, fingerprint, metadata, secret_hash, manage_hash, create_time, use_time, expire_time`

func scanClient(s scanner) (store.Client, error) {
	var c store.Client
	err := s.Scan(&c.ID, digest{&c.Fingerprint}, &c.Metadata, digest{&c.SecretHash}, digest{&c.ManageHash},
		moment{&c.CreateTime}, moment{&c.UseTime}, moment{&c.ExpireTime})
	return c, err
}

// Client implements [store.OAuthReader]. It is not locked in a transaction either: nothing but its times ever changes, and
// many people share one.
func (r Reader) Client(ctx context.Context, id string) (store.Client, error) {
	if !storable(id) {
		return store.Client{}, store.RowMissing()
	}
	return row(ctx, r, "read a client", scanClient, `SELECT `+clientColumns+` FROM oauth_clients WHERE client_id = $1`, id)
}

// UnusedClients implements [store.OAuthReader].
func (r Reader) UnusedClients(ctx context.Context) (int, error) {
	return row(ctx, r, "count unused clients", func(s scanner) (n int, err error) { err = s.Scan(&n); return n, err },
		`SELECT count(*) FROM oauth_clients WHERE use_time = 0`)
}

// CreateClient implements [store.OAuthTx].
func (t *Tx) CreateClient(ctx context.Context, c store.Client) (store.Client, error) {
	const what = "store a client"
	if c.Fingerprint != (store.Hash{}) {
		// One that is over gives its place up. It stays until it is collected.
		if err := t.change(ctx, what, `UPDATE oauth_clients SET fingerprint = NULL WHERE fingerprint = $1 AND expire_time <= $2`,
			c.Fingerprint[:], micros(c.CreateTime)); err != nil {
			return store.Client{}, err
		}
	}
	return row(ctx, t.Reader, what, scanClient,
		`INSERT INTO oauth_clients (`+clientColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		 ON CONFLICT (fingerprint) WHERE fingerprint IS NOT NULL DO UPDATE SET expire_time =
		   CASE WHEN excluded.expire_time > oauth_clients.expire_time THEN excluded.expire_time ELSE oauth_clients.expire_time END
		 RETURNING `+clientColumns,
		c.ID, optional(c.Fingerprint), bytes(c.Metadata), optional(c.SecretHash), optional(c.ManageHash),
		micros(c.CreateTime), micros(c.UseTime), micros(c.ExpireTime))
}

// TouchClient implements [store.OAuthTx].
func (t *Tx) TouchClient(ctx context.Context, id string, used, expires time.Time) error {
	if !storable(id) {
		return nil
	}
	return t.change(ctx, "note the use of a client", `UPDATE oauth_clients SET
		   use_time = CASE WHEN use_time < $2 THEN $2 ELSE use_time END,
		   expire_time = CASE WHEN expire_time < $3 THEN $3 ELSE expire_time END
		 WHERE client_id = $1 AND (use_time < $2 OR expire_time < $3)`, id, micros(used), micros(expires))
}

// DeleteClient implements [store.OAuthTx].
func (t *Tx) DeleteClient(ctx context.Context, id string) error {
	if !storable(id) {
		return nil
	}
	return t.change(ctx, "delete a client", `DELETE FROM oauth_clients WHERE client_id = $1`, id)
}

// DropUnusedClients implements [store.OAuthTx].
func (t *Tx) DropUnusedClients(ctx context.Context, before time.Time, most int) (int, error) {
	return t.exec(ctx, "drop unused clients", `DELETE FROM oauth_clients WHERE use_time = 0 AND client_id IN (
		   SELECT client_id FROM oauth_clients WHERE use_time = 0 AND create_time < $1 ORDER BY create_time, client_id LIMIT $2)`,
		micros(before), most)
}
