// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestGuardOfAnOldHead is D-72: a write that has read the head before others were committed is behind, and nothing is lost. A
// log that is behind when it is read again has lost revisions.
func TestGuardOfAnOldHead(t *testing.T) {
	store := memstore.New(time.Now)
	f := feedtest.Start(t, store)
	old := catalog.Head{Epoch: f.Head().Epoch, Revision: feedtest.Write(t, store, feedtest.Team("a"))}
	feedtest.AwaitHead(t, f, feedtest.Write(t, store, feedtest.Team("b")))
	if err := f.Guard(t.Context(), old); err != nil {
		t.Errorf("a head that was read a moment ago: %v", err)
	}
	if err := f.Lost(t.Context()); err != nil {
		t.Errorf("the log is frozen by it: %v", err)
	}
	f.Witness(t.Context(), "node n", catalog.Head{Epoch: old.Epoch, Revision: old.Revision + 9})
	if got := fault.From(f.Guard(t.Context(), f.Head())); got == nil || got.Reason != feed.ReasonRevisionsLost {
		t.Errorf("a log before what a node has seen: %v, want %s", got, feed.ReasonRevisionsLost)
	}
}
