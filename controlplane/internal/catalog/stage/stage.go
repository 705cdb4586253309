// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Stage is a catalog.Tx in memory. It is used by one goroutine.
type Stage struct {
	Reader

	over *overlay
	now  time.Time

	blobs   map[catalog.Hash][]byte
	denials []catalog.Key
	atomic  bool
	staged  bool
	undoes  *catalog.Revision
	head    catalog.Head
	read    map[catalog.Key]struct{}
}

// New returns a transaction on a base that does not change while it lasts. Now is the time that records get, cut to
// microseconds, which every store can keep.
func New(b Base, now time.Time) *Stage {
	s := &Stage{
		now:   now.UTC().Truncate(time.Microsecond),
		blobs: make(map[catalog.Hash][]byte),
		read:  make(map[catalog.Key]struct{}),
	}
	s.over = newOverlay(b)
	s.Reader = Reader{Base: s.over}
	return s
}

// At says which state the base is.
func (s *Stage) At(head catalog.Head) *Stage {
	s.head = head
	return s
}

// Head implements catalog.Tx.
func (s *Stage) Head() catalog.Head { return s.head }

// Get implements catalog.Reader and remembers that the transaction relies on the record.
func (s *Stage) Get(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	s.read[key] = struct{}{}
	return s.Reader.Get(ctx, key)
}

// GetDeleted implements catalog.Reader and remembers that the transaction relies on the record.
func (s *Stage) GetDeleted(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	s.read[key] = struct{}{}
	return s.Reader.GetDeleted(ctx, key)
}

// Blob implements catalog.Reader.
func (s *Stage) Blob(ctx context.Context, hash catalog.Hash) ([]byte, error) {
	if b, ok := s.blobs[hash]; ok {
		return b, nil
	}
	return s.Reader.Blob(ctx, hash)
}

// Put implements catalog.Tx. It computes the version and sets the times: a record keeps the creation time of the living
// one it replaces, and of a deleted one with the same UID, which it brings back.
func (s *Stage) Put(ctx context.Context, r *catalog.Record) error {
	if r.Kind == "" || r.Name == "" {
		return errors.New("put record: kind and name are required")
	}
	prev, err := s.over.Row(ctx, r.Key)
	if err != nil {
		return err
	}
	rec := *r
	rec.Blobs = slices.Clone(r.Blobs)
	slices.SortFunc(rec.Blobs, func(a, b catalog.Hash) int { return strings.Compare(string(a[:]), string(b[:])) })
	rec.Blobs = slices.Compact(rec.Blobs)
	rec.Version = catalog.VersionOf(rec.UID, rec.Body, rec.Blobs)
	rec.DeleteTime, rec.Revision = time.Time{}, 0
	rec.CreateTime, rec.UpdateTime = s.now, s.now
	if prev != nil && (prev.DeleteTime.IsZero() || prev.UID == rec.UID) {
		rec.CreateTime = prev.CreateTime
	}
	if prev != nil && prev.DeleteTime.IsZero() && prev.Version == rec.Version {
		rec = *prev
	}
	s.over.rows.Set(rec.Key, &rec)
	return nil
}

// Delete implements catalog.Tx; a record that does not live is fault.NotFound.
func (s *Stage) Delete(ctx context.Context, key catalog.Key) error {
	prev, err := s.over.Row(ctx, key)
	if err != nil {
		return err
	}
	if prev == nil || !prev.DeleteTime.IsZero() {
		return fault.Newf(fault.NotFound, record.ReasonRecordNotFound, "There is no %s %q to delete.", key.Kind, key.Name)
	}
	rec := *prev
	rec.DeleteTime, rec.UpdateTime, rec.Revision = s.now, s.now, 0
	s.over.rows.Set(key, &rec)
	return nil
}

// PutBlob implements catalog.Tx.
func (s *Stage) PutBlob(_ context.Context, body []byte) (catalog.Hash, error) {
	hash := catalog.Hash(sha256.Sum256(body))
	s.blobs[hash] = slices.Clone(body)
	return hash, nil
}

