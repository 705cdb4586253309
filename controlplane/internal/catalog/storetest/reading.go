// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func checkOwnWrites(tb testing.TB, s catalog.Store) {
	first := record("token", "b", "one")
	first.Lookup = "hash-b"
	put(tb, s, record("token", "a", "one"), first, record("token", "d", "one"))
	_, _, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
		ctx := tb.Context()
		fresh := record("token", "c", "new")
		fresh.Lookup = "hash-c"
		err := errors.Join(tx.Put(ctx, fresh), tx.Put(ctx, record("token", "a", "changed")), tx.Delete(ctx, first.Key))
		hash, blobErr := tx.PutBlob(ctx, []byte("blob"))
		blob, readErr := tx.Blob(ctx, hash)
		equal(tb, "own blob", string(blob), "blob")
		list, listErr := tx.List(ctx, "token", "", 2, false)
		equal(tb, "own list", names(list), []string{"a", "c"})
		rest, restErr := tx.List(ctx, "token", "c", 2, false)
		equal(tb, "rest of own list", names(rest), []string{"d"})
		deleted, deletedErr := tx.List(ctx, "token", "a", 2, true)
		equal(tb, "own list with deleted", names(deleted), []string{"b", "c"})
		prefix, prefixErr := tx.ListPrefix(ctx, "token", "c")
		equal(tb, "own list by prefix", names(prefix), []string{"c"})
		found, foundErr := tx.Lookup(ctx, "token", "hash-c")
		gone, goneErr := tx.Lookup(ctx, "token", "hash-b")
		if found == nil || found.Name != "c" || gone != nil {
			tb.Errorf("own look-ups = %v, %v; want c and nothing", found, gone)
		}
		got, getErr := tx.Get(ctx, key("token", "a"))
		equal(tb, "own record", string(got.Body), string(body("changed")))
		dead, deadErr := tx.GetDeleted(ctx, first.Key)
		if dead == nil {
			tb.Errorf("a record deleted in the transaction is not among the deleted ones")
		}
		return errors.Join(err, blobErr, readErr, listErr, restErr, deletedErr, prefixErr, foundErr, goneErr, getErr, deadErr)
	})
	if err != nil {
		tb.Fatalf("Write: %v", err)
	}
}

// Names sort by their bytes, the same in every store, whatever the collation of a database.
func checkOrder(tb testing.TB, s catalog.Store) {
	want := []string{"A", "Z", "a", "a b", "a-b", "a.b", "a/b", "a1", "aB", "ab", "a~", "aé", "z", "ä", "ö", "日本", "🙂"}
	if !slices.IsSorted(want) {
		tb.Fatal("the list of this check is not sorted")
	}
	recs := make([]*catalog.Record, 0, len(want))
	for i := range want { // written in another order
		recs = append(recs, record("tool", want[(i*7)%len(want)], "x"))
	}
	put(tb, s, recs...)
	read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) error {
		all, err := r.ListPrefix(ctx, "tool", "")
		equal(tb, "order", names(all), want)
		for i, name := range want {
			next, err := r.List(ctx, "tool", name, 1, false)
			if err != nil {
				return err
			}
			equal(tb, "after "+name, names(next), slices.Clone(want[i+1:min(i+2, len(want))]))
		}
		return err
	})
}

func checkPages(tb testing.TB, s catalog.Store) {
	var recs []*catalog.Record
	for _, gw := range []string{"eng", "eng-2", "engine", "en"} {
		for _, tool := range []string{"a/x", "a/y", "b/z"} {
			recs = append(recs, record("assignment", gw+"/"+tool, "x"))
		}
	}
	recs = append(recs, record("server", "eng/a/x", "another kind"))
	put(tb, s, recs...)
	remove(tb, s, key("assignment", "eng/a/y"), key("assignment", "engine/a/x"))
	read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) error {
		eng, err := r.ListPrefix(ctx, "assignment", "eng/")
		equal(tb, "prefix", names(eng), []string{"eng/a/x", "eng/b/z"})
		none, err2 := r.ListPrefix(ctx, "assignment", "x")
		equal(tb, "prefix of nothing", names(none), []string{})
		var paged []string
		for after := ""; ; {
			page, err := r.List(ctx, "assignment", after, 4, false)
			if err != nil {
				return err
			}
			paged = append(paged, names(page)...)
			if len(page) < 4 {
				break
			}
			after = page[3].Name
		}
		all, err3 := r.ListPrefix(ctx, "assignment", "")
		equal(tb, "pages put together", paged, names(all))
		equal(tb, "number of records", len(all), 10)
		return errors.Join(err, err2, err3)
	})
}

func checkLookup(tb testing.TB, s catalog.Store) {
	a, b := record("bearer_token", "a", "x"), record("bearer_token", "b", "x")
	a.Lookup, b.Lookup = "aa", "bb"
	put(tb, s, a, b, record("bearer_token", "c", "without"), record("bearer_token", "d", "without"))
	find := func(k catalog.Kind, value string) (name string) {
		read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) error {
			rec, err := r.Lookup(ctx, k, value)
			if rec != nil {
				name = rec.Name
			}
			return err
		})
		return name
	}
	equal(tb, "by second key", find("bearer_token", "bb"), "b")
	equal(tb, "by an unknown one", find("bearer_token", "cc"), "")
	equal(tb, "by none", find("bearer_token", ""), "")
	equal(tb, "by one of another kind", find("user", "aa"), "")
	clash := record("bearer_token", "e", "x")
	clash.Lookup = "aa"
	_, _, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error { return tx.Put(tb.Context(), clash) })
	kind(tb, "a second record with one second key", err, fault.AlreadyExists)
	remove(tb, s, a.Key)
	equal(tb, "by a deleted record's", find("bearer_token", "aa"), "")
}

