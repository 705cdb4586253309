// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	install      = "apt-get install postgresql"
	startTimeout = time.Minute
	stopTimeout  = 15 * time.Second
	superuser    = "postgres"
)

// server is the one PostgreSQL of a test binary.
type server struct {
	mu        sync.Mutex
	err       error // why it cannot be started
	dir       string
	port      int
	cmd       *exec.Cmd
	exited    chan struct{}
	output    bytes.Buffer
	databases int
}

var shared server //nolint:gochecknoglobals // one server per test binary: starting one takes two seconds

// Main runs the tests of a binary and then stops the server, if one was started.
func Main(m *testing.M) int {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// New makes an empty database and returns its URL. It starts the server at the first call.
func New(tb testing.TB) string {
	tb.Helper()
	name, err := shared.database(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return shared.url(name)
}

func (s *server) url(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", superuser, s.port, database)
}

func (s *server) database(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil && s.err == nil {
		s.err = s.start(ctx)
	}
	if s.err != nil {
		return "", s.err
	}
	conn, err := pgx.Connect(ctx, s.url(superuser))
	if err != nil {
		return "", fmt.Errorf("connect to the test's PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // it did its one statement
	s.databases++
	name := "test" + strconv.Itoa(s.databases)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("make database %s: %w", name, err)
	}
	return name, nil
}

// binaries returns the directory of the newest installed version's programs.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("these tests need PostgreSQL and find none; install it with: " + install)
}

func version(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

func (s *server) start(ctx context.Context) error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	s.dir, err = os.MkdirTemp("", "penstock-postgres-")
	if err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	attr, err := s.unprivileged()
	if err != nil {
		return err
	}
	//nolint:gosec // an installed program
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", s.data(), "-U", superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, out)
	}
	// Another process may take the port between finding it and using it.
	for range 3 {
		if err = s.serve(ctx, bin, attr); err == nil {
			return nil
		}
	}
	return err
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// unprivileged makes the server run as another user where the tests run as root, which it refuses.
func (s *server) unprivileged() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT} // SIGQUIT: stop at once, if the tests die
	if os.Geteuid() != 0 {
		return attr, nil
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
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
			return nil, fmt.Errorf("hand over data directory: %w", err)
		}
		return attr, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (s *server) serve(ctx context.Context, bin string, attr *syscall.SysProcAttr) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	s.output.Reset()
	// It outlives the test that needed it first; stop ends it.
	//nolint:gosec // an installed program
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200",
		"-c", "log_min_messages=fatal")
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = attr, s.dir, &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // a bad end shows when a test connects
		close(exited)
	}(s.cmd, s.exited)
	return s.ready(ctx)
}

func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url(superuser))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ticker.C:
		case <-s.exited:
			return fmt.Errorf("postgres ended at once:\n%s", s.output.String())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		}
	}
}

// stop ends the server and removes its data.
func (s *server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // fast shutdown; if it is gone already, so much the better
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-s.exited:
		case <-timer.C:
			_ = s.cmd.Process.Signal(syscall.SIGQUIT)
			<-s.exited
		}
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
