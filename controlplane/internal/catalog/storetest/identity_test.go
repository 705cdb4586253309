// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// identityLog is the naive revision log: a change gets its number from an identity column when the transaction first
// writes, and becomes visible when it commits. It does no more than checkCommitOrder needs.
type identityLog struct {
	catalog.Store

	mu        sync.Mutex
	next      catalog.Revision
	committed []catalog.Change // by revision
}

func (l *identityLog) Write(_ context.Context, actor string, fn func(catalog.Tx) error) (catalog.Revision, bool, error) {
	tx := &identityTx{log: l, change: catalog.Change{Actor: actor}}
	if err := fn(tx); err != nil {
		return 0, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, _ := slices.BinarySearchFunc(l.committed, tx.change.Revision, func(c catalog.Change, r catalog.Revision) int {
		return int(c.Revision) - int(r)
	})
	l.committed = slices.Insert(l.committed, at, tx.change)
	return tx.change.Revision, true, nil
}

func (l *identityLog) Changes(_ context.Context, after catalog.Revision, limit int) ([]catalog.Change, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []catalog.Change
	for _, c := range l.committed {
		if c.Revision > after && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, nil
}

type identityTx struct {
	catalog.Tx

	log    *identityLog
	change catalog.Change
}

func (t *identityTx) Put(_ context.Context, r *catalog.Record) error {
	if t.change.Revision == 0 {
		t.log.mu.Lock()
		t.log.next++
		t.change.Revision = t.log.next
		t.log.mu.Unlock()
	}
	t.change.Ops = append(t.change.Ops, catalog.Op{Key: r.Key, Record: r})
	return nil
}

// recorder is a testing.TB that keeps the failures instead of failing.
type recorder struct {
	testing.TB

	mu       sync.Mutex
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// The proof that the suite can fail: on a log numbered by an identity column the follower misses writes, and the check
// says so.
func TestCommitOrderFailsOnIdentityColumn(t *testing.T) {
	rec := &recorder{TB: t}
	checkCommitOrder(rec, &identityLog{})
	missed := slices.ContainsFunc(rec.failures, func(f string) bool { return strings.HasPrefix(f, "the follower saw") })
	if !missed {
		t.Fatalf("the check reported %q; want a write that the follower missed", rec.failures)
	}
}
