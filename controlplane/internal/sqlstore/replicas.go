// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/replicaset"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Replica is one of the control planes that share this database.
type Replica = replicaset.Replica

// Shared reports whether the database may have several control planes: PostgreSQL, not SQLite.
func (s *Store) Shared() bool { return s.pg != nil }

// Beat says that a control plane lives, and returns all that do, itself too, and the time of the database. First is true
// for the first one of a process. One that is not heard for 15 s counts as gone.
func (s *Store) Beat(ctx context.Context, own Replica, first bool) (live []Replica, now time.Time, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		live, now, err = replicaset.Beat(ctx, tx, s.pg != nil, own, first)
		return err
	})
	return live, now, err
}

// Replicas returns all control planes that live, by id.
func (s *Store) Replicas(ctx context.Context) ([]Replica, error) {
	return replicaset.Live(ctx, s.reads, s.pg != nil)
}

// Leave says that a control plane stops.
func (s *Store) Leave(ctx context.Context, id string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error { return replicaset.Leave(ctx, tx, id) })
}

// NewEpoch makes another epoch of the revision log, which goes on from its head: the last step of a restore that lost
// revisions (D-73). The head must be the one given, so that it is made once and in the right database; otherwise the fault is
// Precondition, EPOCH_HEAD_DIFFERS.
func (s *Store) NewEpoch(ctx context.Context, head catalog.Revision) (out catalog.Head, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if s.pg != nil {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(advisoryLock)); err != nil {
				return sqlfault.Classify("take the log's lock", err)
			}
		}
		if out, err = readHead(ctx, tx); err != nil {
			return err
		}
		if out.Revision != head {
			return fault.Newf(fault.Precondition, record.ReasonEpochHeadDiffers,
				"The database is at revision %d, not %d: no new epoch was made.", out.Revision, head)
		}
		out.Epoch = uuid.NewString()
		_, err := tx.ExecContext(ctx, "UPDATE head SET epoch = $1 WHERE id = 1", out.Epoch)
		return sqlfault.Classify("make new epoch", err)
	})
	if err == nil {
		s.signal.Notify()
	}
	return out, err
}
