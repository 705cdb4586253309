// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// cache is a Base that reads each row once. Within one transaction its base does not change, so nothing is ever
// dropped; a transaction of 10,000 resources lives on this.
type cache struct {
	base  Base
	rows  map[catalog.Key]*catalog.Record // nil: known to be absent
	spans map[Span][]*catalog.Record      // read without a limit
}

func newCache(b Base) *cache {
	return &cache{base: b, rows: make(map[catalog.Key]*catalog.Record), spans: make(map[Span][]*catalog.Record)}
}

func (c *cache) Row(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	if rec, ok := c.rows[key]; ok {
		return rec, nil
	}
	if _, ok := c.spans[Span{Kind: key.Kind}]; ok { // all of the kind was read, and it was not among them
		return nil, nil
	}
	rec, err := c.base.Row(ctx, key)
	if err != nil {
		return nil, err
	}
	c.rows[key] = rec
	return rec, nil
}

func (c *cache) Range(ctx context.Context, s Span, limit int) ([]*catalog.Record, error) {
	if all, ok := c.spans[s]; ok {
		return cut(all, limit), nil
	}
	if all, ok := c.spans[Span{Kind: s.Kind}]; ok {
		return cut(within(all, s), limit), nil
	}
	recs, err := c.base.Range(ctx, s, limit)
	if err != nil {
		return nil, err
	}
	for _, rec := range recs {
		c.rows[rec.Key] = rec
	}
	if limit <= 0 || len(recs) < limit {
		c.spans[s] = recs
	}
	return recs, nil
}

func (c *cache) Lookup(ctx context.Context, kind catalog.Kind, value string) (*catalog.Record, error) {
	return c.base.Lookup(ctx, kind, value)
}

func (c *cache) Blob(ctx context.Context, hash catalog.Hash) ([]byte, error) {
	return c.base.Blob(ctx, hash)
}

// within returns the part of sorted records that lies in a span.
func within(recs []*catalog.Record, s Span) []*catalog.Record {
	from, found := slices.BinarySearchFunc(recs, s.From, byName)
	if found && s.Open {
		from++
	}
	to := len(recs)
	if s.To != "" {
		to, _ = slices.BinarySearchFunc(recs, s.To, byName)
	}
	return recs[min(from, to):to]
}

func byName(r *catalog.Record, name string) int { return strings.Compare(r.Name, name) }

func cut(recs []*catalog.Record, limit int) []*catalog.Record {
	if limit > 0 && len(recs) > limit {
		return recs[:limit]
	}
	return recs
}
