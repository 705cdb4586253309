// SPDX-License-Identifier: Apache-2.0

package revoked

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// AdvisoryLock is the key under which PostgreSQL gives out sequence numbers: "penstock" in ASCII, plus two.
const AdvisoryLock = 0x70656e73746f636d

const (
	rowsAtOnce = 100 // of one INSERT
	columns    = 5
)

// Entry is one revocation.
type Entry struct {
	Kind         int32
	KeySHA256    [32]byte
	IssuedBefore time.Time // zero: every token of the key
	ExpireTime   time.Time
	Seq          uint64 // given out by [Append]
}

// Head is the end of the sequence.
type Head struct {
	Epoch string // of the revision log: a restored database gets a new one (D-73)
	Seq   uint64
}

// Querier is a *sql.DB or a *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ReadHead returns the end of the sequence.
func ReadHead(ctx context.Context, q Querier) (h Head, err error) {
	err = q.QueryRowContext(ctx, "SELECT h.epoch, r.seq FROM head h, revocation_head r WHERE h.id = 1 AND r.id = 1").Scan(&h.Epoch, &h.Seq)
	return h, sqlfault.Classify("read head of revocations", err)
}

// Append adds entries to the sequence, at least one. What is known already, for as long and for as many tokens, stays where it is; what
// goes further moves to the end. It returns the end of the sequence, and whether anything is new. On PostgreSQL it takes
// the lock that keeps the order; nothing else may run in the transaction.
func Append(ctx context.Context, tx *sql.Tx, postgres bool, entries []Entry) (seq uint64, changed bool, err error) {
	entries = distinct(entries)
	if postgres {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(AdvisoryLock)); err != nil {
			return 0, false, sqlfault.Classify("take the lock of revocations", err)
		}
	}
	err = tx.QueryRowContext(ctx, "UPDATE revocation_head SET seq = seq + $1 WHERE id = 1 RETURNING seq", int64(len(entries))).Scan(&seq)
	if err != nil {
		return 0, false, sqlfault.Classify("advance revocations", err)
	}
	first := seq - uint64(len(entries)) + 1
	for i := range entries {
		entries[i].Seq = first + uint64(i)
	}
	var rows int64
	for some := range slices.Chunk(entries, rowsAtOnce) {
		n, err := insert(ctx, tx, some)
		if err != nil {
			return 0, false, err
		}
		rows += n
	}
	return seq, rows > 0, nil
}

// distinct keeps one entry of each key: the furthest of both its times. One statement cannot write a row twice.
func distinct(entries []Entry) []Entry {
	type key struct {
		kind int32
		sha  [32]byte
	}
	at := make(map[key]int, len(entries))
	var out []Entry
	for _, e := range entries {
		k := key{e.Kind, e.KeySHA256}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, e)
			continue
		}
		out[i].ExpireTime = later(out[i].ExpireTime, e.ExpireTime)
		out[i].IssuedBefore = later(out[i].IssuedBefore, e.IssuedBefore)
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// insert writes rows and returns how many were new or went further.
func insert(ctx context.Context, tx *sql.Tx, entries []Entry) (int64, error) {
	var b strings.Builder
	b.WriteString("INSERT INTO revocation (kind, key_sha256, issued_before, expires_at, seq) VALUES ")
	args := make([]any, 0, len(entries)*columns)
	for i, e := range entries {
		if i > 0 {
			b.WriteString(", ")
		}
		for c, before := range [columns]string{"($", ", $", ", $", ", $", ", $"} {
			b.WriteString(before + strconv.Itoa(i*columns+c+1))
		}
		b.WriteString(")")
		args = append(args, e.Kind, e.KeySHA256[:], micros(e.IssuedBefore), micros(e.ExpireTime), int64(e.Seq))
	}
	b.WriteString(" ON CONFLICT (kind, key_sha256) DO UPDATE SET seq = excluded.seq, " +
		"expires_at = CASE WHEN excluded.expires_at > revocation.expires_at THEN excluded.expires_at ELSE revocation.expires_at END, " +
		"issued_before = CASE WHEN excluded.issued_before > revocation.issued_before THEN excluded.issued_before ELSE revocation.issued_before END " +
		"WHERE excluded.expires_at > revocation.expires_at OR excluded.issued_before > revocation.issued_before")
	res, err := tx.ExecContext(ctx, b.String(), args...)
	if err != nil {
		return 0, sqlfault.Classify("store revocations", err)
	}
	n, err := res.RowsAffected()
	return n, sqlfault.Classify("store revocations", err)
}

// After returns up to limit entries after a sequence number that have not expired, in order.
func After(ctx context.Context, q Querier, seq uint64, limit int, now time.Time) (out []Entry, err error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, key_sha256, issued_before, expires_at, seq FROM revocation "+
		"WHERE seq > $1 AND expires_at > $2 ORDER BY seq LIMIT $3", int64(seq), micros(now), limit)
	if err != nil {
		return nil, sqlfault.Classify("read revocations", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e Entry
		var key []byte
		var before, expires int64
		if err := rows.Scan(&e.Kind, &key, &before, &expires, &e.Seq); err != nil {
			return nil, sqlfault.Classify("read revocations", err)
		}
		if len(key) != len(e.KeySHA256) {
			return nil, fmt.Errorf("revocation %d has a key of %d bytes", e.Seq, len(key))
		}
		e.KeySHA256, e.ExpireTime = [32]byte(key), time.UnixMicro(expires).UTC()
		if before != 0 {
			e.IssuedBefore = time.UnixMicro(before).UTC()
		}
		out = append(out, e)
	}
	return out, sqlfault.Classify("read revocations", rows.Err())
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
