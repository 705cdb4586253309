// SPDX-License-Identifier: Apache-2.0

package turns

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestBurst is G-51: of a burst no more than the bound run at a time, in the order in which they came, and all of them do.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Turns
		var now, most, last, ran atomic.Int64
		for i := range int64(10) {
			go func() {
				if !q.Enter(t.Context(), 2) {
					t.Errorf("%d is refused", i)
					return
				}
				defer q.Leave()
				most.Store(max(most.Load(), now.Add(1)))
				if i < last.Swap(i)-1 {
					t.Errorf("%d runs after %d", i, last.Load())
				}
				time.Sleep(time.Second)
				now.Add(-1)
				ran.Add(1)
			}()
			synctest.Wait()
		}
		time.Sleep(Patience + time.Second)
		if most.Load() != 2 || ran.Load() != 10 {
			t.Errorf("%d ran at a time, %d in all", most.Load(), ran.Load())
		}
	})
}

// TestRefused: who waits too long, or is one too many, or is given up, has no turn; it takes nobody else's.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Turns
		if !q.Enter(t.Context(), 1) {
			t.Fatal("the first is refused")
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan bool, 4)
		for i := range 4 {
			ctx := ctx
			if i > 0 {
				ctx = t.Context()
			}
			go func() { results <- q.Enter(ctx, 1) }()
			synctest.Wait()
		}
		if q.Enter(t.Context(), 1) {
			t.Error("a fifth waits")
		}
		if !q.Enter(t.Context(), 0) {
			t.Error("a call without a bound waits")
		}
		q.Leave()
		cancel()
		began := time.Now()
		if <-results || time.Since(began) != 0 {
			t.Error("one that was given up runs")
		}
		time.Sleep(Patience - time.Second)
		q.Leave()
		if !<-results {
			t.Error("nobody runs")
		}
		for range 2 {
			if <-results {
				t.Error("one runs after it was too late")
			}
		}
		q.Leave()
		if !q.Enter(t.Context(), 1) {
			t.Error("afterwards nobody runs")
		}
	})
}
