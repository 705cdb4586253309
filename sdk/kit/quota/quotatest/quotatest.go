// SPDX-License-Identifier: Apache-2.0

// Package quotatest is the suite that every quota.Store has to pass. It must never be linked into a server.
package quotatest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// Run runs the suite. open returns an empty store; names of keys are used in one test only.
func Run(t *testing.T, open func(t *testing.T) quota.Store) {
	t.Helper()
	s := open(t)
	t.Run("permits", func(t *testing.T) { permits(t, s) })
	t.Run("rows", func(t *testing.T) { rows(t, s) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, s) })
	t.Run("refill", func(t *testing.T) { refill(t, s) })
	t.Run("attempts", func(t *testing.T) { attempts(t, s) })
	t.Run("parallel attempts", func(t *testing.T) { parallelAttempts(t, s) })
}

func take(t *testing.T, s quota.Store, key string, l quota.Limit, n int) quota.Grant {
	t.Helper()
	g, err := s.Take(t.Context(), key, l, n)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// near reports whether a wait is the one that is due, less the time the test may have taken.
func near(got, want time.Duration) bool { return got <= want && got > want-time.Minute }

// permits walks through one limit so slow that time plays no part.
func permits(t *testing.T, s quota.Store) {
	l := quota.Limit{Amount: 24, Period: 24 * time.Hour, Burst: 5} // one an hour
	steps := []struct {
		n, granted int
		retry      time.Duration // 0 = there is one
	}{
		{0, 0, 0},
		{3, 3, 0},
		{0, 0, 0},
		{3, 2, time.Hour},
		{1, 0, time.Hour},
		{0, 0, time.Hour},
		{-2, -2, 0},
		{1, 1, 0},
		{10, 1, time.Hour},
		{-100, -100, 0},
		{100, 5, time.Hour},
	}
	for i, step := range steps {
		g := take(t, s, "permits", l, step.n)
		if g.Permits != step.granted || (step.retry == 0) != (g.Retry == 0) || step.retry > 0 && !near(g.Retry, step.retry) {
			t.Errorf("step %d, take %d: got %+v, want %d and %v", i, step.n, g, step.granted, step.retry)
		}
	}
	if g := take(t, s, "permits of another", l, 1); g.Permits != 1 {
		t.Errorf("another key: got %+v", g)
	}
	// A limit that changes keeps its count.
	l.Burst = 7
	if g := take(t, s, "permits", l, 100); g.Permits != 2 {
		t.Errorf("two more at once: got %+v, want 2", g)
	}
}

func rows(t *testing.T, s quota.Store) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		limit   quota.Limit
		n, want int
		retry   time.Duration
	}{
		{quota.Limit{Amount: 1, Period: day}, 5, 1, day},
		{quota.Limit{Amount: 3, Period: day}, 5, 3, day / 3},
		{quota.Limit{Amount: 1, Period: day, Burst: 10}, 100, 10, day},
		{quota.Limit{Amount: 1_000_000_000, Period: day, Burst: 3}, 1, 1, 0},
		{quota.Limit{Amount: 1_000_000_000, Period: day, Burst: 1_000_000_000}, 999_999_999, 999_999_999, 0},
	} {
		key := fmt.Sprintf("rows %+v", tt.limit)
		if g := take(t, s, key, tt.limit, tt.n); g.Permits != tt.want || tt.retry > 0 && !near(g.Retry, tt.retry) || tt.retry == 0 && g.Retry != 0 {
			t.Errorf("%+v: got %+v, want %d and %v", tt.limit, g, tt.want, tt.retry)
		}
	}
}

func concurrent(t *testing.T, s quota.Store) {
	l := quota.Limit{Amount: 50, Period: 24 * time.Hour}
	var granted atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				g, err := s.Take(t.Context(), "concurrent", l, 1)
				if err != nil {
					t.Error(err)
				}
				granted.Add(int64(g.Permits))
			}
		})
	}
	all.Wait()
	if n := granted.Load(); n != 50 {
		t.Errorf("%d were granted, want 50", n)
	}
}

// refill: after the wait that it was told, a caller gets a permit.
func refill(t *testing.T, s quota.Store) {
	l := quota.Limit{Amount: 20, Period: time.Second, Burst: 1}
	for range 5 {
		g := take(t, s, "refill", l, 1)
		for g.Permits == 0 {
			if g.Retry <= 0 || g.Retry > 50*time.Millisecond {
				t.Fatalf("got %+v, want a wait of at most 50ms", g)
			}
			<-time.After(g.Retry)
			g = take(t, s, "refill", l, 1)
		}
	}
}

func attempts(t *testing.T, s quota.Store) {
	ladder := quota.Ladder{Free: 3, First: time.Hour, Longest: 24 * time.Hour, Forget: 48 * time.Hour}
	attempt := func(key string) time.Duration {
		t.Helper()
		wait, err := s.Attempt(t.Context(), key, ladder)
		if err != nil {
			t.Fatal(err)
		}
		return wait
	}
	for i := range 3 {
		if wait := attempt("attempts"); wait != 0 {
			t.Fatalf("attempt %d waits %v", i+1, wait)
		}
	}
	for range 2 { // one that comes too early makes the wait no longer
		if wait := attempt("attempts"); !near(wait, time.Hour) {
			t.Errorf("a fourth attempt waits %v, want an hour", wait)
		}
	}
	if wait := attempt("attempts of another"); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if err := s.Forget(t.Context(), "attempts"); err != nil {
		t.Fatal(err)
	}
	if wait := attempt("attempts"); wait != 0 {
		t.Errorf("after success it waits %v", wait)
	}
	// The wait doubles, up to the longest.
	quick := quota.Ladder{Free: 1, First: time.Millisecond, Longest: 4 * time.Millisecond, Forget: time.Hour}
	for i, want := range []time.Duration{1, 2, 4, 4, 4} {
		want *= time.Millisecond
		for {
			wait, err := s.Attempt(t.Context(), "ladder", quick)
			if err != nil {
				t.Fatal(err)
			}
			if wait == 0 {
				break
			}
			<-time.After(wait)
		}
		if wait, err := s.Attempt(t.Context(), "ladder", ladder); err != nil || wait > want {
			t.Errorf("attempt %d: waits %v, %v, want at most %v", i+2, wait, err, want)
		} else if wait == 0 { // the machine was slower than the wait: it counted under the other ladder
			return
		}
	}
}

func parallelAttempts(t *testing.T, s quota.Store) {
	ladder := quota.Ladder{Free: 3, First: time.Hour, Longest: 24 * time.Hour, Forget: 48 * time.Hour}
	var made atomic.Int64
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			wait, err := s.Attempt(t.Context(), "parallel", ladder)
			if err != nil {
				t.Error(err)
			}
			if wait == 0 {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != 3 {
		t.Errorf("%d attempts were made, want 3", n)
	}
}
