// SPDX-License-Identifier: Apache-2.0

package taint

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	// maxUses bounds the uses that a node holds back; beyond that they are forgotten, and a mark may end that much early.
	maxUses = 1 << 16
	// batch is how many uses go to the store in one request.
	batch = 512
	// storeTime bounds one such request.
	storeTime = 2 * time.Second
	// tooLate is when a store may have dropped the mark of what was used while it did not answer.
	tooLate = Kept - Window - time.Minute
)

// span is when a key was used of which the store does not know yet.
type span struct{ first, last time.Time }

// use notes uses of keys with a window, for [Tracker.flush].
func (t *Tracker) use(keys []Key) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		s, known := t.uses[k.ID]
		if !known {
			s.first = now
		}
		if k.Window && (known || len(t.uses) < maxUses) {
			t.uses[k.ID] = span{s.first, now}
		}
	}
}

// Run watches the store and tells it of uses, until ctx is canceled; then it tells it the last and returns nil.
func (t *Tracker) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		t.watch(ctx)
		select {
		case <-ctx.Done():
			t.flush(context.WithoutCancel(ctx)) // bounded by storeTime: calls are over
			return nil
		case <-tick.C:
			t.flush(ctx)
		}
	}
}

func (t *Tracker) watch(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	reach, err := t.store.Watch(within)
	if err == nil || ctx.Err() == nil {
		t.heard(ctx, err)
	}
	if err == nil {
		t.mu.Lock()
		t.complete = time.Now().Add(-reach)
		t.mu.Unlock()
	}
}

// flush tells the store of uses. Those that it does not take are told the next time; if that is so late that the mark of one may be
// gone, the context becomes untrusted: it counted as that all the while, and was in use.
func (t *Tracker) flush(ctx context.Context) {
	t.mu.Lock()
	uses := t.uses
	t.uses = make(map[string]span)
	t.mu.Unlock()
	ids := slices.Collect(maps.Keys(uses))
	for len(ids) > 0 {
		n := min(batch, len(ids))
		if err := t.tell(ctx, ids[:n], uses); err != nil {
			t.heard(ctx, err)
			t.again(ids, uses)
			return
		}
		ids = ids[n:]
	}
}

func (t *Tracker) tell(ctx context.Context, ids []string, uses map[string]span) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	told := make([]Use, 0, len(ids))
	var late []Key
	for _, id := range ids {
		if s := uses[id]; time.Since(s.first) > tooLate {
			late = append(late, Key{id, true})
		} else {
			told = append(told, Use{id, time.Since(s.last)})
		}
	}
	if len(late) > 0 {
		if err := t.store.Mark(ctx, late, ""); err != nil {
			return err //nolint:wrapcheck // handled by the caller
		}
	}
	if len(told) == 0 {
		return nil
	}
	return t.store.Touch(ctx, told) //nolint:wrapcheck // handled by the caller
}

// again keeps uses for the next time; what was used since is newer.
func (t *Tracker) again(ids []string, uses map[string]span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		newer, known := t.uses[id]
		if !known && len(t.uses) >= maxUses {
			continue
		}
		s := uses[id]
		if known {
			s.last = newer.last
		}
		t.uses[id] = s
	}
}
