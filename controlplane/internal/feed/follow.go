// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	pollEvery  = 250 * time.Millisecond // D-7
	checkHead  = 5 * time.Second
	pageSize   = 500
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
)

// errGap is a log that is not what it was: a revision is missing, or the lineage is another one.
var errGap = errors.New("the revision log does not continue what was read")

// Run loads the state and follows the log until ctx ends, which is no error. What the store cannot do now is tried
// again; a gap is logged as an error and loaded over.
func (f *Feed) Run(ctx context.Context) error {
	hints, err := f.store.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch revision log: %w", err)
	}
	for delay := retryFirst; ctx.Err() == nil; {
		err := f.load(ctx)
		if err == nil {
			delay = retryFirst
			err = f.follow(ctx, hints)
		}
		if ctx.Err() == nil {
			f.note(ctx)
			f.log.Error("revision log cannot be followed, loading again", obs.AttrError, err)
			pause(ctx, delay)
			delay = min(2*delay, retryMost)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// load reads a full state and the recent log before it (D-44), and makes every class anew.
func (f *Feed) load(ctx context.Context) error {
	w, head, err := readWorld(ctx, f.store)
	if err != nil {
		return err
	}
	history, err := f.history(ctx, head.Revision)
	if err != nil {
		return fmt.Errorf("load recent changes: %w", err)
	}
	r, err := f.replay(ctx, w, head.Revision, history)
	if err != nil {
		return err
	}
	noted, err := f.readLost(ctx, head.Epoch)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ready && f.epoch == head.Epoch && (f.lost != (lost{}) || head.Revision < f.ring.head()) {
		if head.Revision < f.ring.head() {
			f.freeze(ctx, lost{After: head.Revision, To: f.ring.head()})
		}
		return fmt.Errorf("%w: its head is revision %d, and more was seen", errGap, head.Revision)
	}
	f.epoch, f.exact, f.world, f.ring, f.prompt, f.denied, f.staged = head.Epoch, head.Revision, w, r, 0, 0, r.staged()
	for _, c := range f.classes {
		c.rebuild(w, &f.ring)
		c.forgetDeltas()
	}
	f.trim()
	f.ready, f.lost = true, lost{}
	f.head.Record(ctx, int64(head.Revision))
	f.missing.Record(ctx, 0)
	if noted != (lost{}) {
		f.freeze(ctx, noted)
		f.noted = noted
	}
	f.signal()
	f.log.Info("revision log loaded", obs.AttrEpoch, head.Epoch, obs.AttrRevision, uint64(head.Revision), obs.AttrCount, len(w.Entries))
	return nil
}

// history reads the newest changes up to a head, oldest first: as far back as the ring reaches, or the log.
func (f *Feed) history(ctx context.Context, head catalog.Revision) ([]catalog.Change, error) {
	var pages [][]catalog.Change
	oldest := time.Now().Add(-f.limits.age)
	for to, have := head, 0; to > 0 && have < f.limits.changes; {
		from := to - min(to, pageSize)
		page, kept, err := f.kept(ctx, from, int(to-from))
		if err != nil {
			return nil, err
		}
		if !kept {
			break
		}
		if len(page) != int(to-from) || page[0].Revision != from+1 {
			return nil, fmt.Errorf("%w: %d changes after revision %d", errGap, len(page), from)
		}
		pages = append(pages, page)
		have += len(page)
		to = from
		if page[0].Time.Before(oldest) {
			break
		}
	}
	slices.Reverse(pages)
	return slices.Concat(pages...), nil
}

// kept reads changes; they are perhaps not kept any more, which is no error.
func (f *Feed) kept(ctx context.Context, after catalog.Revision, limit int) ([]catalog.Change, bool, error) {
	page, err := f.store.Changes(ctx, after, limit)
	if err != nil && fault.KindOf(err) == fault.Stale {
		return nil, false, nil
	}
	return page, err == nil, err
}

// replay makes the ring of the changes that led to a world. What the first change of a resource replaced is not in the
// log of older versions: it counts as absent, so that a delta sends the resource whole, unless the change deleted it, when the store still
// has it. A node whose scope that does not describe notices by the digest.
func (f *Feed) replay(ctx context.Context, w *scope.World, head catalog.Revision, history []catalog.Change) (ring, error) {
	r := ring{base: head - catalog.Revision(len(history))}
	past, err := f.deleted(ctx, history)
	if err != nil {
		return ring{}, err
	}
	for _, ch := range history {
		c, err := translate(ch, func(k catalog.Key) *scope.Entry { return past[k] })
		if err != nil {
			return ring{}, err
		}
		for i, op := range c.ops {
			// The world's own entry where it is the same version: one encoding, one memory.
			if now := w.Entries[op.Key()]; op.After != nil && now != nil && now.Version == op.After.Version {
				c.ops[i].After = now
			}
			past[op.Key()] = c.ops[i].After
		}
		r.push(c)
	}
	return r, nil
}

// deleted returns what the records were before their first change in a history. A change of older versions does not say: then
// it is what a deletion has left in the store, and nil for everything else. A record
// that the store has no more is nil too.
func (f *Feed) deleted(ctx context.Context, history []catalog.Change) (map[catalog.Key]*scope.Entry, error) {
	past := make(map[catalog.Key]*scope.Entry)
	var gone []catalog.Key
	for _, ch := range history {
		for _, op := range ch.Ops {
			if _, ok := past[op.Key]; !ok {
				before, err := scope.Encode(op.Before) // nil stays nil
				if err != nil {
					return nil, err
				}
				past[op.Key] = before
				if op.Delete && !ch.Undo {
					gone = append(gone, op.Key)
				}
			}
		}
	}
	err := f.store.Read(ctx, func(_ catalog.Head, r catalog.Reader) error {
		for _, k := range gone {
			rec, err := r.GetDeleted(ctx, k)
			if err != nil {
				return err
			}
			if past[k], err = scope.Encode(rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read deleted records: %w", err)
	}
	return past, nil
}

// translate turns a committed change into what it does to a world, of which before knows the state so far.
func translate(ch catalog.Change, before func(catalog.Key) *scope.Entry) (change, error) {
	c := change{time: ch.Time, denials: ch.Denials, atomic: ch.Atomic, staged: ch.Staged, denial: len(ch.Denials) > 0}
	seen := make(map[catalog.Key]*scope.Entry, len(ch.Ops))
	for _, op := range ch.Ops {
		was, ok := seen[op.Key]
		if !ok {
			was = before(op.Key)
		}
		var is *scope.Entry
		if !op.Delete {
			var err error
			if is, err = scope.Encode(op.Record); err != nil {
				return change{}, err
			}
		}
		seen[op.Key] = is
		if was == nil && is == nil {
			continue
		}
		c.ops = append(c.ops, scope.Moved{Before: was, After: is})
		if (was != nil || op.Kind == catalog.KindPolicy || op.Kind == catalog.KindResultPolicy) && mayNarrow(op.Kind) {
			c.prompt = true
		}
		if !op.Delete && !slices.Contains(ch.Denials, op.Key) {
			c.denial = false
		}
	}
	return c, nil
}

// mayNarrow reports whether an edit of such a resource may take rights away without a denial: the visibility of a gateway,
// what an identity provider or an OAuth client may do, what a policy refuses or takes
// out. What narrows the rights of people is a denial.
func mayNarrow(k catalog.Kind) bool {
	switch k {
	case catalog.KindGateway, resource.KindIdentityProvider, resource.KindOAuthClient, catalog.KindPolicy, catalog.KindResultPolicy:
		return true
	default:
		return false
	}
}

// follow reads the log on every hint and every 250 ms (D-7).
func (f *Feed) follow(ctx context.Context, hints <-chan struct{}) error {
	poll, check := time.NewTicker(pollEvery), time.NewTicker(checkHead)
	defer poll.Stop()
	defer check.Stop()
	failing := false
	for {
		if f.Frozen() {
			return fmt.Errorf("%w: somebody has seen more of it", errGap)
		}
		err := f.catchUp(ctx)
		switch {
		case errors.Is(err, errGap) || err != nil && fault.KindOf(err) == fault.Stale:
			return err
		case err != nil && ctx.Err() == nil && !failing:
			f.log.Warn("revision log cannot be read now", obs.AttrError, err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-hints:
		case <-poll.C:
		case <-check.C:
			if err := f.checkHead(ctx); err != nil {
				return err
			}
		}
	}
}

// catchUp reads what is new.
func (f *Feed) catchUp(ctx context.Context) error {
	for {
		f.mu.RLock()
		after := f.ring.head()
		f.mu.RUnlock()
		page, err := f.store.Changes(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for i, ch := range page {
			if ch.Revision != after+catalog.Revision(i)+1 {
				return fmt.Errorf("%w: revision %d follows %d", errGap, ch.Revision, after+catalog.Revision(i))
			}
			if err := f.take(ctx, ch); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// take makes one committed change visible.
func (f *Feed) take(ctx context.Context, ch catalog.Change) error {
	// Only this goroutine changes the world, so it reads without the lock, and encodes before it holds it.
	c, err := translate(ch, func(k catalog.Key) *scope.Entry { return f.world.Entries[k] })
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.push(c, ch.Revision)
	f.trim()
	f.head.Record(ctx, int64(ch.Revision))
	f.signal()
	return nil
}

// checkHead notices a log that was replaced under the feed: another epoch, or a head before what was read (D-72).
func (f *Feed) checkHead(ctx context.Context) error {
	head, err := f.store.Head(ctx)
	if err != nil {
		return nil // the next poll says the same
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case head.Epoch != f.epoch:
		return fmt.Errorf("%w: the epoch is another one", errGap)
	case head.Revision < f.ring.head():
		f.freeze(ctx, lost{After: head.Revision, To: f.ring.head()})
		return fmt.Errorf("%w: the head went back to revision %d", errGap, head.Revision)
	default:
		return nil
	}
}
