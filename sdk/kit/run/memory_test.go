// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGCPercent: a small program is collected as any Go program; a large one keeps less garbage, down to a bound.
func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 1 << 20: 100, 64 << 20: 100, 80 << 20: 80, 128 << 20: 50, 160 << 20: 40, 1 << 40: 40} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d MB: got %d, want %d", live>>20, got, want)
		}
	}
}

// TestMemory: the percentage follows a heap that grows, and is put back at the end; GOGC wins.
func TestMemory(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	t.Setenv("GOGC", "77")
	if err := Memory(func() bool { return false }).Run(t.Context()); err != nil {
		t.Errorf("with GOGC set: %v", err)
	}
	t.Setenv("GOGC", "")
	before := percent()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Memory(func() bool { return false }).Run(ctx) }()
	large := make([]byte, 200<<20)
	runtime.GC()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for percent() != leastPercent && time.Now().Before(deadline) {
		<-tick.C
	}
	if got := percent(); got != leastPercent {
		t.Errorf("with 200 MB the percentage is %d, want %d", got, leastPercent)
	}
	runtime.KeepAlive(large)
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := percent(); got != before {
		t.Errorf("at the end the percentage is %d, want %d as before", got, before)
	}
}
