// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestReplicas: control planes find each other in the table, by the clock of the database (D-51).
func TestReplicas(t *testing.T) {
	dsn := pgtest.New(t)
	s, conn := open(t, sqlstore.Config{DSN: dsn}), side(t, dsn)
	if !s.Shared() {
		t.Error("PostgreSQL is not shared")
	}
	a, b := sqlstore.Replica{ID: "a-1", Address: "a:8082", Streams: 3}, sqlstore.Replica{ID: "b-1", Address: "b:8082"}
	beat := func(own sqlstore.Replica, first bool, want ...sqlstore.Replica) {
		t.Helper()
		live, now, err := s.Beat(t.Context(), own, first)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, live); diff != "" {
			t.Errorf("live (-want +got):\n%s", diff)
		}
		if off := time.Since(now).Abs(); off > time.Minute {
			t.Errorf("the database is %s off, on the same host", off)
		}
	}
	beat(a, true, a)
	beat(b, true, a, b)
	b.Streams = 7
	beat(b, false, a, b)

	exec(t, conn, "UPDATE controlplane.replica SET seen_at = seen_at - 14000000 WHERE id = 'a-1'")
	beat(b, false, a, b)
	exec(t, conn, "UPDATE controlplane.replica SET seen_at = seen_at - 2000000 WHERE id = 'a-1'")
	beat(b, false, b)
	beat(a, false, a, b) // it was only late

	again := sqlstore.Replica{ID: "a-2", Address: "a:8082"} // killed and started again
	beat(again, true, again, b)
	if err := s.Leave(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	if live, err := s.Replicas(t.Context()); err != nil || len(live) != 1 || live[0].ID != again.ID {
		t.Errorf("live: %v, %v", live, err)
	}
	exec(t, conn, "UPDATE controlplane.replica SET seen_at = seen_at - 200000000")
	beat(b, true, b)
	if n := count(t, conn, "SELECT count(*) FROM controlplane.replica"); n != 1 {
		t.Errorf("%d rows are left", n)
	}
}

// TestNewEpoch: the log goes on from its head in another epoch, if the head is the one that was confirmed (D-73).
func TestNewEpoch(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			s := open(t, sqlstore.Config{DSN: dsn(t)})
			put(t, s, "a", "1")
			before, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, wrong := range []int{-1, 1} {
				_, err := s.NewEpoch(t.Context(), before.Revision+record.Revision(wrong))
				if f := fault.From(err); f.Kind != fault.Precondition || f.Reason != record.ReasonEpochHeadDiffers {
					t.Errorf("another head: %v", err)
				}
			}
			made, err := s.NewEpoch(t.Context(), before.Revision)
			if err != nil || made.Epoch == before.Epoch || made.Revision != before.Revision {
				t.Fatalf("%+v after %+v, %v", made, before, err)
			}
			if head, err := s.Head(t.Context()); err != nil || head != made {
				t.Errorf("the head is %+v, %v", head, err)
			}
			put(t, s, "b", "1")
			if head, err := s.Head(t.Context()); err != nil || head.Epoch != made.Epoch || head.Revision != before.Revision+1 {
				t.Errorf("the head is %+v, %v", head, err)
			}
		})
	}
}
