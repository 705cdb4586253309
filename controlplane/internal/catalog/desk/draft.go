// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Draft is a desk at which something is written.
type Draft struct {
	*Desk

	Tx record.Tx
}

// NewDraft returns a draft for a caller.
func NewDraft(tx record.Tx, caller access.Caller) *Draft {
	return &Draft{Desk: New(tx, caller), Tx: tx}
}

// Put stores the record of a resource. Lookup is its second key, empty for none. A gateway's tools are not stored with it.
func (d *Draft) Put(ctx context.Context, o resource.Object, uid, lookup string) error {
	body, err := resource.Encode(o)
	if err != nil {
		return err
	}
	rec := &record.Record{Key: record.Key{Kind: o.Kind(), Name: o.Metadata().Name}, UID: uid, Body: body, Lookup: lookup}
	if t, ok := o.(*resource.Tool); ok {
		if rec.Blobs, err = blobsOf(t); err != nil {
			return err
		}
	}
	return d.Tx.Put(ctx, rec)
}

// PutBack stores a deleted record as it was.
func (d *Draft) PutBack(ctx context.Context, dead *record.Record) error {
	return d.Tx.Put(ctx, &record.Record{Key: dead.Key, UID: dead.UID, Body: dead.Body, Blobs: dead.Blobs, Lookup: dead.Lookup})
}

// Take deletes a record and denies what it gave (D-30).
func (d *Draft) Take(ctx context.Context, key record.Key) error {
	d.Tx.Deny(key)
	return d.Tx.Delete(ctx, key)
}

// Definitions fills in the bytes of a tool's definitions.
func (d *Desk) Definitions(ctx context.Context, t *resource.Tool) (err error) {
	if t.Definition, err = d.blob(ctx, t.BodyHash); err != nil {
		return err
	}
	t.PendingDefinition, err = d.blob(ctx, t.PendingBodyHash)
	return err
}

func (d *Desk) blob(ctx context.Context, digits string) ([]byte, error) {
	if digits == "" {
		return nil, nil
	}
	hash, err := parseHash(digits)
	if err != nil {
		return nil, err
	}
	return d.R.Blob(ctx, hash)
}

func parseHash(digits string) (h record.Hash, err error) {
	if n, err := hex.Decode(h[:], []byte(digits)); err != nil || n != len(h) || len(digits) != 2*len(h) {
		return h, fmt.Errorf("%q is not a SHA-256", digits)
	}
	return h, nil
}

// blobsOf returns the blobs that a tool needs: its accepted definition, and the pending one, so that nodes have it when
// it is accepted.
func blobsOf(t *resource.Tool) ([]record.Hash, error) {
	var out []record.Hash
	for _, digits := range []string{t.BodyHash, t.PendingBodyHash} {
		if digits == "" {
			continue
		}
		h, err := parseHash(digits)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}
