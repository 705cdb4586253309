// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func checkEmpty(tb testing.TB, s catalog.Store) {
	h, err := s.Head(tb.Context())
	if err != nil {
		tb.Fatalf("Head: %v", err)
	}
	if h.Revision != 0 {
		tb.Errorf("an empty store is at revision %d", h.Revision)
	}
	if _, err := uuid.Parse(h.Epoch); err != nil {
		tb.Errorf("epoch %q is no UUID", h.Epoch)
	}
	if rec := get(tb, s, key("server", "a")); rec != nil {
		tb.Errorf("an empty store has %v", rec)
	}
	equal(tb, "the log of an empty store", len(changes(tb, s)), 0)
	snap, err := s.Snapshot(tb.Context(), func(r *catalog.Record) error { return errors.New("there is " + r.Name) })
	if err != nil || snap != h {
		tb.Errorf("Snapshot = %v, %v; want %v", snap, err, h)
	}
}

func checkWrite(tb testing.TB, s catalog.Store) {
	before := time.Now().Add(-time.Minute)
	rec := record("server", "a", "one")
	rec.Blobs = []catalog.Hash{{2}, {1}, {2}}
	if rev := put(tb, s, rec); rev != 1 {
		tb.Errorf("the first change is revision %d", rev)
	}
	got := get(tb, s, key("server", "a"))
	if got == nil {
		tb.Fatal("what was written is not there")
	}
	equal(tb, "body", string(got.Body), string(rec.Body))
	equal(tb, "uid", got.UID, "uid-a")
	equal(tb, "blobs, sorted and single", got.Blobs, []catalog.Hash{{1}, {2}})
	equal(tb, "version", got.Version, catalog.VersionOf("uid-a", rec.Body, []catalog.Hash{{1}, {2}}))
	equal(tb, "revision", got.Revision, catalog.Revision(1))
	if got.CreateTime.Before(before) || !got.UpdateTime.Equal(got.CreateTime) || !got.DeleteTime.IsZero() {
		tb.Errorf("times are %v, %v, %v", got.CreateTime, got.UpdateTime, got.DeleteTime)
	}
	put(tb, s, record("server", "a", "two"))
	again := get(tb, s, key("server", "a"))
	equal(tb, "new body", string(again.Body), string(body("two")))
	equal(tb, "new revision", again.Revision, catalog.Revision(2))
	if !again.CreateTime.Equal(got.CreateTime) || again.UpdateTime.Before(got.UpdateTime) {
		tb.Errorf("after an update, times are %v, %v; were %v", again.CreateTime, again.UpdateTime, got.CreateTime)
	}
	equal(tb, "head", head(tb, s), catalog.Revision(2))
}

// D-5: equal content is no revision, whatever else the transaction did.
func checkNoChange(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "one"), record("server", "b", "one"))
	rev, changed, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
		if err := tx.Put(tb.Context(), record("server", "a", "one")); err != nil {
			return err
		}
		if err := tx.Put(tb.Context(), record("server", "b", "two")); err != nil { // and back again
			return err
		}
		tx.Deny(key("server", "b"))
		tx.SetAtomic()
		if _, err := tx.PutBlob(tb.Context(), []byte("nobody needs it")); err != nil {
			return err
		}
		return tx.Put(tb.Context(), record("server", "b", "one"))
	})
	if rev != 1 || changed || err != nil {
		tb.Errorf("writing the same again: revision %d, changed %v, %v; want the head, 1", rev, changed, err)
	}
	if rev, changed, err = s.Write(tb.Context(), actor, func(catalog.Tx) error { return nil }); rev != 1 || changed || err != nil {
		tb.Errorf("writing nothing: revision %d, changed %v, %v; want the head, 1", rev, changed, err)
	}
	equal(tb, "changes", len(changes(tb, s)), 1)
	put(tb, s, record("server", "a", "one"), record("server", "b", "two"))
	last := changes(tb, s)[1]
	if len(last.Ops) != 1 || last.Ops[0].Key != key("server", "b") {
		tb.Errorf("the change has %v; want only what differs", last.Ops)
	}
}

func checkFailedWrite(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "one"))
	_, changed, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error {
		if err := tx.Put(tb.Context(), record("server", "a", "two")); err != nil {
			return err
		}
		return errOwn
	})
	if changed || !errors.Is(err, errOwn) {
		tb.Errorf("a write whose function fails: changed %v, %v; want its own error", changed, err)
	}
	equal(tb, "body after a failed write", string(get(tb, s, key("server", "a")).Body), string(body("one")))
	equal(tb, "head after a failed write", head(tb, s), catalog.Revision(1))
	put(tb, s, record("server", "a", "three")) // and nothing is left locked
}

