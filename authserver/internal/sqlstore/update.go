// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore/oauthrows"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// attempts is how often a transaction is begun at most.
const attempts = 6

// txKey is the context key of the transaction of a store.
type txKey struct{ of *Store }

// errNested is a mistake of the caller: the inner transaction would wait for the outer one, which waits for it.
var errNested = errors.New("a transaction was begun within another one of the same store")

// conn returns the transaction that a context is of, if it is of one, else the pool. So whoever is called with the context
// of [Store.Update] and reads through the store takes part in the transaction, rather than wait for a connection that is
// only free when he is done: SQLite has one.
func (s *Store) conn(ctx context.Context) oauthrows.Conn {
	if tx, ok := ctx.Value(txKey{s}).(*sql.Tx); ok {
		return tx
	}
	return s.db
}

// Update implements [store.OAuth]. PostgreSQL gives up one of two transactions that wait for each other; it is run again, six
// times in all.
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx store.OAuthTx) error) error {
	if ctx.Value(txKey{s}) != nil {
		return errNested
	}
	for attempt := 1; ; attempt++ {
		again, err := s.update(ctx, fn)
		if err == nil || !again || attempt == attempts {
			return err
		}
		if err := wait(ctx, rand.N(5*time.Millisecond<<attempt)); err != nil { //nolint:gosec // jitter
			return err
		}
	}
}

// update is one attempt; again says that another one may succeed.
func (s *Store) update(ctx context.Context, fn func(context.Context, store.OAuthTx) error) (again bool, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, sqlfault.Rewrite("begin a transaction", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	rows := oauthrows.NewTx(tx, s.forUpdate)
	if err := fn(context.WithValue(ctx, txKey{s}, tx), rows); err != nil {
		return rows.Conflicted(), err
	}
	if err := rows.Finish(ctx); err != nil {
		return rows.Conflicted(), err
	}
	err = tx.Commit()
	again = rows.Conflicted() || sqlfault.Conflict(err)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err) // it rolled the transaction back
	}
	return again, sqlfault.Rewrite("commit", err)
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
