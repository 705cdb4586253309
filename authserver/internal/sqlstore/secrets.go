// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// PutSecret implements [store.Secrets].
func (s *Store) PutSecret(ctx context.Context, n store.Secret) error {
	done, err := s.conn(ctx).ExecContext(ctx,
		`INSERT INTO secrets (connection, version, key_id, sealed, create_time) VALUES ($1, $2, $3, $4, $5)
		 ON CONFLICT (connection, version) DO NOTHING`,
		n.Connection, n.Version, n.KeyID, n.Sealed, n.CreateTime.UnixMicro())
	rows, err := affected(done, err)
	if err != nil {
		return sqlfault.Rewrite("store a secret", err)
	}
	if rows == 0 {
		return store.SecretExists()
	}
	return nil
}

// Secret implements [store.Secrets].
func (s *Store) Secret(ctx context.Context, connection, version string) (store.Secret, error) {
	n, err := scanSecret(s.conn(ctx).QueryRowContext(ctx,
		`SELECT connection, version, key_id, sealed, create_time, resolve_time FROM secrets
		 WHERE connection = $1 AND version = $2`, connection, version))
	if errors.Is(err, sql.ErrNoRows) {
		return store.Secret{}, store.SecretMissing()
	}
	if err != nil {
		return store.Secret{}, sqlfault.Rewrite("read a secret", err)
	}
	return n, nil
}

// TouchSecret implements [store.Secrets].
func (s *Store) TouchSecret(ctx context.Context, connection, version string, at time.Time) error {
	// The condition keeps a slow process from turning the time back.
	_, err := s.conn(ctx).ExecContext(ctx,
		`UPDATE secrets SET resolve_time = $3 WHERE connection = $1 AND version = $2 AND resolve_time < $3`,
		connection, version, at.UnixMicro())
	return sqlfault.Rewrite("note a resolved secret", err)
}

// DeleteSecrets implements [store.Secrets].
func (s *Store) DeleteSecrets(ctx context.Context, connection string) (int, error) {
	done, err := s.conn(ctx).ExecContext(ctx, `DELETE FROM secrets WHERE connection = $1`, connection)
	rows, err := affected(done, err)
	return rows, sqlfault.Rewrite("delete the secrets of a connection", err)
}

// SecretConnections implements [store.Secrets].
func (s *Store) SecretConnections(ctx context.Context, prefix, after string, limit int) (_ []string, err error) {
	// Not LIKE, which has letters of its own, and not a range, whose order depends on the database's language.
	rows, err := s.conn(ctx).QueryContext(ctx,
		`SELECT DISTINCT connection FROM secrets WHERE substr(connection, 1, $2) = $1 AND connection > $3 ORDER BY connection LIMIT $4`,
		prefix, utf8.RuneCountInString(prefix), after, limit)
	if err != nil {
		return nil, sqlfault.Rewrite("list what secrets are for", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var list []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, sqlfault.Rewrite("read what a secret is for", err)
		}
		list = append(list, name)
	}
	return list, sqlfault.Rewrite("list what secrets are for", rows.Err())
}

// CollectSecrets implements [store.Secrets].
func (s *Store) CollectSecrets(ctx context.Context, c store.Collection) (int, error) {
	done, err := s.conn(ctx).ExecContext(ctx,
		`DELETE FROM secrets WHERE (connection, version) IN (
		   SELECT v.connection, v.version FROM (
		     SELECT connection, version, create_time, resolve_time,
		       row_number() OVER (PARTITION BY connection ORDER BY create_time DESC, version DESC) AS nth
		     FROM secrets) AS v
		   WHERE v.create_time < $1 AND v.resolve_time < $1 AND v.nth > $2 AND (v.nth > $4 OR EXISTS (
		     SELECT 1 FROM secrets AS other
		     WHERE other.connection = v.connection AND other.version <> v.version
		       AND other.resolve_time > v.create_time + $3 AND other.resolve_time > v.resolve_time)))`,
		c.Before.UnixMicro(), c.Keep, c.Settled.Microseconds(), c.Most)
	rows, err := affected(done, err)
	return rows, sqlfault.Rewrite("collect old secrets", err)
}

// SecretsNotUnder implements [store.Secrets].
func (s *Store) SecretsNotUnder(ctx context.Context, keyID, afterConnection, afterVersion string, limit int) ([]store.Secret, error) {
	return s.secrets(ctx, "list secrets of other keys",
		`WHERE key_id <> $1 AND (connection, version) > ($2, $3) ORDER BY connection, version LIMIT $4`,
		keyID, afterConnection, afterVersion, limit)
}

// SecretsOf implements [store.Secrets].
func (s *Store) SecretsOf(ctx context.Context, connection string) ([]store.Secret, error) {
	lock := ""
	if ctx.Value(txKey{s}) != nil {
		lock = s.forUpdate
	}
	return s.secrets(ctx, "list the secrets of a connection", `WHERE connection = $1 ORDER BY create_time, version`+lock, connection)
}

