// SPDX-License-Identifier: Apache-2.0

package dbcopy

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
	// ReasonTargetNotEmpty (Precondition): the target has rows already.
	ReasonTargetNotEmpty = "COPY_TARGET_NOT_EMPTY"
	// ReasonCopyDiffers (Bug): what the target has is not what was read; nothing is kept.
	ReasonCopyDiffers = "COPY_DIFFERS"
)

const (
	// rowsAtOnce is how many rows a statement inserts.
	rowsAtOnce = 32
	tellEvery  = 10_000 // rows
)

// Table is a table to copy.
type Table struct {
	Name string
	// Seeded is a table in which a new database has rows already; those of the source replace them.
	Seeded bool
}

// Job is one copy. From is a transaction that sees one state of the source; To is one that the caller commits if [Run]
// returns no error. Both databases take numbered parameters ($1).
type Job struct {
	From, To *sql.Tx
	Tables   []Table
	// Progress, if set, is told the rows of a table that were copied, now and then and at its end.
	Progress func(table string, rows int64, done bool)
}

// Count is how much was copied.
type Count struct {
	Tables int
	Rows   int64
	// Digest is the sum over all rows of both databases, in hexadecimal: equal digests are equal contents.
	Digest string
}

// sum is a digest of rows in any order: the SHA-256 of each, added up.
type sum [4]uint64

func (s *sum) add(row [sha256.Size]byte) {
	for i := range s {
		s[i] += binary.BigEndian.Uint64(row[8*i:])
	}
}

// Run copies all tables and compares the copy with what was read. Faults: Precondition with reason COPY_TARGET_NOT_EMPTY; Bug
// with COPY_DIFFERS.
func Run(ctx context.Context, j Job) (Count, error) {
	for _, t := range j.Tables {
		if err := j.vacant(ctx, t); err != nil {
			return Count{}, err
		}
	}
	var all sum
	c := Count{Tables: len(j.Tables)}
	for _, t := range j.Tables {
		rows, read, err := j.copy(ctx, t.Name)
		if err != nil {
			return Count{}, err
		}
		again, written, err := digest(ctx, j.To, t.Name)
		if err != nil {
			return Count{}, err
		}
		if again != rows || written != read {
			return Count{}, fault.Newf(fault.Bug, ReasonCopyDiffers, "The copy of the table %s differs: %d rows were read, %d are there. Nothing was kept.", t.Name, rows, again)
		}
		c.Rows += rows
		for i := range all {
			all[i] += read[i]
		}
		if j.Progress != nil {
			j.Progress(t.Name, rows, true)
		}
	}
	c.Digest = fmt.Sprintf("%016x%016x%016x%016x", all[0], all[1], all[2], all[3])
	return c, nil
}

// vacant refuses a table with rows, and empties one that a new database has rows in.
func (j Job) vacant(ctx context.Context, t Table) error {
	if t.Seeded {
		if _, err := j.To.ExecContext(ctx, "DELETE FROM "+t.Name); err != nil { //nolint:gosec // a table of the caller's schema
			return fmt.Errorf("empty the table %s: %w", t.Name, err)
		}
		return nil
	}
	var n int64
	if err := j.To.QueryRowContext(ctx, "SELECT count(*) FROM "+t.Name).Scan(&n); err != nil {
		return fmt.Errorf("look into the table %s: %w", t.Name, err)
	}
	if n > 0 {
		return fault.Newf(fault.Precondition, ReasonTargetNotEmpty,
			"The database to copy to is not empty: its table %s has %d rows. Give an empty database; nothing was changed.", t.Name, n)
	}
	return nil
}

// copy copies one table and returns the number and the digest of its rows.
func (j Job) copy(ctx context.Context, table string) (n int64, read sum, err error) {
	var columns []string
	var pending []any
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		_, err := j.To.ExecContext(ctx, insert(table, columns, len(pending)/len(columns)), pending...)
		pending = pending[:0]
		return err
	}
	err = scan(ctx, j.From, table, func(names []string, row []any) error {
		columns = names
		read.add(hash(row))
		pending = append(pending, row...)
		n++
		if j.Progress != nil && n%tellEvery == 0 {
			j.Progress(table, n, false)
		}
		if len(pending) < rowsAtOnce*len(columns) {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return 0, sum{}, fmt.Errorf("copy the table %s: %w", table, err)
	}
	return n, read, nil
}

func digest(ctx context.Context, tx *sql.Tx, table string) (n int64, s sum, err error) {
	err = scan(ctx, tx, table, func(_ []string, row []any) error {
		n++
		s.add(hash(row))
		return nil
	})
	if err != nil {
		return 0, sum{}, fmt.Errorf("read the copy of the table %s: %w", table, err)
	}
	return n, s, nil
}

// scan reads a table. The row is the callee's.
func scan(ctx context.Context, tx *sql.Tx, table string, each func(columns []string, row []any) error) error {
	columns, err := columnsOf(ctx, tx, table)
	if err != nil {
		return err
	}
	// SQLite's driver gives empty bytes as nothing at all; the database knows the difference.
	query := "SELECT " + strings.Join(columns, ", ") + ", " + strings.Join(columns, " IS NULL, ") + " IS NULL FROM " + table //nolint:gosec // names of the caller's own schema
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	for rows.Next() {
		row, null := make([]any, len(columns)), make([]bool, len(columns))
		into := make([]any, 0, 2*len(columns))
		for i := range row {
			into = append(into, &row[i])
		}
		for i := range null {
			into = append(into, &null[i])
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range row {
			if b, isBytes := row[i].([]byte); !null[i] && (row[i] == nil || isBytes && b == nil) {
				row[i] = []byte{}
			}
		}
		if err := each(columns, row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func columnsOf(ctx context.Context, tx *sql.Tx, table string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" WHERE 1 = 0") //nolint:gosec // a table of the caller's schema
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // it has no rows
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	return columns, rows.Err()
}

func insert(table string, columns []string, n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES ")
	for i := range n * len(columns) {
		switch {
		case i%len(columns) != 0:
			b.WriteString(", ")
		case i == 0:
			b.WriteString("(")
		default:
			b.WriteString("), (")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteString(")")
	return b.String()
}

// hash returns the SHA-256 of a row. Columns are told apart by their lengths, numbers and texts and bytes by a letter. Both
// databases have the columns in one order, since one text makes them.
func hash(row []any) [sha256.Size]byte {
	h := sha256.New()
	part := func(kind byte, body []byte) {
		var head [9]byte
		head[0] = kind
		binary.BigEndian.PutUint64(head[1:], uint64(len(body)))
		_, _ = h.Write(head[:]) // a hash never fails
		_, _ = h.Write(body)
	}
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			part('0', nil)
		case []byte:
			part('b', v)
		case string:
			part('t', []byte(v))
		default: // numbers
			part('n', fmt.Append(nil, v))
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
