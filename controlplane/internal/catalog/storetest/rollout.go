// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Every operation says what it replaced, so that the log can be read backwards; the floor of a new log is 0.
func checkBefore(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "one"))
	put(tb, s, record("server", "a", "two"))
	remove(tb, s, key("server", "a"))
	put(tb, s, record("server", "a", "three"))
	log := changes(tb, s)
	var before []string
	for _, c := range log {
		if !c.Undo || c.Staged {
			tb.Errorf("revision %d: undo %v, staged %v", c.Revision, c.Undo, c.Staged)
		}
		text := ""
		if b := c.Ops[0].Before; b != nil {
			text = string(b.Body)
			equal(tb, "version of what was before", b.Version, catalog.VersionOf(b.UID, b.Body, b.Blobs))
		}
		before = append(before, text)
	}
	equal(tb, "states before", before, []string{"", string(body("one")), string(body("two")), ""})
	floor, err := s.Floor(tb.Context())
	if err != nil || floor != 0 {
		tb.Errorf("Floor = %d, %v; want 0", floor, err)
	}
	_, _, err = s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
		equal(tb, "head of a transaction", tx.Head().Revision, catalog.Revision(4))
		return nil
	})
	if err != nil {
		tb.Errorf("Write: %v", err)
	}
}

// A staged change begins its rollout in the same transaction; of two that advance it one does; a second one has to wait until
// the first has stopped, and a change that goes back before it ends it.
func checkRollout(tb testing.TB, s catalog.Store) {
	rollouts, ok := s.(catalog.Rollouts)
	if !ok {
		tb.Fatalf("a %T keeps no rollouts", s)
	}
	now := func() catalog.Rollout {
		tb.Helper()
		r, err := rollouts.Rollout(tb.Context())
		if err != nil {
			tb.Fatalf("Rollout: %v", err)
		}
		return r
	}
	write := func(text string, mark func(catalog.Tx)) (catalog.Revision, error) {
		rev, _, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
			mark(tx)
			return tx.Put(tb.Context(), record("server", "a", text))
		})
		return rev, err
	}
	staged := func(tx catalog.Tx) { tx.SetStaged() }
	base := put(tb, s, record("server", "a", "zero"))
	if r := now(); r.Revision != 0 || r.Running() {
		tb.Errorf("a new store has the rollout %+v", r)
	}
	rev, err := write("one", staged)
	first := now()
	if err != nil || first.Revision != rev || first.Base != base || first.Stage != catalog.StageOne || !first.Running() {
		tb.Fatalf("the rollout of %d, %v, is %+v", rev, err, first)
	}
	if log := changes(tb, s); !log[rev-1].Staged || log[base-1].Staged {
		tb.Error("the log does not say what is staged")
	}
	_, err = write("two", staged)
	kind(tb, "a second rollout", err, fault.Precondition)
	equal(tb, "head", head(tb, s), rev)
	next := first
	next.Stage, next.Reason, next.Version = catalog.StageStopped, "why", first.Version+1
	for i, want := range []bool{true, false} {
		if done, err := rollouts.Advance(tb.Context(), next); done != want || err != nil {
			tb.Errorf("advancing the %d. time: %v, %v", i+1, done, err)
		}
	}
	if r := now(); r.Stage != catalog.StageStopped || r.Reason != "why" {
		tb.Errorf("the rollout is %+v", r)
	}
	second, err := write("three", staged) // in the place of the one that stopped
	if r := now(); err != nil || r.Revision != second || r.Base != base {
		tb.Errorf("the rollout after one that stopped, %v, is %+v", err, r)
	}
	if _, err := write("four", func(tx catalog.Tx) { tx.SetRollback(rev) }); err != nil || !now().Running() {
		tb.Errorf("going back to what is held back, %v, ends the rollout", err)
	}
	end, err := write("zero", func(tx catalog.Tx) { tx.SetRollback(base) })
	if r := now(); err != nil || r.Running() || r.Ended != end || r.Limit("eu/n", end) != end || r.Limit("eu/n", end-1) != base {
		tb.Errorf("the rollout after it was rolled back, %v, is %+v", err, r)
	}
}