func checkDryRun(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "one"))
	err := s.DryRun(tb.Context(), func(tx catalog.Tx) error {
		if err := tx.Put(tb.Context(), record("server", "a", "two")); err != nil {
			return err
		}
		rec, err := tx.Get(tb.Context(), key("server", "a"))
		if err == nil && !bytes.Equal(rec.Body, body("two")) {
			tb.Errorf("a dry run does not see what it wrote")
		}
		return err
	})
	if err != nil {
		tb.Errorf("DryRun: %v", err)
	}
	if err := s.DryRun(tb.Context(), func(catalog.Tx) error { return errOwn }); !errors.Is(err, errOwn) {
		tb.Errorf("DryRun = %v; want the function's own error", err)
	}
	equal(tb, "body after a dry run", string(get(tb, s, key("server", "a")).Body), string(body("one")))
	equal(tb, "head after a dry run", head(tb, s), catalog.Revision(1))
}

func checkCanceled(tb testing.TB, s catalog.Store) {
	ctx, cancel := context.WithCancel(tb.Context())
	_, _, err := s.Write(ctx, actor, func(tx catalog.Tx) error {
		cancel()
		return tx.Put(ctx, record("server", "a", "one"))
	})
	kind(tb, "a write whose context ends", err, fault.Canceled)
	kind(tb, "a read whose context has ended", s.Read(ctx, func(catalog.Head, catalog.Reader) error { return nil }), fault.Canceled)
	equal(tb, "head", head(tb, s), catalog.Revision(0))
}

func checkSoftDelete(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "one"), record("server", "b", "one"))
	rev := remove(tb, s, key("server", "a"))
	read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) error {
		live, err := r.Get(ctx, key("server", "a"))
		if err != nil || live != nil {
			tb.Errorf("a deleted record is read: %v, %v", live, err)
		}
		dead, err := r.GetDeleted(ctx, key("server", "a"))
		if err != nil {
			return err
		}
		if dead == nil || dead.DeleteTime.IsZero() || dead.Revision != rev || !bytes.Equal(dead.Body, body("one")) {
			tb.Errorf("GetDeleted = %+v; want the record with its body and revision %d", dead, rev)
		}
		other, err := r.GetDeleted(ctx, key("server", "b"))
		if err != nil || other != nil {
			tb.Errorf("GetDeleted of a living record = %v, %v", other, err)
		}
		list, err := r.List(ctx, "server", "", 10, false)
		equal(tb, "list", names(list), []string{"b"})
		all, err2 := r.List(ctx, "server", "", 10, true)
		equal(tb, "list with deleted", names(all), []string{"a", "b"})
		prefix, err3 := r.ListPrefix(ctx, "server", "")
		equal(tb, "list by prefix", names(prefix), []string{"b"})
		return errors.Join(err, err2, err3)
	})
	ops := changes(tb, s)[1].Ops
	if len(ops) != 1 || !ops[0].Delete || ops[0].Record != nil || ops[0].Version != (catalog.Hash{}) {
		tb.Errorf("the change of a deletion has %+v", ops)
	}
	_, _, err := s.Write(tb.Context(), actor, func(tx catalog.Tx) error { return tx.Delete(tb.Context(), key("server", "a")) })
	kind(tb, "deleting what is deleted", err, fault.NotFound)
	_, _, err = s.Write(tb.Context(), actor, func(tx catalog.Tx) error { return tx.Delete(tb.Context(), key("server", "z")) })
	kind(tb, "deleting what never was", err, fault.NotFound)
}

func checkUndelete(tb testing.TB, s catalog.Store) {
	put(tb, s, record("server", "a", "one"))
	first := get(tb, s, key("server", "a"))
	remove(tb, s, key("server", "a"))
	put(tb, s, record("server", "a", "one"))
	back := get(tb, s, key("server", "a"))
	if back == nil || !back.CreateTime.Equal(first.CreateTime) || back.Version != first.Version || back.Revision != 3 {
		tb.Errorf("brought back: %+v; want the first one at revision 3", back)
	}
	remove(tb, s, key("server", "a"))
	fresh := record("server", "a", "one")
	fresh.UID = "another"
	put(tb, s, fresh)
	got := get(tb, s, key("server", "a"))
	if got == nil || got.UID != "another" || got.Version == first.Version {
		tb.Errorf("a new resource under a deleted one's name is %+v", got)
	}
	read(tb, s, func(ctx context.Context, _ catalog.Head, r catalog.Reader) error {
		dead, err := r.GetDeleted(ctx, key("server", "a"))
		if dead != nil {
			tb.Errorf("the deleted record is still there beside its successor")
		}
		return err
	})
}
