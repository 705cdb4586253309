// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// base reads rows for a stage, or for a plain reader. For a transaction that will write on PostgreSQL it remembers what
// it read.
type base struct {
	q     querier
	trace *trace // nil: nothing is remembered
}

// trace is what a transaction read: the change that last wrote each row, and a fingerprint of each range.
type trace struct {
	rows   map[catalog.Key]int64
	ranges []listed
}

// listed is a range as it was read: the number of its rows and all their change ids, XORed. Every write gives a row a
// new change id, so equal fingerprints are equal ranges.
type listed struct {
	span  stage.Span
	last  string // the range ends with this name; empty: it ends where the span does
	count int64
	mark  int64
}

const selectRows = "SELECT r.kind, r.name, r.uid, r.version, r.body, r.blobs, r.lookup, r.created_at, r.updated_at, " +
	"r.deleted_at, r.change_id, c.revision FROM resource r JOIN change c ON c.id = r.change_id "

// scanRow reads one row of selectRows.
func scanRow(scan func(...any) error) (rec *catalog.Record, changeID int64, err error) {
	var version, blobs []byte
	var created, updated, deleted int64
	rec = new(catalog.Record)
	err = scan(&rec.Kind, &rec.Name, &rec.UID, &version, &rec.Body, &blobs, &rec.Lookup, &created, &updated, &deleted,
		&changeID, &rec.Revision)
	if err != nil {
		return nil, 0, err
	}
	if len(version) != len(rec.Version) || len(blobs)%len(catalog.Hash{}) != 0 {
		return nil, 0, fmt.Errorf("record %s %q has a version of %d and blobs of %d bytes", rec.Kind, rec.Name, len(version), len(blobs))
	}
	rec.Version, rec.Blobs = catalog.Hash(version), splitHashes(blobs)
	rec.CreateTime, rec.UpdateTime, rec.DeleteTime = toTime(created), toTime(updated), toTime(deleted)
	return rec, changeID, nil
}

// Row implements stage.Base.
func (b *base) Row(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	row := b.q.QueryRowContext(ctx, selectRows+"WHERE r.kind = $1 AND r.name = $2", key.Kind, key.Name)
	rec, changeID, err := scanRow(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, sqlfault.Classify("read record", err)
	}
	b.note(rec.Key, changeID)
	return rec, nil
}

// Range implements stage.Base.
func (b *base) Range(ctx context.Context, s stage.Span, limit int) ([]*catalog.Record, error) {
	where, args := bounds(s, "")
	query := selectRows + where + " ORDER BY r.name"
	if limit > 0 {
		query += " LIMIT " + strconv.Itoa(limit)
	}
	rows, err := b.q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, sqlfault.Classify("list records", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	var out []*catalog.Record
	read := listed{span: s}
	for rows.Next() {
		rec, changeID, err := scanRow(rows.Scan)
		if err != nil {
			return nil, sqlfault.Classify("list records", err)
		}
		out = append(out, rec)
		b.note(rec.Key, changeID)
		read.count, read.mark = read.count+1, read.mark^changeID
	}
	if err := rows.Err(); err != nil {
		return nil, sqlfault.Classify("list records", err)
	}
	if b.trace != nil {
		if limit > 0 && len(out) == limit {
			read.last = out[limit-1].Name
		}
		b.trace.ranges = append(b.trace.ranges, read)
	}
	return out, nil
}

// bounds returns the WHERE clause of a span, which last ends early if it is not empty.
func bounds(s stage.Span, last string) (where string, args []any) {
	where, args = "WHERE r.kind = $1", []any{s.Kind}
	and := func(op, name string) {
		args = append(args, name)
		where += " AND r.name " + op + " $" + strconv.Itoa(len(args))
	}
	switch {
	case s.Open:
		and(">", s.From)
	case s.From != "":
		and(">=", s.From)
	}
	if s.To != "" {
		and("<", s.To)
	}
	if last != "" {
		and("<=", last)
	}
	return where, args
}

func (b *base) note(key catalog.Key, changeID int64) {
	if b.trace != nil {
		b.trace.rows[key] = changeID
	}
}

// Lookup implements stage.Base.
func (b *base) Lookup(ctx context.Context, kind catalog.Kind, value string) (*catalog.Record, error) {
	row := b.q.QueryRowContext(ctx, selectRows+"WHERE r.kind = $1 AND r.lookup = $2 AND r.lookup <> '' AND r.deleted_at = 0", kind, value)
	rec, changeID, err := scanRow(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, sqlfault.Classify("look up record", err)
	}
	b.note(rec.Key, changeID)
	return rec, nil
}

// Blob implements stage.Base.
func (b *base) Blob(ctx context.Context, hash catalog.Hash) ([]byte, error) {
	var body []byte
	err := b.q.QueryRowContext(ctx, "SELECT body FROM blob WHERE hash = $1", hash[:]).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return body, sqlfault.Classify("read blob", err)
}

func toTime(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func fromTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func splitHashes(b []byte) []catalog.Hash {
	var out []catalog.Hash
	for ; len(b) > 0; b = b[len(catalog.Hash{}):] {
		out = append(out, catalog.Hash(b[:len(catalog.Hash{})]))
	}
	return out
}

func joinHashes(hs []catalog.Hash) []byte {
	out := make([]byte, 0, len(hs)*len(catalog.Hash{}))
	for _, h := range hs {
		out = append(out, h[:]...)
	}
	return out
}
