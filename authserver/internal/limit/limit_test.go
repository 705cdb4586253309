// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/limit"
)

func newLimiter(t *testing.T, c limit.Config) *limit.Limiter {
	t.Helper()
	l, err := limit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRegistrations is §16 row 55: the 21st registration within a minute waits, and another address does not.
func TestRegistrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, limit.Config{})
		for i := range 20 {
			if retry, ok := l.Allow(t.Context(), limit.Register, "192.0.2.1"); !ok || retry != 0 {
				t.Fatalf("registration %d: %v, %v", i+1, retry, ok)
			}
		}
		for range 3 { // refused ones take nothing
			if retry, ok := l.Allow(t.Context(), limit.Register, "192.0.2.1"); ok || retry != 3*time.Second {
				t.Fatalf("registration 21: retry %v, %v", retry, ok)
			}
		}
		if _, ok := l.Allow(t.Context(), limit.Register, "192.0.2.2"); !ok {
			t.Error("another address was refused")
		}
		if _, ok := l.Allow(t.Context(), limit.Token, "192.0.2.1"); !ok {
			t.Error("another bucket was refused")
		}
		time.Sleep(3 * time.Second)
		if _, ok := l.Allow(t.Context(), limit.Register, "192.0.2.1"); !ok {
			t.Error("still refused after the wait")
		}
		if _, ok := l.Allow(t.Context(), limit.Register, "192.0.2.1"); ok {
			t.Error("two were allowed after the wait for one")
		}
	})
}

// TestClientFailures is RL-2: ten failures a minute, and Check takes nothing.
func TestClientFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, limit.Config{})
		here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for i := range 10 {
			for range 5 {
				if _, ok := l.Check(t.Context(), limit.ClientFailure, limit.Pair("c1", here)); !ok {
					t.Fatalf("blocked after %d failures", i)
				}
			}
			l.Allow(t.Context(), limit.ClientFailure, limit.Pair("c1", here))
		}
		if retry, ok := l.Check(t.Context(), limit.ClientFailure, limit.Pair("c1", here)); ok || retry != 6*time.Second {
			t.Errorf("after ten failures: %v, %v", retry, ok)
		}
		if _, ok := l.Check(t.Context(), limit.ClientFailure, limit.Pair("c1", there)); !ok {
			t.Error("the client is locked elsewhere too")
		}
		if _, ok := l.Check(t.Context(), limit.ClientFailure, limit.Pair("c2", here)); !ok {
			t.Error("another client is locked")
		}
		time.Sleep(6 * time.Second)
		if _, ok := l.Check(t.Context(), limit.ClientFailure, limit.Pair("c1", here)); !ok {
			t.Error("still blocked after the wait")
		}
	})
}

func TestConcurrentRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, limit.Config{Rates: map[string]limit.Rate{limit.Login: {PerMinute: 1, Burst: 7}}})
		var allowed atomic.Int32
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, ok := l.Allow(t.Context(), limit.Login, "k"); ok {
					allowed.Add(1)
				}
			})
		}
		all.Wait()
		if n := allowed.Load(); n != 7 {
			t.Errorf("%d were allowed, want 7", n)
		}
	})
}

// TestMemoryIsBounded: of three keys with room for two, the one used last but one is forgotten, those used since are not.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, limit.Config{MaxKeys: 2, Rates: map[string]limit.Rate{limit.Login: {PerMinute: 1, Burst: 1}}})
		allow := func(key string) bool {
			_, ok := l.Allow(t.Context(), limit.Login, key)
			return ok
		}
		allow("a")
		allow("b")
		if allow("a") {
			t.Fatal("a was allowed twice")
		}
		allow("c") // forgets b
		if allow("a") {
			t.Error("a was forgotten though it was used after b")
		}
		if !allow("b") {
			t.Error("b is still remembered")
		}
	})
}

func TestConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    limit.Config
	}{
		{"no rate", limit.Config{Rates: map[string]limit.Rate{limit.Login: {Burst: 1}}}},
		{"no burst", limit.Config{Rates: map[string]limit.Rate{limit.Login: {PerMinute: 1}}}},
		{"unknown bucket", limit.Config{Rates: map[string]limit.Rate{"logn": {PerMinute: 1, Burst: 1}}}},
		{"negative memory", limit.Config{MaxKeys: -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := limit.New(tc.c); err == nil {
				t.Error("no error")
			}
		})
	}
	l := newLimiter(t, limit.Config{})
	if _, ok := l.Allow(t.Context(), "nothing", "k"); ok {
		t.Error("a bucket that there is not allowed something")
	}
}

// TestDelay is RL-3.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := limit.NewDelay(nil)
		ctx := t.Context()
		want := []time.Duration{0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60}
		for i, w := range want {
			w *= time.Second
			if w > 0 {
				for range 3 { // attempts that come too early neither count nor make the wait longer
					if retry, ok := d.Attempt(ctx, "k"); ok || retry != w {
						t.Fatalf("attempt %d: retry %v, %v, want %v", i+1, retry, ok, w)
					}
				}
			}
			time.Sleep(w)
			if retry, ok := d.Attempt(ctx, "k"); !ok {
				t.Fatalf("attempt %d after its wait: %v", i+1, retry)
			}
			if _, ok := d.Attempt(ctx, fmt.Sprintf("other %d", i)); !ok {
				t.Fatal("another key has to wait")
			}
		}
		time.Sleep(15 * time.Minute)
		for i := range 3 {
			if _, ok := d.Attempt(ctx, "k"); !ok {
				t.Fatalf("attempt %d after a quarter of an hour was refused", i+1)
			}
		}
		if _, ok := d.Attempt(ctx, "k"); ok {
			t.Error("a fourth in a row cost nothing")
		}
		d.Succeeded(ctx, "k")
		if _, ok := d.Attempt(ctx, "k"); !ok {
			t.Error("the attempts count after success")
		}
	})
}

// TestDelayOfParallelAttempts: of many at one moment, only the free ones are made.
func TestDelayOfParallelAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := limit.NewDelay(nil)
		var made atomic.Int32
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, ok := d.Attempt(t.Context(), "k"); ok {
					made.Add(1)
				}
			})
		}
		all.Wait()
		if n := made.Load(); n != 3 {
			t.Errorf("%d attempts were made, want 3", n)
		}
	})
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":           "192.0.2.1",
		"::ffff:192.0.2.1":    "192.0.2.1",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
		"2001:db8:1:3::":      "2001:db8:1:3::/64",
		"fe80::1%eth0":        "fe80::/64",
	} {
		if got := limit.Address(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
	if got := limit.Address(netip.Addr{}); got != "" {
		t.Errorf("no address is %q", got)
	}
}
