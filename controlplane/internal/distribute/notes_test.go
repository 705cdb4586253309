// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
)

// outage is a store that takes no note while it is down.
type outage struct {
	*memstore.Store
	down    atomic.Bool
	refused atomic.Int32
}

// Note implements distribute.Notes.
func (o *outage) Note(ctx context.Context, kind, name string, body []byte) error {
	if o.down.Load() {
		o.refused.Add(1)
		return errors.New("the store is down")
	}
	return o.Store.Note(ctx, kind, name, body)
}

// TestNotesAfterOutage: what could not be noted is noted as soon as it can be, of all nodes, though they do nothing more.
func TestNotesAfterOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(nil)
		notes := &outage{Store: store}
		notes.down.Store(true)
		p := startPlane(t, store, func(c *distribute.Config) { c.Notes = notes })
		rev := p.write(feedtest.Shop()...)
		for _, name := range []string{"n1", "n2"} {
			startNode(t, p, name, "eu", nil).at(rev)
		}
		p.wait(rev)
		time.Sleep(11 * time.Second)
		if notes.refused.Load() < 2 {
			t.Errorf("%d attempts to note", notes.refused.Load())
		}
		notes.down.Store(false)
		time.Sleep(6 * time.Second)
		kept, err := store.Notes(t.Context(), "node")
		if err != nil || len(kept) != 2 {
			t.Fatalf("notes %s, %v", kept, err)
		}
		for id, body := range kept {
			var n struct{ Enforced catalog.Revision }
			if err := json.Unmarshal(body, &n); err != nil || n.Enforced != rev {
				t.Errorf("note of %s: %s, %v", id, body, err)
			}
		}
	})
}
