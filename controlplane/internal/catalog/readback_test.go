// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// breaking is a store whose database goes away when something was written.
type breaking struct {
	*memstore.Store

	breaks, away bool
}

func (b *breaking) Write(ctx context.Context, actor string, do func(catalog.Tx) error) (catalog.Revision, bool, error) {
	rev, changed, err := b.Store.Write(ctx, actor, do)
	b.away = b.breaks && err == nil
	return rev, changed, err
}

func (b *breaking) Read(ctx context.Context, do func(catalog.Head, catalog.Reader) error) error {
	if b.away {
		return fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "The database does not answer or cannot be written; nothing was changed.")
	}
	return b.Store.Read(ctx, do)
}

// TestWriteWithoutReadingBack: what was written is answered as written, also if the database went away before it could be read
// again. Whoever is told that nothing was changed writes again, and is told that it exists.
func TestWriteWithoutReadingBack(t *testing.T) {
	store := &breaking{Store: memstore.New(time.Now)}
	c := catalog.New(catalog.Config{Store: store, Now: time.Now})
	system := catalog.Caller{System: true}
	store.breaks = true
	made, err := c.Create(t.Context(), system, &catalog.Team{Meta: named("eng"), DisplayName: "Engineering"}, catalog.WriteOptions{})
	if err != nil || made.Revision == 0 || !made.Changed {
		t.Fatalf("created as revision %d, changed %t, %v", made.Revision, made.Changed, err)
	}
	m := made.Object.Metadata()
	if m.Name != "eng" || m.UID == "" || m.Etag == "" {
		t.Errorf("got %+v", m)
	}
	store.breaks, store.away = false, false
	found, err := c.Get(t.Context(), system, catalog.KindTeam, "eng")
	if err != nil || found.Metadata().Etag != m.Etag {
		t.Errorf("stored %+v, %v", found, err)
	}
}
