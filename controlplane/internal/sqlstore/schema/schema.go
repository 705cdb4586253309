// SPDX-License-Identifier: Apache-2.0

// Package schema is the tables of the control plane, the migrations that make them, and the checks that tell a whole
// database from a foreign, newer, incomplete or half-written one.
//
// It owns names and columns. It is called by sqlstore when a database is opened. It must never change what is in the
// tables, but for the first row of the head.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Name is the schema in a PostgreSQL database; the authserver has its own.
const Name = "controlplane"

// versionTable is goose's record of the schema version.
const versionTable = "goose_db_version"

// migrateLock is the key under which one of several starting control planes migrates: "penstock" in ASCII, plus one.
const migrateLock = 0x70656e73746f636c

// tables are the tables of the newest schema with all their columns.
func tables() map[string]string {
	return map[string]string{
		"head":     "id, epoch, revision, floor",
		"change":   "id, revision, actor, at, atomic, detail",
		"resource": "kind, name, uid, version, body, blobs, lookup, created_at, updated_at, deleted_at, change_id",
		"blob":     "hash, body, orphan_at",
		"note":     "kind, name, body, at",

		"rollout": "id, version, body",

		"revocation":      "kind, key_sha256, issued_before, expires_at, seq",
		"revocation_head": "id, seq",
		"join_token":      "token_sha256, spiffe_id, actor, created_at, expires_at, used_at",
		"workload":        "spiffe_id, key_sha256, enrolled_at, banned_at, ban_actor, ban_reason",

		"audit_event": "seq, at, source, principal, principal_key, gateway, tool, outcome, policy, body",
		"audit_head":  "id, seq",
		"audit_queue": "node, queue, stored, at",

		"replica": "id, address, streams, seen_at",

		"approval": "id, state, live_key, call, arguments, arguments_sha256, created_at, expires_at, decided_by, decided_at, reason, " +
			"run_node, run_at, ended_at, key_id",
		"approval_event":  "id, approval, kind, at, actor, how, send_at, attempts",
		"approval_answer": "id, body_sha256, status, answer, at",
	}
}

// Copied returns the tables that belong to a copy of the database, by name: all but the control planes that run, which are
// others on the copy.
func Copied() []string {
	names := slices.Sorted(maps.Keys(tables()))
	return slices.DeleteFunc(names, func(name string) bool { return name == "replica" })
}

// Seeded reports whether a table of a new database has a row already.
func Seeded(table string) bool {
	return table == "head" || table == "revocation_head" || table == "audit_head"
}

// builder works on one database.
type builder struct {
	writes, reads *sql.DB
	sqlite        bool
}

// Prepare makes the schema of a new database or updates that of an older one, and checks that the database is the
// control plane's and whole. What it reads and writes with may be one pool.
func Prepare(ctx context.Context, writes, reads *sql.DB, sqlite bool) error {
	b := &builder{writes: writes, reads: reads, sqlite: sqlite}
	return b.prepare(ctx)
}

func (b *builder) prepare(ctx context.Context) error {
	if b.sqlite {
		return b.migrate(ctx)
	}
	conn, err := b.writes.Conn(ctx)
	if err != nil {
		return sqlfault.Classify("prepare database", err)
	}
	defer func() { _ = conn.Close() }()                                                                                                       // and with its session the lock
	if _, err := conn.ExecContext(ctx, "SET lock_timeout = 0; SELECT pg_advisory_lock("+strconv.FormatInt(migrateLock, 10)+")"); err != nil { //nolint:gosec // a number
		return sqlfault.Classify("prepare database", err)
	}
	defer func() {
		// If it fails the connection is lost, and the lock with it.
		_, _ = conn.ExecContext(ctx, "SELECT pg_advisory_unlock("+strconv.FormatInt(migrateLock, 10)+"); SET lock_timeout = "+ //nolint:gosec // numbers
			strconv.FormatInt(sqlfault.LockTimeout.Milliseconds(), 10))
	}()
	if _, err := conn.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+Name); err != nil {
		return sqlfault.Unusable("The schema %q cannot be made in the PostgreSQL database; give the user the right to create it, or create it for the user.", Name).Because(err)
	}
	return b.migrate(ctx)
}

