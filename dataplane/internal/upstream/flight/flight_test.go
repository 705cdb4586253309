// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestFlight(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name    string
		outcome []error // of the runs, in order
		runs    int
		want    error // of those who wait
	}{
		{"one run serves all", []error{nil}, 1, nil},
		{"a failure is shared", []error{boom}, 1, boom},
		{"another takes over", []error{fault.New(fault.Canceled, "X", ""), nil}, 2, nil},
		{"and another", []error{context.Canceled, context.Canceled, boom}, 3, boom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Flight
				runs, release := 0, make(chan struct{})
				work := func() error {
					runs++ // one at a time: the race detector watches
					if runs == 1 {
						<-release
					}
					return tt.outcome[runs-1]
				}
				var group sync.WaitGroup
				var cancelled atomic.Int32
				for i := range 8 {
					group.Go(func() {
						err := g.Do(t.Context(), work)
						if fault.KindOf(err) == fault.Canceled && err != nil {
							cancelled.Add(1)
						} else if !errors.Is(err, tt.want) {
							t.Errorf("caller %d: %v", i, err)
						}
					})
					synctest.Wait()
				}
				close(release)
				group.Wait()
				if runs != tt.runs || int(cancelled.Load()) != tt.runs-1 {
					t.Errorf("%d runs, %d cancelled; want %d", runs, cancelled.Load(), tt.runs)
				}
			})
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Flight
		release := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			if err := g.Do(t.Context(), func() error { <-release; return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Do(ctx, func() error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(release)
		group.Wait()
	})
}

// TestBatonIsNotLost: the one who should take over leaves at the same moment.
func TestBatonIsNotLost(t *testing.T) {
	for range 200 {
		var g Flight
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		running := make(chan struct{})
		group.Go(func() {
			_ = g.Do(t.Context(), func() error { close(running); <-release; return context.Canceled })
		})
		<-running
		group.Go(func() { _ = g.Do(ctx, func() error { return nil }) })
		group.Go(cancel)
		group.Go(func() { close(release) })
		group.Wait()
		if err := g.Do(t.Context(), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPanicFreesThePlace(t *testing.T) {
	var g Flight
	func() {
		defer func() { _ = recover() }()
		_ = g.Do(t.Context(), func() error { panic("x") })
	}()
	if err := g.Do(t.Context(), func() error { return nil }); err != nil {
		t.Error(err)
	}
}
