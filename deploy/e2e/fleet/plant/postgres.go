// SPDX-License-Identifier: Apache-2.0

package plant

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

const installPostgres = "apt-get install postgresql"

// Postgres is a PostgreSQL of the plant's own.
type Postgres struct {
	*Process
	URL  string
	bin  string
	port int
}

// startPostgres starts a server with an empty database. Its data is gone when the test ends.
func startPostgres(tb testing.TB, logs string) *Postgres {
	tb.Helper()
	bin := postgresPrograms(tb)
	dir, err := os.MkdirTemp("", "penstock-postgres-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	who, data := postgresUser(tb, dir), filepath.Join(dir, "data")
	made := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	made.Dir, made.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who}
	if out, err := made.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	p := &Postgres{bin: bin, port: freePort(tb)}
	p.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port)
	p.Process = &Process{
		Name: "postgres", tb: tb, binary: filepath.Join(bin, "postgres"), log: filepath.Join(logs, "postgres.log"), user: who,
		args: []string{
			"-D", data, "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "fsync=off", "-c", "max_connections=200", "-c", "log_min_messages=fatal",
		},
	}
	tb.Cleanup(p.Kill)
	p.Up()
	return p
}

// Up starts the server and waits until it answers.
func (p *Postgres) Up() {
	p.tb.Helper()
	p.Start()
	Eventually(p.tb, startTimeout, "PostgreSQL answers", func() error {
		if !p.Running() {
			p.tb.Fatalf("postgres ended at once:\n%s", p.Tail())
		}
		return exec.Command(filepath.Join(p.bin, "pg_isready"), "-h", "127.0.0.1", "-p", strconv.Itoa(p.port)).Run()
	})
}

// Down is an immediate shutdown: all connections break at once and nothing is tidied up.
func (p *Postgres) Down() {
	p.tb.Helper()
	p.Signal(syscall.SIGQUIT)
	<-p.done
}

// postgresPrograms returns the folder of the newest installed version's programs.
func postgresPrograms(tb testing.TB) string {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		tb.Fatal(err)
	}
	version := func(path string) int {
		n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		if err != nil {
			return 0
		}
		return n
	}
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		tb.Fatalf("this test needs PostgreSQL and finds none; install it with: %s", installPostgres)
	}
	return filepath.Dir(path)
}

// postgresUser is somebody else where the tests run as root, which PostgreSQL refuses; the folder is given to them.
func postgresUser(tb testing.TB, dir string) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr, os.Chown(dir, int(uid), int(gid))); err != nil {
			tb.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	tb.Fatal("PostgreSQL does not run as root, and there is no user postgres or nobody")
	return nil
}
