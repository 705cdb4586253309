// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const linkColumns = `hash, user_uid, server, client_id, gateway, create_time, expire_time, use_time`

func scanLink(s scanner) (store.ConnectLink, error) {
	var l store.ConnectLink
	err := s.Scan(digest{&l.Hash}, &l.User, &l.Server, &l.Client, &l.Gateway, moment{&l.CreateTime}, moment{&l.ExpireTime}, moment{&l.UseTime})
	return l, err
}

// ConnectLink implements [store.ConnectReader].
func (r Reader) ConnectLink(ctx context.Context, id store.Hash) (store.ConnectLink, error) {
	return row(ctx, r, "read a connect link", scanLink, `SELECT `+linkColumns+` FROM connect_links WHERE hash = $1`+r.forUpdate, id[:])
}

// CreateConnectLink implements [store.ConnectTx]. Whoever counts holds the lock until the commit: two that count at once would
// both find room.
func (t *Tx) CreateConnectLink(ctx context.Context, l store.ConnectLink, most int) (bool, error) {
	if t.forUpdate != "" {
		if err := t.change(ctx, "lock the connect links", `UPDATE oauth_locks SET name = name WHERE name = 'connect links'`); err != nil {
			return false, err
		}
	}
	open, err := row(ctx, t.Reader, "count connect links", func(s scanner) (n int, err error) { err = s.Scan(&n); return n, err },
		`SELECT count(*) FROM connect_links WHERE user_uid = $1 AND server = $2 AND use_time = 0 AND expire_time > $3`,
		l.User, l.Server, micros(l.CreateTime))
	if err != nil || open >= most {
		return false, err
	}
	return true, t.insert(ctx, "store a connect link",
		`INSERT INTO connect_links (`+linkColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		l.Hash[:], l.User, l.Server, l.Client, l.Gateway, micros(l.CreateTime), micros(l.ExpireTime), micros(l.UseTime))
}

// UseConnectLink implements [store.ConnectTx].
func (t *Tx) UseConnectLink(ctx context.Context, id store.Hash, at time.Time) (bool, error) {
	n, err := t.exec(ctx, "use a connect link", `UPDATE connect_links SET use_time = $2 WHERE hash = $1 AND use_time = 0 AND expire_time > $2`,
		id[:], micros(at))
	return n == 1, err
}

// ReopenConnectLink implements [store.ConnectTx].
func (t *Tx) ReopenConnectLink(ctx context.Context, id store.Hash) error {
	return t.change(ctx, "reopen a connect link", `UPDATE connect_links SET use_time = 0 WHERE hash = $1`, id[:])
}
