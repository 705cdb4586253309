// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// encoding is how many records wait at most until they are encoded, and how many entries until they are kept.
const encoding = 1024

// readWorld reads a full state. Records are encoded on all cores while others are read: it takes as long as the reading, and a
// control plane that starts is one that a thousand nodes wait for.
func readWorld(ctx context.Context, store catalog.Store) (*scope.World, catalog.Head, error) {
	w := scope.NewWorld()
	var head catalog.Head
	records, entries := make(chan *catalog.Record, encoding), make(chan *scope.Entry, encoding)
	tasks := []run.Task{
		{Name: "read", Run: func(ctx context.Context) (err error) {
			defer close(records)
			head, err = store.Snapshot(ctx, func(rec *catalog.Record) error { return hand(ctx, records, rec) })
			return err
		}},
		{Name: "keep", Run: func(context.Context) error {
			for e := range entries {
				w.Set(e.Key, e)
			}
			return nil
		}},
	}
	var encoders atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		encoders.Add(1)
		tasks = append(tasks, run.Task{Name: "encode", Run: func(ctx context.Context) error {
			defer func() {
				if encoders.Add(-1) == 0 {
					close(entries)
				}
			}()
			return encodeAll(ctx, records, entries)
		}})
	}
	err := run.Group(ctx, tasks...)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, catalog.Head{}, fmt.Errorf("load state: %w", err)
	}
	return w, head, nil
}

// encodeAll encodes records until there are no more. Those that nodes have no use for give no entry.
func encodeAll(ctx context.Context, records <-chan *catalog.Record, entries chan<- *scope.Entry) error {
	for rec := range records {
		e, err := scope.Encode(rec)
		if err == nil && e != nil {
			err = hand(ctx, entries, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hand gives a value to who takes it, unless ctx ends before.
func hand[T any](ctx context.Context, to chan<- T, value T) error {
	select {
	case to <- value:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
