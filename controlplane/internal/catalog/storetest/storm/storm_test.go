// SPDX-License-Identifier: Apache-2.0

package storm_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/storetest/storm"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
)

// liar is a store whose log is not what it says, from some revision on.
type liar struct {
	catalog.Store

	lie func(catalog.Change) []catalog.Change
}

func (l *liar) Changes(ctx context.Context, after catalog.Revision, limit int) ([]catalog.Change, error) {
	page, err := l.Store.Changes(ctx, after, limit)
	var out []catalog.Change
	for _, c := range page {
		if c.Revision == 50 {
			out = append(out, l.lie(c)...)
		} else {
			out = append(out, c)
		}
	}
	return out, err
}

// The proof that a storm can fail: it notices each way in which a log can lie.
func TestStormNotices(t *testing.T) {
	other := func(c catalog.Change) catalog.Change {
		op := c.Ops[0]
		rec := *op.Record
		rec.Body = []byte(`{"run":1,"writer":0,"n":1,"proof":""}`)
		op.Record = &rec
		c.Ops = []catalog.Op{op}
		return c
	}
	next := func(c catalog.Change) catalog.Change { c.Revision++; return c }
	for name, tc := range map[string]struct {
		lie func(catalog.Change) []catalog.Change
		bad func(storm.Result) int64
	}{
		"honest":          {func(c catalog.Change) []catalog.Change { return []catalog.Change{c} }, nil},
		"one is missing":  {func(catalog.Change) []catalog.Change { return nil }, func(r storm.Result) int64 { return min(r.Lost, r.Reordered) }},
		"one comes twice": {func(c catalog.Change) []catalog.Change { return []catalog.Change{c, c} }, func(r storm.Result) int64 { return min(r.Phantom, r.Reordered) }},
		"other content":   {func(c catalog.Change) []catalog.Change { return []catalog.Change{other(c)} }, func(r storm.Result) int64 { return r.Phantom }},
		"other revision":  {func(c catalog.Change) []catalog.Change { return []catalog.Change{next(c)} }, func(r storm.Result) int64 { return r.Reordered }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			s := memstore.New(nil)
			defer s.Wait()
			defer cancel()
			r, err := storm.Run(ctx, storm.Config{
				Writers: s, Reader: &liar{s, tc.lie}, Commits: 200, Parallel: 4, Seed: 7, CheckEvery: 50 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			if tc.bad == nil && (r.Bad() > 0 || !r.Complete) || tc.bad != nil && tc.bad(r) == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}
