// SPDX-License-Identifier: Apache-2.0

package memstore

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Row implements stage.Base.
func (st state) Row(_ context.Context, key catalog.Key) (*catalog.Record, error) {
	rec, _ := st.rows.Get(key)
	return rec, nil
}

// Range implements stage.Base.
func (st state) Range(ctx context.Context, s stage.Span, limit int) ([]*catalog.Record, error) {
	var out []*catalog.Record
	it := st.rows.Iterator()
	for it.Seek(catalog.Key{Kind: s.Kind, Name: s.From}); !it.Done(); {
		key, rec, _ := it.Next()
		if key.Kind != s.Kind || s.To != "" && key.Name >= s.To {
			break
		}
		if s.Contains(key.Name) {
			out = append(out, rec)
		}
		if limit > 0 && len(out) == limit {
			break
		}
	}
	return out, ctx.Err()
}

// Lookup implements stage.Base.
func (st state) Lookup(_ context.Context, kind catalog.Kind, value string) (*catalog.Record, error) {
	name, ok := st.lookups.Get(catalog.Key{Kind: kind, Name: value})
	if !ok {
		return nil, nil
	}
	rec, _ := st.rows.Get(catalog.Key{Kind: kind, Name: name})
	return rec, nil
}

// Blob implements stage.Base.
func (st state) Blob(_ context.Context, hash catalog.Hash) ([]byte, error) {
	b, _ := st.blobs.Get(string(hash[:]))
	return b, nil
}

// with returns the state after a plan.
func (st state) with(p stage.Plan, rev catalog.Revision) (state, error) {
	for _, w := range p.Writes {
		if old := w.Previous; old != nil && old.Lookup != "" && old.DeleteTime.IsZero() {
			st.lookups = st.lookups.Delete(catalog.Key{Kind: old.Kind, Name: old.Lookup})
		}
	}
	for _, w := range p.Writes {
		rec := *w.Record
		rec.Revision = rev
		if rec.Lookup != "" && rec.DeleteTime.IsZero() {
			key := catalog.Key{Kind: rec.Kind, Name: rec.Lookup}
			if _, taken := st.lookups.Get(key); taken {
				return state{}, fault.New(fault.AlreadyExists, record.ReasonLookupTaken, "Another record has the same second key.")
			}
			st.lookups = st.lookups.Set(key, rec.Name)
		}
		st.rows = st.rows.Set(rec.Key, &rec)
	}
	for hash, body := range p.Blobs {
		st.blobs = st.blobs.Set(string(hash[:]), body)
	}
	return st, nil
}
