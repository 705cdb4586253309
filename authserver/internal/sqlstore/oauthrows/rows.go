// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Conn runs statements: *sql.DB or *sql.Tx.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Reader implements [store.OAuthReader]. It is as safe for concurrent use as what it reads from.
type Reader struct {
	conn func(context.Context) Conn
	// forUpdate ends a statement that reads a row which the transaction goes by: what it was is so until the commit.
	forUpdate string
	conflict  *bool // is set when a transaction was given up for another one's sake; nil outside of one
}

// NewReader returns a reader of what conn says to read from.
func NewReader(conn func(context.Context) Conn) Reader { return Reader{conn: conn} }

// fail gives an error its kind. What a canceled context did to a transaction is its error, whatever the driver calls it.
func (r Reader) fail(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if r.conflict != nil && sqlfault.Conflict(err) {
		*r.conflict = true
	}
	if ended := ctx.Err(); ended != nil {
		err = errors.Join(ended, err)
	}
	return sqlfault.Rewrite(what, err)
}

// scanner is *sql.Row and *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// row reads one row; none is NotFound.
func row[T any](ctx context.Context, r Reader, what string, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	got, err := scan(r.conn(ctx).QueryRowContext(ctx, query, args...))
	if err == nil {
		return got, nil
	}
	var none T
	if errors.Is(err, sql.ErrNoRows) {
		return none, store.RowMissing()
	}
	return none, r.fail(ctx, what, err)
}

func rows[T any](ctx context.Context, r Reader, what string, scan func(scanner) (T, error), query string, args ...any) (_ []T, err error) {
	found, err := r.conn(ctx).QueryContext(ctx, query, args...)
	if err != nil {
		return nil, r.fail(ctx, what, err)
	}
	defer func() { err = errors.Join(err, r.fail(ctx, what, found.Close())) }()
	var list []T
	for found.Next() {
		got, err := scan(found)
		if err != nil {
			return nil, r.fail(ctx, what, err)
		}
		list = append(list, got)
	}
	return list, r.fail(ctx, what, found.Err())
}

// exec returns how many rows a statement changed.
func (r Reader) exec(ctx context.Context, what, query string, args ...any) (int, error) {
	done, err := r.conn(ctx).ExecContext(ctx, query, args...)
	if err != nil {
		return 0, r.fail(ctx, what, err)
	}
	n, err := done.RowsAffected()
	return int(n), r.fail(ctx, what, err)
}

// change is exec of a statement that may well find nothing to change.
func (r Reader) change(ctx context.Context, what, query string, args ...any) error {
	_, err := r.exec(ctx, what, query, args...)
	return err
}

// insert is exec of an INSERT … ON CONFLICT DO NOTHING that must not find its row there already. An error of the database
// would end a transaction on PostgreSQL.
func (r Reader) insert(ctx context.Context, what, query string, args ...any) error {
	n, err := r.exec(ctx, what, query, args...)
	if err == nil && n == 0 {
		return store.RowExists()
	}
	return err
}

// storable reports whether texts can be in the database at all. PostgreSQL refuses others with an error, but a client_id of
// such bytes is just an unknown one.
func storable(texts ...string) bool {
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return false
		}
	}
	return true
}
