// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/storetest/storm"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgserver"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
)

// stormCommits is the small form of what the command commitstorm does a million times.
func stormCommits() int64 {
	if raceDetector {
		return 600
	}
	return 3000
}

func weathered(t *testing.T, r storm.Result, err error) {
	t.Helper()
	if err != nil || !r.Complete || r.Bad() > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	t.Logf("%d commits at %.0f a second, %d errors %v, %d in spite of an error, %d kills, %d restarts",
		r.Commits, r.Rate, r.Errors, r.ErrorsByKind, r.CommittedInSpite, r.Kills, r.Restarts)
}

// Failure 14 of distribution.md on SQLite: contexts end in the middle of writes, functions fail, and the log has every commit
// once and in order, also when the run is continued.
func TestStormSQLite(t *testing.T) {
	s := open(t, sqlstore.Config{DSN: sqliteDSN(t)})
	c := storm.Config{
		Writers: s, Reader: s, Commits: stormCommits() / 2, Parallel: 6, Seed: 1, CheckEvery: time.Second,
		State: filepath.Join(t.TempDir(), "state.json"),
	}
	r, err := storm.Run(t.Context(), c)
	weathered(t, r, err)
	c.Commits *= 2
	r, err = storm.Run(t.Context(), c)
	weathered(t, r, err)
	if r.Commits < c.Commits {
		t.Errorf("the second run forgot the first: %+v", r)
	}
}

// ruin breaks a server of the test's own.
type ruin struct {
	server *pgserver.Server
	url    string
}

func (r ruin) Kill(ctx context.Context) error {
	_, err := r.server.Kill(ctx, r.url, 2)
	return err
}

func (r ruin) Restart(ctx context.Context) error { return r.server.Restart(ctx) }

// The same on PostgreSQL, whose connections are killed and which is stopped in the middle of its work.
func TestStormPostgres(t *testing.T) {
	server := pgtest.Own(t)
	url, err := server.Create(t.Context(), "storm")
	if err != nil {
		t.Fatal(err)
	}
	writers, reader := open(t, sqlstore.Config{DSN: url}), open(t, sqlstore.Config{DSN: url})
	if err := server.SlowCommits(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	r, err := storm.Run(t.Context(), storm.Config{
		Writers: writers, Reader: reader, Breaker: ruin{server, url}, Commits: stormCommits(), Parallel: 8, Seed: 1,
		KillEvery: 200 * time.Millisecond, RestartEvery: 3 * time.Second, CheckEvery: 2 * time.Second,
	})
	weathered(t, r, err)
}
