// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Maintenance forgets what is old and needed by nobody, and nothing else.
func TestMaintain(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := open(t, sqlstore.Config{DSN: dsn(t), KeepRevisions: 3, Now: func() time.Time { return now }})
			kept, dropped := blobs(t, s)
			maintain := func(after time.Duration) {
				t.Helper()
				now = now.Add(after)
				if err := s.Maintain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			has := func(h catalog.Hash) bool {
				t.Helper()
				_, err := s.Blobs(t.Context(), []catalog.Hash{h})
				if err != nil && fault.KindOf(err) != fault.NotFound {
					t.Fatal(err)
				}
				return err == nil
			}
			for i := range 10 {
				put(t, s, "a", fmt.Sprint(i))
			}
			head, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}

			maintain(time.Hour) // nothing is old
			if log, err := s.Changes(t.Context(), 0, 100); err != nil || len(log) != int(head.Revision) {
				t.Errorf("after an hour: %d changes, %v", len(log), err)
			}
			now = now.Add(time.Hour)
			for i := range 3 { // so that no revision that is kept needs the blob
				put(t, s, "a", fmt.Sprint("again ", i))
			}
			if head, err = s.Head(t.Context()); err != nil {
				t.Fatal(err)
			}
			maintain(23 * time.Hour) // the log is compacted, the blob marked the first time is dropped
			if _, err := s.Changes(t.Context(), head.Revision-4, 100); fault.KindOf(err) != fault.Stale {
				t.Errorf("below the floor: %v; want Stale", err)
			}
			if log, err := s.Changes(t.Context(), head.Revision-3, 100); err != nil || len(log) != 3 {
				t.Errorf("above the floor: %d changes, %v", len(log), err)
			}
			if !has(kept) || !has(dropped) {
				t.Errorf("blobs: %v, %v; both are kept a day after they are needed no more", has(kept), has(dropped))
			}
			maintain(time.Minute)
			if !has(kept) || has(dropped) {
				t.Errorf("blobs: %v, %v; want the first one only", has(kept), has(dropped))
			}
			if rec := stored(t, s, "tool", "t"); rec == nil || rec.Revision != 2 {
				t.Errorf("a record of a forgotten change is %+v", rec)
			}

			deleted := func() (n int) {
				t.Helper()
				err := s.Read(t.Context(), func(_ catalog.Head, r catalog.Reader) error {
					recs, err := r.List(t.Context(), "server", "", 10, true)
					n = len(recs)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			_, _, err = s.Write(t.Context(), "system", func(tx catalog.Tx) error {
				return tx.Delete(t.Context(), catalog.Key{Kind: "server", Name: "a"})
			})
			if err != nil {
				t.Fatal(err)
			}
			maintain(catalog.KeepDeleted - time.Minute)
			if deleted() != 1 {
				t.Error("a deleted record is gone before its 30 days")
			}
			maintain(2 * time.Minute)
			if deleted() != 0 {
				t.Error("a deleted record is there after its 30 days")
			}
			put(t, s, "b", "x") // and the log goes on without a gap
			if log, err := s.Changes(t.Context(), head.Revision+1, 100); err != nil || len(log) != 1 || log[0].Revision != head.Revision+2 {
				t.Errorf("%v, %v", log, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// blobs stores a blob that a record needs and one that none needs any more.
func blobs(t *testing.T, s *sqlstore.Store) (kept, dropped catalog.Hash) {
	t.Helper()
	for _, text := range []string{"dropped", "kept"} {
		_, _, err := s.Write(t.Context(), "system", func(tx catalog.Tx) (err error) {
			dropped = kept
			if kept, err = tx.PutBlob(t.Context(), []byte(text)); err != nil {
				return err
			}
			return tx.Put(t.Context(), &catalog.Record{Key: catalog.Key{Kind: "tool", Name: "t"}, Body: []byte("{}"), Blobs: []catalog.Hash{kept}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return kept, dropped
}

func stored(t *testing.T, s catalog.Store, kind catalog.Kind, name string) (rec *catalog.Record) {
	t.Helper()
	err := s.Read(t.Context(), func(_ catalog.Head, r catalog.Reader) (err error) {
		rec, err = r.Get(t.Context(), catalog.Key{Kind: kind, Name: name})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}