func checkBlobs(tb testing.TB, s catalog.Store) {
	var one, two catalog.Hash
	_, _, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) (err error) {
		one, err = tx.PutBlob(tb.Context(), []byte("one"))
		if err != nil {
			return err
		}
		if two, err = tx.PutBlob(tb.Context(), []byte("two")); err != nil {
			return err
		}
		again, err := tx.PutBlob(tb.Context(), []byte("one"))
		equal(tb, "hash of the same bytes", again, one)
		rec := record("tool", "a/x", "x")
		rec.Blobs = []catalog.Hash{one, two}
		return errors.Join(err, tx.Put(tb.Context(), rec))
	})
	if err != nil {
		tb.Fatalf("Write: %v", err)
	}
	bodies, err := s.Blobs(tb.Context(), []catalog.Hash{two, one, two})
	if err != nil {
		tb.Fatalf("Blobs: %v", err)
	}
	equal(tb, "blobs in the order asked for", fmt.Sprintf("%s", bodies), "[two one two]")
	_, err = s.Blobs(tb.Context(), []catalog.Hash{one, {9}})
	kind(tb, "an unknown blob", err, fault.NotFound)
	read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) error {
		b, err := r.Blob(ctx, two)
		equal(tb, "blob", string(b), "two")
		none, err2 := r.Blob(ctx, catalog.Hash{9})
		equal(tb, "unknown blob", none, []byte(nil))
		return errors.Join(err, err2)
	})
}

func checkSnapshot(tb testing.TB, s catalog.Store) {
	for _, name := range []string{"c", "a", "b"} {
		put(tb, s, record("tool", name, "x"), record("server", name, "x"))
	}
	remove(tb, s, key("tool", "b"))
	var got []catalog.Key
	h, err := s.Snapshot(tb.Context(), func(r *catalog.Record) error {
		got = append(got, r.Key)
		if len(r.Body) == 0 || r.Version == (catalog.Hash{}) || r.Revision == 0 {
			tb.Errorf("the snapshot has an unfinished record %+v", r)
		}
		return nil
	})
	if err != nil || h.Revision != 4 {
		tb.Errorf("Snapshot = %v, %v; want revision 4", h, err)
	}
	equal(tb, "snapshot", got, []catalog.Key{
		{Kind: "server", Name: "a"},
		{Kind: "server", Name: "b"},
		{Kind: "server", Name: "c"},
		{Kind: "tool", Name: "a"},
		{Kind: "tool", Name: "c"},
	})
	if _, err := s.Snapshot(tb.Context(), func(*catalog.Record) error { return errOwn }); !errors.Is(err, errOwn) {
		tb.Errorf("Snapshot = %v; want yield's own error", err)
	}
}

// D-8: what one Read sees is the state of its head, whatever is committed meanwhile.
func checkOneState(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "old"), record("server", "b", "old"))
	read(tb, s, func(ctx context.Context, h catalog.Head, r catalog.Reader) error {
		a, err := r.Get(ctx, key("server", "a"))
		put(tb, s, record("server", "a", "new"), record("server", "b", "new"), record("server", "c", "new"))
		b, err2 := r.Get(ctx, key("server", "b"))
		all, err3 := r.ListPrefix(ctx, "server", "")
		equal(tb, "head", h.Revision, catalog.Revision(1))
		equal(tb, "bodies", []string{string(a.Body), string(b.Body)}, []string{string(body("old")), string(body("old"))})
		equal(tb, "list", names(all), []string{"a", "b"})
		return errors.Join(err, err2, err3)
	})
}

func checkWatch(tb testing.TB, s catalog.Store) {
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	hints, err := s.Watch(ctx)
	if err != nil {
		tb.Fatalf("Watch: %v", err)
	}
	for i := range 3 {
		put(tb, s, record("server", "a", fmt.Sprint(i)))
		select {
		case <-hints:
		case <-time.After(10 * time.Second):
			tb.Fatalf("no hint 10 s after commit %d", i+1)
		}
	}
	cancel()
	deadline := time.After(10 * time.Second)
	for open := true; open; {
		select {
		case _, open = <-hints:
		case <-deadline:
			tb.Fatal("the channel is open 10 s after its context ended")
		}
	}
}

func checkNotes(tb testing.TB, s catalog.Store) {
	for _, n := range []struct{ kind, name, body string }{
		{"token_use", "a", "1"}, {"token_use", "b", "1"}, {"token_use", "a", "2"}, {"check", "a", "3"},
	} {
		if err := s.Note(tb.Context(), n.kind, n.name, []byte(n.body)); err != nil {
			tb.Fatalf("Note: %v", err)
		}
	}
	got, err := s.Notes(tb.Context(), "token_use")
	if diff := cmp.Diff(map[string][]byte{"a": []byte("2"), "b": []byte("1")}, got); diff != "" || err != nil {
		tb.Errorf("Notes: %v\n%s", err, diff)
	}
	none, err := s.Notes(tb.Context(), "unknown")
	if len(none) != 0 || err != nil {
		tb.Errorf("Notes of an unknown kind = %v, %v", none, err)
	}
	equal(tb, "head: notes make no revision", head(tb, s), catalog.Revision(0))
}
