// SPDX-License-Identifier: Apache-2.0

package home_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/forward/home"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is a store that can be taken away, and counts what it is asked.
type ledger struct {
	mu     sync.Mutex
	homes  map[string]string
	until  map[string]time.Time
	claims int
	err    error
}

func newLedger() *ledger { return &ledger{homes: map[string]string{}, until: map[string]time.Time{}} }

func (l *ledger) Claim(_ context.Context, keys []string, node string, ttl time.Duration) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims++
	if l.err != nil {
		return nil, l.err
	}
	out := make([]string, len(keys))
	for i, k := range keys {
		if !time.Now().Before(l.until[k]) || l.homes[k] == node {
			l.homes[k], l.until[k] = node, time.Now().Add(ttl)
		}
		out[i] = l.homes[k]
	}
	return out, nil
}

func (l *ledger) Release(_ context.Context, keys []string, node string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		if l.homes[k] == node {
			delete(l.homes, k)
			delete(l.until, k)
		}
	}
	return l.err
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *ledger) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claims
}

// run starts a table; stop waits until it has ended.
func run(t *testing.T, l *ledger, name string) (table *home.Table, stop func()) {
	t.Helper()
	table = home.New(l, name, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- table.Run(ctx) }()
	return table, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestTable is M-94 in fake time.
func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		a, stopA := run(t, l, "a")
		b, stopB := run(t, l, "b")
		defer stopB()
		is := func(step string, table *home.Table, want string) {
			t.Helper()
			if got := table.Of(t.Context(), "k"); got != want {
				t.Errorf("%s: the home is %q, want %q", step, got, want)
			}
		}
		is("the first that asks", a, "")
		is("the others", b, "a")
		asked := l.asked()
		for range 1000 {
			is("again and again", a, "")
			is("again and again", b, "a")
		}
		if n := l.asked() - asked; n != 0 {
			t.Errorf("2,000 calls ask the store %d times", n)
		}
		for range 30 { // five minutes
			time.Sleep(10 * time.Second)
			is("renewed", b, "a")
		}
		l.fail(errors.New("away"))
		time.Sleep(10 * time.Minute)
		is("without the store", a, "")
		is("without the store, at the other", b, "")
		l.fail(nil)
		time.Sleep(time.Minute)
		is("the store is back", a, "")
		is("the store is back, at the other", b, "a")
		stopA()
		time.Sleep(11 * time.Second)
		is("the node has gone", b, "")
		time.Sleep(20 * time.Minute)
		l.mu.Lock()
		got := len(l.homes)
		l.mu.Unlock()
		if got != 0 {
			t.Errorf("%d homes are kept that nobody needs", got)
		}
	})
}

// A node that drains gives its homes up and takes none.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		a, stopA := run(t, l, "a")
		defer stopA()
		b, stopB := run(t, l, "b")
		defer stopB()
		for i := range 1000 {
			a.Of(t.Context(), fmt.Sprint(i))
		}
		a.Drain(t.Context())
		for i := range 1001 {
			if got := a.Of(t.Context(), fmt.Sprint(i)); got != "" {
				t.Fatalf("a draining node leads to %q", got)
			}
		}
		for i := range 1001 {
			if got := b.Of(t.Context(), fmt.Sprint(i)); got != "" {
				t.Fatalf("%d is still at home at %q", i, got)
			}
		}
	})
}

// Calls that need a home at the same time agree on it, and a store that fails is left alone for a second.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		a, stopA := run(t, l, "a")
		defer stopA()
		b, stopB := run(t, l, "b")
		defer stopB()
		var wg sync.WaitGroup
		got := make(chan string, 200)
		for range 100 {
			wg.Go(func() { got <- "a" + a.Of(t.Context(), "k") })
			wg.Go(func() { got <- "b" + b.Of(t.Context(), "k") })
		}
		wg.Wait()
		close(got)
		seen := map[string]bool{}
		for s := range got {
			seen[s] = true
		}
		oneHome := seen["a"] && seen["ba"] || seen["b"] && seen["ab"]
		if len(seen) != 2 || !oneHome {
			t.Errorf("the calls see %v", seen)
		}
		if n := l.asked(); n != 2 {
			t.Errorf("200 calls ask the store %d times", n)
		}
		l.fail(errors.New("away"))
		asked := l.asked()
		for i := range 100 {
			a.Of(t.Context(), fmt.Sprint(i))
		}
		if n := l.asked() - asked; n != 1 {
			t.Errorf("100 calls ask a store that is away %d times within a second", n)
		}
	})
}
