// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func checkChanges(tb testing.TB, s catalog.Store) {
	before := time.Now().Add(-time.Minute)
	put(tb, s, record("server", "b", "one"))
	_, _, err := s.Write(tb.Context(), "system", func(tx catalog.Tx) error {
		tx.SetAtomic()
		tx.Deny(key("server", "b"))
		tx.Deny(key("team_member", "eng/ada@example.com"))
		tx.Deny(key("server", "b"))
		if err := tx.Delete(tb.Context(), key("server", "b")); err != nil {
			return err
		}
		rec := record("server", "a", "<&> \u2028 ü")
		rec.Lookup = "second"
		rec.Blobs = []catalog.Hash{{7}}
		return tx.Put(tb.Context(), rec)
	})
	if err != nil {
		tb.Fatalf("Write: %v", err)
	}
	for range 5 {
		put(tb, s, record("server", "n", fmt.Sprint(head(tb, s))))
	}
	log := changes(tb, s)
	for i, c := range log {
		equal(tb, "revision", c.Revision, catalog.Revision(i+1))
	}
	c := log[1]
	equal(tb, "actor", c.Actor, "system")
	equal(tb, "atomic", c.Atomic, true)
	equal(tb, "atomic of another", log[0].Atomic, false)
	equal(tb, "denials", c.Denials, []catalog.Key{key("server", "b"), key("team_member", "eng/ada@example.com")})
	if c.Time.Before(before) || c.Time.After(time.Now().Add(time.Minute)) {
		tb.Errorf("time is %v", c.Time)
	}
	if len(c.Ops) != 2 || c.Ops[0].Key != key("server", "a") || !c.Ops[1].Delete {
		tb.Fatalf("ops are %+v; want a and then the deletion of b", c.Ops)
	}
	stored := get(tb, s, key("server", "a"))
	equal(tb, "record of the op", c.Ops[0].Record, stored)
	equal(tb, "version of the op", c.Ops[0].Version, stored.Version)
	one, err := s.Changes(tb.Context(), 6, 10)
	if err != nil || len(one) != 1 || one[0].Revision != 7 {
		tb.Errorf("Changes after 6 = %v, %v; want revision 7", one, err)
	}
	none, err := s.Changes(tb.Context(), 7, 10)
	if err != nil || len(none) != 0 {
		tb.Errorf("Changes after the head = %v, %v; want none", none, err)
	}
	_, err = s.Changes(tb.Context(), 8, 10)
	kind(tb, "changes after a revision that is not in the log", err, fault.Stale)
}

// A follower that is behind gets each state as it was, not as it is now.
func checkOldStates(tb testing.TB, s catalog.Store) {
	const n = 4
	for i := range n {
		put(tb, s, record("server", "a", fmt.Sprint(i)))
	}
	remove(tb, s, key("server", "a"))
	for i, c := range changes(tb, s)[:n] {
		rec := c.Ops[0].Record
		equal(tb, "body of an old state", string(rec.Body), string(body(fmt.Sprint(i))))
		equal(tb, "version of an old state", catalog.VersionOf(rec.UID, rec.Body, rec.Blobs), c.Ops[0].Version)
		equal(tb, "revision of an old state", rec.Revision, c.Revision)
		if !rec.DeleteTime.IsZero() {
			tb.Errorf("an old state is deleted")
		}
	}
}

// One transaction carries 10,000 resources (D-3) and is one change. With the race detector on, SQLite is so slow that
// there are fewer.
func checkLarge(tb testing.TB, s catalog.Store) {
	const n = large
	start := time.Now()
	recs := make([]*catalog.Record, 0, n)
	for _, name := range numbered("tool-%05d", n) {
		recs = append(recs, record("tool", name, "a body of some length, as a tool's resource has one"))
	}
	put(tb, s, recs...)
	written := time.Since(start)
	log, err := s.Changes(tb.Context(), 0, 1)
	if err != nil || len(log) != 1 || len(log[0].Ops) != n {
		tb.Fatalf("Changes: %d changes, %v; want one of %d", len(log), err, n)
	}
	seen := 0
	if _, err := s.Snapshot(tb.Context(), func(*catalog.Record) error { seen++; return nil }); err != nil || seen != n {
		tb.Fatalf("Snapshot has %d records, %v", seen, err)
	}
	keys := make([]catalog.Key, 0, n)
	for _, r := range recs {
		keys = append(keys, r.Key)
	}
	remove(tb, s, keys...)
	tb.Logf("%d records: written in %v, written, read and deleted in %v", n, written, time.Since(start))
}
