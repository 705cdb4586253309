// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// Rollout implements record.Rollouts.
func (s *Store) Rollout(ctx context.Context) (record.Rollout, error) {
	return readRollout(ctx, s.reads)
}

func readRollout(ctx context.Context, q querier) (r record.Rollout, err error) {
	var body []byte
	var version int64
	err = q.QueryRowContext(ctx, "SELECT version, body FROM rollout WHERE id = 1").Scan(&version, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return record.Rollout{}, nil
	}
	if err != nil {
		return r, sqlfault.Classify("read rollout", err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("decode rollout: %w", err)
	}
	r.Version = version
	return r, nil
}

// Advance implements record.Rollouts. It is outside the revision log, like a note.
func (s *Store) Advance(ctx context.Context, next record.Rollout) (bool, error) {
	return writeRollout(ctx, s.writes, next)
}

func writeRollout(ctx context.Context, q querier, next record.Rollout) (bool, error) {
	body, err := json.Marshal(next)
	if err != nil {
		return false, fmt.Errorf("encode rollout: %w", err)
	}
	res, err := q.ExecContext(ctx, "INSERT INTO rollout (id, version, body) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE "+
		"SET version = excluded.version, body = excluded.body WHERE rollout.version = excluded.version - 1", next.Version, body)
	if err != nil {
		return false, sqlfault.Classify("store rollout", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// roll changes the rollout as a change wants it, in the change's transaction: the log never has a staged change of which the
// rollout does not know.
func roll(ctx context.Context, tx *sql.Tx, plan stage.Plan, rev catalog.Revision) error {
	if !plan.Rolls() {
		return nil
	}
	now, err := readRollout(ctx, tx)
	if err != nil {
		return err
	}
	next, changed, err := plan.Rollout(now, rev)
	if err != nil || !changed {
		return err
	}
	if stored, err := writeRollout(ctx, tx, next); err != nil || stored {
		return err
	}
	return fmt.Errorf("store rollout: %w", sqlfault.ErrLost)
}

// Floor implements catalog.Store.
func (s *Store) Floor(ctx context.Context) (floor catalog.Revision, err error) {
	err = s.reads.QueryRowContext(ctx, "SELECT floor FROM head WHERE id = 1").Scan(&floor)
	return floor, sqlfault.Classify("read floor", err)
}
