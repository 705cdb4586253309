// SPDX-License-Identifier: Apache-2.0

package redisstate_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

func TestContexts(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	s := redisstate.NewContexts(client)
	statetest.Contexts(t, s)
	client.FlushAll(t.Context())
	statetest.ContextsInTime(t, s, func(d time.Duration) { age(t, client, d) })
	server.Stop()
	key := []taint.Key{{ID: "s-1"}}
	_, read := s.Read(t.Context(), key)
	_, watched := s.Watch(t.Context())
	for _, err := range []error{
		read, s.Mark(t.Context(), key, "web"), s.Touch(t.Context(), []taint.Use{{ID: "c-1"}}), watched,
	} {
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("without Redis: %v", err)
		}
	}
}

func TestContextsOfACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	s := redisstate.NewContexts(client)
	statetest.Contexts(t, s)
}

// age makes everything that is known of contexts older: the clock of a Redis cannot be moved.
func age(t *testing.T, client redis.UniversalClient, by time.Duration) {
	t.Helper()
	ctx := t.Context()
	for _, key := range client.Keys(ctx, "pst:{ctx:*").Val() {
		for name, value := range client.HGetAll(ctx, key).Val() {
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && (name == "at" || name == "used") {
				client.HSet(ctx, key, name, ms-by.Milliseconds())
			}
		}
		if left := client.PTTL(ctx, key).Val(); left > 0 {
			client.PExpire(ctx, key, left-by) // in the past: it is gone
		}
	}
}

// Whatever may have lost a mark is noticed: an empty store, a restart, a failover. Until then it reaches back as far as before.
func TestContextsAreLost(t *testing.T) {
	server := redistest.Start(t, redistest.AppendOnly())
	client := server.Client(t)
	s, ctx := redisstate.NewContexts(client), t.Context()
	keys := make([]taint.Key, 64)
	for i := range keys {
		keys[i] = taint.Key{ID: fmt.Sprint("s-", i)}
	}
	reach := func(step string, low, high time.Duration) {
		t.Helper()
		got, err := s.Read(ctx, keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range got {
			if m.Reach < low || m.Reach > high {
				t.Errorf("%s: %s reaches back %s", step, keys[i].ID, m.Reach)
			}
		}
	}
	watch := func() {
		t.Helper()
		least, err := s.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Read(ctx, keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range got {
			if least > m.Reach {
				t.Errorf("%s reaches back %s, and the least is %s", keys[i].ID, m.Reach, least)
			}
		}
	}
	watch()
	age(t, client, time.Hour)
	reach("an hour", time.Hour, 2*time.Hour)
	client.FlushAll(ctx)
	watch()
	age(t, client, time.Hour)
	reach("noticed without calls", time.Hour, 2*time.Hour)
	client.FlushAll(ctx)
	reach("flushed", 0, time.Minute)
	age(t, client, time.Hour)
	client.ScriptFlush(ctx)
	reach("without its scripts", time.Hour, 2*time.Hour)
	server.Restart()
	if n := client.Exists(ctx, "pst:{ctx:0}:generation").Val(); n != 1 {
		t.Fatal("the restart lost everything: it proves nothing")
	}
	reach("restarted with its file, whose end may be missing", 0, time.Minute)
	age(t, client, time.Hour)
	client.Do(ctx, "REPLICAOF", "127.0.0.1", "1")
	client.Do(ctx, "REPLICAOF", "NO", "ONE")
	reach("another server became the master", 0, time.Minute)
	client.HSet(ctx, "pst:{ctx:0}:generation", "at", time.Now().Add(time.Hour).UnixMilli())
	watch() // its clock was set back
	for _, k := range client.Keys(ctx, "*").Val() {
		if client.Type(ctx, k).Val() != "hash" {
			t.Errorf("%s is a %s", k, client.Type(ctx, k).Val())
		}
	}
}

// BenchmarkContexts is what a call waits for whose policies have to know its context: two keys, one round trip.
func BenchmarkContexts(b *testing.B) {
	s := redisstate.NewContexts(redistest.Start(b).Client(b))
	keys := []taint.Key{{ID: "c-1", Window: true}, {ID: "c-1~", Window: true}}
	for _, marked := range []bool{false, true} {
		b.Run(fmt.Sprintf("marked=%t", marked), func(b *testing.B) {
			if marked {
				if err := s.Mark(b.Context(), keys, "web"); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := s.Read(b.Context(), keys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
