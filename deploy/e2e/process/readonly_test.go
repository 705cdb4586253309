// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadOnlyFolder: a folder that cannot be written is an error that names it, not a server without a memory.
func TestReadOnlyFolder(t *testing.T) {
	f := newFleet(t)
	// Not t.TempDir: its parent lets only its owner in, and the programs run as somebody else where the tests are root,
	// for whom no folder is read-only.
	shared, err := os.MkdirTemp("", "penstock-readonly-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shared) }) // a leftover harms nobody
	o := options{env: []string{portOffset(f.offset)}}
	if os.Geteuid() == 0 {
		const nobody = 65534
		o.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	dir := filepath.Join(shared, "data")
	if err := os.Mkdir(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	free := filepath.Join(shared, "free") // anybody may write here
	if err := errors.Join(os.Mkdir(free, 0o777), os.Chmod(free, 0o777)); err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(shared, "tls")
	for name, files := range f.certs {
		for _, file := range []string{files.Cert, files.Key, files.CA} {
			to := filepath.Join(certs, name, filepath.Base(file))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, readBytes(t, file), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	tls := func(name string) []string {
		return []string{"--tls.cert", filepath.Join(certs, name, "cert.pem"), "--tls.key", filepath.Join(certs, name, "key.pem"), "--tls.ca", filepath.Join(certs, name, "ca.pem")}
	}
	auth := func(database, keyset, data string) []string {
		return append(tls("authserver"), "--database", "sqlite://"+filepath.Join(database, "authserver.db"), "--vault.keyset", filepath.Join(keyset, "vault.keyset"),
			"--vault.create_keyset", "--data.dir", filepath.Join(data, "authserver"))
	}
	tests := []struct {
		program string
		args    []string
	}{
		{"penstock-standalone", []string{"--demo", "--data_dir", dir}},
		{"penstock-standalone", []string{"--demo", "--data_dir", filepath.Join(dir, "below")}},
		{"controlplane", append(tls("controlplane"), "--database", "sqlite://"+filepath.Join(dir, "controlplane.db"))},
		{"authserver", auth(dir, free, free)},
		{"authserver", auth(free, dir, free)},
		{"authserver", auth(free, free, dir)},
		{"dataplane", append(tls("node-a"), "--data.dir", dir)},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			got := run(t, o, tt.program, tt.args...)
			if got.code != 1 || !strings.Contains(got.stderr, dir) || strings.Contains(got.stderr, "goroutine ") {
				t.Errorf("exit code %d, %q; want 1 and the folder %s", got.code, got.stderr, dir)
			}
		})
	}
}