func (b *builder) migrate(ctx context.Context) error {
	dialect := goose.DialectPostgres
	if b.sqlite {
		dialect = goose.DialectSQLite3
	}
	steps, err := b.steps()
	if err != nil {
		return err
	}
	if err := b.recognise(ctx, int64(len(steps))); err != nil {
		return err
	}
	if b.sqlite {
		// Not before the file is known to be ours: the mode is kept in its header.
		if _, err := b.writes.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
			return sqlfault.Classify("turn on the write-ahead log", err)
		}
	}
	provider, err := goose.NewProvider(dialect, b.writes, nil, goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("load migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return sqlfault.Classify("migrate database", err)
	}
	return b.verify(ctx)
}

// steps makes a migration of each file, numbered from 1 by their order. They run in a transaction each, so a database is
// never left between two versions.
func (b *builder) steps() ([]*goose.Migration, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	out := make([]*goose.Migration, 0, len(files))
	for i, name := range files {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		query := string(text)
		if b.sqlite {
			query = strings.ReplaceAll(query, ` COLLATE "C"`, "")
		}
		up := func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
			if i > 0 {
				return nil
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO head (id, epoch, revision, floor) VALUES (1, $1, 0, 0)", uuid.NewString())
			return err
		}
		out = append(out, goose.NewGoMigration(int64(i+1), &goose.GoFunc{RunTx: up}, nil))
	}
	return out, nil
}

// recognise refuses a database that is not the control plane's, or one that a newer version wrote.
func (b *builder) recognise(ctx context.Context, known int64) error {
	found, err := b.tableNames(ctx)
	if err != nil || len(found) == 0 {
		return err
	}
	var version int64
	if slices.Contains(found, versionTable) {
		err := b.writes.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable).Scan(&version)
		if err != nil {
			return sqlfault.Classify("read schema version", err)
		}
		found = slices.DeleteFunc(found, func(t string) bool { return t == versionTable })
	}
	var missing []string
	for name := range tables() {
		if !slices.Contains(found, name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	switch {
	case version == 0 && len(found) == 0:
		return nil // an interrupted first start
	case version == 0 || len(missing) == len(tables()):
		return sqlfault.Unusable("The database is not a Penstock control plane's: it has the tables %s. Give another one.", strings.Join(found, ", "))
	case version > known:
		return sqlfault.Unusable("The database has schema version %d, written by a newer Penstock; this one knows %d. Start the newer version, or restore a backup.", version, known)
	case version == known && len(missing) > 0:
		return sqlfault.Unusable("The database is incomplete: it lacks the tables %s. Restore a backup.", strings.Join(missing, ", "))
	}
	return nil
}

func (b *builder) tableNames(ctx context.Context) ([]string, error) {
	query := "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = '" + Name + "' ORDER BY tablename"
	if b.sqlite {
		query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name"
	}
	rows, err := b.writes.QueryContext(ctx, query)
	if err != nil {
		return nil, sqlfault.Classify("list tables", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, sqlfault.Classify("list tables", err)
		}
		out = append(out, name)
	}
	return out, sqlfault.Classify("list tables", rows.Err())
}

// verify checks that the tables have their columns and that head, log and resources belong together.
func (b *builder) verify(ctx context.Context) error {
	for name, columns := range tables() {
		_, err := b.reads.ExecContext(ctx, "SELECT "+columns+" FROM "+name+" WHERE 1 = 0") //nolint:gosec // constants of this file
		if err != nil {
			return sqlfault.Unusable("The database is incomplete: its table %s cannot be read. Restore a backup.", name).Because(err)
		}
	}
	var heads, ends, orphans int64
	var head, newest catalog.Revision
	err := b.reads.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM head), (SELECT count(*) FROM revocation_head), coalesce((SELECT max(revision) FROM head), 0), "+
		"coalesce((SELECT max(revision) FROM change), 0), "+
		"(SELECT count(*) FROM resource r LEFT JOIN change c ON c.id = r.change_id WHERE c.id IS NULL)").
		Scan(&heads, &ends, &head, &newest, &orphans)
	switch {
	case err != nil:
		return sqlfault.Classify("verify database", err)
	case heads != 1:
		return sqlfault.Unusable("The database is incomplete: it has no head. Restore a backup.")
	case ends != 1:
		return sqlfault.Unusable("The database is incomplete: it has no end of the revocations. Restore a backup.")
	case newest != head:
		return sqlfault.Unusable("The database is half-written: its head is revision %d and its log ends at %d. Restore a backup.", head, newest)
	case orphans > 0:
		return sqlfault.Unusable("The database is half-written: %d resources belong to no change. Restore a backup.", orphans)
	}
	return nil
}
