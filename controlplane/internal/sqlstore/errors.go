// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// errLost says that another transaction changed what this one relied on: it may be tried again.
var errLost = errors.New("lost a race")

// classify gives an error of a driver its kind. The driver's text goes to the log with the cause, never to a caller.
// Nil stays nil, and what is classified already or comes from a context stays as it is.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok || errors.Is(err, errLost) ||
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
		return fmt.Errorf("%s: %w", doing, unavailable().Because(err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func unavailable() *fault.Fault {
	return fault.New(fault.Unavailable, catalog.ReasonStoreUnavailable, "The database does not answer or cannot be written; nothing was changed.")
}

func busy() *fault.Fault {
	return fault.New(fault.Exhausted, catalog.ReasonStoreBusy, "Another change held what this one needs for more than 5 s; try again.").After(lockTimeout)
}

// classifyPostgres goes by SQLSTATE (PostgreSQL, appendix A).
func classifyPostgres(pg *pgconn.PgError, err error) error {
	switch {
	case pg.Code == "55P03": // lock_not_available
		return busy().Because(err)
	case pg.Code == "40001", pg.Code == "40P01": // serialization_failure, deadlock_detected
		return fmt.Errorf("%w: %w", errLost, err)
	case pg.Code == "23505" && pg.ConstraintName == "resource_lookup":
		return lookupTaken().Because(err)
	case pg.Code == "23505": // unique_violation
		return fmt.Errorf("%w: %w", errLost, err)
	case pg.Code == "25006", // read_only_sql_transaction: a standby
		strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"),
		strings.HasPrefix(pg.Code, "58"):
		return unavailable().Because(err)
	default:
		return err
	}
}

func lookupTaken() *fault.Fault {
	return fault.New(fault.AlreadyExists, catalog.ReasonLookupTaken, "Another record has the same second key.")
}

func classifySQLite(code int, err error) error {
	switch code & 0xff { // the extended codes have the primary one in their low byte
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return busy().Because(err)
	case sqlite3.SQLITE_INTERRUPT:
		return context.Canceled
	case sqlite3.SQLITE_CONSTRAINT:
		if strings.Contains(err.Error(), "resource.lookup") || strings.Contains(err.Error(), "resource_lookup") {
			return lookupTaken().Because(err)
		}
		return err
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return unavailable().Because(err)
	default:
		return err
	}
}
