// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// detail is the stored form of a change's denials and operations.
type detail struct {
	Denials []keyRow `json:"denials,omitempty"`
	Ops     []opRow  `json:"ops"`
	Undo    bool     `json:"undo,omitempty"` // operations have what was before
	Staged  bool     `json:"staged,omitempty"`
}

type keyRow struct {
	Kind catalog.Kind `json:"kind"`
	Name string       `json:"name"`
}

// opRow is an operation. Bodies are base64: they must come back byte for byte, and JSON within JSON would be rewritten.
type opRow struct {
	keyRow
	stateRow

	Delete bool      `json:"delete,omitempty"`
	Before *stateRow `json:"before,omitempty"`
}

type stateRow struct {
	UID     string `json:"uid,omitempty"`
	Version []byte `json:"version,omitempty"`
	Body    []byte `json:"body,omitempty"`
	Blobs   []byte `json:"blobs,omitempty"`
	Lookup  string `json:"lookup,omitempty"`
	Created int64  `json:"created,omitempty"`
	Updated int64  `json:"updated,omitempty"`
}

// appendAndNotify is appendChange and NOTIFY in one statement of PostgreSQL: others wait for the lock meanwhile, and each
// statement is a round trip.
const appendAndNotify = "WITH h AS (UPDATE head SET revision = revision + 1 WHERE id = 1 RETURNING revision), " +
	"c AS (INSERT INTO change (id, revision, actor, at, atomic, detail) SELECT $1::bigint, revision, $2::text, $3::bigint, $4::bigint, $5::bytea FROM h) " +
	"SELECT h.revision FROM h, LATERAL (SELECT pg_notify('" + channel + "', h.revision::text)) AS n"

