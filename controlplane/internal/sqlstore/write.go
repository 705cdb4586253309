// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	attempts = 6
	// advisoryLock is the key under which revisions are given out (D-1): "penstock" in ASCII.
	advisoryLock = 0x70656e73746f636b
	channel      = "penstock_controlplane"
)

// Write implements catalog.Store. On PostgreSQL fn runs again, up to six times in all, when another transaction changed
// what it relied on; after that the fault is Conflict.
func (s *Store) Write(ctx context.Context, actor string, fn func(catalog.Tx) error) (catalog.Revision, bool, error) {
	if s.pg == nil {
		return s.writeSQLite(ctx, actor, fn)
	}
	var err error
	for attempt := range attempts {
		if attempt > 0 {
			if err := wait(ctx, mathrand.N(10*time.Millisecond<<attempt)); err != nil { //nolint:gosec // jitter
				return 0, false, err
			}
		}
		var rev catalog.Revision
		var changed bool
		if rev, changed, err = s.writePostgres(ctx, actor, fn); err == nil || !errors.Is(err, sqlfault.ErrLost) {
			return rev, changed, err
		}
	}
	return 0, false, fault.New(fault.Conflict, record.ReasonWriteConflict,
		"Others kept changing what this change relies on; read it again and try again.").Because(err)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) writePostgres(ctx context.Context, actor string, fn func(catalog.Tx) error) (rev catalog.Revision, changed bool, err error) {
	seen := &trace{rows: make(map[catalog.Key]int64)}
	var plan stage.Plan
	var head catalog.Head
	err = s.view(ctx, func(tx *sql.Tx, h catalog.Head) (err error) {
		rev, head = h.Revision, h
		plan, err = run(ctx, &base{q: tx, trace: seen}, h, s.cfg.Now(), fn)
		return err
	})
	if err == nil {
		err = s.guard(ctx, head) // when no connection is held: it may read the head again
	}
	if err != nil || len(plan.Writes) == 0 {
		return rev, false, err
	}
	tx, err := s.writes.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return 0, false, sqlfault.Classify("begin writing", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := lock(ctx, tx, plan, seen); err != nil {
		return 0, false, err
	}
	id, err := s.store(ctx, tx, plan)
	if err != nil {
		return 0, false, err
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(advisoryLock)); err != nil {
		return 0, false, sqlfault.Classify("take the log's lock", err)
	}
	if err := wholeUnchanged(ctx, tx, plan, seen, id); err != nil {
		return 0, false, err
	}
	if rev, err = s.appendChange(ctx, tx, id, actor, plan); err != nil {
		return 0, false, err
	}
	if err := roll(ctx, tx, plan, rev); err != nil {
		return 0, false, err
	}
	return rev, true, s.commit(tx)
}

func (s *Store) writeSQLite(ctx context.Context, actor string, fn func(catalog.Tx) error) (catalog.Revision, bool, error) {
	timer := time.NewTimer(sqlfault.LockTimeout)
	defer timer.Stop()
	select {
	case <-s.turn:
	case <-timer.C:
		return 0, false, sqlfault.Busy()
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	tx, err := s.writes.BeginTx(ctx, nil) // BEGIN IMMEDIATE, by the connection's settings
	if err != nil {
		return 0, false, sqlfault.Classify("begin writing", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if s.cfg.Guard != nil {
		h, err := readHead(ctx, tx)
		if err == nil {
			err = s.guard(ctx, h)
		}
		if err != nil {
			return 0, false, err
		}
	}
	h, err := readHead(ctx, tx)
	if err != nil {
		return 0, false, err
	}
	plan, err := run(ctx, &base{q: tx}, h, s.cfg.Now(), fn)
	if err != nil || len(plan.Writes) == 0 {
		return h.Revision, false, err
	}
	id, err := s.store(ctx, tx, plan)
	if err != nil {
		return 0, false, err
	}
	rev, err := s.appendChange(ctx, tx, id, actor, plan)
	if err != nil {
		return 0, false, err
	}
	if err := roll(ctx, tx, plan, rev); err != nil {
		return 0, false, err
	}
	return rev, true, s.commit(tx)
}

// guard asks whether a write may follow a head.
func (s *Store) guard(ctx context.Context, h catalog.Head) error {
	if s.cfg.Guard == nil {
		return nil
	}
	return s.cfg.Guard(ctx, h)
}

func run(ctx context.Context, b *base, h catalog.Head, now time.Time, fn func(catalog.Tx) error) (stage.Plan, error) {
	st := stage.New(b, now).At(h)
	if err := fn(st); err != nil {
		return stage.Plan{}, err
	}
	return st.Plan(ctx)
}

func (s *Store) commit(tx *sql.Tx) error {
	if err := tx.Commit(); err != nil {
		err = sqlfault.Classify("commit", err)
		if fault.KindOf(err) == fault.Unavailable { // its answer may be what was lost
			return fault.New(fault.Unavailable, record.ReasonStoreUnavailable,
				"The database was lost in the moment of the commit: the change was made or was not; read it again.").Because(err)
		}
		return err
	}
	s.signal.Notify()
	return nil
}

// store writes blobs and rows and returns the id of the change they belong to.
func (s *Store) store(ctx context.Context, tx *sql.Tx, plan stage.Plan) (id int64, err error) {
	id = newChangeID(plan.Time)
	if err := putBlobs(ctx, tx, plan.Blobs); err != nil {
		return 0, err
	}
	var added, replaced []*catalog.Record
	for _, w := range plan.Writes {
		if w.Previous == nil {
			added = append(added, w.Record)
		} else {
			replaced = append(replaced, w.Record)
		}
	}
	// What was deleted goes first: a second key it leaves may be taken again in the same change.
	if err := s.upsert(ctx, tx, id, replaced, "DO UPDATE SET uid = excluded.uid, version = excluded.version, body = excluded.body, "+
		"blobs = excluded.blobs, lookup = excluded.lookup, created_at = excluded.created_at, updated_at = excluded.updated_at, "+
		"deleted_at = excluded.deleted_at, change_id = excluded.change_id"); err != nil {
		return 0, err
	}
	return id, s.upsert(ctx, tx, id, added, "DO NOTHING")
}

// putBlobs stores blobs that may be there already; being stored again, they are orphans no more.
func putBlobs(ctx context.Context, tx *sql.Tx, blobs map[catalog.Hash][]byte) (err error) {
	if len(blobs) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO blob (hash, body, orphan_at) VALUES ($1, $2, 0) ON CONFLICT (hash) DO UPDATE SET orphan_at = 0")
	if err != nil {
		return sqlfault.Classify("prepare to store blobs", err)
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	for _, hash := range slices.SortedFunc(maps.Keys(blobs), func(a, b catalog.Hash) int { return bytes.Compare(a[:], b[:]) }) {
		if _, err := stmt.ExecContext(ctx, hash[:], blobs[hash]); err != nil {
			return sqlfault.Classify("store blob", err)
		}
	}
	return nil
}

// newChangeID returns milliseconds since 1970 and 20 random bits: unique but for an accident, which ends as a lost race,
// and close to its neighbours in an index.
func newChangeID(now time.Time) int64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return now.UnixMilli()<<20 | int64(binary.BigEndian.Uint32(b[:])>>12)
}

const (
	columns = 11
	// Rows that one statement inserts: round trips cost on PostgreSQL, long statements on SQLite.
	rowsAtOncePostgres = 256
	rowsAtOnceSQLite   = 1
)

// upsert writes rows, as many at once as the database likes and the rest one by one, so that there are two prepared
// statements and not one per length.
func (s *Store) upsert(ctx context.Context, tx *sql.Tx, id int64, recs []*catalog.Record, onConflict string) error {
	many := rowsAtOncePostgres
	if s.pg == nil {
		many = rowsAtOnceSQLite
	}
	whole := len(recs) - len(recs)%many
	if err := s.insert(ctx, tx, id, recs[:whole], many, onConflict); err != nil {
		return err
	}
	return s.insert(ctx, tx, id, recs[whole:], 1, onConflict)
}

// statement returns what runs a query again and again: on SQLite a prepared statement; on PostgreSQL the transaction, whose
// connection keeps its statements prepared, so that preparing costs no round trips.
func (s *Store) statement(ctx context.Context, tx *sql.Tx, query string) (exec func(...any) (sql.Result, error), closeFn func() error, err error) {
	if s.pg != nil {
		return func(args ...any) (sql.Result, error) { return tx.ExecContext(ctx, query, args...) }, func() error { return nil }, nil
	}
	stmt, err := tx.PrepareContext(ctx, query) //nolint:sqlclosecheck // the caller closes it
	if err != nil {
		return nil, nil, err
	}
	return func(args ...any) (sql.Result, error) { return stmt.ExecContext(ctx, args...) }, stmt.Close, nil
}

// insert writes rows n at a time; their number is a multiple of n.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, id int64, recs []*catalog.Record, n int, onConflict string) (err error) {
	if len(recs) == 0 {
		return nil
	}
	exec, closeFn, err := s.statement(ctx, tx, insertRows(n)+onConflict)
	if err != nil {
		return sqlfault.Classify("prepare to store records", err)
	}
	defer func() { err = errors.Join(err, closeFn()) }()
	for ; len(recs) > 0; recs = recs[n:] {
		args := make([]any, 0, n*columns)
		for _, r := range recs[:n] {
			args = append(args, r.Kind, r.Name, r.UID, r.Version[:], r.Body, joinHashes(r.Blobs), r.Lookup,
				fromTime(r.CreateTime), fromTime(r.UpdateTime), fromTime(r.DeleteTime), id)
		}
		res, err := exec(args...)
		if err != nil {
			return sqlfault.Classify("store records", err)
		}
		done, err := res.RowsAffected()
		if err != nil {
			return sqlfault.Classify("store records", err)
		}
		if done != int64(n) { // somebody else made a record of that name
			return fmt.Errorf("store records: %w: %d of %d rows", sqlfault.ErrLost, done, n)
		}
	}
	return nil
}

func insertRows(n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO resource (kind, name, uid, version, body, blobs, lookup, created_at, updated_at, deleted_at, change_id) VALUES ")
	for i := range n * columns {
		switch {
		case i%columns != 0:
			b.WriteString(", ")
		case i == 0:
			b.WriteString("(")
		default:
			b.WriteString("), (")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteString(") ON CONFLICT (kind, name) ")
	return b.String()
}
