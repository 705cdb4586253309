// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
)

// revocation is of the grant with that name.
func revocation(name string, expires time.Time) sqlstore.Revocation {
	return sqlstore.Revocation{Kind: 2, KeySHA256: sha256.Sum256([]byte(name)), ExpireTime: expires.UTC().Truncate(time.Microsecond)}
}

func revoke(t *testing.T, s *sqlstore.Store, entries ...sqlstore.Revocation) {
	t.Helper()
	if err := s.Revoke(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

// revocations reads what follows a sequence number.
func revocations(t *testing.T, s *sqlstore.Store, after uint64) (sqlstore.RevocationHead, []sqlstore.Revocation) {
	t.Helper()
	head, list, err := s.Revocations(t.Context(), after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return head, list
}

// What is known is no new entry, what goes further moves to the end, what has expired is nothing, and maintenance drops it.
func TestRevocations(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := open(t, sqlstore.Config{DSN: dsn(t), Now: func() time.Time { return now }})
			log, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if head, list := revocations(t, s, 0); head.Epoch != log.Epoch || head.Seq != 0 || list != nil {
				t.Fatalf("in the beginning: %+v, %v", head, list)
			}
			a, b := revocation("a", now.Add(time.Minute)), revocation("b", now.Add(time.Hour))
			subject := sqlstore.Revocation{Kind: 4, KeySHA256: a.KeySHA256, ExpireTime: a.ExpireTime, IssuedBefore: now}
			revoke(t, s, a, revocation("old", now), b, subject, a)
			want := []sqlstore.Revocation{a, b, subject}
			for i := range want {
				want[i].Seq = uint64(i + 1)
			}
			head, list := revocations(t, s, 0)
			if diff := cmp.Diff(want, list); diff != "" || head.Seq != 3 {
				t.Errorf("end %d, (-want +got):\n%s", head.Seq, diff)
			}
			revoke(t, s, a, b)
			revoke(t, s, revocation("b", now.Add(time.Second)))
			if head, list := revocations(t, s, 3); head.Seq != 3 || list != nil {
				t.Errorf("what is known makes %+v, %v", head, list)
			}
			again := subject
			again.IssuedBefore, again.ExpireTime = now.Add(time.Second), now.Add(time.Second) // not to be shortened
			revoke(t, s, again)
			again.ExpireTime, again.Seq = subject.ExpireTime, 4
			if _, list := revocations(t, s, 3); !cmp.Equal(list, []sqlstore.Revocation{again}) {
				t.Errorf("revoked further: %v; want %v", list, again)
			}
			if _, list := revocations(t, s, 0); len(list) != 3 || list[1].Seq != 2 || list[2].Seq != 4 {
				t.Errorf("all: %v", list)
			}
			now = now.Add(time.Minute)
			if _, list := revocations(t, s, 0); len(list) != 1 || list[0].KeySHA256 != b.KeySHA256 {
				t.Errorf("a minute later: %v", list)
			}
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			now = now.Add(-time.Minute)
			if head, list := revocations(t, s, 0); len(list) != 1 || head.Seq != 4 {
				t.Errorf("after maintenance: end %d, %v", head.Seq, list)
			}
		})
	}
}

// TestRevocationsAreOrdered is D-1 for revocations: whoever reads on from the last number seen misses nothing, however
// many hand in at the same moment.
func TestRevocationsAreOrdered(t *testing.T) {
	const writers, each = 8, 25
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			s := open(t, sqlstore.Config{DSN: dsn(t)})
			expires := time.Now().Add(time.Hour)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						entries := []sqlstore.Revocation{revocation(fmt.Sprint(w, i), expires), revocation(fmt.Sprint(w, i, "x"), expires)}
						if err := s.Revoke(t.Context(), entries); err != nil {
							t.Error(err)
						}
					}
				})
			}
			seen := make(map[[32]byte]bool)
			var last uint64
			for len(seen) < 2*writers*each && !t.Failed() {
				head, list := revocations(t, s, last)
				for _, e := range list {
					if e.Seq <= last || seen[e.KeySHA256] {
						t.Fatalf("%d after %d", e.Seq, last)
					}
					last, seen[e.KeySHA256] = e.Seq, true
				}
				if head.Seq != last {
					t.Fatalf("read up to %d of %d", last, head.Seq) // fewer than 1,000 are there
				}
				if head.Seq == 2*writers*each && len(seen) != 2*writers*each {
					t.Fatalf("%d of %d entries were seen", len(seen), 2*writers*each)
				}
			}
			wg.Wait()
		})
	}
}

// Another process learns of a revocation at once, and of nothing else.
func TestWatchRevocations(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			at := dsn(t)
			s, other := open(t, sqlstore.Config{DSN: at}), open(t, sqlstore.Config{DSN: at})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			hints, err := other.WatchRevocations(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(5) {
				revoke(t, s, revocation(fmt.Sprint(i), time.Now().Add(time.Hour)))
				eventually(t, "the other process knows", func() bool {
					select {
					case <-hints:
					default:
					}
					head, list := revocations(t, other, i)
					return head.Seq == i+1 && len(list) == 1
				})
			}
			cancel()
			eventually(t, "the hints end", func() bool {
				select {
				case _, open := <-hints:
					return !open
				default:
					return false
				}
			})
		})
	}
}

// A late transaction of PostgreSQL cannot slip in before what others have read: it waits for the lock with no number yet.
func TestRevocationNumbersAreGivenOutUnderTheLock(t *testing.T) {
	dsn := engines()["PostgreSQL"](t)
	s := open(t, sqlstore.Config{DSN: dsn})
	conn := side(t, dsn)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT pg_advisory_xact_lock($1)", int64(revocationLock))
	done := make(chan error, 1)
	go func() {
		done <- s.Revoke(t.Context(), []sqlstore.Revocation{revocation("late", time.Now().Add(time.Hour))})
	}()
	waiting := "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
	eventually(t, "it waits for the lock", func() bool {
		var n int
		if err := conn.QueryRowContext(t.Context(), waiting).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	exec(t, conn, "UPDATE controlplane.revocation_head SET seq = 41 WHERE id = 1") // no row lock is held meanwhile
	exec(t, conn, "COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if head, list := revocations(t, s, 0); head.Seq != 42 || len(list) != 1 || list[0].Seq != 42 {
		t.Errorf("end %d, %v", head.Seq, list)
	}
}

// revocationLock is the key under which numbers of revocations are given out.
const revocationLock = 0x70656e73746f636d

// A database of before there were revocations gets their tables, and keeps what it has.
func TestRevocationsInAnOlderDatabase(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			at, schema, driver := dsn(t), "", "sqlite"
			if name == "PostgreSQL" {
				schema, driver = "controlplane.", "pgx"
			}
			s, err := sqlstore.Open(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, "a", "1")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open(driver, strings.TrimPrefix(at, "sqlite://"))
			if err != nil {
				t.Fatal(err)
			}
			queries := []string{"DELETE FROM " + schema + "goose_db_version WHERE version_id >= 2"}
			for _, table := range []string{
				"revocation", "revocation_head", "join_token", "workload", "replica", "rollout", "approval", "approval_event", "approval_answer",
				"audit_event", "audit_head", "audit_queue",
			} {
				queries = append(queries, "DROP TABLE "+schema+table)
			}
			for _, query := range queries {
				if _, err := db.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, sqlstore.Config{DSN: at})
			revoke(t, s, revocation("b", time.Now().Add(time.Hour)))
			if _, list := revocations(t, s, 0); len(list) != 1 || stored(t, s, "server", "a") == nil {
				t.Errorf("revoked: %v", list)
			}
		})
	}
}
