// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

const (
	startTimeout = 60 * time.Second // a busy machine takes long to run initdb
	poll         = 50 * time.Millisecond
)

// Server is a running PostgreSQL that holds nothing worth keeping.
type Server struct {
	port    int
	created int
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process is gone
	log     *bytes.Buffer // read after exited
}

// Start runs a PostgreSQL on a free port of 127.0.0.1 until the test ends. Without the programs the test fails and says
// what to install.
func Start(t *testing.T) *Server {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	who, err := account()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "penstock-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	initdb := command(who, dir, filepath.Join(bin, "initdb"), "-D", data, "-U", "penstock", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s := &Server{exited: make(chan struct{}), log: new(bytes.Buffer)}
	s.run(t, who, bin, dir, data)
	return s
}

func (s *Server) run(t *testing.T, who *syscall.Credential, bin, dir, data string) {
	t.Helper()
	s.port = freePort(t)
	s.cmd = command(who, dir, filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port), "-h", "127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=50", "-c", "log_min_messages=warning")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // its exit status is our signal's
		close(s.exited)
	}()
	t.Cleanup(s.stop)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		err := exec1(ctx, s.url("postgres"), "SELECT 1")
		if err == nil {
			return
		}
		select {
		case <-s.exited:
			t.Fatalf("postgres ended:\n%s", s.log)
		case <-ctx.Done():
			t.Fatalf("postgres is not ready after %s: %v", startTimeout, err)
		case <-time.After(poll):
		}
	}
}

func (s *Server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // fast shutdown; an error means that it is gone
	<-s.exited
}

// Database makes an empty database and returns its URL. It lives as long as the server.
func (s *Server) Database(t *testing.T) string {
	t.Helper()
	s.created++
	name := fmt.Sprint("test_", s.created)
	if err := exec1(t.Context(), s.url("postgres"), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.url(name)
}

// Exec runs a statement on a database by its URL, for tests that spoil one.
func Exec(t *testing.T, url, statement string) {
	t.Helper()
	if err := exec1(t.Context(), url, statement); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://penstock@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

func exec1(ctx context.Context, url, statement string) (err error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// programs returns the directory of initdb and postgres: Debian keeps them out of the PATH.
func programs() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.Sort(dirs)
	for _, dir := range slices.Backward(dirs) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("PostgreSQL is not installed; run: apt-get install -y --no-install-recommends postgresql")
}

// account returns whom to run as. PostgreSQL refuses to run as root; anybody else runs it as himself.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no other account is an answer
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as")
}

func command(who *syscall.Credential, dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = dir // the account may not be allowed to enter ours
	c.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	// A killed test must not leave a server behind.
	c.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGINT}
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
