// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/held"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

// Approvals returns the tables of tool calls that wait for a person, whose arguments a KMS seals. Without one, nil, no call can be held.
func (s *Store) Approvals(keys envelope.KMS) *held.Table { return held.New(s.reads, s.inTx, keys) }

// dropApprovals forgets approvals some time after their end, and with them what happened to them and which messages were answered.
func (s *Store) dropApprovals(ctx context.Context) error {
	before := fromTime(s.cfg.Now().Add(-approval.Keep))
	for _, query := range []string{
		"DELETE FROM approval WHERE id IN (SELECT id FROM approval WHERE ended_at <> 0 AND ended_at < $1 LIMIT $2)",
		"DELETE FROM approval_event WHERE id IN (SELECT e.id FROM approval_event e LEFT JOIN approval a ON a.id = e.approval " +
			"WHERE a.id IS NULL AND e.at < $1 LIMIT $2)",
		"DELETE FROM approval_answer WHERE id IN (SELECT id FROM approval_answer WHERE at < $1 LIMIT $2)",
	} {
		if err := s.batches(ctx, query, before); err != nil {
			return err
		}
	}
	return nil
}
