// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
)

const (
	pollEvery    = 250 * time.Millisecond // D-7
	listenRetry  = 100 * time.Millisecond
	listenAtMost = 5 * time.Second
)

// Watch implements catalog.Store. Hints come from commits of this process, from NOTIFY on PostgreSQL (D-6) — its
// connection is made again when it is lost —, and from a look at the head every 250 ms, which needs neither.
func (s *Store) Watch(ctx context.Context) (<-chan struct{}, error) {
	return watch(ctx, s, source[catalog.Head]{signal: &s.signal, channel: channel, look: s.Head})
}

// source is where hints come from.
type source[T comparable] struct {
	signal  *stage.Signal
	channel string                           // of NOTIFY
	look    func(context.Context) (T, error) // what has moved when it differs
}

func watch[T comparable](ctx context.Context, s *Store, from source[T]) (<-chan struct{}, error) {
	if err := s.closing.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	out := make(chan struct{}, 1)
	hint := func() {
		select {
		case out <- struct{}{}:
		default: // one waits to be taken
		}
	}
	local := from.signal.Watch(ctx)
	s.watchers.Go(func() {
		defer close(out)
		defer cancel()
		defer stop()
		var sources sync.WaitGroup
		sources.Go(func() {
			for range local {
				hint()
			}
		})
		sources.Go(func() { poll(ctx, from.look, hint) })
		if s.pg != nil {
			sources.Go(func() { s.listen(ctx, from.channel, hint) })
		}
		sources.Wait()
	})
	return out, nil
}

// poll hints when what it looks at has moved, also after the database was away.
func poll[T comparable](ctx context.Context, look func(context.Context) (T, error), hint func()) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	var last T
	for {
		// Any error is temporary here: the next look comes soon, and reading the log reports it.
		if h, err := look(ctx); err == nil && h != last {
			last = h
			hint()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// listen hints at each notification and right after each LISTEN, since what was notified before is lost.
func (s *Store) listen(ctx context.Context, channel string, hint func()) {
	for delay := listenRetry; ctx.Err() == nil; delay = min(2*delay, listenAtMost) {
		began := time.Now()
		s.listenOnce(ctx, channel, hint)
		if time.Since(began) > listenAtMost {
			delay = listenRetry
		}
		if wait(ctx, rand.N(delay)) != nil { //nolint:gosec // jitter
			return
		}
	}
}

// listenOnce returns when its connection is lost.
func (s *Store) listenOnce(ctx context.Context, channel string, hint func()) {
	conn, err := pgx.ConnectConfig(ctx, s.pg.Copy())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // lost or no longer wanted
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return
	}
	for {
		hint()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return
		}
	}
}
