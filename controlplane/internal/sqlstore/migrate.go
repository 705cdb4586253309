// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is goose's record of the schema version.
const versionTable = "goose_db_version"

// migrateLock is the key under which one of several starting control planes migrates: "penstock" plus one.
const migrateLock = advisoryLock + 1

// tables are the tables of the newest schema with all their columns.
func tables() map[string]string {
	return map[string]string{
		"head":     "id, epoch, revision, floor",
		"change":   "id, revision, actor, at, atomic, detail",
		"resource": "kind, name, uid, version, body, blobs, lookup, created_at, updated_at, deleted_at, change_id",
		"blob":     "hash, body, orphan_at",
		"note":     "kind, name, body, at",
	}
}

// prepare makes or updates the schema and checks that the database is whole.
func (s *Store) prepare(ctx context.Context) error {
	if s.pg == nil {
		return s.migrate(ctx)
	}
	conn, err := s.writes.Conn(ctx)
	if err != nil {
		return classify("prepare database", err)
	}
	defer func() { _ = conn.Close() }() // and with its session the lock
	if _, err := conn.ExecContext(ctx, "SET lock_timeout = 0; SELECT pg_advisory_lock("+strconv.FormatInt(migrateLock, 10)+")"); err != nil {
		return classify("prepare database", err)
	}
	defer func() {
		_, _ = conn.ExecContext(ctx, "SELECT pg_advisory_unlock("+strconv.FormatInt(migrateLock, 10)+"); SET lock_timeout = "+
			strconv.FormatInt(lockTimeout.Milliseconds(), 10))
	}()
	if _, err := conn.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema); err != nil {
		return unusable("The schema %q cannot be made in the PostgreSQL database; give the user the right to create it, or create it for the user.", schema).Because(err)
	}
	return s.migrate(ctx)
}

func (s *Store) migrate(ctx context.Context) error {
	dialect := goose.DialectPostgres
	if s.pg == nil {
		dialect = goose.DialectSQLite3
	}
	steps, err := s.steps()
	if err != nil {
		return err
	}
	if err := s.recognise(ctx, int64(len(steps))); err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, s.writes, nil, goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("load migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return classify("migrate database", err)
	}
	return s.verify(ctx)
}

// steps makes a migration of each file, numbered from 1 by their order. They run in a transaction each, so a database is
// never left between two versions.
func (s *Store) steps() ([]*goose.Migration, error) {
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
		if s.pg == nil {
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
func (s *Store) recognise(ctx context.Context, known int64) error {
	found, err := s.tableNames(ctx)
	if err != nil || len(found) == 0 {
		return err
	}
	var version int64
	if slices.Contains(found, versionTable) {
		err := s.writes.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable).Scan(&version)
		if err != nil {
			return classify("read schema version", err)
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
		return unusable("The database is not a Penstock control plane's: it has the tables %s. Give another one.", strings.Join(found, ", "))
	case version > known:
		return unusable("The database has schema version %d, written by a newer Penstock; this one knows %d. Start the newer version, or restore a backup.", version, known)
	case version == known && len(missing) > 0:
		return unusable("The database is incomplete: it lacks the tables %s. Restore a backup.", strings.Join(missing, ", "))
	}
	return nil
}

func (s *Store) tableNames(ctx context.Context) ([]string, error) {
	query := "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = '" + schema + "' ORDER BY tablename"
	if s.pg == nil {
		query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name"
	}
	rows, err := s.writes.QueryContext(ctx, query)
	if err != nil {
		return nil, classify("list tables", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, classify("list tables", err)
		}
		out = append(out, name)
	}
	return out, classify("list tables", rows.Err())
}

// verify checks that the tables have their columns and that head, log and resources belong together.
func (s *Store) verify(ctx context.Context) error {
	for name, columns := range tables() {
		rows, err := s.reads.QueryContext(ctx, "SELECT "+columns+" FROM "+name+" WHERE 1 = 0") //nolint:gosec // constants
		if err != nil {
			return unusable("The database is incomplete: its table %s cannot be read. Restore a backup.", name).Because(err)
		}
		if err := rows.Close(); err != nil {
			return classify("verify database", err)
		}
	}
	var heads, orphans int64
	var head, newest catalog.Revision
	err := s.reads.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM head), coalesce((SELECT max(revision) FROM head), 0), "+
		"coalesce((SELECT max(revision) FROM change), 0), "+
		"(SELECT count(*) FROM resource r LEFT JOIN change c ON c.id = r.change_id WHERE c.id IS NULL)").
		Scan(&heads, &head, &newest, &orphans)
	switch {
	case err != nil:
		return classify("verify database", err)
	case heads != 1:
		return unusable("The database is incomplete: it has no head. Restore a backup.")
	case newest != head:
		return unusable("The database is half-written: its head is revision %d and its log ends at %d. Restore a backup.", head, newest)
	case orphans > 0:
		return unusable("The database is half-written: %d resources belong to no change. Restore a backup.", orphans)
	}
	return nil
}
