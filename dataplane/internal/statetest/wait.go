// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"testing"
	"time"
)

// eventually waits for what a store does by itself: the clock of a Redis cannot be moved.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatal("it does not happen")
		}
	}
}
