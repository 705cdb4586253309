// SPDX-License-Identifier: Apache-2.0

package dataplane

import "testing"

// TestGCPercent: a small node is collected as any Go program; a large one keeps less garbage, down to a bound.
func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 1 << 20: 100, 64 << 20: 100, 80 << 20: 80, 128 << 20: 50, 160 << 20: 40, 1 << 40: 40} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d MB: got %d, want %d", live>>20, got, want)
		}
	}
}
