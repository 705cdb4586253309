// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	maintainEvery = time.Hour
	keepBlobs     = 24 * time.Hour // after nothing needs them
	// maintainBatch bounds one transaction of maintenance, so that it never holds up a write for long.
	maintainBatch = 500
)

// Run does the maintenance of the database about every hour until ctx ends: it forgets resources deleted more than 30
// days ago, compacts the log, and drops blobs that nothing needs, revocations that have expired and
// approvals that have ended. A failed round is logged and tried again.
func (s *Store) Run(ctx context.Context) error {
	for {
		if err := s.Maintain(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.WarnContext(ctx, "database maintenance failed", slog.Any(obs.AttrError, err))
		}
		if err := wait(ctx, maintainEvery-rand.N(maintainEvery/10)); err != nil { //nolint:gosec // jitter
			return nil //nolint:nilerr // the context ended, and with it the work
		}
	}
}

// Maintain does one round of maintenance.
func (s *Store) Maintain(ctx context.Context) error {
	if err := s.purge(ctx); err != nil {
		return err
	}
	if err := s.compact(ctx); err != nil {
		return err
	}
	if err := s.dropRevocations(ctx); err != nil {
		return err
	}
	if err := s.dropJoinTokens(ctx); err != nil {
		return err
	}
	if err := s.dropApprovals(ctx); err != nil {
		return err
	}
	return s.sweepBlobs(ctx)
}

// inTx runs fn in a writing transaction outside the revision log.
func (s *Store) inTx(ctx context.Context, fn func(*sql.Tx) error) error {
	if s.pg == nil {
		select {
		case <-s.turn:
			defer func() { s.turn <- struct{}{} }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return sqlfault.Classify("begin writing", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := fn(tx); err != nil {
		return err
	}
	return sqlfault.Classify("commit", tx.Commit())
}

// batches repeats a statement that changes at most maintainBatch rows until it changes fewer.
func (s *Store) batches(ctx context.Context, query string, args ...any) error {
	for {
		var n int64
		err := s.inTx(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, query, append(args, maintainBatch)...)
			if err != nil {
				return sqlfault.Classify("maintain", err)
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil || n < maintainBatch {
			return err
		}
	}
}

// purge forgets what can no longer be brought back.
func (s *Store) purge(ctx context.Context) error {
	return s.batches(ctx, "DELETE FROM resource WHERE deleted_at <> 0 AND deleted_at < $1 AND (kind, name) IN "+
		"(SELECT kind, name FROM resource WHERE deleted_at <> 0 AND deleted_at < $1 LIMIT $2)", fromTime(s.cfg.Now().Add(-catalog.KeepDeleted)))
}

// compact raises the floor of the log to the newest change that is both older than KeepChanges and more than
// KeepRevisions behind the head.
func (s *Store) compact(ctx context.Context) error {
	var floor catalog.Revision
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT coalesce(max(c.revision), 0) FROM change c WHERE c.at < $1 AND "+
			"c.revision <= (SELECT revision FROM head WHERE id = 1) - $2", fromTime(s.cfg.Now().Add(-s.cfg.KeepChanges)), int64(s.cfg.KeepRevisions)).Scan(&floor)
		if err != nil {
			return sqlfault.Classify("find floor", err)
		}
		_, err = tx.ExecContext(ctx, "UPDATE head SET floor = $1 WHERE id = 1 AND floor < $1", floor)
		return sqlfault.Classify("raise floor", err)
	})
	if err != nil {
		return err
	}
	err = s.batches(ctx, "UPDATE change SET detail = NULL WHERE revision IN (SELECT revision FROM change "+
		"WHERE revision <= $1 AND detail IS NOT NULL LIMIT $2)", floor)
	if err != nil {
		return err
	}
	return s.batches(ctx, "DELETE FROM change WHERE revision IN (SELECT c.revision FROM change c WHERE c.revision <= $1 AND "+
		"c.revision < (SELECT revision FROM head WHERE id = 1) AND NOT EXISTS (SELECT 1 FROM resource r WHERE r.change_id = c.id) LIMIT $2)", floor)
}

// sweepBlobs marks the blobs that no resource, living or deleted, needs any more, unmarks those needed again, and drops
// what has been marked for a day and is needed by no revision of the log. Storing a blob again unmarks it, so a blob in use is never dropped.
func (s *Store) sweepBlobs(ctx context.Context) error {
	needed := make(map[catalog.Hash]bool)
	orphans := make(map[catalog.Hash]int64)
	now := s.cfg.Now()
	before := fromTime(now.Add(-keepBlobs))
	err := s.view(ctx, func(tx *sql.Tx, _ catalog.Head) error {
		// Whoever goes back to the oldest revision that is kept needs what it needed.
		var oldest int64
		err := tx.QueryRowContext(ctx, "SELECT coalesce(min(c.at), 0) FROM change c WHERE c.revision > (SELECT floor FROM head WHERE id = 1)").Scan(&oldest)
		if err != nil {
			return sqlfault.Classify("find the oldest revision", err)
		}
		if oldest != 0 {
			before = min(before, oldest)
		}
		return collectBlobs(ctx, tx, needed, orphans)
	})
	if err != nil {
		return err
	}
	for hash, since := range orphans {
		var query string
		var args []any
		switch {
		case needed[hash] && since != 0:
			query, args = "UPDATE blob SET orphan_at = 0 WHERE hash = $1", []any{hash[:]}
		case !needed[hash] && since == 0:
			query, args = "UPDATE blob SET orphan_at = $2 WHERE hash = $1 AND orphan_at = 0", []any{hash[:], fromTime(now)}
		case !needed[hash] && since < before:
			query, args = "DELETE FROM blob WHERE hash = $1 AND orphan_at = $2", []any{hash[:], since}
		default:
			continue
		}
		err := s.inTx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, query, args...)
			return sqlfault.Classify("sweep blob", err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// collectBlobs reads which blobs resources need, and which there are with the time since when they are orphans.
func collectBlobs(ctx context.Context, tx *sql.Tx, needed map[catalog.Hash]bool, orphans map[catalog.Hash]int64) error {
	err := scanAll(ctx, tx, "SELECT blobs FROM resource WHERE length(blobs) > 0", func(scan func(...any) error) error {
		var joined []byte
		if err := scan(&joined); err != nil {
			return err
		}
		for _, h := range splitHashes(joined) {
			needed[h] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return scanAll(ctx, tx, "SELECT hash, orphan_at FROM blob", func(scan func(...any) error) error {
		var hash []byte
		var since int64
		if err := scan(&hash, &since); err != nil {
			return err
		}
		if len(hash) != len(catalog.Hash{}) {
			return fmt.Errorf("a blob has a key of %d bytes", len(hash))
		}
		orphans[catalog.Hash(hash)] = since
		return nil
	})
}

func scanAll(ctx context.Context, tx *sql.Tx, query string, each func(func(...any) error) error) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return sqlfault.Classify("read blobs", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return sqlfault.Classify("read blobs", err)
		}
	}
	return sqlfault.Classify("read blobs", rows.Err())
}
