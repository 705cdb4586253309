// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// put writes one record.
func put(t *testing.T, s catalog.Store, name, body string) catalog.Revision {
	t.Helper()
	rev, _, err := s.Write(t.Context(), "system", func(tx catalog.Tx) error {
		return tx.Put(t.Context(), &catalog.Record{Key: catalog.Key{Kind: "server", Name: name}, Body: []byte(body)})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// What was committed is there after a restart, with the same lineage.
func TestReopen(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			dsn := dsn(t)
			var before catalog.Head
			for i := range 3 {
				s, err := sqlstore.Open(t.Context(), dsn)
				if err != nil {
					t.Fatal(err)
				}
				head, err := s.Head(t.Context())
				if err != nil || i > 0 && head != before {
					t.Errorf("opened at %+v, %v; was %+v", head, err, before)
				}
				put(t, s, "a", strings.Repeat("x", i+1))
				if before, err = s.Head(t.Context()); err != nil || before.Revision != catalog.Revision(i+1) {
					t.Errorf("%+v, %v", before, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// The database file holds hashes of tokens and addresses of people: only its owner reads it.
func TestSQLiteMode(t *testing.T) {
	dsn := sqliteDSN(t)
	s := open(t, sqlstore.Config{DSN: dsn})
	put(t, s, "a", "x")
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(strings.TrimPrefix(dsn, "sqlite://") + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v", suffix, info, err)
		}
	}
}

// A file of another program is refused as it is: not even its journal mode is changed.
func TestForeignFileUntouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "songs.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE song (title text)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), "sqlite://"+path)
	if err == nil {
		t.Fatal("opened", s.Close())
	}
	if !strings.Contains(err.Error(), path) {
		t.Errorf("no name of the file in: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
}

// What a setting or a file is that cannot be used, in one sentence that says what to do.
func TestUnusableSQLite(t *testing.T) {
	write := func(t *testing.T, content []byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return "sqlite://" + path
	}
	// spoilt makes a database, closes it and changes its file or its tables.
	spoilt := func(t *testing.T, spoil func(path string, db *sql.DB)) string {
		t.Helper()
		dsn := sqliteDSN(t)
		s, err := sqlstore.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			put(t, s, strings.Repeat("n", i+1), strings.Repeat("body", 100))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(dsn, "sqlite://")
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		spoil(path, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return dsn
	}
	exec := func(query string) func(string, *sql.DB) {
		return func(_ string, db *sql.DB) {
			if _, err := db.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
	}
	patch := func(at int64, b []byte) func(string, *sql.DB) {
		return func(path string, _ *sql.DB) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if at < 0 {
				info, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				at += info.Size()
			}
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name, text string
		dsn        func(*testing.T) string
	}{
		{"no scheme", "scheme \"\"", func(*testing.T) string { return "/tmp/x.db" }},
		{"other scheme", "scheme \"mysql\"", func(*testing.T) string { return "mysql://u:hunter2@h/d" }},
		{"no URL", "not a URL", func(*testing.T) string { return "sqlite://%zz" }},
		{"relative path", "sqlite:///absolute/path", func(*testing.T) string { return "sqlite:x.db" }},
		{"host", "sqlite:///absolute/path", func(*testing.T) string { return "sqlite://host/x.db" }},
		{"options", "without anything after the path", func(*testing.T) string { return "sqlite:///tmp/x.db?mode=ro" }},
		{"no directory", "directory of the database", func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "no", "x.db") }},
		{"a directory", "cannot be opened for writing", func(t *testing.T) string { return "sqlite://" + t.TempDir() }},
		{"a path that takes no files", "cannot be opened for writing", func(*testing.T) string { return "sqlite:///dev/null/x.db" }},
		{"another file", "not an SQLite database", func(t *testing.T) string { return write(t, []byte("hello, this is a text file\n")) }},
		{"a short file", "not an SQLite database", func(t *testing.T) string { return write(t, []byte("SQLite")) }},
		{"half a file", "is damaged", func(t *testing.T) string {
			return spoilt(t, func(path string, _ *sql.DB) {
				if err := os.Truncate(path, 20_000); err != nil {
					t.Fatal(err)
				}
			})
		}},
		{"overwritten pages", "is damaged", func(t *testing.T) string { return spoilt(t, patch(-8192, []byte(strings.Repeat("garbage!", 1024)))) }},
		{"a file format that only reads", "cannot be written", func(t *testing.T) string { return spoilt(t, patch(18, []byte{3})) }},
		{"another program's database", "it has the tables users", func(t *testing.T) string {
			dsn := write(t, nil)
			db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite://"))
			if err != nil {
				t.Fatal(err)
			}
			exec("CREATE TABLE users (id INTEGER)")("", db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			return dsn
		}},
		{"another program's database with migrations", "it has the tables sessions", func(t *testing.T) string {
			return spoilt(t, exec("ALTER TABLE head RENAME TO sessions; DROP TABLE change; DROP TABLE resource; DROP TABLE blob; DROP TABLE note; "+
				"DROP TABLE revocation; DROP TABLE revocation_head; DROP TABLE replica; DROP TABLE rollout; DROP TABLE join_token; DROP TABLE workload; "+
				"DROP TABLE approval; DROP TABLE approval_event; DROP TABLE approval_answer; "+
				"DROP TABLE audit_event; DROP TABLE audit_head; DROP TABLE audit_queue"))
		}},
		{"a newer version", "schema version 99", func(t *testing.T) string {
			return spoilt(t, exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"))
		}},
		{"a missing table", "lacks the tables change", func(t *testing.T) string { return spoilt(t, exec("DROP TABLE change")) }},
		{"a missing column", "table note cannot be read", func(t *testing.T) string { return spoilt(t, exec("ALTER TABLE note DROP COLUMN at")) }},
		{"no head", "has no head", func(t *testing.T) string { return spoilt(t, exec("DELETE FROM head")) }},
		{"no end of the revocations", "has no end of the revocations", func(t *testing.T) string {
			return spoilt(t, exec("DELETE FROM revocation_head"))
		}},
		{"head ahead of the log", "half-written", func(t *testing.T) string { return spoilt(t, exec("UPDATE head SET revision = 300")) }},
		{"log ahead of the head", "half-written", func(t *testing.T) string { return spoilt(t, exec("UPDATE head SET revision = 100")) }},
		{"resources of no change", "belong to no change", func(t *testing.T) string {
			return spoilt(t, exec("UPDATE resource SET change_id = 7 WHERE name = 'n'"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := sqlstore.Open(t.Context(), tc.dsn(t))
			if err == nil {
				t.Error(s.Close())
			}
			f := fault.From(err)
			if f == nil || f.Kind != fault.Precondition || f.Reason != record.ReasonStoreUnusable || !strings.Contains(f.Public, tc.text) {
				t.Errorf("%v; want %q", err, tc.text)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error has a password")
			}
		})
	}
}

// An interrupted first start is not in the way of the next.
func TestInterruptedFirstStart(t *testing.T) {
	dsn := sqliteDSN(t)
	db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, "+
		"is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now'))); INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, sqlstore.Config{DSN: dsn}), "a", "x")
}

// Damage that shows only later is an error of that call and not of the process.
func TestSQLiteDamagedLater(t *testing.T) {
	dsn := sqliteDSN(t)
	s := open(t, sqlstore.Config{DSN: dsn})
	for i := range 300 {
		put(t, s, strings.Repeat("n", i+1), strings.Repeat("body", 100))
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(strings.TrimPrefix(dsn, "sqlite://"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 4096)
	binary.BigEndian.PutUint32(page, 0xdeadbeef)
	for at := int64(4096); at < 40*4096; at += 4096 {
		if _, err := f.WriteAt(page, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Snapshot(t.Context(), func(*catalog.Record) error { return nil })
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("reading a damaged file: %v", err)
	}
}

func TestUnusablePostgres(t *testing.T) {
	exec := func(t *testing.T, dsn, query string) {
		t.Helper()
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	spoilt := func(query string) func(*testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			dsn := pgtest.New(t)
			s, err := sqlstore.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, "a", "x")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			exec(t, dsn, query)
			return dsn
		}
	}
	for _, tc := range []struct {
		name, text string
		kind       fault.Kind
		dsn        func(*testing.T) string
	}{
		{"nobody there", "does not let the control plane in", fault.Unavailable, func(*testing.T) string { return "postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable" }},
		{"unknown database", "does not let the control plane in", fault.Unavailable, func(t *testing.T) string { return pgtest.New(t) + "&database=nothing" }},
		{"bad option", "can be read", fault.Precondition, func(*testing.T) string { return "postgres://u:hunter2@127.0.0.1:5432/d?sslmode=perhaps" }},
		{"another program's schema", "it has the tables users", fault.Precondition, func(t *testing.T) string {
			dsn := pgtest.New(t)
			exec(t, dsn, "CREATE SCHEMA controlplane; CREATE TABLE controlplane.users (id BIGINT)")
			return dsn
		}},
		{"no right to make a schema", "cannot be made", fault.Precondition, func(t *testing.T) string {
			dsn := pgtest.New(t)
			exec(t, dsn, "DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN")
			return strings.Replace(dsn, "postgres@", "weak@", 1)
		}},
		{"a newer version", "schema version 99", fault.Precondition, spoilt("INSERT INTO controlplane.goose_db_version (version_id, is_applied) VALUES (99, true)")},
		{"a missing table", "lacks the tables blob, change", fault.Precondition, spoilt("DROP TABLE controlplane.change; DROP TABLE controlplane.blob")},
		{"head ahead of the log", "half-written", fault.Precondition, spoilt("UPDATE controlplane.head SET revision = 9")},
		{"no head", "has no head", fault.Precondition, spoilt("DELETE FROM controlplane.head")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := sqlstore.Open(t.Context(), tc.dsn(t))
			if err == nil {
				t.Error(s.Close())
			}
			f := fault.From(err)
			if f == nil || f.Kind != tc.kind || !strings.Contains(f.Public, tc.text) || strings.Contains(f.Public, "hunter2") {
				t.Errorf("%v; want %q", err, tc.text)
			}
		})
	}
}

// The authserver's schema and other tables of a database are no concern of the control plane.
func TestPostgresNeighbours(t *testing.T) {
	dsn := pgtest.New(t)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA authserver; CREATE TABLE authserver.head (id BIGINT); CREATE TABLE public.resource (id BIGINT)"); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, sqlstore.Config{DSN: dsn}), "a", "x")
}