// Deny implements catalog.Tx.
func (s *Stage) Deny(key catalog.Key) {
	if !slices.Contains(s.denials, key) {
		s.denials = append(s.denials, key)
	}
}

// SetAtomic implements catalog.Tx.
func (s *Stage) SetAtomic() { s.atomic = true }

// SetStaged implements catalog.Tx.
func (s *Stage) SetStaged() { s.staged = true }

// SetRollback implements catalog.Tx.
func (s *Stage) SetRollback(to catalog.Revision) { s.undoes = &to }

// Write is one row to store: Record replaces Previous, which is nil if there was no row, and is a deletion if its
// DeleteTime is set.
type Write struct {
	Record, Previous *catalog.Record
}

// Plan is what a transaction has to store, in D-2's order of keys. With no Writes there is nothing to store at all.
type Plan struct {
	Writes  []Write
	Touched []catalog.Key // put as they are: not stored, but no other transaction may have changed them
	Read    []catalog.Key // relied upon, without those above
	Blobs   map[catalog.Hash][]byte
	Denials []catalog.Key
	Atomic  bool
	Staged  bool
	Undoes  *catalog.Revision // what it goes back to; nil: it is no rollback
	Time    time.Time
}

// Rollout returns the rollout after the plan is committed as rev, and whether it differs.
func (p Plan) Rollout(now record.Rollout, rev catalog.Revision) (next record.Rollout, changed bool, err error) {
	next = now
	if p.Undoes != nil {
		next = next.Undone(*p.Undoes, rev, p.Time)
	}
	if p.Staged {
		next, err = next.Begin(rev, p.Time)
	}
	return next, next.Version != now.Version, err
}

// Rolls reports whether the plan may change the rollout.
func (p Plan) Rolls() bool { return p.Staged || p.Undoes != nil }

// Plan ends the transaction.
func (s *Stage) Plan(ctx context.Context) (Plan, error) {
	p := Plan{Blobs: s.blobs, Denials: s.denials, Atomic: s.atomic, Staged: s.staged, Undoes: s.undoes, Time: s.now}
	for it := s.over.rows.Iterator(); !it.Done(); {
		key, rec, _ := it.Next()
		delete(s.read, key)
		prev, err := s.over.below.Row(ctx, key)
		if err != nil {
			return Plan{}, err
		}
		switch {
		case same(prev, rec):
			p.Touched = append(p.Touched, key)
		case prev == nil && !rec.DeleteTime.IsZero(): // made and deleted within the transaction
		default:
			p.Writes = append(p.Writes, Write{Record: rec, Previous: prev})
		}
	}
	p.Read = slices.SortedFunc(maps.Keys(s.read), Order{}.Compare)
	return p, nil
}

// same reports whether two states of a record are equal resources: a content hash that did not change makes no
// revision (D-5), and deleting what was deleted already changes nothing.
func same(a, b *catalog.Record) bool {
	if a == nil {
		return false
	}
	aDeleted, bDeleted := !a.DeleteTime.IsZero(), !b.DeleteTime.IsZero()
	return aDeleted == bDeleted && (aDeleted || a.Version == b.Version)
}

// Change returns the plan as the change of a revision.
func (p Plan) Change(rev catalog.Revision, actor string) catalog.Change {
	c := catalog.Change{
		Revision: rev, Actor: actor, Time: p.Time, Atomic: p.Atomic, Denials: p.Denials,
		Undo: true, Staged: p.Staged, Ops: make([]catalog.Op, len(p.Writes)),
	}
	for i, w := range p.Writes {
		rec := *w.Record
		rec.Revision = rev
		if rec.DeleteTime.IsZero() {
			c.Ops[i] = catalog.Op{Key: rec.Key, Version: rec.Version, Record: &rec}
		} else {
			c.Ops[i] = catalog.Op{Key: rec.Key, Delete: true}
		}
		if w.Previous != nil && w.Previous.DeleteTime.IsZero() {
			c.Ops[i].Before = w.Previous
		}
	}
	return c
}
