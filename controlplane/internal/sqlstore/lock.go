// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// maxLockRuns bounds the statements that locking takes; beyond it every row is locked FOR UPDATE.
const maxLockRuns = 64

// wanted is a row to be locked, for writing or for relying on it.
type wanted struct {
	key       catalog.Key
	exclusive bool
}

// lock takes the row locks of a plan in (kind, name) order (D-2), so that there is no cycle, and makes sure that nothing
// was changed since it was read. Only PostgreSQL needs it.
func lock(ctx context.Context, tx *sql.Tx, plan stage.Plan, seen *trace) error {
	var want []wanted
	for _, w := range plan.Writes {
		if w.Previous != nil {
			want = append(want, wanted{w.Record.Key, true})
		}
	}
	for _, k := range plan.Touched {
		want = append(want, wanted{k, true})
	}
	for _, k := range plan.Read {
		want = append(want, wanted{k, false})
	}
	slices.SortFunc(want, func(a, b wanted) int { return stage.Order{}.Compare(a.key, b.key) })
	for _, run := range lockRuns(want) {
		if err := lockRun(ctx, tx, run, seen); err != nil {
			return err
		}
	}
	for _, l := range seen.ranges {
		if err := unchanged(ctx, tx, l); err != nil {
			return err
		}
	}
	return nil
}

// lockRuns cuts sorted rows into runs of one lock strength, since one statement takes one.
func lockRuns(want []wanted) [][]wanted {
	var runs [][]wanted
	for _, w := range want {
		if n := len(runs); n > 0 && runs[n-1][0].exclusive == w.exclusive {
			runs[n-1] = append(runs[n-1], w)
		} else {
			runs = append(runs, []wanted{w})
		}
	}
	if len(runs) <= maxLockRuns {
		return runs
	}
	for i := range want {
		want[i].exclusive = true
	}
	return [][]wanted{want}
}

func lockRun(ctx context.Context, tx *sql.Tx, run []wanted, seen *trace) error {
	kinds, names := make([]string, len(run)), make([]string, len(run))
	for i, w := range run {
		kinds[i], names[i] = string(w.key.Kind), w.key.Name
	}
	strength := "SHARE"
	if run[0].exclusive {
		strength = "UPDATE"
	}
	rows, err := tx.QueryContext(ctx, "SELECT r.kind, r.name, r.change_id FROM unnest($1::text[], $2::text[]) AS k (kind, name) "+
		"JOIN resource r ON r.kind = k.kind AND r.name = k.name ORDER BY r.kind, r.name FOR "+strength+" OF r", kinds, names)
	if err != nil {
		return sqlfault.Classify("lock records", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	found := make(map[catalog.Key]int64, len(run))
	for rows.Next() {
		var key catalog.Key
		var changeID int64
		if err := rows.Scan(&key.Kind, &key.Name, &changeID); err != nil {
			return sqlfault.Classify("lock records", err)
		}
		found[key] = changeID
	}
	if err := rows.Err(); err != nil {
		return sqlfault.Classify("lock records", err)
	}
	for _, w := range run {
		if found[w.key] != seen.rows[w.key] { // 0: there is none
			return fmt.Errorf("lock records: %w: %s was changed", sqlfault.ErrLost, w.key.Kind)
		}
	}
	return nil
}

// unchanged compares a range with its fingerprint. The rows that carry the decision are locked by now, and whoever adds
// to the range must lock one of them (the gateway of an assignment, the server of a connection), so the range stays so.
// No row carries the list of a whole kind: [wholeUnchanged] looks at it again.
func unchanged(ctx context.Context, tx *sql.Tx, l listed) error {
	return compare(ctx, tx, l, 0)
}

// wholeUnchanged compares the lists of whole kinds once more, when the rows of the change are written and the log's lock
// is held. Until the commit nobody else commits, so of two transactions that look through a kind for something and then
// make it (an account of a user, an issuer), the second one notices the first. The id is that of the change.
func wholeUnchanged(ctx context.Context, tx *sql.Tx, plan stage.Plan, seen *trace, id int64) error {
	for _, l := range seen.ranges {
		if l.span.To != "" {
			continue
		}
		for _, w := range plan.Writes {
			name := w.Record.Name
			if w.Previous != nil && w.Record.Kind == l.span.Kind && l.span.Contains(name) && (l.last == "" || name <= l.last) {
				l.count, l.mark = l.count-1, l.mark^seen.rows[w.Record.Key] // the row has the id of this change now
			}
		}
		if err := compare(ctx, tx, l, id); err != nil {
			return err
		}
	}
	return nil
}

// compare checks the fingerprint of a range without the rows that a change wrote; 0 is no change.
func compare(ctx context.Context, tx *sql.Tx, l listed, id int64) error {
	where, args := bounds(l.span, l.last)
	args = append(args, id)
	var count, mark int64
	err := tx.QueryRowContext(ctx, "SELECT count(*), coalesce(bit_xor(r.change_id), 0) FROM resource r "+where+
		" AND r.change_id <> $"+strconv.Itoa(len(args)), args...).Scan(&count, &mark)
	if err != nil {
		return sqlfault.Classify("check range", err)
	}
	if count != l.count || mark != l.mark {
		return fmt.Errorf("check range: %w: the list of %s was changed", sqlfault.ErrLost, l.span.Kind)
	}
	return nil
}
