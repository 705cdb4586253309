// SPDX-License-Identifier: Apache-2.0

package pgserver

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
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	install      = "apt-get install postgresql"
	startTimeout = time.Minute
	stopTimeout  = 15 * time.Second
	superuser    = "postgres"
)

// Server is a PostgreSQL on a port of the loopback interface. The zero value has nothing started; its methods may be called
// at the same time.
type Server struct {
	// Dir is the directory of its data, made if it does not exist and kept; empty is a temporary one that Stop removes.
	Dir string

	mu        sync.Mutex
	temporary bool
	port      int
	cmd       *exec.Cmd
	exited    chan struct{}
	output    bytes.Buffer
}

// Start starts the server, if it does not run. Without an installed PostgreSQL the error names the command that installs it.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return nil
	}
	return s.start(ctx)
}

// Create makes an empty database and returns its URL. One that exists already stays as it is.
func (s *Server) Create(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn, err := pgx.Connect(ctx, s.url(superuser))
	if err != nil {
		return "", fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // it did its one statement
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return "", fmt.Errorf("look for database %s: %w", name, err)
	}
	if !exists {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
			return "", fmt.Errorf("make database %s: %w", name, err)
		}
	}
	return s.url(name), nil
}

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", superuser, s.port, database)
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

func (s *Server) start(ctx context.Context) error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	if s.Dir == "" {
		s.temporary = true
		s.Dir, err = os.MkdirTemp("", "penstock-postgres-")
	} else {
		err = os.MkdirAll(s.Dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	attr, err := s.unprivileged()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		if err := s.initialise(ctx, bin, attr); err != nil {
			return err
		}
	}
	// Another process may take the port between finding it and using it.
	for range 3 {
		if err = s.choosePort(); err != nil {
			return err
		}
		if err = s.serve(ctx, bin, attr); err == nil {
			return nil
		}
		s.end(syscall.SIGQUIT)
	}
	return err
}

func (s *Server) initialise(ctx context.Context, bin string, attr *syscall.SysProcAttr) error {
	//nolint:gosec // an installed program
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", s.data(), "-U", superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = attr, s.Dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// unprivileged makes the server run as another user where the tests run as root, which it refuses.
func (s *Server) unprivileged() (*syscall.SysProcAttr, error) {
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
		if err := os.Chown(s.Dir, int(uid), int(gid)); err != nil {
			return nil, fmt.Errorf("hand over data directory: %w", err)
		}
		return attr, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (s *Server) choosePort() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	return l.Close()
}

func (s *Server) serve(ctx context.Context, bin string, attr *syscall.SysProcAttr) error {
	s.output.Reset()
	// It outlives the test that needed it first; stop ends it.
	//nolint:gosec // an installed program
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200",
		"-c", "log_min_messages=panic", "-c", "autovacuum_naptime=5s")
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = attr, s.Dir, &s.output, &s.output
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

func (s *Server) ready(ctx context.Context) error {
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

// Stop ends the server, and removes its data if it is temporary.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(syscall.SIGINT) // fast shutdown
	if !s.temporary || s.Dir == "" {
		return nil
	}
	dir := s.Dir
	s.Dir = ""
	return os.RemoveAll(dir)
}

// Restart kills the server in the middle of whatever it does, as a power cut of the machine's would that keeps the disk's
// memory, and starts it again on the same port: it recovers from its log.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(syscall.SIGQUIT) // immediate shutdown
	bin, err := binaries()
	if err != nil {
		return err
	}
	attr, err := s.unprivileged()
	if err != nil {
		return err
	}
	return s.serve(ctx, bin, attr)
}

// end stops the process, which may be gone already.
func (s *Server) end(how syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(how) // if it is gone, so much the better
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		_ = s.cmd.Process.Signal(syscall.SIGKILL)
		<-s.exited
	}
	s.cmd = nil
}
