// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/sdk/kit/quota"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// shared opens a store on a Redis.
func shared(t *testing.T, server *redistest.Server) quota.Store {
	t.Helper()
	c, err := redisx.Open(redisx.Settings{URL: server.URL()}, redisx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return quota.NewRedis(c)
}

// stores are where requests are counted. Rates are so slow that the time of the test plays no part.
func stores(t *testing.T, run func(t *testing.T, c limit.Config, d *limit.Delay)) {
	t.Helper()
	for name, open := range map[string]func(t *testing.T) quota.Store{
		"memory": func(*testing.T) quota.Store { return nil },
		"redis":  func(t *testing.T) quota.Store { return shared(t, redistest.Start(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			run(t, limit.Config{Shared: s, Rates: map[string]limit.Rate{
				limit.Login: {PerMinute: 1, Burst: 2}, limit.ClientFailure: {PerMinute: 1, Burst: 1},
			}}, limit.NewSharedDelay(s, nil))
		})
	}
}

func TestStores(t *testing.T) {
	stores(t, func(t *testing.T, c limit.Config, d *limit.Delay) {
		l, ctx := newLimiter(t, c), t.Context()
		for i, step := range []struct {
			check       bool
			bucket, key string
			ok          bool
		}{
			{false, limit.Login, "a", true},
			{true, limit.Login, "a", true},
			{false, limit.Login, "a", true},
			{true, limit.Login, "a", false},
			{false, limit.Login, "a", false},
			{false, limit.Login, "b", true},
			{true, limit.ClientFailure, "a", true},
			{true, limit.ClientFailure, "a", true},
			{false, limit.ClientFailure, "a", true},
			{true, limit.ClientFailure, "a", false},
			{false, "nothing", "a", false},
			{true, "nothing", "a", false},
			{false, limit.Login, strings.Repeat("x", 5000), true},
		} {
			ask := l.Allow
			if step.check {
				ask = l.Check
			}
			retry, ok := ask(ctx, step.bucket, step.key)
			if ok != step.ok || ok != (retry == 0) || retry > time.Minute {
				t.Errorf("step %d: %v, %v, want %v", i, retry, ok, step.ok)
			}
		}
		for i := range 3 {
			if retry, ok := d.Attempt(ctx, "k"); !ok {
				t.Fatalf("attempt %d waits %v", i+1, retry)
			}
		}
		// A second, of which the machine may have used a part.
		if retry, ok := d.Attempt(ctx, "k"); !ok && retry > time.Second {
			t.Errorf("a fourth attempt waits %v, want a second", retry)
		}
		d.Succeeded(ctx, "k")
		if retry, ok := d.Attempt(ctx, "k"); !ok {
			t.Errorf("after success it waits %v", retry)
		}
	})
}

// TestTogether: two authservers count together; without Redis each counts alone, and together again when it is back. Nothing in
// it tells who asked.
func TestTogether(t *testing.T) {
	server := redistest.Start(t)
	rates := map[string]limit.Rate{limit.Login: {PerMinute: 1, Burst: 2}}
	first, second := shared(t, server), shared(t, server)
	a, b := newLimiter(t, limit.Config{Shared: first, Rates: rates}), newLimiter(t, limit.Config{Shared: second, Rates: rates})
	here, there := limit.NewSharedDelay(first, nil), limit.NewSharedDelay(second, nil)
	ctx := t.Context()
	// allowed asks each limiter in turn; the answers are as "++--".
	allowed := func(key string, limiters ...*limit.Limiter) string {
		var got strings.Builder
		for _, l := range limiters {
			if _, ok := l.Allow(ctx, limit.Login, key); ok {
				got.WriteString("+")
			} else {
				got.WriteString("-")
			}
		}
		return got.String()
	}
	if got := allowed("192.0.2.1", a, b, a, b); got != "++--" {
		t.Errorf("two authservers do not count together: %s", got)
	}
	for _, d := range []*limit.Delay{here, there, here} {
		if _, ok := d.Attempt(ctx, "ada@example.com"); !ok {
			t.Error("one of the first three attempts waits")
		}
	}
	keys, err := server.Client(t).Keys(ctx, "*").Result()
	if err != nil || len(keys) != 2 {
		t.Errorf("Redis has %q, %v, want two keys", keys, err)
	}
	for _, k := range keys {
		if strings.Contains(k, "192.0.2") || strings.Contains(k, "ada") || !strings.HasPrefix(k, "pst:{") {
			t.Errorf("the key %q", k)
		}
	}
	server.Stop()
	if got := allowed("192.0.2.1", a, a, a, b); got != "++-+" {
		t.Errorf("without Redis each does not count alone: %s", got)
	}
	server.Restart()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if _, err := first.Take(ctx, "x", quota.Limit{Amount: 1, Period: time.Hour}, 0); err == nil {
			break
		}
		<-tick.C
	}
	if got := allowed("192.0.2.9", a, a, a); got != "++-" {
		t.Errorf("Redis is back and does not count: %s", got)
	}
}
