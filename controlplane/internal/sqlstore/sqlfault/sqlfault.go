// SPDX-License-Identifier: Apache-2.0

// Package sqlfault gives the errors of database drivers their kinds.
//
// It owns what SQLSTATE and SQLite codes mean to Penstock. It is called by sqlstore and schema. It must never let the
// text of a driver into a fault's public text.
package sqlfault

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// LockTimeout is how long a transaction waits for a lock (D-2).
const LockTimeout = 5 * time.Second

// ErrLost says that another transaction changed what this one relied on: it may be tried again.
var ErrLost = errors.New("lost a race")

// Classify gives an error of a driver its kind. The driver's text goes to the log with the cause, never to a caller.
// Nil stays nil, and what is classified already or comes from a context stays as it is.
func Classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok || errors.Is(err, ErrLost) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s: %w", doing, classifyPostgres(pg, err))
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return fmt.Errorf("%s: %w", doing, classifySQLite(lite.Code(), err))
	}
	_, isNet := errors.AsType[net.Error](err)
	_, isConnect := errors.AsType[*pgconn.ConnectError](err)
	if isNet || isConnect || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || pgconn.SafeToRetry(err) ||
		strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "unexpected EOF") {
		return fmt.Errorf("%s: %w", doing, Unavailable().Because(err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Unavailable is the fault of a database that cannot be used now.
func Unavailable() *fault.Fault {
	return fault.New(fault.Unavailable, record.ReasonStoreUnavailable, "The database does not answer or cannot be written; nothing was changed.")
}

// Busy is the fault of a lock that was not given within [LockTimeout].
func Busy() *fault.Fault {
	return fault.New(fault.Exhausted, record.ReasonStoreBusy, "Another change held what this one needs for more than 5 s; try again.").After(LockTimeout)
}

// classifyPostgres goes by SQLSTATE (PostgreSQL, appendix A).
func classifyPostgres(pg *pgconn.PgError, err error) error {
	switch {
	case pg.Code == "55P03": // lock_not_available
		return Busy().Because(err)
	case pg.Code == "40001", pg.Code == "40P01": // serialization_failure, deadlock_detected
		return fmt.Errorf("%w: %w", ErrLost, err)
	case pg.Code == "23505" && pg.ConstraintName == "resource_lookup":
		return lookupTaken().Because(err)
	case pg.Code == "23505": // unique_violation
		return fmt.Errorf("%w: %w", ErrLost, err)
	case pg.Code == "25006", // read_only_sql_transaction: a standby
		strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"),
		strings.HasPrefix(pg.Code, "58"):
		return Unavailable().Because(err)
	default:
		return err
	}
}

func lookupTaken() *fault.Fault {
	return fault.New(fault.AlreadyExists, record.ReasonLookupTaken, "Another record has the same second key.")
}

func classifySQLite(code int, err error) error {
	switch code & 0xff { // the extended codes have the primary one in their low byte
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return Busy().Because(err)
	case sqlite3.SQLITE_INTERRUPT:
		return context.Canceled
	case sqlite3.SQLITE_CONSTRAINT:
		if strings.Contains(err.Error(), "resource.lookup") || strings.Contains(err.Error(), "resource_lookup") {
			return lookupTaken().Because(err)
		}
		return err
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return Unavailable().Because(err)
	default:
		return err
	}
}

// Unusable is the fault of a database that somebody has to do something about.
func Unusable(format string, args ...any) *fault.Fault {
	return fault.Newf(fault.Precondition, record.ReasonStoreUnusable, format, args...)
}
