// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/revoked"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// Revocation is one entry of the sequence of revoked tokens (D-32).
type Revocation = revoked.Entry

// RevocationHead is the end of that sequence.
type RevocationHead = revoked.Head

// revocationChannel is where PostgreSQL tells that the sequence has grown. Its writers are serial too, so NOTIFY's lock
// holds up nobody (D-6).
const revocationChannel = "penstock_revocations"

// Revoke adds entries to the sequence and returns when they are stored. What is known already makes no new entry, and so
// does what has expired.
func (s *Store) Revoke(ctx context.Context, entries []Revocation) error {
	now := s.cfg.Now()
	live := slices.DeleteFunc(slices.Clone(entries), func(e Revocation) bool { return !e.ExpireTime.After(now) })
	if len(live) == 0 {
		return nil
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		seq, changed, err := revoked.Append(ctx, tx, s.pg != nil, live)
		switch {
		case err != nil:
			return err
		case !changed:
			return errKnown
		case s.pg == nil:
			return nil
		}
		_, err = tx.ExecContext(ctx, "SELECT pg_notify($1, $2)", revocationChannel, strconv.FormatUint(seq, 10))
		return sqlfault.Classify("notify", err)
	})
	if errors.Is(err, errKnown) {
		return nil
	}
	if err == nil {
		s.revoked.Notify()
	}
	return err
}

// errKnown takes the sequence number back that nothing new needed.
var errKnown = errors.New("all revocations are known")

// Revocations returns the end of the sequence, and up to limit entries after a sequence number that have not expired, in
// order. All entries up to the end were committed before it was read.
func (s *Store) Revocations(ctx context.Context, after uint64, limit int) (head RevocationHead, list []Revocation, err error) {
	tx, err := s.reads.BeginTx(ctx, s.readOptions())
	if err != nil {
		return head, nil, sqlfault.Classify("begin reading", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to lose
	if head, err = revoked.ReadHead(ctx, tx); err != nil || head.Seq == after {
		return head, nil, err
	}
	list, err = revoked.After(ctx, tx, after, limit, s.cfg.Now())
	return head, list, err
}

// WatchRevocations sends a hint after the sequence has moved until ctx ends, as [Store.Watch] does for revisions.
func (s *Store) WatchRevocations(ctx context.Context) (<-chan struct{}, error) {
	return watch(ctx, s, source[RevocationHead]{
		signal: &s.revoked, channel: revocationChannel,
		look: func(ctx context.Context) (RevocationHead, error) { return revoked.ReadHead(ctx, s.reads) },
	})
}

// dropRevocations forgets what has expired.
func (s *Store) dropRevocations(ctx context.Context) error {
	return s.batches(ctx, "DELETE FROM revocation WHERE seq IN (SELECT seq FROM revocation WHERE expires_at <= $1 LIMIT $2)",
		fromTime(s.cfg.Now()))
}
