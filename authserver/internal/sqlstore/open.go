// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore/oauthrows"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonURL is the reason of a database URL that cannot be understood (Invalid).
const ReasonURL = "STORE_URL_INVALID"

const (
	// schema is the PostgreSQL schema that holds everything.
	schema = "authserver"

	connectTimeout = 5 * time.Second
	maxConns       = 10
	idleConnTime   = 5 * time.Minute
)

// Store is a [store.Store] on a database. It is safe for concurrent use.
type Store struct {
	rows
	db        *sql.DB
	forUpdate string
}

// rows is embedded by a name of our own, so that it is no field of the public type.
type rows = oauthrows.Reader

// dialect is what the two databases do not have in common.
type dialect struct {
	name string // as goose calls it
	// prepare makes the database ready for migrations; release is called when they are done.
	prepare func(context.Context, *sql.DB) (release func() error, err error)
	// forUpdate ends a SELECT that locks the row it reads; SQLite's transactions are alone.
	forUpdate string
}

// Open connects to the database that rawURL names and brings its schema up to date: sqlite:///absolute/path (made with
// mode 0600 if missing) or postgres://user:password@host/database?….
//
// The faults are Invalid STORE_URL_INVALID, Unavailable STORE_UNAVAILABLE, and Precondition STORE_NOT_USABLE for a database
// that is damaged, belongs to somebody else, or was written by a newer release. No text of them holds the URL, whose
// password is a secret.
func Open(ctx context.Context, rawURL string) (*Store, error) {
	scheme, _, _ := strings.Cut(rawURL, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, rawURL)
	case "postgres", "postgresql":
		return openPostgres(ctx, rawURL)
	default:
		return nil, fault.New(fault.Invalid, ReasonURL,
			"The database URL starts with neither sqlite:/// nor postgres://.").At("database", "has an unknown scheme")
	}
}

func openSQLite(ctx context.Context, rawURL string) (*Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host != "" || !filepath.IsAbs(u.Path) || u.RawQuery != "" {
		return nil, fault.New(fault.Invalid, ReasonURL, "The database URL is not sqlite:/// with an absolute path.").
			At("database", "is not sqlite:///absolute/path")
	}
	// SQLite would make the file with the umask's mode, and gives its side files the mode of the file.
	f, err := os.OpenFile(u.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, sqlfault.Unusable("The database file "+u.Path+" cannot be opened for writing: check that its folder exists, its permissions and the disk.", err)
	}
	if err := f.Close(); err != nil {
		return nil, sqlfault.Unusable("The database file "+u.Path+" cannot be written.", err)
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "synchronous(FULL)", "secure_delete(1)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: u.Path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open sqlite: %w", err)
	}
	// One connection: SQLite has one writer anyway, and a waiting Go call is cheaper than a busy loop in the driver.
	db.SetMaxOpenConns(1)
	opened, err := start(ctx, db, dialect{name: "sqlite3", prepare: prepareSQLite})
	if f := fault.From(err); err != nil && f.Reason == store.ReasonForeign {
		return nil, sqlfault.Unusable(u.Path+": "+f.Public, err)
	}
	return opened, err
}

func openPostgres(ctx context.Context, rawURL string) (*Store, error) {
	c, err := pgx.ParseConfig(rawURL)
	if err != nil {
		// The parser's error may quote the URL with its password.
		return nil, fault.New(fault.Invalid, ReasonURL, "The database URL is not a valid postgres:// URL.").
			At("database", "is not a valid postgres:// URL")
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"search_path":      schema,
		"application_name": "penstock-authserver",
		"lock_timeout":     "5s",
		// Every statement sees what was committed before it, so that whoever waited for a row sees what became of it.
		"default_transaction_isolation": "read committed",
		// A connection that a network swallowed must not hold locks for ever.
		"idle_in_transaction_session_timeout": "30s",
	} {
		c.RuntimeParams[name] = value
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(idleConnTime)
	return start(ctx, db, dialect{name: "postgres", prepare: preparePostgres, forUpdate: " FOR UPDATE"})
}

// start prepares and migrates the database and closes it again when that fails.
func start(ctx context.Context, db *sql.DB, d dialect) (*Store, error) {
	release, err := d.prepare(ctx, db)
	if err == nil {
		err = errors.Join(migrate(ctx, db, d.name), release())
	}
	if err != nil {
		return nil, errors.Join(sqlfault.Rewrite("open the database", err), db.Close())
	}
	s := &Store{db: db, forUpdate: d.forUpdate}
	s.rows = oauthrows.NewReader(s.conn)
	return s, nil
}

// Check implements [store.Store].
func (s *Store) Check(ctx context.Context) error {
	var one int
	err := s.db.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
	return sqlfault.Rewrite("reach the database", err)
}

// Close implements [store.Store].
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}
