// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// ReasonRevisionsLost is the reason of a write to a log that lost revisions (D-72).
const ReasonRevisionsLost = "REVISIONS_LOST"

// lost is the range of revisions that were seen and are not in the log any more; the zero value is none. Denials may be among
// them.
type lost struct {
	After catalog.Revision `json:"after"` // (After, To]
	To    catalog.Revision `json:"to"`
	Who   string           `json:"who,omitempty"` // saw the last one; empty: this control plane
}

// noteLost is the kind of the note by which a control plane that starts only now learns what is lost, by epoch.
const noteLost = "lost_revisions"

// note keeps what is lost in the database, once.
func (f *Feed) note(ctx context.Context) {
	f.mu.Lock()
	l, epoch := f.lost, f.epoch
	known := l == (lost{}) || f.noted == l
	f.mu.Unlock()
	if known {
		return
	}
	body, err := json.Marshal(l)
	if err == nil {
		err = f.store.Note(ctx, noteLost, epoch, body)
	}
	if err != nil {
		f.log.WarnContext(ctx, "what is lost cannot be noted now", obs.AttrError, err)
		return
	}
	f.mu.Lock()
	f.noted = l
	f.mu.Unlock()
}

// readLost returns what was noted of an epoch.
func (f *Feed) readLost(ctx context.Context, epoch string) (l lost, err error) {
	notes, err := f.store.Notes(ctx, noteLost)
	if err != nil || notes[epoch] == nil {
		return lost{}, err
	}
	if err := json.Unmarshal(notes[epoch], &l); err != nil {
		return lost{}, fmt.Errorf("read what is lost: %w", err)
	}
	return l, nil
}

// Witness takes a point of the log that somebody else has seen. If the log, read again, is before it, revisions were lost:
// nothing is sent or written any more, until the log has a new epoch (D-72, D-73).
func (f *Feed) Witness(ctx context.Context, who string, seen catalog.Head) {
	here := f.Head()
	if seen.Epoch != here.Epoch || seen.Revision <= here.Revision {
		return
	}
	head, err := f.store.Head(ctx)
	if err != nil || head.Epoch != seen.Epoch || head.Revision >= seen.Revision {
		return // not known now, or this feed is a little behind
	}
	f.mu.Lock()
	if f.ready && f.epoch == seen.Epoch {
		f.freeze(ctx, lost{After: head.Revision, To: seen.Revision, Who: who})
	}
	f.mu.Unlock()
	f.note(ctx)
}

// Guard says whether a write may follow a head of the log. The fault is Precondition, REVISIONS_LOST, with the range that
// was lost: whoever takes its numbers again would make nodes believe that they know what they do not.
func (f *Feed) Guard(ctx context.Context, head catalog.Head) error {
	f.mu.RLock()
	ready := f.ready
	f.mu.RUnlock()
	if !ready { // what others have noted counts before anything is loaded
		l, err := f.readLost(ctx, head.Epoch)
		if err != nil || l == (lost{}) {
			return err
		}
		return l.fault()
	}
	err := f.check(ctx, head)
	if err != nil {
		f.note(ctx)
	}
	return err
}

// check is Guard of a feed that is ready. A head that is behind is read again before anything is concluded from it: the
// caller may have read it before the last revisions were committed.
func (f *Feed) check(ctx context.Context, head catalog.Head) error {
	f.mu.RLock()
	epoch, seen := f.epoch, f.ring.head()
	f.mu.RUnlock()
	if head.Epoch == epoch && head.Revision < seen {
		var err error
		if head, err = f.store.Head(ctx); err != nil {
			return err //nolint:wrapcheck // it is the write's
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ready || head.Epoch != f.epoch {
		return nil
	}
	if head.Epoch == epoch && head.Revision < seen {
		f.freeze(ctx, lost{After: head.Revision, To: seen})
	}
	if f.lost == (lost{}) {
		return nil
	}
	return f.lost.fault()
}

// fault says what is lost, and the ways out.
func (l lost) fault() error {
	return fault.Newf(fault.Precondition, ReasonRevisionsLost,
		"The database is at revision %d, but %s has seen revision %d: the changes between were lost, denials perhaps among them. "+
			"Nothing is written or sent to nodes, which go on with what they have. Restore the newer database; or see what is to be made again, "+
			"and accept the loss with: controlplane --epoch.new=%d",
		l.After, cmp.Or(l.Who, "this control plane"), l.To, l.After)
}

// Lost returns the fault of [Feed.Guard] if revisions that were seen are not in the log.
func (f *Feed) Lost(ctx context.Context) error { return f.Guard(ctx, f.Head()) }

// freeze stops everything that is sent: revisions, perhaps denials, that were seen are lost (D-72). The caller holds mu.
func (f *Feed) freeze(ctx context.Context, l lost) {
	if f.lost != (lost{}) && f.lost.To >= l.To && f.lost.After <= l.After {
		return // known
	}
	if f.lost != (lost{}) {
		l.After, l.To = min(l.After, f.lost.After), max(l.To, f.lost.To)
	}
	f.lost = l
	f.missing.Record(ctx, int64(l.To-l.After))
	f.log.ErrorContext(ctx, "revisions were lost: nothing is written or sent until the log is restored or has a new epoch",
		obs.AttrRevision, uint64(l.After), "lost_from", uint64(l.After+1), "lost_to", uint64(l.To), "seen_by", cmp.Or(l.Who, "this control plane"))
	f.signal()
}

// Frozen reports whether revisions are known to be lost, so that nothing may be sent. It reads no store.
func (f *Feed) Frozen() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.lost != (lost{})
}