// DueSecrets implements [store.Secrets].
func (s *Store) DueSecrets(ctx context.Context, prefix string, now time.Time, limit int) ([]store.Secret, error) {
	return s.secrets(ctx, "list the secrets that are due",
		`WHERE substr(connection, 1, length($1)) = $1 AND lease_time <= $2 ORDER BY create_time, connection, version LIMIT $3`,
		prefix, now.UnixMicro(), limit)
}

// secrets lists secrets; where is the rest of the statement.
func (s *Store) secrets(ctx context.Context, what, where string, args ...any) (_ []store.Secret, err error) {
	rows, err := s.conn(ctx).QueryContext(ctx,
		`SELECT connection, version, key_id, sealed, create_time, resolve_time FROM secrets `+where, args...)
	if err != nil {
		return nil, sqlfault.Rewrite(what, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var list []store.Secret
	for rows.Next() {
		n, err := scanSecret(rows)
		if err != nil {
			return nil, sqlfault.Rewrite(what, err)
		}
		list = append(list, n)
	}
	return list, sqlfault.Rewrite(what, rows.Err())
}

// ReplaceSecret implements [store.Secrets].
func (s *Store) ReplaceSecret(ctx context.Context, n store.Secret, old []byte) (bool, error) {
	done, err := s.conn(ctx).ExecContext(ctx,
		`UPDATE secrets SET key_id = $3, sealed = $4 WHERE connection = $1 AND version = $2 AND sealed = $5`,
		n.Connection, n.Version, n.KeyID, n.Sealed, old)
	rows, err := affected(done, err)
	return rows == 1, sqlfault.Rewrite("replace a secret", err)
}

// LeaseSecret implements [store.Secrets].
func (s *Store) LeaseSecret(ctx context.Context, connection, version string, now, until time.Time) (bool, error) {
	done, err := s.conn(ctx).ExecContext(ctx,
		`UPDATE secrets SET lease_time = $4 WHERE connection = $1 AND version = $2 AND lease_time <= $3`,
		connection, version, now.UnixMicro(), until.UnixMicro())
	rows, err := affected(done, err)
	return rows == 1, sqlfault.Rewrite("lease a secret", err)
}

// EndLease implements [store.Secrets].
func (s *Store) EndLease(ctx context.Context, connection, version string) error {
	_, err := s.conn(ctx).ExecContext(ctx, `UPDATE secrets SET lease_time = 0 WHERE connection = $1 AND version = $2`, connection, version)
	return sqlfault.Rewrite("end the lease of a secret", err)
}

// SealedRows implements [store.Secrets].
func (s *Store) SealedRows(ctx context.Context, keyID string) (_ []store.SealedRow, err error) {
	rows, err := s.conn(ctx).QueryContext(ctx, `SELECT kid, key_id, sealed FROM oauth_signing_keys WHERE key_id <> $1 ORDER BY kid`, keyID)
	if err != nil {
		return nil, sqlfault.Rewrite("list signing keys of other keys", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var list []store.SealedRow
	for rows.Next() {
		n := store.SealedRow{Table: store.SigningKeyTable, Column: store.SigningKeyColumn}
		if err := rows.Scan(&n.Row, &n.KeyID, &n.Sealed); err != nil {
			return nil, sqlfault.Rewrite("read a signing key of another key", err)
		}
		list = append(list, n)
	}
	return list, sqlfault.Rewrite("list signing keys of other keys", rows.Err())
}

// ResealRow implements [store.Secrets].
func (s *Store) ResealRow(ctx context.Context, n store.SealedRow, oldKeyID string) (bool, error) {
	if n.Table != store.SigningKeyTable || n.Column != store.SigningKeyColumn {
		return false, fmt.Errorf("seal a row anew: there is nothing sealed in %s.%s", n.Table, n.Column)
	}
	done, err := s.conn(ctx).ExecContext(ctx, `UPDATE oauth_signing_keys SET key_id = $2, sealed = $3 WHERE kid = $1 AND key_id = $4`,
		n.Row, n.KeyID, n.Sealed, oldKeyID)
	rows, err := affected(done, err)
	return rows == 1, sqlfault.Rewrite("seal a signing key anew", err)
}

// SecretKeyIDs implements [store.Secrets].
func (s *Store) SecretKeyIDs(ctx context.Context) (_ []string, err error) {
	rows, err := s.conn(ctx).QueryContext(ctx, `SELECT key_id FROM secrets UNION SELECT key_id FROM oauth_signing_keys ORDER BY key_id`)
	if err != nil {
		return nil, sqlfault.Rewrite("list key ids", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, sqlfault.Rewrite("read a key id", err)
		}
		ids = append(ids, id)
	}
	return ids, sqlfault.Rewrite("list key ids", rows.Err())
}

// scanner is *sql.Row and *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

func scanSecret(row scanner) (store.Secret, error) {
	var (
		n                 store.Secret
		created, resolved int64
	)
	if err := row.Scan(&n.Connection, &n.Version, &n.KeyID, &n.Sealed, &created, &resolved); err != nil {
		return store.Secret{}, err
	}
	n.CreateTime = time.UnixMicro(created).UTC()
	if resolved != 0 {
		n.ResolveTime = time.UnixMicro(resolved).UTC()
	}
	return n, nil
}

func affected(r sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return int(n), err
}
