// SPDX-License-Identifier: Apache-2.0

package heldtest

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Database is a database of a control plane.
type Database struct {
	t      testing.TB
	db     *sql.DB
	prefix string // of tables
	file   string // of SQLite; else empty
}

// Open opens a database that a store has open, until the test ends.
func Open(t testing.TB, dsn string) *Database {
	t.Helper()
	driver, source := "pgx", dsn
	d := &Database{t: t, prefix: "controlplane."}
	if path, ok := strings.CutPrefix(dsn, "sqlite://"); ok {
		driver, source, d.prefix, d.file = "sqlite", path, "", path
	}
	var err error
	d.db, err = sql.Open(driver, source)
	d.must(err)
	t.Cleanup(func() { d.must(d.db.Close()) })
	return d
}

func (d *Database) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// Stored returns the arguments of an approval as they lie there, and the id of the key that sealed them.
func (d *Database) Stored(id string) (keyID string, sealed []byte) {
	d.t.Helper()
	d.must(d.db.QueryRowContext(d.t.Context(), "SELECT key_id, arguments FROM "+d.prefix+"approval WHERE id = $1", id).Scan(&keyID, &sealed))
	return keyID, sealed
}

// Put changes what [Database.Stored] returns.
func (d *Database) Put(id, keyID string, sealed []byte) {
	d.t.Helper()
	_, err := d.db.ExecContext(d.t.Context(), "UPDATE "+d.prefix+"approval SET key_id = $1, arguments = $2 WHERE id = $3", keyID, sealed, id) //nolint:gosec // its table is a constant
	d.must(err)
}

// Dump returns all that the tables of approvals hold and, of SQLite, the files.
func (d *Database) Dump() string {
	d.t.Helper()
	var out strings.Builder
	for _, table := range []string{"approval", "approval_event", "approval_answer"} {
		d.must(d.dump(&out, table))
	}
	if d.file != "" {
		for _, suffix := range []string{"", "-wal"} {
			text, err := os.ReadFile(d.file + suffix)
			d.must(err)
			out.Write(text)
		}
	}
	return out.String()
}

func (d *Database) dump(out *strings.Builder, table string) (err error) {
	rows, err := d.db.QueryContext(d.t.Context(), "SELECT * FROM "+d.prefix+table) //nolint:gosec // its table is a constant
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			fmt.Fprintf(out, "%s.%s=%s\n", table, columns[i], v)
		}
	}
	return rows.Err()
}
