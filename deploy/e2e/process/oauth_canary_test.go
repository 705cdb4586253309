// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noSecrets is the canary of the tests of OAuth: neither what programs printed nor the files of databases hold what somebody
// could log in with, call with or impersonate a client with. Codes and tokens are known by how they begin.
func noSecrets(t *testing.T, programs []*program, files []string, secrets ...string) {
	t.Helper()
	begin := []string{"psr_", "psa_", "psc_", "psg_", "eyJhbGciOi"}
	for _, p := range programs {
		for _, secret := range append(append([]string{"code=", "eyJ"}, begin...), secrets...) {
			if strings.Contains(p.stdout.String()+p.stderr.String(), secret) {
				t.Errorf("%s printed %s", p.name, hidden(secret))
			}
		}
	}
	known := false // that the files are read where something would be: redirect hosts are kept in clear
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		known = known || bytes.Contains(text, []byte("http://127.0.0.1"))
		for _, secret := range append(begin, secrets...) {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %s", file, hidden(secret))
			}
		}
	}
	if !known {
		t.Errorf("%q hold nothing that is known to be in them", files)
	}
}

// hidden says which secret it is without saying it.
func hidden(secret string) string { return fmt.Sprintf("a secret that begins with %.4q", secret) }

// databases are the SQLite files in a folder.
func databases(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", dir, err)
	}
	return files
}

// postgresFiles are the files of a PostgreSQL of the test's own, its log of changes among them.
func postgresFiles(t *testing.T, url string) []string {
	t.Helper()
	dir := psql(t, url, "SHOW data_directory")
	psql(t, url, "CHECKPOINT") // what is in memory is written
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files in %s: %v", len(files), dir, err)
	}
	return files
}

// psql runs a statement as an operator does, and returns what it printed.
func psql(t *testing.T, url, statement string) string {
	t.Helper()
	got := run(t, options{}, filepath.Join(postgresPrograms(t), "psql"), "-X", "-tAc", statement, url)
	if got.code != 0 {
		t.Fatalf("%s: exit code %d: %s", statement, got.code, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}
