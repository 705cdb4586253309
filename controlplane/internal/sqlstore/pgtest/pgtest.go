// SPDX-License-Identifier: Apache-2.0

package pgtest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgserver"
)

// server is the one PostgreSQL of a test binary.
type server struct {
	pgserver.Server

	mu        sync.Mutex
	started   bool
	err       error // why it cannot be started
	databases int
}

var shared server //nolint:gochecknoglobals // one server per test binary: starting one takes two seconds

// Main runs the tests of a binary and then stops the server, if one was started.
func Main(m *testing.M) int {
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// New makes an empty database and returns its URL. It starts the server at the first call.
func New(tb testing.TB) string {
	tb.Helper()
	url, err := shared.database(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return url
}

// Own starts a server of the test's own, which it may break, and stops it after the test.
func Own(tb testing.TB) *pgserver.Server {
	tb.Helper()
	s := &pgserver.Server{}
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func (s *server) database(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.started = true
		s.err = s.Start(ctx)
	}
	if s.err != nil {
		return "", s.err
	}
	s.databases++
	return s.Create(ctx, "test"+strconv.Itoa(s.databases))
}
