// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/kit/dbcopy"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// everything is a store's contents, as its readers see them.
func everything(t *testing.T, s *sqlstore.Store) (out []any) {
	t.Helper()
	head, err := s.Snapshot(t.Context(), func(r *catalog.Record) error { out = append(out, *r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.Changes(t.Context(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	notes, err := s.Notes(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	rollout, err := s.Rollout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return append(out, head, log, notes, rollout)
}

// A database survives the way from SQLite to PostgreSQL and back: epoch, revision, resources, log and notes are the same,
// and the log goes on. No target with something in it is touched.
func TestCopy(t *testing.T) {
	h := newHistory(t, sqliteDSN(t))
	h.change("gw", 0, 1)
	h.discover("zwei <&> \u2028")
	h.remove(catalog.KindGateway, "gw")
	for i := range 100 { // more than one statement's rows
		create(t, h.Catalog, gateway(fmt.Sprintf("gw-%d", i), i%3))
	}
	if _, err := h.Apply(t.Context(), system(), []catalog.Object{gateway("staged")}, catalog.ApplyOptions{Staged: true}); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"eu/a": []byte("{}"), "eu/b": {}, "eu/c": {0, 1, 2, 255}} {
		if err := h.store.Note(t.Context(), "node", name, body); err != nil {
			t.Fatal(err)
		}
	}
	want := everything(t, h.store)
	middle, back := pgtest.New(t), sqliteDSN(t)
	told := make(map[string]int64)
	first, err := h.store.Copy(t.Context(), middle, func(table string, rows int64, done bool) {
		if done {
			told[table] = rows
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	onPostgres := open(t, sqlstore.Config{DSN: middle})
	if diff := cmp.Diff(want, everything(t, onPostgres), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("PostgreSQL differs (-want +got):\n%s", diff)
	}
	second, err := onPostgres.Copy(t.Context(), back, nil)
	if err != nil {
		t.Fatal(err)
	}
	returned := open(t, sqlstore.Config{DSN: back})
	if diff := cmp.Diff(want, everything(t, returned), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("SQLite differs after the way back (-want +got):\n%s", diff)
	}
	if first != second || first.Digest == "" || first.Rows == 0 || told["change"] == 0 {
		t.Errorf("there: %+v, back: %+v, progress %v; want the same", first, second, told)
	}
	for name, s := range map[string]*sqlstore.Store{"PostgreSQL": onPostgres, "SQLite": returned} {
		if rev := put(t, s, "after", name); rev != first.Head.Revision+1 {
			t.Errorf("on %s the log goes on with %d; want %d", name, rev, first.Head.Revision+1)
		}
	}
	for _, dsn := range []string{middle, back} {
		_, err := h.store.Copy(t.Context(), dsn, nil)
		if f := fault.From(err); err == nil || f.Kind != fault.Precondition || f.Reason != dbcopy.ReasonTargetNotEmpty {
			t.Errorf("copy to a database that is not empty: %v", err)
		}
	}
	if got := everything(t, returned); len(got) != len(want)+1 {
		t.Errorf("the refused copy changed something: %d things; want %d", len(got), len(want)+1)
	}
}
