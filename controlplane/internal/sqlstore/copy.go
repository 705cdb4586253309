// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/schema"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/dbcopy"
)

// Copied is what [Copy] did.
type Copied struct {
	dbcopy.Count

	Head catalog.Head // of both databases
}

// Copy copies everything from the store into the empty database that a DSN names, of whatever kind: resources, the whole
// revision log, tokens and notes, with the epoch and the revision, so that nodes go on where they are. It is one transaction
// on each side; what is written to the store meanwhile is not in the copy, so it is for a store that nobody writes to. A
// database that is not empty is refused, and an interrupted copy leaves nothing. Progress may be nil. Faults: those of
// [Open], and Precondition with reason COPY_TARGET_NOT_EMPTY.
func (s *Store) Copy(ctx context.Context, dsn string, progress func(table string, rows int64, done bool)) (out Copied, err error) {
	to, err := Open(ctx, dsn)
	if err != nil {
		return Copied{}, fmt.Errorf("open the database to copy to: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	var tables []dbcopy.Table
	for _, name := range schema.Copied() {
		tables = append(tables, dbcopy.Table{Name: name, Seeded: schema.Seeded(name)})
	}
	err = s.view(ctx, func(from *sql.Tx, h catalog.Head) error {
		out.Head = h
		return to.inTx(ctx, func(tx *sql.Tx) error {
			out.Count, err = dbcopy.Run(ctx, dbcopy.Job{From: from, To: tx, Tables: tables, Progress: progress})
			return sqlfault.Classify("copy the database", err)
		})
	})
	if err != nil {
		return Copied{}, err
	}
	got, err := to.Head(ctx)
	if err == nil && got != out.Head {
		err = fmt.Errorf("the copy is at revision %d of %s", got.Revision, got.Epoch)
	}
	return out, err
}
