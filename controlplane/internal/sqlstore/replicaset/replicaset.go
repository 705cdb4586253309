// SPDX-License-Identifier: Apache-2.0

package replicaset

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

const (
	// GoneAfter is how old a row may be before its control plane counts as gone.
	GoneAfter = 15 * time.Second
	// forgetAfter is when such a row is deleted.
	forgetAfter = 10 * GoneAfter
)

// The database's clock in microseconds since 1970. On PostgreSQL it is the time of the statement, not of the transaction.
const (
	clockPostgres = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
	clockSQLite   = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
)

// Replica is one control plane.
type Replica struct {
	ID      string // of one process: a restarted one has another
	Address string // host:port at which nodes and other control planes reach it
	Streams int    // nodes that follow it
}

// Beat renews the row of a control plane and returns all that are not gone, by id, and the time of the database. The first
// one of a process also removes what a process before it left at the same address.
func Beat(ctx context.Context, tx *sql.Tx, postgres bool, own Replica, first bool) (live []Replica, now time.Time, err error) {
	clock := clockOf(postgres)
	if first {
		if _, err := tx.ExecContext(ctx, "DELETE FROM replica WHERE address = $1 AND id <> $2", own.Address, own.ID); err != nil {
			return nil, now, sqlfault.Classify("replace replica", err)
		}
	}
	var at int64
	err = tx.QueryRowContext(ctx, "INSERT INTO replica (id, address, streams, seen_at) VALUES ($1, $2, $3, "+clock+") "+
		"ON CONFLICT (id) DO UPDATE SET address = excluded.address, streams = excluded.streams, seen_at = excluded.seen_at RETURNING seen_at",
		own.ID, own.Address, own.Streams).Scan(&at)
	if err != nil {
		return nil, now, sqlfault.Classify("renew replica", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM replica WHERE seen_at < $1", at-forgetAfter.Microseconds()); err != nil {
		return nil, now, sqlfault.Classify("forget replicas", err)
	}
	live, err = Live(ctx, tx, postgres)
	return live, time.UnixMicro(at), err
}

func clockOf(postgres bool) string {
	if postgres {
		return clockPostgres
	}
	return clockSQLite
}

// Querier is a *sql.DB or a *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Live returns the control planes that are not gone, by id.
func Live(ctx context.Context, q Querier, postgres bool) (live []Replica, err error) {
	rows, err := q.QueryContext(ctx, "SELECT id, address, streams FROM replica WHERE seen_at > "+clockOf(postgres)+" - $1 ORDER BY id", GoneAfter.Microseconds())
	if err != nil {
		return nil, sqlfault.Classify("list replicas", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r Replica
		if err := rows.Scan(&r.ID, &r.Address, &r.Streams); err != nil {
			return nil, sqlfault.Classify("list replicas", err)
		}
		live = append(live, r)
	}
	return live, sqlfault.Classify("list replicas", rows.Err())
}

// Leave removes the row of a control plane that stops.
func Leave(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM replica WHERE id = $1", id)
	return sqlfault.Classify("remove replica", err)
}
