// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"strings"

	"github.com/benbjohnson/immutable"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// overlay is a Base that shows written rows in front of those below. The rows are sorted, because a transaction of
// 10,000 gateways reads as many short ranges of assignments.
type overlay struct {
	below *cache
	rows  *immutable.SortedMapBuilder[catalog.Key, *catalog.Record]
}

func newOverlay(b Base) *overlay {
	return &overlay{below: newCache(b), rows: immutable.NewSortedMapBuilder[catalog.Key, *catalog.Record](Order{})}
}

// Order is the order of keys of D-2: by kind, then by name, byte by byte.
type Order struct{}

// Compare implements immutable.Comparer.
func (Order) Compare(a, b catalog.Key) int {
	if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

func (o *overlay) Row(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	if rec, ok := o.rows.Get(key); ok {
		return rec, nil
	}
	return o.below.Row(ctx, key)
}

func (o *overlay) Range(ctx context.Context, s Span, limit int) ([]*catalog.Record, error) {
	recs, err := o.below.Range(ctx, s, limit)
	if err != nil {
		return nil, err
	}
	// Below a limit nothing is known of the names after the last one, so written rows beyond it must wait.
	full := limit > 0 && len(recs) == limit
	var mine []*catalog.Record
	it := o.rows.Iterator()
	for it.Seek(catalog.Key{Kind: s.Kind, Name: s.From}); !it.Done(); {
		key, rec, _ := it.Next()
		if key.Kind != s.Kind || s.To != "" && key.Name >= s.To || full && key.Name > recs[limit-1].Name {
			break
		}
		if s.Contains(key.Name) {
			mine = append(mine, rec)
		}
	}
	if len(mine) == 0 {
		return recs, nil
	}
	return cut(merge(mine, recs), limit), nil
}

// merge joins two sorted lists; where both have a name, the first list's record stays.
func merge(a, b []*catalog.Record) []*catalog.Record {
	out := make([]*catalog.Record, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := strings.Compare(a[0].Name, b[0].Name); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func (o *overlay) Lookup(ctx context.Context, kind catalog.Kind, value string) (*catalog.Record, error) {
	it := o.rows.Iterator()
	for it.Seek(catalog.Key{Kind: kind}); !it.Done(); {
		key, rec, _ := it.Next()
		if key.Kind != kind {
			break
		}
		if rec.Lookup == value && rec.DeleteTime.IsZero() {
			return rec, nil
		}
	}
	rec, err := o.below.Lookup(ctx, kind, value)
	if err != nil || rec == nil {
		return nil, err
	}
	if _, written := o.rows.Get(rec.Key); written { // it has another Lookup now, or is deleted
		return nil, nil
	}
	return rec, nil
}

func (o *overlay) Blob(ctx context.Context, hash catalog.Hash) ([]byte, error) {
	return o.below.Blob(ctx, hash)
}
