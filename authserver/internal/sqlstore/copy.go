// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/dbcopy"
)

// seeded are the tables in which a new database has rows.
func seeded() []string { return []string{"oauth_head", "oauth_locks"} }

// Copy copies everything from the store into the empty database that a URL names, of whatever kind: logins, grants, tokens,
// signing keys, sealed secrets and the audit log, byte for byte. Sealed values stay sealed under the same keys. It is one
// transaction on each side; what is written to the store meanwhile is not in the copy, so it is for a store that nobody
// writes to. A database that is not empty is refused, and an interrupted copy leaves nothing. Progress may be nil. Faults:
// those of [Open], and Precondition with reason COPY_TARGET_NOT_EMPTY.
func (s *Store) Copy(ctx context.Context, rawURL string, progress func(table string, rows int64, done bool)) (n dbcopy.Count, err error) {
	to, err := Open(ctx, rawURL)
	if err != nil {
		return n, fmt.Errorf("open the database to copy to: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	from, err := s.db.BeginTx(ctx, s.oneState())
	if err != nil {
		return n, sqlfault.Rewrite("begin reading", err)
	}
	defer func() { _ = from.Rollback() }() // nothing to lose
	names, err := s.tables(ctx, from)
	if err != nil {
		return n, sqlfault.Rewrite("list the tables", err)
	}
	var tables []dbcopy.Table
	for _, name := range names {
		tables = append(tables, dbcopy.Table{Name: name, Seeded: slices.Contains(seeded(), name)})
	}
	tx, err := to.db.BeginTx(ctx, nil)
	if err != nil {
		return n, sqlfault.Rewrite("begin writing", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if n, err = dbcopy.Run(ctx, dbcopy.Job{From: from, To: tx, Tables: tables, Progress: progress}); err != nil {
		return dbcopy.Count{}, sqlfault.Rewrite("copy the database", err)
	}
	return n, sqlfault.Rewrite("commit the copy", tx.Commit())
}

// isSQLite reports which of the two databases it is: only PostgreSQL locks rows.
func (s *Store) isSQLite() bool { return s.forUpdate == "" }

// oneState begins a transaction that sees one state. SQLite's always do.
func (s *Store) oneState() *sql.TxOptions {
	if s.isSQLite() {
		return nil
	}
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

// tables lists what a migration has made, by name.
func (s *Store) tables(ctx context.Context, tx *sql.Tx) (names []string, err error) {
	query := "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = '" + schema + "' AND tablename <> $1 ORDER BY tablename"
	if s.isSQLite() {
		query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name <> $1 ORDER BY name"
	}
	rows, err := tx.QueryContext(ctx, query, versionTable)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
