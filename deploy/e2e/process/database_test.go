// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// damage does something to a database file.
type damage func(t *testing.T, path string)

// cut leaves the first share of a file, as a crash of the machine or a full disk does.
func cut(numerator, denominator int64) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()*numerator/denominator); err != nil {
			t.Fatal(err)
		}
	}
}

// overwrite puts bytes into the middle of a file.
func overwrite(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Whole pages, but not the first, which holds the schema: an unused page alone would not be noticed.
	for i := 4096; i < len(text)-64; i += 512 {
		copy(text[i:], "not what a page holds")
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace puts another file in the place.
func replace(text string) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// execute changes the content; a fresh file makes another program's database.
func execute(fresh bool, statement string) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		if fresh {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Exec(statement)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// badDatabase is a database that a program must refuse, and words of the refusal.
type badDatabase struct {
	program, name string
	damage        damage
	want          string
}

func badDatabases() []badDatabase {
	return []badDatabase{
		{"controlplane", "half written", cut(3, 5), "damaged"},
		{"controlplane", "cut in the header", cut(1, 50000), "not an SQLite database"},
		{"controlplane", "pages overwritten", overwrite, "damaged"},
		{"controlplane", "not a database", replace("Dear diary,\n"), "not an SQLite database"},
		{"controlplane", "another program's", execute(true, "CREATE TABLE song (title text)"), "not a Penstock control plane's"},
		{"controlplane", "newer schema", execute(false, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"), "newer Penstock"},
		{"controlplane", "head ahead of the log", execute(false, "UPDATE head SET revision = revision + 1"), "half-written"},
		{"controlplane", "a table is missing", execute(false, "DROP TABLE note"), "incomplete"},
		{"authserver", "half written", cut(3, 5), "damaged"},
		{"authserver", "pages overwritten", overwrite, "damaged"},
		{"authserver", "not a database", replace("Dear diary, today I learned that a header has 100 bytes and that this is no such header at all.\n"), "damaged or no database"},
		{"authserver", "another program's", execute(true, "CREATE TABLE song (title text)"), "belongs to another program"},
		{"authserver", "newer schema", execute(false, "INSERT INTO authserver_schema_version (version_id, is_applied) VALUES (9999, 1)"), "newer release"},
	}
}

// TestBadDatabase: what cannot be used is refused with a sentence that says so, and is left as it was.
func TestBadDatabase(t *testing.T) {
	f := newFleet(t)
	control, auth, node := f.startAll()
	u := newUpstream(t, "s3cret")
	f.apply([]string{"KEY=s3cret"}, protectedManifests(u.URL))
	for _, p := range []*program{node, control, auth} {
		p.stop()
	}
	database, secrets := f.path("controlplane.db"), f.path("authserver.db")
	for _, tt := range badDatabases() {
		t.Run(tt.program+" "+tt.name, func(t *testing.T) {
			// A fleet of its own in the place of the other, so that both programs start the usual way.
			g := *f
			g.t = t
			g.dir = t.TempDir()
			source, path := database, filepath.Join(g.dir, "controlplane.db")
			begin := g.startControl
			if tt.program == "authserver" {
				source, path, begin = secrets, filepath.Join(g.dir, "authserver.db"), g.startAuth
			}
			g.database, g.secrets = "sqlite://"+path, "sqlite://"+path
			copyFile(t, source, path)
			copyFile(t, f.path("vault.keyset"), filepath.Join(g.dir, "vault.keyset"))
			tt.damage(t, path)
			before := readBytes(t, path)
			p := begin()
			if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), tt.want) {
				t.Errorf("exit code %d, want 1, and %q in: %s", code, tt.want, p.stderr.tail())
			}
			if !strings.Contains(p.stderr.String(), path) {
				t.Errorf("no name of the file in: %s", p.stderr.tail())
			}
			if strings.Contains(p.stderr.String(), "goroutine ") {
				t.Errorf("it panicked: %s", p.stderr.tail())
			}
			if !bytes.Equal(before, readBytes(t, path)) {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("authserver without its keys", func(t *testing.T) { // SE-3
		g := *f
		g.t, g.dir = t, t.TempDir()
		p := g.startAuth() // the secrets of the first fleet, a folder without a key file
		if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "key file (vault.keyset) is missing") {
			t.Errorf("exit code %d, want 1 and the missing key file: %s", code, p.stderr.tail())
		}
		if _, err := os.Stat(g.path("vault.keyset")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a key file was made although secrets need another one: %v", err)
		}
	})
	t.Run("nothing of it broke the originals", func(t *testing.T) {
		_, _, node := f.startAll()
		if got := f.must("get", "gateway", "locked", "-o", "json"); !strings.Contains(got, `"locked"`) {
			t.Errorf("got %s", got)
		}
		node.stop()
	})
}

// TestBadDatabaseStandalone: the same error, from the one process that has both.
func TestBadDatabaseStandalone(t *testing.T) {
	for name, want := range map[string]string{"controlplane.db": "not an SQLite database", "authserver.db": "damaged or no database"} {
		t.Run(name, func(t *testing.T) {
			a := newAlone(t)
			if err := os.Mkdir(a.data, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(a.data, name)
			replace(strings.Repeat("Dear diary, ", 100))(t, path)
			before := readBytes(t, path)
			got := run(t, a.options(), "penstock-standalone", "--demo")
			if got.code != 1 || !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, path) || strings.Contains(got.stdout, "is running") {
				t.Errorf("exit code %d, %q; want 1, %q and the name of the file", got.code, got.stderr, want)
			}
			if !bytes.Equal(before, readBytes(t, path)) {
				t.Error("the file was changed")
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, readBytes(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readBytes(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
