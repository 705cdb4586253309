// SPDX-License-Identifier: Apache-2.0

package memstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/benbjohnson/immutable"
	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Store is a catalog.Store in memory. Its methods may be called at the same time.
type Store struct {
	now    func() time.Time
	writer chan struct{} // holds a token while nobody writes
	signal stage.Signal

	mu    sync.RWMutex
	head  catalog.Head
	state state
	log   []catalog.Change // log[i] is revision i+1
	notes map[string]map[string][]byte

	rollout record.Rollout
}

// state is the records of one revision. Its maps are persistent: a reader keeps the state it began with.
type state struct {
	rows    *immutable.SortedMap[catalog.Key, *catalog.Record]
	lookups *immutable.SortedMap[catalog.Key, string] // (kind, Lookup) to name, living records only
	blobs   *immutable.SortedMap[string, []byte]
}

// New returns an empty store of a new lineage. A nil now means time.Now.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	s := &Store{
		now: now, writer: make(chan struct{}, 1), head: catalog.Head{Epoch: uuid.NewString()},
		notes: make(map[string]map[string][]byte),
		state: state{
			rows:    immutable.NewSortedMap[catalog.Key, *catalog.Record](stage.Order{}),
			lookups: immutable.NewSortedMap[catalog.Key, string](stage.Order{}),
			blobs:   immutable.NewSortedMap[string, []byte](nil),
		},
	}
	s.writer <- struct{}{}
	return s
}

// Head implements catalog.Store.
func (s *Store) Head(ctx context.Context) (catalog.Head, error) {
	head, _ := s.current()
	return head, ctx.Err()
}

func (s *Store) current() (catalog.Head, state) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head, s.state
}

// Read implements catalog.Store.
func (s *Store) Read(ctx context.Context, fn func(catalog.Head, catalog.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	head, st := s.current()
	return fn(head, stage.Reader{Base: st})
}

// Write implements catalog.Store. Writers run one after the other.
func (s *Store) Write(ctx context.Context, actor string, fn func(catalog.Tx) error) (catalog.Revision, bool, error) {
	select {
	case <-s.writer:
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	defer func() { s.writer <- struct{}{} }()
	head, st := s.current()
	plan, err := s.run(ctx, head, st, fn)
	if err != nil {
		return 0, false, err
	}
	if len(plan.Writes) == 0 {
		return head.Revision, false, nil
	}
	change := plan.Change(head.Revision+1, actor)
	st, err = st.with(plan, change.Revision)
	if err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	rollout, _, err := plan.Rollout(s.rollout, change.Revision)
	if err != nil {
		s.mu.Unlock()
		return 0, false, err
	}
	s.rollout = rollout
	s.head.Revision, s.state, s.log = change.Revision, st, append(s.log, change)
	s.mu.Unlock()
	s.signal.Notify()
	return change.Revision, true, nil
}

// DryRun implements catalog.Store.
func (s *Store) DryRun(ctx context.Context, fn func(catalog.Tx) error) error {
	head, st := s.current()
	_, err := s.run(ctx, head, st, fn)
	return err
}

func (s *Store) run(ctx context.Context, head catalog.Head, st state, fn func(catalog.Tx) error) (stage.Plan, error) {
	if err := ctx.Err(); err != nil {
		return stage.Plan{}, err
	}
	tx := stage.New(st, s.now()).At(head)
	if err := fn(tx); err != nil {
		return stage.Plan{}, err
	}
	if err := ctx.Err(); err != nil {
		return stage.Plan{}, err
	}
	return tx.Plan(ctx)
}

// Changes implements catalog.Store. Nothing is ever dropped, so only a revision of another log is stale.
func (s *Store) Changes(ctx context.Context, after catalog.Revision, limit int) ([]catalog.Change, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if after > s.head.Revision {
		return nil, fault.Newf(fault.Stale, record.ReasonRevisionUnknown, "Revision %d is beyond the log's head, %d.", after, s.head.Revision)
	}
	out := s.log[after:]
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return slices.Clone(out), ctx.Err()
}

// Floor implements catalog.Store.
func (*Store) Floor(ctx context.Context) (catalog.Revision, error) { return 0, ctx.Err() }

// Rollout implements record.Rollouts.
func (s *Store) Rollout(ctx context.Context) (record.Rollout, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rollout, ctx.Err()
}

// Advance implements record.Rollouts.
func (s *Store) Advance(ctx context.Context, next record.Rollout) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rollout.Version != next.Version-1 {
		return false, ctx.Err()
	}
	s.rollout = next
	return true, ctx.Err()
}

// Snapshot implements catalog.Store.
func (s *Store) Snapshot(ctx context.Context, yield func(*catalog.Record) error) (catalog.Head, error) {
	head, st := s.current()
	for it := st.rows.Iterator(); !it.Done(); {
		_, rec, _ := it.Next()
		if !rec.DeleteTime.IsZero() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return catalog.Head{}, err
		}
		if err := yield(rec); err != nil {
			return catalog.Head{}, err
		}
	}
	return head, nil
}

// Blobs implements catalog.Store.
func (s *Store) Blobs(ctx context.Context, hashes []catalog.Hash) ([][]byte, error) {
	_, st := s.current()
	out := make([][]byte, len(hashes))
	for i, h := range hashes {
		b, ok := st.blobs.Get(string(h[:]))
		if !ok {
			return nil, fault.Newf(fault.NotFound, record.ReasonBlobNotFound, "There is no blob %x.", h)
		}
		out[i] = b
	}
	return out, ctx.Err()
}

// Watch implements catalog.Store.
func (s *Store) Watch(ctx context.Context) (<-chan struct{}, error) { return s.signal.Watch(ctx), nil }

// Wait returns when every Watch has ended, after its context did.
func (s *Store) Wait() { s.signal.Wait() }

// Note implements catalog.Store.
func (s *Store) Note(ctx context.Context, kind, name string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notes[kind] == nil {
		s.notes[kind] = make(map[string][]byte)
	}
	s.notes[kind][name] = slices.Clone(body)
	return ctx.Err()
}

// Notes implements catalog.Store.
func (s *Store) Notes(ctx context.Context, kind string) (map[string][]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := maps.Clone(s.notes[kind])
	if out == nil {
		out = map[string][]byte{}
	}
	return out, ctx.Err()
}
