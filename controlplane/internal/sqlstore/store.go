// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/schema"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Store is a catalog.Store on a database. Its methods may be called at the same time. [Store.Close] ends it.
type Store struct {
	cfg    Config
	pg     *pgx.ConnConfig // nil on SQLite
	reads  *sql.DB
	writes *sql.DB       // the same as reads on PostgreSQL; one connection on SQLite
	turn   chan struct{} // SQLite: holds a token while nobody writes
	signal stage.Signal  // commits of this process

	revoked stage.Signal // revocations of this process

	closing  context.Context //nolint:containedctx // ends what Watch started; there is no call whose context would do
	close    context.CancelFunc
	watchers sync.WaitGroup
}

// Config says which database to open and what to keep.
type Config struct {
	// DSN is sqlite:///absolute/path or postgres://user:password@host/database?….
	DSN string
	// KeepChanges is how long a change stays in the log at least; 0 means 24 h.
	KeepChanges time.Duration
	// KeepRevisions is how many changes stay in the log at least; 0 means 1,000,000.
	KeepRevisions uint64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Guard, if set, is asked before each write with the head that it would follow; its error is the write's.
	Guard func(context.Context, catalog.Head) error
	// Log takes what maintenance does; nil discards it.
	Log *slog.Logger
}

// Open opens the database that a DSN names with the defaults of [Config], makes its schema if it is new and brings an
// older one up to date. A database that cannot be used as it is gives fault.Precondition with reason STORE_UNUSABLE
// and a text that says what it is; one that cannot be reached gives fault.Unavailable.
func Open(ctx context.Context, dsn string) (*Store, error) {
	return OpenConfig(ctx, Config{DSN: dsn})
}

// OpenConfig is [Open] with settings.
func OpenConfig(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.KeepChanges == 0 {
		cfg.KeepChanges = 24 * time.Hour
	}
	if cfg.KeepRevisions == 0 {
		cfg.KeepRevisions = 1_000_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := schema.Prepare(ctx, s.writes, s.reads, s.pg == nil); err != nil {
		return nil, errors.Join(s.named(err), s.closeDBs())
	}
	s.closing, s.close = context.WithCancel(context.WithoutCancel(ctx)) // lives until Close, not until Open's caller is done
	return s, nil
}

// named adds the name of the file to what is wrong with it: a machine may have several.
func (s *Store) named(err error) error {
	path, isFile := strings.CutPrefix(s.cfg.DSN, "sqlite://")
	f := fault.From(err)
	if !isFile || f.Reason != record.ReasonStoreUnusable {
		return err
	}
	return sqlfault.Unusable("%s: %s", path, f.Public).Because(err)
}

// Close ends every Watch and closes the connections, waiting for both.
func (s *Store) Close() error {
	s.close()
	s.watchers.Wait()
	return s.closeDBs()
}

func (s *Store) closeDBs() error {
	var err error
	if s.writes != nil && s.writes != s.reads {
		err = s.writes.Close()
	}
	if s.reads != nil {
		err = errors.Join(err, s.reads.Close())
	}
	return err
}

// Head implements catalog.Store.
func (s *Store) Head(ctx context.Context) (catalog.Head, error) { return readHead(ctx, s.reads) }

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func readHead(ctx context.Context, q querier) (h catalog.Head, err error) {
	err = q.QueryRowContext(ctx, "SELECT epoch, revision FROM head WHERE id = 1").Scan(&h.Epoch, &h.Revision)
	return h, sqlfault.Classify("read head", err)
}

// Read implements catalog.Store.
func (s *Store) Read(ctx context.Context, fn func(catalog.Head, catalog.Reader) error) error {
	return s.view(ctx, func(tx *sql.Tx, h catalog.Head) error {
		return fn(h, stage.Reader{Base: &base{q: tx}})
	})
}

// DryRun implements catalog.Store. Writes stay in memory, so a reading transaction is enough.
func (s *Store) DryRun(ctx context.Context, fn func(catalog.Tx) error) error {
	return s.view(ctx, func(tx *sql.Tx, h catalog.Head) error {
		st := stage.New(&base{q: tx}, s.cfg.Now()).At(h)
		if err := fn(st); err != nil {
			return err
		}
		_, err := st.Plan(ctx)
		return err
	})
}

// view runs fn on one state of the database (D-8): REPEATABLE READ on PostgreSQL; on SQLite the read transaction
// begins with the head.
func (s *Store) view(ctx context.Context, fn func(*sql.Tx, catalog.Head) error) error {
	tx, err := s.reads.BeginTx(ctx, s.readOptions())
	if err != nil {
		return sqlfault.Classify("begin reading", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to lose
	h, err := readHead(ctx, tx)
	if err != nil {
		return err
	}
	return fn(tx, h)
}

func (s *Store) readOptions() *sql.TxOptions {
	if s.pg == nil {
		return nil // the connections of the reading pool cannot write
	}
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}
