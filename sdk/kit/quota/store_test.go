// SPDX-License-Identifier: Apache-2.0

package quota_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/quota"
	"github.com/penstockhq/penstock/sdk/kit/quota/quotatest"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// A pool of go-redis that could not dial goes on trying once a second and sees only then that it was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func open(t *testing.T, url obs.Secret) *quota.Redis {
	t.Helper()
	c, err := redisx.Open(redisx.Settings{URL: url}, redisx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return quota.NewRedis(c)
}

func TestMemory(t *testing.T) {
	quotatest.Run(t, func(*testing.T) quota.Store { return quota.NewMemory(0) })
}

func TestRedis(t *testing.T) {
	quotatest.Run(t, func(t *testing.T) quota.Store { return open(t, redistest.Start(t).URL()) })
}

func TestIntegrationCluster(t *testing.T) {
	quotatest.Run(t, func(t *testing.T) quota.Store { return open(t, redistest.StartCluster(t).URL()) })
}

// TestMemoryForgets: of three keys with room for two, the one used last but one is forgotten.
func TestMemoryForgets(t *testing.T) {
	m, l := quota.NewMemory(2), quota.Limit{Amount: 1, Period: time.Hour}
	for i, step := range []struct {
		key  string
		want int
	}{{"a", 1}, {"b", 1}, {"a", 0}, {"c", 1}, {"a", 0}, {"b", 1}} {
		if g, _ := m.Take(t.Context(), step.key, l, 1); g.Permits != step.want {
			t.Errorf("step %d: %s got %d, want %d", i, step.key, g.Permits, step.want)
		}
	}
}

// until asks until the condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// TestRedisLosses: what a store does when Redis loses its data, its scripts, or itself.
func TestRedisLosses(t *testing.T) {
	l := quota.Limit{Amount: 2, Period: time.Hour}
	for _, tt := range []struct {
		name    string
		options []redistest.Option
		lose    func(t *testing.T, s *redistest.Server)
		kept    bool
	}{
		{"flush", nil, func(t *testing.T, s *redistest.Server) {
			if err := s.Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"scripts", nil, func(t *testing.T, s *redistest.Server) {
			if err := s.Client(t).ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"junk", nil, func(t *testing.T, s *redistest.Server) {
			if err := s.Client(t).Set(t.Context(), "pst:{q:k}", "no count at all", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"restart", nil, func(_ *testing.T, s *redistest.Server) { s.Restart() }, false},
		{"restart with append only file", []redistest.Option{redistest.AppendOnly()}, func(_ *testing.T, s *redistest.Server) { s.Restart() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := redistest.Start(t, tt.options...)
			s := open(t, server.URL())
			if g, err := s.Take(t.Context(), "k", l, 5); err != nil || g.Permits != 2 {
				t.Fatalf("got %+v, %v", g, err)
			}
			if ttl := server.Client(t).PTTL(t.Context(), "pst:{q:k}").Val(); ttl <= 0 || ttl > time.Hour+time.Second {
				t.Errorf("the key lives for %v, want an hour", ttl)
			}
			tt.lose(t, server)
			var g quota.Grant
			until(t, "the store", func() bool {
				var err error
				g, err = s.Take(t.Context(), "k", l, 5)
				return err == nil
			})
			if kept := g.Permits == 0; kept != tt.kept {
				t.Errorf("got %+v, want the count kept: %v", g, tt.kept)
			}
		})
	}
}

// TestEither: the second counts while the first is away, and the first again when it is back.
func TestEither(t *testing.T) {
	server := redistest.Start(t)
	s := quota.Either{First: open(t, server.URL()), Second: quota.NewMemory(0)}
	l := quota.Limit{Amount: 1, Period: time.Hour}
	ladder := quota.Ladder{Free: 1, First: time.Hour, Longest: time.Hour, Forget: time.Hour}
	once := func(want bool) {
		t.Helper()
		g, err := s.Take(t.Context(), "k", l, 1)
		wait, attemptErr := s.Attempt(t.Context(), "k", ladder)
		if err != nil || attemptErr != nil || (g.Permits == 1) != want || (wait == 0) != want {
			t.Errorf("got %+v, %v; wait %v, %v; want granted: %v", g, err, wait, attemptErr, want)
		}
	}
	once(true)
	once(false)
	server.Stop()
	once(true)
	once(false)
	server.Restart()
	until(t, "Redis", func() bool { _, err := s.First.Take(t.Context(), "x", l, 0); return err == nil })
	once(true)
	if err := s.Forget(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if wait, err := s.Attempt(t.Context(), "k", ladder); wait != 0 || err != nil {
		t.Errorf("after Forget: %v, %v", wait, err)
	}
}
