// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/schema"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	maxConns    = 16
	maxIdle     = 4
	maxIdleTime = 5 * time.Minute
)

// connect opens the connection pools by the scheme of the DSN.
func (s *Store) connect(ctx context.Context) error {
	u, err := url.Parse(s.cfg.DSN)
	if err != nil { // the error holds the DSN, and with it perhaps a password
		return sqlfault.Unusable("The database setting is not a URL; it is sqlite:///absolute/path or postgres://user:password@host/database.")
	}
	switch u.Scheme {
	case "sqlite":
		return s.connectSQLite(ctx, u)
	case "postgres", "postgresql":
		return s.connectPostgres(ctx)
	default:
		return sqlfault.Unusable("The database setting has the scheme %q; it is sqlite:///absolute/path or postgres://user:password@host/database.", u.Scheme)
	}
}

func (s *Store) connectPostgres(ctx context.Context) error {
	cfg, err := pgx.ParseConfig(s.cfg.DSN)
	if err != nil { // the error may hold the password
		return sqlfault.Unusable("The database setting is not a PostgreSQL URL that can be read; check its host, port, database and options.")
	}
	cfg.RuntimeParams["search_path"] = schema.Name
	cfg.RuntimeParams["lock_timeout"] = strconv.FormatInt(sqlfault.LockTimeout.Milliseconds(), 10)
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "penstock-controlplane"
	}
	if v := cfg.RuntimeParams["synchronous_commit"]; v == "" || v == "off" {
		cfg.RuntimeParams["synchronous_commit"] = "on" // D-2: an enforced revision must not be taken back
	}
	s.pg = cfg
	s.reads = stdlib.OpenDB(*cfg)
	s.reads.SetMaxOpenConns(maxConns)
	s.reads.SetMaxIdleConns(maxIdle)
	s.reads.SetConnMaxIdleTime(maxIdleTime)
	s.writes = s.reads
	if err := s.reads.PingContext(ctx); err != nil {
		f := fault.Newf(fault.Unavailable, record.ReasonStoreUnavailable,
			"PostgreSQL at %s:%d does not let the control plane in; check that it runs and that user, password and database of the setting are right.", cfg.Host, cfg.Port)
		return errors.Join(f.Because(err), s.closeDBs())
	}
	return nil
}

func (s *Store) connectSQLite(ctx context.Context, u *url.URL) error {
	if u.Host != "" || u.Opaque != "" || u.Path == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return sqlfault.Unusable("The database setting is not of the form sqlite:///absolute/path, without anything after the path.")
	}
	if err := checkFile(u.Path); err != nil {
		return err
	}
	open := func(extra string) (*sql.DB, error) {
		file := url.URL{Scheme: "file", Path: u.Path}
		return sql.Open("sqlite", file.String()+"?_pragma=busy_timeout("+strconv.FormatInt(sqlfault.LockTimeout.Milliseconds(), 10)+
			")&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)"+extra)
	}
	var err error
	if s.writes, err = open("&_txlock=immediate"); err != nil {
		return sqlfault.Unusable("The database %s cannot be opened.", u.Path).Because(err)
	}
	s.writes.SetMaxOpenConns(1)
	s.turn = make(chan struct{}, 1)
	s.turn <- struct{}{}
	if s.reads, err = open("&_pragma=query_only(1)"); err != nil {
		return errors.Join(sqlfault.Unusable("The database %s cannot be opened.", u.Path).Because(err), s.closeDBs())
	}
	s.reads.SetMaxOpenConns(maxConns)
	s.reads.SetMaxIdleConns(maxIdle)
	if err := s.checkSQLite(ctx, u.Path); err != nil {
		return errors.Join(err, s.closeDBs())
	}
	return nil
}

// sqliteMagic is how a database file begins (SQLite file format, section 1.3).
const sqliteMagic = "SQLite format 3\x00"

// checkFile makes sure that a file can be read and written and is a database, or makes an empty one that only its owner
// can read.
func checkFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sqlfault.Unusable("The directory of the database %s does not exist; make it or give another path.", path).Because(err)
	case err != nil:
		return sqlfault.Unusable("The database %s cannot be opened for writing: check its permissions, and that it is a file on a disk that can be written.", path).Because(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(f, head)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil // a new database
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return sqlfault.Unusable("The database %s cannot be read.", path).Because(err)
	case string(head[:n]) != sqliteMagic:
		return sqlfault.Unusable("The file %s is not an SQLite database; give another path.", path)
	}
	return nil
}

// checkSQLite looks for damage, and for a disk that takes no writes, before anything relies on the file.
func (s *Store) checkSQLite(ctx context.Context, path string) error {
	var verdict string
	err := s.writes.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	if err == nil && verdict != "ok" {
		err = fmt.Errorf("quick_check: %s", verdict)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fault.KindOf(sqlfault.Classify("check database", err)) == fault.Exhausted:
		return sqlfault.Unusable("The database %s is in use by another process that does not let go of it.", path).Because(err)
	case err != nil:
		return sqlfault.Unusable("The database %s is damaged; restore it from a backup, or give another path.", path).Because(err)
	}
	tx, err := s.writes.BeginTx(ctx, nil)
	if err == nil {
		// Writing the number it has changes nothing and needs everything that writing needs.
		_, err = tx.ExecContext(ctx, "PRAGMA user_version = 0")
		err = errors.Join(err, tx.Rollback())
	}
	if err != nil {
		return sqlfault.Unusable("The database %s cannot be written: check its permissions, the disk, and that no other process holds it.", path).Because(err)
	}
	return nil
}
