// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/dbcopy"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// A database survives the way from SQLite to PostgreSQL and back: both copies are equal, by count and digest, and no target
// with something in it is touched.
func TestIntegrationCopy(t *testing.T) {
	lite := func(name string) string { return "sqlite://" + filepath.Join(t.TempDir(), name) }
	from := open(t, lite("from.db"))
	put(t, from)
	// An empty value, and more rows than one statement takes.
	for i := range 100 {
		s := store.Secret{Connection: "c", Version: string(rune('a'+i%26)) + string(rune('a'+i/26)), KeyID: "k", Sealed: make([]byte, i)}
		if err := from.PutSecret(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	middle, back := pgtest.Start(t).Database(t), lite("back.db")
	told := make(map[string]int64)
	first, err := from.Copy(t.Context(), middle, func(table string, rows int64, done bool) {
		if done {
			told[table] = rows
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	onPostgres := open(t, middle)
	second, err := onPostgres.Copy(t.Context(), back, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || first.Rows < 103 || told["secrets"] != 101 || told["oauth_head"] != 1 {
		t.Errorf("there: %+v, back: %+v, progress %v; want the same", first, second, told)
	}
	returned := open(t, back)
	for _, s := range []*sqlstore.Store{onPostgres, returned} {
		readable(t, s)
	}
	for _, target := range []string{middle, back} {
		_, err := from.Copy(t.Context(), target, nil)
		if f := fault.From(err); err == nil || f.Kind != fault.Precondition || f.Reason != dbcopy.ReasonTargetNotEmpty {
			t.Errorf("copy to a database that is not empty: %v", err)
		}
	}
}
