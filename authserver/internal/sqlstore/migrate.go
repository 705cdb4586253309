// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore/sqlfault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is goose's own table. Its name says whose it is, so that a file of the control plane is told apart.
const versionTable = "authserver_schema_version"

// migrationLock is the PostgreSQL advisory lock under which one process at a time prepares the schema.
const migrationLock = 0x70656e61 // "pena"

// migrate applies the migrations that the database lacks. It refuses a database of a newer release: an old process
// that writes into a new schema loses data quietly.
func migrate(ctx context.Context, db *sql.DB, dialectName string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.Dialect(dialectName), db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if have > want {
		return sqlfault.Unusable(fmt.Sprintf("The database has schema version %d; this release knows up to %d. Start a newer release.", have, want), nil)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	return nil
}

// prepareSQLite refuses a file that holds other tables than ours, and one that is damaged.
func prepareSQLite(ctx context.Context, db *sql.DB) (release func() error, err error) {
	var ours, others int
	err = db.QueryRowContext(ctx,
		`SELECT count(*) FILTER (WHERE name = $1), count(*) FILTER (WHERE name <> $1)
		 FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`, versionTable).Scan(&ours, &others)
	if err != nil {
		return nil, fmt.Errorf("read the table list: %w", err)
	}
	if ours == 0 && others > 0 {
		return nil, sqlfault.Unusable("The database file belongs to another program: it has tables, but not the authserver's.", nil)
	}
	var health string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&health); err != nil {
		return nil, fmt.Errorf("check the file: %w", err)
	}
	if health != "ok" {
		return nil, sqlfault.Unusable("The database file is damaged: restore it from a backup.", errors.New(health))
	}
	// Not before the file is known to be ours: the mode is kept in its header. It may be a newer release's still, which
	// uses the same.
	if _, err := db.ExecContext(ctx, `PRAGMA journal_mode = WAL`); err != nil {
		return nil, fmt.Errorf("turn on the write-ahead log: %w", err)
	}
	return func() error { return nil }, nil
}

// preparePostgres makes the schema under a lock that it holds until release: several processes may start at once, and
// neither CREATE SCHEMA IF NOT EXISTS nor goose is a protection against that.
func preparePostgres(ctx context.Context, db *sql.DB) (release func() error, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	// The lock and the changed setting belong to the session, so the session ends with them.
	release = func() error {
		err := conn.Raw(func(any) error { return driver.ErrBadConn })
		if errors.Is(err, driver.ErrBadConn) {
			return nil
		}
		return err
	}
	if err := createSchema(ctx, conn); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

func createSchema(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, `SET lock_timeout = '60s'`); err != nil { // another process may have much to migrate
		return fmt.Errorf("prepare to wait: %w", err)
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return fmt.Errorf("wait for another process: %w", err)
	}
	var exists bool
	err := conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`, schema).Scan(&exists)
	if err != nil {
		return fmt.Errorf("look for the schema: %w", err)
	}
	if exists { // asked first: a role that may only use the schema has no right to create one
		return nil
	}
	if _, err := conn.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
		return fmt.Errorf("create the schema: %w", err)
	}
	return nil
}