// appendChange gives the transaction its revision and stores its change: the last statements before the commit (D-1).
func (s *Store) appendChange(ctx context.Context, tx *sql.Tx, id int64, actor string, plan stage.Plan) (rev catalog.Revision, err error) {
	body, err := json.Marshal(toDetail(plan.Change(0, actor)))
	if err != nil {
		return 0, fmt.Errorf("encode change: %w", err)
	}
	atomic := 0
	if plan.Atomic {
		atomic = 1
	}
	if s.pg != nil {
		err = tx.QueryRowContext(ctx, appendAndNotify, id, actor, fromTime(plan.Time), atomic, body).Scan(&rev)
		return rev, sqlfault.Classify("store change", err)
	}
	err = tx.QueryRowContext(ctx, "UPDATE head SET revision = revision + 1 WHERE id = 1 RETURNING revision").Scan(&rev)
	if err != nil {
		return 0, sqlfault.Classify("advance head", err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO change (id, revision, actor, at, atomic, detail) VALUES ($1, $2, $3, $4, $5, $6)",
		id, rev, actor, fromTime(plan.Time), atomic, body)
	return rev, sqlfault.Classify("store change", err)
}

func toDetail(c catalog.Change) detail {
	d := detail{Ops: make([]opRow, len(c.Ops)), Undo: c.Undo, Staged: c.Staged}
	for _, k := range c.Denials {
		d.Denials = append(d.Denials, keyRow(k))
	}
	for i, op := range c.Ops {
		d.Ops[i] = opRow{keyRow: keyRow(op.Key), Delete: op.Delete}
		if op.Record != nil {
			d.Ops[i].stateRow = toState(op.Record)
		}
		if op.Before != nil {
			before := toState(op.Before)
			d.Ops[i].Before = &before
		}
	}
	return d
}

func toState(r *catalog.Record) stateRow {
	return stateRow{
		UID: r.UID, Version: r.Version[:], Body: r.Body, Blobs: joinHashes(r.Blobs),
		Lookup: r.Lookup, Created: fromTime(r.CreateTime), Updated: fromTime(r.UpdateTime),
	}
}

// record returns the state of a change's operation.
func (row stateRow) record(key catalog.Key, rev catalog.Revision) (*catalog.Record, error) {
	if len(row.Version) != len(catalog.Hash{}) || len(row.Blobs)%len(catalog.Hash{}) != 0 {
		return nil, fmt.Errorf("change %d has a damaged operation on %s %q", rev, key.Kind, key.Name)
	}
	return &catalog.Record{
		Key: key, UID: row.UID, Version: catalog.Hash(row.Version), Body: row.Body, Blobs: splitHashes(row.Blobs),
		Lookup: row.Lookup, CreateTime: toTime(row.Created), UpdateTime: toTime(row.Updated), Revision: rev,
	}, nil
}

// fill adds a stored detail to a change.
func (d detail) fill(c *catalog.Change) error {
	for _, k := range d.Denials {
		c.Denials = append(c.Denials, catalog.Key(k))
	}
	c.Ops, c.Undo, c.Staged = make([]catalog.Op, len(d.Ops)), d.Undo, d.Staged
	for i, row := range d.Ops {
		key := catalog.Key(row.keyRow)
		c.Ops[i] = catalog.Op{Key: key, Delete: row.Delete}
		if row.Before != nil {
			before, err := row.Before.record(key, 0)
			if err != nil {
				return err
			}
			c.Ops[i].Before = before
		}
		if row.Delete {
			continue
		}
		rec, err := row.record(key, c.Revision)
		if err != nil {
			return err
		}
		c.Ops[i].Version, c.Ops[i].Record = rec.Version, rec
	}
	return nil
}

// Changes implements catalog.Store (D-7).
func (s *Store) Changes(ctx context.Context, after catalog.Revision, limit int) (out []catalog.Change, err error) {
	err = s.view(ctx, func(tx *sql.Tx, h catalog.Head) error {
		out, err = changesAfter(ctx, tx, h, after, limit)
		return err
	})
	return out, err
}

func changesAfter(ctx context.Context, tx *sql.Tx, h catalog.Head, after catalog.Revision, limit int) ([]catalog.Change, error) {
	var floor catalog.Revision
	if err := tx.QueryRowContext(ctx, "SELECT floor FROM head WHERE id = 1").Scan(&floor); err != nil {
		return nil, sqlfault.Classify("read floor", err)
	}
	if after < floor || after > h.Revision {
		return nil, fault.Newf(fault.Stale, record.ReasonRevisionUnknown,
			"The log has the changes after revision %d up to %d; it was asked for those after %d.", floor, h.Revision, after)
	}
	rows, err := tx.QueryContext(ctx, "SELECT revision, actor, at, atomic, detail FROM change WHERE revision > $1 ORDER BY revision LIMIT $2", after, limit)
	if err != nil {
		return nil, sqlfault.Classify("read changes", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	var out []catalog.Change
	for rows.Next() {
		var c catalog.Change
		var at int64
		var body []byte
		if err := rows.Scan(&c.Revision, &c.Actor, &at, &c.Atomic, &body); err != nil {
			return nil, sqlfault.Classify("read changes", err)
		}
		var d detail
		if err := json.Unmarshal(body, &d); err != nil {
			return nil, fmt.Errorf("decode change %d: %w", c.Revision, err)
		}
		c.Time = toTime(at)
		if err := d.fill(&c); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, sqlfault.Classify("read changes", rows.Err())
}

// Snapshot implements catalog.Store (D-8).
func (s *Store) Snapshot(ctx context.Context, yield func(*catalog.Record) error) (head catalog.Head, err error) {
	err = s.view(ctx, func(tx *sql.Tx, h catalog.Head) error {
		head = h
		rows, err := tx.QueryContext(ctx, selectRows+"WHERE r.deleted_at = 0 ORDER BY r.kind, r.name")
		if err != nil {
			return sqlfault.Classify("read snapshot", err)
		}
		defer func() { _ = rows.Close() }() // read to the end or given up
		for rows.Next() {
			rec, _, err := scanRow(rows.Scan)
			if err != nil {
				return sqlfault.Classify("read snapshot", err)
			}
			if err := yield(rec); err != nil {
				return err
			}
		}
		return sqlfault.Classify("read snapshot", rows.Err())
	})
	if err != nil {
		return catalog.Head{}, err
	}
	return head, nil
}
