// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// advisoryLock is the key under which revisions are given out.
const advisoryLock = 0x70656e73746f636b

// side opens a plain connection to a store's database.
func side(t *testing.T, dsn string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func exec(t *testing.T, conn *sql.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// eventually asks until it is so, for ten seconds.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(10 * time.Second)
	for !so() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not after 10 s: %s", what)
		}
	}
}

// count returns the number that a query gives.
func count(t *testing.T, conn *sql.Conn, query string, args ...any) (n int) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// D-1: a writer that has everything but its revision waits for the lock; what it wrote and that it wrote are seen at
// once, when it commits, and the revisions are in the order of the commits.
func TestRevisionUnderLock(t *testing.T) {
	dsn := pgtest.New(t)
	s := open(t, sqlstore.Config{DSN: dsn})
	conn := side(t, dsn)
	exec(t, conn, "SELECT pg_advisory_lock($1)", int64(advisoryLock))
	const writers = 4
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() { put(t, s, fmt.Sprint(i), "x") })
	}
	eventually(t, "all writers wait for the lock", func() bool {
		return count(t, conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == writers
	})
	if head, err := s.Head(t.Context()); err != nil || head.Revision != 0 {
		t.Errorf("something is committed while the lock is held: %+v, %v", head, err)
	}
	exec(t, conn, "SELECT pg_advisory_unlock($1)", int64(advisoryLock))
	group.Wait()
	log, err := s.Changes(t.Context(), 0, 100)
	if err != nil || len(log) != writers {
		t.Fatalf("%d changes, %v", len(log), err)
	}
	for i, c := range log {
		if c.Revision != catalog.Revision(i+1) {
			t.Errorf("change %d is revision %d", i, c.Revision)
		}
	}
}

// D-2: whoever waits more than 5 s for a row gets Exhausted, and may try again.
func TestLockTimeout(t *testing.T) {
	dsn := pgtest.New(t)
	s := open(t, sqlstore.Config{DSN: dsn})
	put(t, s, "a", "one")
	conn := side(t, dsn)
	tx, err := conn.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "SELECT 1 FROM controlplane.resource FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, _, err = s.Write(t.Context(), "system", func(tx catalog.Tx) error {
		return tx.Put(t.Context(), &catalog.Record{Key: catalog.Key{Kind: "server", Name: "a"}, Body: []byte("two")})
	})
	if f := fault.From(err); f == nil || f.Kind != fault.Exhausted || f.Reason != record.ReasonStoreBusy || f.Retry == 0 {
		t.Errorf("%v; want Exhausted", err)
	}
	if took := time.Since(start); took < 4*time.Second {
		t.Errorf("it gave up after %v", took)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "two")
}

// The same on SQLite, where one writer holds everything.
func TestWriterTimeout(t *testing.T) {
	s := open(t, sqlstore.Config{DSN: sqliteDSN(t)})
	holding, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_, _, err := s.Write(t.Context(), "system", func(catalog.Tx) error {
			close(holding)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-holding
	_, _, err := s.Write(t.Context(), "system", func(catalog.Tx) error { return nil })
	if fault.KindOf(err) != fault.Exhausted {
		t.Errorf("%v; want Exhausted", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Write(ctx, "system", func(catalog.Tx) error { return nil }); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v; want Canceled", err)
	}
	close(release)
	group.Wait()
}

// A transaction that always loses ends with Conflict and not in a circle; one that loses once succeeds.
func TestLostRaces(t *testing.T) {
	for _, tc := range []struct {
		name  string
		loses int
		kind  fault.Kind
	}{{"once", 1, 0}, {"always", 100, fault.Conflict}} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, sqlstore.Config{DSN: pgtest.New(t)})
			put(t, s, "a", "0")
			runs := 0
			_, _, err := s.Write(t.Context(), "system", func(tx catalog.Tx) error {
				if _, err := tx.Get(t.Context(), catalog.Key{Kind: "server", Name: "a"}); err != nil {
					return err
				}
				if runs++; runs <= tc.loses {
					put(t, s, "a", fmt.Sprint(runs))
				}
				return tx.Put(t.Context(), &catalog.Record{Key: catalog.Key{Kind: "server", Name: "b"}, Body: []byte("x")})
			})
			if tc.kind == 0 && (err != nil || runs != 2) || tc.kind != 0 && fault.KindOf(err) != tc.kind {
				t.Errorf("%v after %d runs", err, runs)
			}
			if runs > 10 {
				t.Errorf("%d runs", runs)
			}
		})
	}
}

// D-6, D-7: a lost LISTEN connection is made again, and commits are noticed without it.
func TestListenAgain(t *testing.T) {
	dsn := pgtest.New(t)
	watching := open(t, sqlstore.Config{DSN: dsn})
	writing := open(t, sqlstore.Config{DSN: dsn})
	hints, err := watching.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn := side(t, dsn)
	listeners := func() int {
		return count(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN penstock_controlplane' AND datname = current_database()")
	}
	for i := range 3 {
		eventually(t, "a connection listens", func() bool { return listeners() == 1 })
		put(t, writing, "a", fmt.Sprint(i))
		deadline := time.After(10 * time.Second)
		for seen := catalog.Revision(0); seen < catalog.Revision(i+1); {
			select {
			case <-hints:
			case <-deadline:
				t.Fatal("no hint after 10 s")
			}
			head, err := watching.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			seen = head.Revision
		}
		exec(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN penstock_controlplane' AND datname = current_database()")
	}
}

// Several control planes may start at once on an empty database.
func TestStartTogether(t *testing.T) {
	dsn := pgtest.New(t)
	var group sync.WaitGroup
	epochs := make([]string, 4)
	for i := range epochs {
		group.Go(func() {
			s, err := sqlstore.Open(t.Context(), dsn)
			if err != nil {
				t.Error(err)
				return
			}
			head, err := s.Head(t.Context())
			if err = errors.Join(err, s.Close()); err != nil {
				t.Error(err)
			}
			epochs[i] = head.Epoch
		})
	}
	group.Wait()
	for _, e := range epochs {
		if e == "" || e != epochs[0] {
			t.Errorf("epochs are %v", epochs)
		}
	}
}

// A database that goes away is Unavailable, and works again when it is back.
func TestConnectionsLost(t *testing.T) {
	dsn := pgtest.New(t)
	s := open(t, sqlstore.Config{DSN: dsn})
	put(t, s, "a", "one")
	conn := side(t, dsn)
	_, _, err := s.Write(t.Context(), "system", func(tx catalog.Tx) error {
		exec(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		_, err := tx.Get(t.Context(), catalog.Key{Kind: "server", Name: "a"})
		return err
	})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v; want Unavailable", err)
	}
	eventually(t, "a write succeeds again", func() bool {
		_, _, err := s.Write(t.Context(), "system", func(tx catalog.Tx) error {
			return tx.Put(t.Context(), &catalog.Record{Key: catalog.Key{Kind: "server", Name: "a"}, Body: []byte("two")})
		})
		return err == nil
	})
}
