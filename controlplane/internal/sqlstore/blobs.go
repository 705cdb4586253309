// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Blobs implements catalog.Store.
func (s *Store) Blobs(ctx context.Context, hashes []catalog.Hash) ([][]byte, error) {
	out := make([][]byte, len(hashes))
	return out, s.view(ctx, func(tx *sql.Tx, _ catalog.Head) error {
		found := make(map[catalog.Hash][]byte, len(hashes))
		for some := range slices.Chunk(hashes, blobsAtOnce) {
			if err := readBlobs(ctx, tx, some, found); err != nil {
				return err
			}
		}
		for i, h := range hashes {
			if out[i] = found[h]; out[i] == nil {
				return fault.Newf(fault.NotFound, record.ReasonBlobNotFound, "There is no blob %x.", h)
			}
		}
		return nil
	})
}

// blobsAtOnce is how many blobs one statement reads: a node that starts asks for all of them.
const blobsAtOnce = 256

// readBlobs adds those of the blobs that exist.
func readBlobs(ctx context.Context, tx *sql.Tx, hashes []catalog.Hash, found map[catalog.Hash][]byte) error {
	var in strings.Builder
	args := make([]any, len(hashes))
	for i := range hashes {
		_, _ = fmt.Fprintf(&in, ",$%d", i+1) // a Builder takes everything
		args[i] = hashes[i][:]
	}
	rows, err := tx.QueryContext(ctx, "SELECT hash, body FROM blob WHERE hash IN ("+in.String()[1:]+")", args...) //nolint:gosec // numbers of arguments
	if err != nil {
		return sqlfault.Classify("read blobs", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	for rows.Next() {
		var hash sql.RawBytes
		body := []byte{} // an empty one is one, too
		if err := rows.Scan(&hash, &body); err != nil {
			return sqlfault.Classify("read blobs", err)
		}
		found[catalog.Hash(hash)] = body
	}
	return sqlfault.Classify("read blobs", rows.Err())
}
