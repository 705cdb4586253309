// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/storetest"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// sqliteDSN names a database that does not exist yet.
func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "controlplane.db")
}

// open opens a store and closes it after the test.
func open(t *testing.T, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.OpenConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// engines are the databases that everything must hold on.
func engines() map[string]func(*testing.T) string {
	return map[string]func(*testing.T) string{
		"SQLite":     sqliteDSN,
		"PostgreSQL": func(t *testing.T) string { t.Helper(); return pgtest.New(t) },
	}
}

func TestStore(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) catalog.Store { return open(t, sqlstore.Config{DSN: dsn(t)}) })
		})
	}
}
