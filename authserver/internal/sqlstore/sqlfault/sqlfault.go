// SPDX-License-Identifier: Apache-2.0

// Package sqlfault gives the errors of database drivers their kinds.
//
// It owns what SQLSTATE and SQLite codes mean to the authserver. sqlstore and its rooms call it with every error of a driver.
// It must never let the text of a driver into a fault's public text.
package sqlfault

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Rewrite is the one place where errors of drivers become faults. What names the operation. A canceled context stays
// what it is, and what is not known here stays unclassified, which is a Bug at the edge. Nil stays nil.
func Rewrite(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case damaged(err):
		return Unusable("The database file is damaged or no database: restore it from a backup.", fmt.Errorf("%s: %w", what, err))
	case unavailable(err):
		return fault.New(fault.Unavailable, store.ReasonUnavailable, "The store cannot be reached at the moment.").
			Because(fmt.Errorf("%s: %w", what, err))
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// Unusable returns the fault of a database that somebody has to do something about: Precondition, STORE_NOT_USABLE.
func Unusable(public string, cause error) error {
	return fault.New(fault.Precondition, store.ReasonForeign, public).Because(cause)
}

// Conflict reports whether an error of a driver says that the database gave a transaction up for the sake of another one,
// so that it may be run again: SQLSTATE 40001 (serialization failure) and 40P01 (deadlock).
func Conflict(err error) bool {
	p, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (p.Code == "40001" || p.Code == "40P01")
}

func damaged(err error) bool {
	s, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	primary := s.Code() & 0xff // the upper bits are details
	return primary == sqlitelib.SQLITE_CORRUPT || primary == sqlitelib.SQLITE_NOTADB
}

func unavailable(err error) bool {
	if s, ok := errors.AsType[*sqlite.Error](err); ok {
		switch s.Code() & 0xff {
		case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED, sqlitelib.SQLITE_FULL, sqlitelib.SQLITE_IOERR,
			sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_READONLY, sqlitelib.SQLITE_NOMEM:
			return true
		}
		return false
	}
	if p, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unavailableState(p.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// unavailableState reports whether a SQLSTATE says that the same statement may succeed later or elsewhere.
func unavailableState(code string) bool {
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", // connection exception
		"40", // transaction rollback: deadlock, serialization
		"53", // insufficient resources
		"57", // operator intervention: shutdown, cannot connect now, canceled statement
		"58": // system error
		return true
	}
	return code == "55P03" || // lock not available within lock_timeout
		code == "25006" || // read-only: a standby, or a failover under way
		code == "28000" || code == "28P01" || code == "3D000" // refused login, no such database: not our caller's fault
}
