// SPDX-License-Identifier: Apache-2.0

package redisx_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// A pool of go-redis that could not dial goes on trying once a second and sees only then that it was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func TestSettings(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, url, ca string
		problem       string // "" = accepted
	}{
		{"none", "", "", ""},
		{"one", "redis://127.0.0.1:6379", "", ""},
		{"no port", "redis://redis", "", ""},
		{"database", "redis://user:p%40ss@redis:6379/3", "", ""},
		{"TLS", "rediss://redis:6380", "", ""},
		{"IPv6", "redis://[::1]:6379", "", ""},
		{"cluster", "redis+cluster://a:1,b:2,[::1]:3", "", ""},
		{"cluster TLS", "rediss+cluster://:secret@a:1,b:2", "", ""},
		{"scheme", "http://redis:6379", "", "does not begin with redis://"},
		{"bare", "redis:6379", "", "does not begin with redis://"},
		{"several", "redis://a:1,b:2", "", "a cluster is written redis+cluster://"},
		{"path", "redis://a:1/x", "", "no database number"},
		{"cluster database", "redis+cluster://a:1/1", "", "no database number"},
		{"query", "redis://a:1?db=1", "", "query"},
		{"empty host", "redis://:6379", "", "not host:port"},
		{"port", "redis://a:99999", "", "not host:port"},
		{"escape", "redis://:hunter%2@a:1", "", "broken % escape"},
		{"CA without TLS", "redis://a:1", junk, "not rediss://"},
		{"no such CA", "rediss://a:1", "/nowhere/ca.pem", "no readable file"},
		{"junk CA", "rediss://a:1", junk, "no readable file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := redisx.Settings{URL: obs.Secret(tt.url), CA: tt.ca}
			err := s.Validate()
			if tt.problem == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f, ok := errors.AsType[*fault.Fault](err)
			if !ok || f.Kind != fault.Invalid || f.Reason != redisx.ReasonConfig || len(f.Fields) != 1 || !strings.Contains(f.Fields[0].Problem, tt.problem) {
				t.Errorf("got %v, want a problem with %q", err, tt.problem)
			}
			if strings.Contains(f.Error(), "hunter") {
				t.Errorf("%v tells the password", f)
			}
		})
	}
	if _, err := redisx.Open(redisx.Settings{}, redisx.Config{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Open without a URL: %v, want Invalid", err)
	}
}

func open(t *testing.T, url obs.Secret) *redisx.Client {
	t.Helper()
	c, err := redisx.Open(redisx.Settings{URL: url}, redisx.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
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

// TestOutage counts what a dead Redis costs: two commands find out, further ones are refused without asking, and it works again
// without a restart of the process.
func TestOutage(t *testing.T) {
	tests := []struct {
		name       string
		away, back func(*redistest.Server)
	}{
		{"stopped", (*redistest.Server).Stop, (*redistest.Server).Restart},
		{"hung", (*redistest.Server).Pause, (*redistest.Server).Resume},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := redistest.Start(t)
			c, ctx := open(t, server.URL()), t.Context()
			if err := c.Get(ctx, "absent").Err(); !errors.Is(err, redis.Nil) {
				t.Fatalf("a missing key: %v", err)
			}
			// Error replies and missing keys are answers.
			for range 5 {
				if err := c.Do(ctx, "NONSENSE").Err(); err == nil || !c.Available() {
					t.Fatalf("an error reply: %v, available %v", err, c.Available())
				}
			}
			tt.away(server)
			asked := 0
			until(t, "the breaker", func() bool {
				err := c.Ping(ctx).Err()
				if err == nil {
					t.Fatal("a dead Redis answered")
				}
				if fault.From(err).Reason == redisx.ReasonUnavailable {
					return true
				}
				asked++
				return false
			})
			if asked != 2 {
				t.Errorf("%d commands were sent to a dead Redis, want 2", asked)
			}
			if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error { return p.Ping(ctx).Err() }); err == nil {
				t.Error("a pipeline to a dead Redis went well")
			}
			tt.back(server)
			until(t, "recovery", func() bool { return c.Ping(ctx).Err() == nil })
			if !c.Available() {
				t.Error("it answers and is called unavailable")
			}
		})
	}
}

func TestIntegrationCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	c, ctx := open(t, cluster.URL()), t.Context()
	keys := []string{"pst:{a}", "pst:{b}", "pst:{c}", "pst:{d}", "pst:{e}", "pst:{f}"}
	set := func() error {
		var errs []error
		for _, k := range keys {
			errs = append(errs, c.Set(ctx, k, "v", 0).Err())
		}
		return errors.Join(errs...)
	}
	if err := set(); err != nil {
		t.Fatal(err)
	}
	cluster.KillMaster(0)
	until(t, "the client to follow the failover", func() bool { return set() == nil })
}
