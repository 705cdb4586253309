// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// fullHeadroom is how many bytes of live heap may be matched by as many bytes of garbage, which is Go's default.
	fullHeadroom = 64 << 20
	// leastPercent bounds what is saved: below it collecting would cost more than the memory is worth.
	leastPercent  = 40
	adjustLoading = 50 * time.Millisecond
	adjustEvery   = 10 * time.Second

	liveBytes = "/gc/heap/live:bytes"
)

// Memory returns a task that sets the garbage collector's percentage by the
// live heap, often until loaded says true, then every ten seconds. A server's
// heap is mostly configuration, which never becomes garbage: with a large one,
// Go's default would keep as much memory again for a garbage that never comes.
// Up to 64 MiB of live heap the default stays; beyond, there is room for
// 64 MiB of garbage, or for two fifths of the heap if that is more. Where GOGC
// is set the task does nothing.
func Memory(loaded func() bool) Task {
	return Task{Name: "memory", Run: func(ctx context.Context) error {
		if os.Getenv("GOGC") == "" {
			tune(ctx, loaded)
		}
		return nil
	}}
}

func tune(ctx context.Context, loaded func() bool) {
	now := gcPercent(0)
	before := debug.SetGCPercent(now)
	defer debug.SetGCPercent(before)
	loading := true
	tick := time.NewTicker(adjustLoading)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if loading && loaded() {
			loading = false
			tick.Reset(adjustEvery)
		}
		sample := []metrics.Sample{{Name: liveBytes}}
		metrics.Read(sample)
		if percent := gcPercent(sample[0].Value.Uint64()); percent != now {
			debug.SetGCPercent(percent)
			now = percent
		}
	}
}

// gcPercent returns the percentage for a live heap.
func gcPercent(live uint64) int {
	if live <= fullHeadroom {
		return 100
	}
	return max(leastPercent, int(100*fullHeadroom/live))
}
