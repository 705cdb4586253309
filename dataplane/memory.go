// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

const (
	// fullHeadroom is how many bytes of live heap may be matched by as many bytes of garbage, which is Go's default.
	fullHeadroom = 64 << 20
	// leastPercent bounds what is saved: below it collecting would cost more than the memory is worth.
	leastPercent = 40
	adjustEvery  = 10 * time.Second

	liveBytes = "/gc/heap/live:bytes"
)

// gcPercent returns the garbage collector's percentage for a live heap. A node's heap is mostly its configuration, which
// never becomes garbage: with a large one, Go's default would keep as much memory again for a garbage that never comes
// (distribution.md section 12).
func gcPercent(live uint64) int {
	if live <= fullHeadroom {
		return 100
	}
	return max(leastPercent, int(100*fullHeadroom/live))
}

// tuneMemory sets the percentage by the live heap, at once after a large change and every ten seconds, until ctx ends.
// Who has set GOGC wants something else.
func tuneMemory(ctx context.Context, holder *view.Holder) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	before := debug.SetGCPercent(leastPercent) // while the configuration is loaded
	defer debug.SetGCPercent(before)
	tick := time.NewTicker(adjustEvery)
	defer tick.Stop()
	now, loaded := leastPercent, holder.Changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-loaded:
			loaded = nil // from now on every ten seconds will do
		case <-tick.C:
		}
		sample := []metrics.Sample{{Name: liveBytes}}
		metrics.Read(sample)
		if percent := gcPercent(sample[0].Value.Uint64()); holder.Load() != nil && percent != now {
			debug.SetGCPercent(percent)
			now = percent
		}
	}
}
