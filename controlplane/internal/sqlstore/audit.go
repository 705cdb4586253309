// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/audited"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

var _ audit.Store = (*Store)(nil)

// UploadAudit implements audit.Store.
func (s *Store) UploadAudit(ctx context.Context, u audit.Upload) (stored uint64, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		stored, err = audited.Upload(ctx, tx, u, s.cfg.Now())
		return err
	})
	if errors.Is(err, audited.ErrKnown) {
		return stored, nil
	}
	return stored, err
}

// AddAudit implements audit.Store.
func (s *Store) AddAudit(ctx context.Context, events []audit.Event) error {
	return s.inTx(ctx, func(tx *sql.Tx) error { return audited.Add(ctx, tx, events) })
}

// ListAudit implements audit.Store.
func (s *Store) ListAudit(ctx context.Context, f audit.Filter) (audit.Page, error) {
	tx, err := s.reads.BeginTx(ctx, s.readOptions())
	if err != nil {
		return audit.Page{}, sqlfault.Classify("begin reading", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to lose
	return audited.List(ctx, tx, f)
}

// DropAudit implements audit.Store.
func (s *Store) DropAudit(ctx context.Context, before time.Time) error {
	err := s.batches(ctx, "DELETE FROM audit_event WHERE seq IN (SELECT seq FROM audit_event WHERE at < $1 LIMIT $2)", fromTime(before))
	if err != nil {
		return err
	}
	return s.batches(ctx, "DELETE FROM audit_queue WHERE (node, queue) IN (SELECT node, queue FROM audit_queue WHERE at < $1 LIMIT $2)", fromTime(before))
}
