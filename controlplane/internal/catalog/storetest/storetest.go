// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// check is one statement about a store, which is empty when it begins.
type check struct {
	name string
	run  func(testing.TB, catalog.Store)
}

// Run checks a kind of store. Open returns an empty one; it lives until the test given to it ends.
func Run(t *testing.T, open func(t *testing.T) catalog.Store) {
	t.Helper()
	checks := []check{
		{"empty", checkEmpty},
		{"write and read", checkWrite},
		{"no change no revision", checkNoChange},
		{"failed write stores nothing", checkFailedWrite},
		{"dry run stores nothing", checkDryRun},
		{"canceled", checkCanceled},
		{"soft delete", checkSoftDelete},
		{"undelete", checkUndelete},
		{"reads its own writes", checkOwnWrites},
		{"order of names", checkOrder},
		{"pages and prefixes", checkPages},
		{"second key", checkLookup},
		{"blobs", checkBlobs},
		{"changes", checkChanges},
		{"changes keep old states", checkOldStates},
		{"changes keep what was before", checkBefore},
		{"rollout", checkRollout},
		{"snapshot", checkSnapshot},
		{"one state per read", checkOneState},
		{"watch", checkWatch},
		{"notes", checkNotes},
		{"revisions in order without gaps", checkCommitOrder},
		{"no lost update", checkLostUpdate},
		{"no dangling reference", checkReferences},
		{"one owner per thing", checkOneOwner},
		{"thousands of records at once", checkLarge},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// actor is who writes in these checks.
const actor = "user:3a0e4c4e-0000-4000-8000-000000000001"

func key(kind catalog.Kind, name string) catalog.Key { return catalog.Key{Kind: kind, Name: name} }

// record returns a record whose body says what it is.
func record(kind catalog.Kind, name, text string) *catalog.Record {
	return &catalog.Record{Key: key(kind, name), UID: "uid-" + name, Body: body(text)}
}

func body(text string) []byte {
	b, _ := json.Marshal(map[string]string{"text": text}) // strings always marshal
	return b
}

// put writes records in one change and returns its revision.
func put(tb testing.TB, s catalog.Store, recs ...*catalog.Record) catalog.Revision {
	tb.Helper()
	rev, changed, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
		for _, r := range recs {
			if err := tx.Put(tb.Context(), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !changed {
		tb.Fatalf("Write: revision %d, changed %v, %v; want a change", rev, changed, err)
	}
	return rev
}

// remove deletes records in one change.
func remove(tb testing.TB, s catalog.Store, keys ...catalog.Key) catalog.Revision {
	tb.Helper()
	rev, _, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
		for _, k := range keys {
			if err := tx.Delete(tb.Context(), k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("Write with Delete: %v", err)
	}
	return rev
}

// read runs fn on one state.
func read(tb testing.TB, s catalog.Store, fn func(context.Context, catalog.Head, catalog.Reader) error) {
	tb.Helper()
	if err := s.Read(tb.Context(), func(h catalog.Head, r catalog.Reader) error { return fn(tb.Context(), h, r) }); err != nil {
		tb.Fatalf("Read: %v", err)
	}
}

// get returns a living record.
func get(tb testing.TB, s catalog.Store, k catalog.Key) (rec *catalog.Record) {
	tb.Helper()
	read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) (err error) {
		rec, err = r.Get(ctx, k)
		return err
	})
	return rec
}

// head returns the newest revision.
func head(tb testing.TB, s catalog.Store) catalog.Revision {
	tb.Helper()
	h, err := s.Head(tb.Context())
	if err != nil {
		tb.Fatalf("Head: %v", err)
	}
	return h.Revision
}

// names returns the names of records.
func names(recs []*catalog.Record) []string {
	out := make([]string, 0, len(recs))
	for _, r := range recs {
		out = append(out, r.Name)
	}
	return out
}

// equal compares what a store gave with what it had to give.
func equal(tb testing.TB, what string, got, want any) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("%s differs from what it must be (-want +got):\n%s", what, diff)
	}
}

// kind fails unless err is a fault of a kind.
func kind(tb testing.TB, what string, err error, want fault.Kind) {
	tb.Helper()
	if err == nil || fault.KindOf(err) != want {
		tb.Errorf("%s: %v; want a fault of kind %v", what, err, want)
	}
}

var errOwn = errors.New("the caller's own error")

// changes reads the whole log in small pages, as a follower does.
func changes(tb testing.TB, s catalog.Store) (out []catalog.Change) {
	tb.Helper()
	for {
		var after catalog.Revision
		if len(out) > 0 {
			after = out[len(out)-1].Revision
		}
		page, err := s.Changes(tb.Context(), after, 3)
		if err != nil {
			tb.Fatalf("Changes: %v", err)
		}
		if len(page) == 0 {
			return out
		}
		if len(page) > 3 {
			tb.Fatalf("Changes gave %d changes for a limit of 3", len(page))
		}
		out = append(out, page...)
	}
}

func numbered(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}
