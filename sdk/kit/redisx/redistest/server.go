// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	install      = "apt-get install redis-server"
	readyTimeout = 30 * time.Second
	poll         = 10 * time.Millisecond
	attempts     = 5
	// Below the ports that the kernel hands out; the bus port of a cluster is 10,000 above.
	firstPort, ports, busOffset = 20000, 12000, 10000
)

// Server is one running redis-server. Its methods fail the test that started it.
type Server struct {
	Addr string // "127.0.0.1:23456"; the same after a restart

	tb   testing.TB
	dir  string
	args []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	output *bytes.Buffer
}

// Option changes how a server is started.
type Option func(*Server)

// AppendOnly makes the server keep its data over [Server.Restart]: each write is on disk before it is answered.
func AppendOnly() Option {
	return func(s *Server) { s.args = append(s.args, "--appendonly", "yes", "--appendfsync", "always") }
}

// Start starts a server that persists nothing; the test's clean-up ends it.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, dir: tb.TempDir()}
	for _, o := range options {
		o(s)
	}
	var err error
	// Another process may take the port between finding it and using it.
	for range attempts {
		var port int
		if port, err = freePort(tb.Context(), false); err != nil {
			break
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err = s.launch(); err == nil {
			break
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// URL returns what a process sets as redis.url.
func (s *Server) URL() obs.Secret { return obs.Secret("redis://" + s.Addr) }

// Client returns a client for looking into the server: without the breaker that kit/redisx puts in, so that it works as soon as
// the server does. The test's clean-up closes it.
func (s *Server) Client(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true})
	tb.Cleanup(func() { _ = c.Close() }) // nothing is lost
	return c
}

// Commands returns how often the server ran commands since it was started, by the names of INFO commandstats, for example "evalsha".
func (s *Server) Commands(tb testing.TB, names ...string) int {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true})
	defer func() { _ = c.Close() }() // it only asked
	info, err := c.Info(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !slices.Contains(names, name) {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if err != nil {
			tb.Fatalf("read %q: %v", line, err)
		}
		total += n
	}
	return total
}

// Stop kills the server at once, as a crash would. Stopping it twice does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
	<-s.exited
	s.cmd = nil
}

// Restart starts the server again under its address, after stopping it if it runs, and waits until it answers. Without
// [AppendOnly] it is empty.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	if err := s.launch(); err != nil {
		s.tb.Fatal(err)
	}
}

// Pause makes the server keep its connections and answer nothing, until [Server.Resume].
func (s *Server) Pause() { s.tb.Helper(); s.signal(syscall.SIGSTOP) }

// Resume ends [Server.Pause].
func (s *Server) Resume() { s.tb.Helper(); s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.tb.Fatal("redis-server does not run")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("signal redis-server: %v", err)
	}
}

// launch starts the process and waits until it answers.
func (s *Server) launch() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("these tests need Redis and find none; install it with: " + install)
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--loglevel", "warning",
	}, s.args...)
	// It outlives the context of the test for its clean-ups; Stop ends it.
	cmd := exec.CommandContext(context.WithoutCancel(s.tb.Context()), path, args...)
	output := new(bytes.Buffer)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // also if the tests die
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	exited := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		_ = cmd.Wait() // killed, or the output tells
		close(exited)
	})
	s.mu.Lock()
	s.cmd, s.exited, s.output = cmd, exited, output
	s.mu.Unlock()
	if err := s.ready(exited); err != nil {
		s.Stop()
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

func (s *Server) ready(exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), readyTimeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = c.Close() }() // it only asked
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		// Not the client's own dialling: after some failures its pool goes on alone, beyond Close.
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
		if err == nil {
			_ = conn.Close() // it only knocked
			if err = c.Ping(ctx).Err(); err == nil {
				return nil
			}
		}
		select {
		case <-exited:
			return errors.New("redis-server ended at once")
		case <-ctx.Done():
			return fmt.Errorf("wait for redis-server: %w", err)
		case <-tick.C:
		}
	}
}

// freePort finds one that nobody listens on, and with bus also the port that a cluster node adds.
func freePort(ctx context.Context, bus bool) (int, error) {
	for range 100 {
		port := firstPort + rand.N(ports) //nolint:gosec // no secret
		if !free(ctx, port) || bus && !free(ctx, port+busOffset) {
			continue
		}
		return port, nil
	}
	return 0, errors.New("found no free port for redis-server")
}

func free(ctx context.Context, port int) bool {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}
