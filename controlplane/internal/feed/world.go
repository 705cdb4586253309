// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
)

// encoding is how many records wait at most until they are encoded, and how many entries until they are kept.
const encoding = 1024

// readWorld reads a full state. Records are encoded on all cores while others are read: it takes as long as the reading, and a
// control plane that starts is one that a thousand nodes wait for.
func readWorld(ctx context.Context, store catalog.Store) (*scope.World, catalog.Head, error) {
	w := scope.NewWorld()
	var head catalog.Head
	records, entries := make(chan *catalog.Record, encoding), make(chan *scope.Entry, encoding)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() (err error) {
		defer close(records)
		head, err = store.Snapshot(ctx, func(rec *catalog.Record) error {
			select {
			case records <- rec:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		return err
	})
	all.Go(func() error {
		defer close(entries)
		encoders, ctx := errgroup.WithContext(ctx)
		for range runtime.GOMAXPROCS(0) {
			encoders.Go(func() error { return encodeAll(ctx, records, entries) })
		}
		return encoders.Wait()
	})
	all.Go(func() error {
		for e := range entries {
			w.Set(e.Key, e)
		}
		return nil
	})
	if err := all.Wait(); err != nil {
		return nil, catalog.Head{}, fmt.Errorf("load state: %w", err)
	}
	return w, head, nil
}

// encodeAll encodes records until there are no more. Those that nodes have no use for give no entry.
func encodeAll(ctx context.Context, records <-chan *catalog.Record, entries chan<- *scope.Entry) error {
	for rec := range records {
		e, err := scope.Encode(rec)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		select {
		case entries <- e:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
