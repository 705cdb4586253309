// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const (
	ticketColumns = `kind, hash, data, expire_time`
	loginColumns  = `hash, user_uid, provider, amr, auth_time, use_time, expire_time, session`
)

func scanTicket(s scanner) (store.Ticket, error) {
	var t store.Ticket
	err := s.Scan(&t.Kind, digest{&t.Hash}, &t.Data, moment{&t.ExpireTime})
	return t, err
}

func scanLogin(s scanner) (store.Login, error) {
	var l store.Login
	err := s.Scan(digest{&l.Hash}, &l.User, &l.Provider, texts{&l.AMR}, moment{&l.AuthTime}, moment{&l.UseTime}, moment{&l.ExpireTime}, &l.Session)
	return l, err
}

func scanPassword(s scanner) (store.Password, error) {
	var p store.Password
	err := s.Scan(&p.User, &p.Encoded, moment{&p.UpdateTime})
	return p, err
}

// Ticket implements [store.OAuthReader].
func (r Reader) Ticket(ctx context.Context, kind string, secret store.Hash) (store.Ticket, error) {
	return row(ctx, r, "read a ticket", scanTicket,
		`SELECT `+ticketColumns+` FROM oauth_tickets WHERE kind = $1 AND hash = $2`+r.forUpdate, kind, secret[:])
}

// PutTicket implements [store.OAuthTx].
func (t *Tx) PutTicket(ctx context.Context, n store.Ticket) error {
	return t.insert(ctx, "store a ticket", `INSERT INTO oauth_tickets (`+ticketColumns+`) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		n.Kind, n.Hash[:], bytes(n.Data), micros(n.ExpireTime))
}

// TakeTicket implements [store.OAuthTx].
func (t *Tx) TakeTicket(ctx context.Context, kind string, secret store.Hash) (store.Ticket, error) {
	return row(ctx, t.Reader, "take a ticket", scanTicket,
		`DELETE FROM oauth_tickets WHERE kind = $1 AND hash = $2 RETURNING `+ticketColumns, kind, secret[:])
}

// Login implements [store.OAuthReader].
func (r Reader) Login(ctx context.Context, secret store.Hash) (store.Login, error) {
	return row(ctx, r, "read a login", scanLogin, `SELECT `+loginColumns+` FROM oauth_logins WHERE hash = $1`+r.forUpdate, secret[:])
}

// PutLogin implements [store.OAuthTx].
func (t *Tx) PutLogin(ctx context.Context, l store.Login) error {
	return t.insert(ctx, "store a login", `INSERT INTO oauth_logins (`+loginColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		l.Hash[:], l.User, l.Provider, list(l.AMR), micros(l.AuthTime), micros(l.UseTime), micros(l.ExpireTime), l.Session)
}

// TouchLogin implements [store.OAuthTx].
func (t *Tx) TouchLogin(ctx context.Context, secret store.Hash, used time.Time) error {
	return t.change(ctx, "note the use of a login", `UPDATE oauth_logins SET use_time = $2 WHERE hash = $1 AND use_time < $2`,
		secret[:], micros(used))
}

// DeleteLogin implements [store.OAuthTx].
func (t *Tx) DeleteLogin(ctx context.Context, secret store.Hash) error {
	return t.change(ctx, "delete a login", `DELETE FROM oauth_logins WHERE hash = $1`, secret[:])
}

// DeleteLogins implements [store.OAuthTx].
func (t *Tx) DeleteLogins(ctx context.Context, user string) error {
	return t.change(ctx, "delete the logins of a user", `DELETE FROM oauth_logins WHERE user_uid = $1`, user)
}

// DeleteProviderLogins implements [store.OAuthTx].
func (t *Tx) DeleteProviderLogins(ctx context.Context, user, provider string) error {
	return t.change(ctx, "delete the logins of a user with a provider", `DELETE FROM oauth_logins WHERE user_uid = $1 AND provider = $2`, user, provider)
}

// DeleteSession implements [store.OAuthTx].
func (t *Tx) DeleteSession(ctx context.Context, provider, session string) ([]string, error) {
	if session == "" || !storable(session) {
		return nil, nil
	}
	users, err := rows(ctx, t.Reader, "delete the logins of a session", scanText,
		`DELETE FROM oauth_logins WHERE provider = $1 AND session = $2 AND session <> '' RETURNING user_uid`, provider, session)
	if err != nil {
		return nil, err
	}
	slices.Sort(users)
	return slices.Compact(users), t.change(ctx, "delete the codes of a session",
		`DELETE FROM oauth_codes WHERE provider = $1 AND session = $2 AND redeem_time = 0`, provider, session)
}

func scanText(s scanner) (text string, err error) {
	err = s.Scan(&text)
	return text, err
}

// Ended implements [store.OAuthReader].
func (r Reader) Ended(ctx context.Context, user string) (time.Time, error) {
	at, err := row(ctx, r, "read the end of a user", func(s scanner) (at time.Time, err error) { err = s.Scan(moment{&at}); return at, err },
		`SELECT end_time FROM oauth_ended WHERE user_uid = $1`+r.forUpdate, user)
	if errors.Is(err, store.RowMissing()) {
		return time.Time{}, nil
	}
	return at, err
}

// PutEnded implements [store.OAuthTx].
func (t *Tx) PutEnded(ctx context.Context, user string, at time.Time) error {
	return t.change(ctx, "store the end of a user", `INSERT INTO oauth_ended (user_uid, end_time) VALUES ($1, $2)
		 ON CONFLICT (user_uid) DO UPDATE SET end_time = excluded.end_time WHERE oauth_ended.end_time < excluded.end_time`, user, micros(at))
}

// Password implements [store.OAuthReader].
func (r Reader) Password(ctx context.Context, user string) (store.Password, error) {
	return row(ctx, r, "read a password", scanPassword,
		`SELECT user_uid, encoded, update_time FROM oauth_passwords WHERE user_uid = $1`+r.forUpdate, user)
}

// PasswordUsers implements [store.OAuthReader].
func (r Reader) PasswordUsers(ctx context.Context, before time.Time, after string, limit int) ([]string, error) {
	return rows(ctx, r, "list users with a password", scanText,
		`SELECT user_uid FROM oauth_passwords WHERE update_time < $1 AND user_uid > $2 ORDER BY user_uid LIMIT $3`, micros(before), after, limit)
}

// PutPassword implements [store.OAuthTx].
func (t *Tx) PutPassword(ctx context.Context, p store.Password) error {
	return t.change(ctx, "store a password", `INSERT INTO oauth_passwords (user_uid, encoded, update_time) VALUES ($1, $2, $3)
		 ON CONFLICT (user_uid) DO UPDATE SET encoded = excluded.encoded, update_time = excluded.update_time`,
		p.User, p.Encoded, micros(p.UpdateTime))
}

// DeletePassword implements [store.OAuthTx].
func (t *Tx) DeletePassword(ctx context.Context, user string) error {
	return t.change(ctx, "delete a password", `DELETE FROM oauth_passwords WHERE user_uid = $1`, user)
}
