// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"bytes"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/store/storetest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestStoreSQLite(t *testing.T) {
	fresh := func(t *testing.T) store.Store {
		odd := url.URL{Scheme: "sqlite", Path: filepath.Join(t.TempDir(), "auth server?#%.db")}
		return open(t, odd.String())
	}
	storetest.Run(t, fresh)
	t.Run("oauth", func(t *testing.T) { storetest.RunOAuth(t, fresh) })
}

func TestIntegrationStorePostgres(t *testing.T) {
	pg := pgtest.Start(t)
	fresh := func(t *testing.T) store.Store { return open(t, pg.Database(t)) }
	storetest.Run(t, fresh)
	t.Run("oauth", func(t *testing.T) { storetest.RunOAuth(t, fresh) })
}

func TestSQLiteKeepsDataAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, "sqlite://"+path)
	put(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	readable(t, open(t, "sqlite://"+path))
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), mode)
		}
	}
}

func TestIntegrationPostgresKeepsData(t *testing.T) {
	database := pgtest.Start(t).Database(t)
	s := open(t, database)
	put(t, s)
	readable(t, open(t, database))
	// It keeps to its own schema: a database shared with the control plane stays clean.
	pgtest.Exec(t, database, `DO $$ BEGIN
		IF EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = 'public') THEN RAISE 'a table in public'; END IF;
		IF NOT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = 'authserver' AND tablename = 'secrets') THEN RAISE 'no table in authserver'; END IF;
	END $$`)
}

// Two processes that start on an empty database at once both come up.
func TestIntegrationPostgresStartsTogether(t *testing.T) {
	database := pgtest.Start(t).Database(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			s, err := sqlstore.Open(t.Context(), database)
			if err == nil {
				err = s.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestIntegrationPostgresRefusals(t *testing.T) {
	pg := pgtest.Start(t)
	newer := pg.Database(t)
	if err := open(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, newer, `INSERT INTO authserver.authserver_schema_version (version_id, is_applied) VALUES (9999, true)`)
	refused(t, newer, fault.Precondition, store.ReasonForeign, "newer release")

	absent := strings.Replace(newer, "/test_1", "/absent", 1)
	refused(t, absent, fault.Unavailable, store.ReasonUnavailable, "cannot be reached")
}

func TestOpenRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	half := filepath.Join(dir, "half.db")
	if err := open(t, "sqlite://"+half).Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(half)
	if err != nil {
		t.Fatal(err)
	}
	write("half.db", string(whole[:len(whole)/2])+strings.Repeat("\x00", 5))

	newer, foreign := filepath.Join(dir, "newer.db"), filepath.Join(dir, "foreign.db")
	if err := open(t, "sqlite://"+newer).Close(); err != nil {
		t.Fatal(err)
	}
	execSQLite(t, newer, `INSERT INTO authserver_schema_version (version_id, is_applied) VALUES (9999, 1)`)
	execSQLite(t, foreign, `CREATE TABLE bookmarks (url TEXT)`)
	before, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name, url, reason, says string
		kind                    fault.Kind
	}{
		{"no scheme", "/var/lib/a.db", sqlstore.ReasonURL, "neither sqlite:/// nor postgres://", fault.Invalid},
		{"empty", "", sqlstore.ReasonURL, "neither", fault.Invalid},
		{"other scheme", "mysql://u:hunter2@h/d", sqlstore.ReasonURL, "neither", fault.Invalid},
		{"relative path", "sqlite://data/a.db", sqlstore.ReasonURL, "absolute path", fault.Invalid},
		{"options in the path", "sqlite:///tmp/a.db?mode=ro", sqlstore.ReasonURL, "absolute path", fault.Invalid},
		{"garbled URL", "postgres://u:hunter2@h:port/d", sqlstore.ReasonURL, "not a valid postgres://", fault.Invalid},
		{"nobody listens", "postgres://u:hunter2@127.0.0.1:1/d", store.ReasonUnavailable, "cannot be reached", fault.Unavailable},
		{"no such directory", "sqlite://" + dir + "/none/a.db", store.ReasonForeign, "cannot be opened", fault.Precondition},
		{"a directory", "sqlite://" + dir, store.ReasonForeign, "cannot be opened", fault.Precondition},
		{"no database", "sqlite://" + write("text.db", strings.Repeat("hello ", 1000)), store.ReasonForeign, "damaged or no database", fault.Precondition},
		{"half written", "sqlite://" + half, store.ReasonForeign, "damaged", fault.Precondition},
		{"another program's", "sqlite://" + foreign, store.ReasonForeign, "another program", fault.Precondition},
		{"newer schema", "sqlite://" + newer, store.ReasonForeign, "newer release", fault.Precondition},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, c.url, c.kind, c.reason, c.says) })
	}
	if after, err := os.ReadFile(foreign); err != nil || !bytes.Equal(before, after) {
		t.Errorf("another program's file was changed: %v", err)
	}
}

func refused(t *testing.T, database string, kind fault.Kind, reason, says string) {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), database)
	if err == nil {
		t.Fatal("opened", s.Close())
	}
	f := fault.From(err)
	if f.Kind != kind || f.Reason != reason || !strings.Contains(f.Public, says) {
		t.Errorf("got %v %s %q (%v), want %v %s …%s…", f.Kind, f.Reason, f.Public, err, kind, reason, says)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func open(t *testing.T, database string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.PutSecret(t.Context(), store.Secret{Connection: "c", Version: "v", KeyID: "k", Sealed: []byte{1}}); err != nil {
		t.Fatal(err)
	}
}

func readable(t *testing.T, s store.Store) {
	t.Helper()
	if _, err := s.Secret(t.Context(), "c", "v"); err != nil {
		t.Fatal(err)
	}
}

func execSQLite(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
