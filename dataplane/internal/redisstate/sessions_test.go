// SPDX-License-Identifier: Apache-2.0

package redisstate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

func TestSessions(t *testing.T) {
	statetest.Sessions(t, redisstate.NewSessions(redistest.Start(t).Client(t)))
}

func TestSessionsOfACluster(t *testing.T) {
	statetest.Sessions(t, redisstate.NewSessions(redistest.StartCluster(t).Client(t)))
}

// TestLives is the column "Life" of M-89, as the server says it: nothing of a session stays for good.
func TestLives(t *testing.T) {
	client := redistest.Start(t).Client(t)
	s, ctx := redisstate.NewSessions(client), t.Context()
	id, dead := session.UID{1}, session.UID{2}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Put(ctx, id, map[string][]byte{"a": []byte("1")}))
	_, _, err := s.Own(ctx, id, "n")
	must(err)
	must(s.Append(ctx, []session.Entry{{Session: id, Stream: "s", Head: []byte("h"), Number: 1, Event: []byte("e"), Oldest: 1}}))
	must(s.End(ctx, dead, time.Now().Add(24*time.Hour)))
	_, _, err = s.TakePlace(ctx, id.String(), "p", "t", 10*time.Second)
	must(err)
	_, err = s.FillPlace(ctx, id.String(), "p", "t", []byte("v"))
	must(err)
	_, _, err = s.TakePlace(ctx, id.String(), "q", "t", 10*time.Second)
	must(err)
	tag, end := "pst:{"+id.String()+"}:", "pst:{"+dead.String()+"}:dead"
	want := map[string]time.Duration{
		tag + "s": session.RecordLife, tag + "get": session.StreamLife, tag + "r:s": replay.Life, tag + "h:s": replay.Life,
		tag + "up": session.RecordLife, tag + "up:q": 10 * time.Second, end: 24 * time.Hour,
	}
	keys, err := client.Keys(ctx, "*").Result()
	must(err)
	if len(keys) != len(want) {
		t.Errorf("keys %q, want %d", keys, len(want))
	}
	for _, key := range keys {
		left, err := client.PTTL(ctx, key).Result()
		must(err)
		if left > want[key] || left < want[key]-time.Minute {
			t.Errorf("%s lasts %v, want %v", key, left, want[key])
		}
	}
}

// TestSessionsWithoutRedis: a store that is away says so, whatever it is asked, and a subscription that was up goes down
// and comes back.
func TestSessionsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	s, id := redisstate.NewSessions(server.Client(t)), session.UID{1}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	up, done := make(chan bool, 64), make(chan error, 1)
	notes := make(chan string, 1)
	go func() { done <- s.Subscribe(ctx, func(n []byte) { notes <- string(n) }, func(is bool) { up <- is }) }()
	if !<-up {
		t.Fatal("the subscription does not stand")
	}
	server.Stop()
	if <-up {
		t.Fatal("the subscription stands without a server")
	}
	lease := session.Lease{Session: id, Generation: 1}
	for what, f := range map[string]func() error{
		"load":    func() error { _, err := s.Load(ctx, id); return err },
		"put":     func() error { return s.Put(ctx, id, map[string][]byte{"a": nil}) },
		"touch":   func() error { _, err := s.Touch(ctx, []session.UID{id}); return err },
		"end":     func() error { return s.End(ctx, id, time.Now().Add(time.Hour)) },
		"own":     func() error { _, _, err := s.Own(ctx, id, "n"); return err },
		"renew":   func() error { _, err := s.Renew(ctx, "n", []session.Lease{lease}); return err },
		"release": func() error { return s.Release(ctx, lease) },
		"owner":   func() error { _, err := s.Owner(ctx, id); return err },
		"append":  func() error { return s.Append(ctx, []session.Entry{{Session: id, Stream: "s", Gone: true}}) },
		"read":    func() error { _, err := s.Read(ctx, id, "s", 0); return err },
		"publish": func() error { return s.Publish(ctx, []byte("n")) },
		"take":    func() error { _, _, err := s.TakePlace(ctx, "x", "p", "t", time.Second); return err },
		"fill":    func() error { _, err := s.FillPlace(ctx, "x", "p", "t", nil); return err },
		"use":     func() error { return s.UsePlace(ctx, "x", "p", []byte("v")) },
		"drop":    func() error { return s.DropPlace(ctx, "x", "p", []byte("v")) },
		"claim":   func() error { _, err := s.ClaimPlace(ctx, "x", "p", []byte("v"), 0); return err },
	} {
		if err := f(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v, want Unavailable", what, err)
		}
	}
	server.Restart()
	for !<-up {
		continue // each attempt that failed
	}
	publish(t, s)
	if got := <-notes; got != "back" {
		t.Errorf("the note is %q", got)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// publish waits until the breaker lets a note through.
func publish(t *testing.T, s *redisstate.Sessions) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.Publish(t.Context(), []byte("back")) != nil {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("Redis does not come back")
		}
	}
}

// TestForeignData: what lies in Redis and is not ours is no event, and hides none.
func TestForeignData(t *testing.T) {
	client := redistest.Start(t).Client(t)
	s, id, ctx := redisstate.NewSessions(client), session.UID{1}, t.Context()
	key := "pst:{" + id.String() + "}:"
	if err := errors.Join(
		client.Set(ctx, key+"h:s", "head", 0).Err(),
		client.XAdd(ctx, &redis.XAddArgs{Stream: key + "r:s", ID: "1-1", Values: []any{"x", "y"}}).Err(),
		client.XAdd(ctx, &redis.XAddArgs{Stream: key + "r:s", ID: "2-1", Values: []any{"e", "two"}}).Err(),
		client.Set(ctx, key+"s", "no hash", 0).Err(),
	); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(ctx, id, "s", 0)
	if err != nil || len(got.Events) != 1 || got.Events[0].Number != 2 {
		t.Errorf("%+v, %v, want the second event alone", got, err)
	}
	if _, err := s.Load(ctx, id); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a record that is none: %v", err)
	}
}
