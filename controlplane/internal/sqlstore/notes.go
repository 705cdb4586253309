// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// Note implements catalog.Store. It is outside the revision log: no lock, no NOTIFY (D-5, D-6).
func (s *Store) Note(ctx context.Context, kind, name string, body []byte) error {
	if body == nil {
		body = []byte{}
	}
	_, err := s.writes.ExecContext(ctx, "INSERT INTO note (kind, name, body, at) VALUES ($1, $2, $3, $4) "+
		"ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, at = excluded.at", kind, name, body, fromTime(s.cfg.Now()))
	return sqlfault.Classify("store note", err)
}

// Notes implements catalog.Store.
func (s *Store) Notes(ctx context.Context, kind string) (map[string][]byte, error) {
	rows, err := s.reads.QueryContext(ctx, "SELECT name, body FROM note WHERE kind = $1", kind)
	if err != nil {
		return nil, sqlfault.Classify("read notes", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	out := make(map[string][]byte)
	for rows.Next() {
		var name string
		var body []byte
		if err := rows.Scan(&name, &body); err != nil {
			return nil, sqlfault.Classify("read notes", err)
		}
		out[name] = body
	}
	return out, sqlfault.Classify("read notes", rows.Err())
}
