// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	eng   = "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c11"
	sales = "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c12"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func user(uid string) ident.Principal { return ident.Principal{Kind: ident.KindUser, UID: uid} }

// fleet makes managers that share a keyset and a store, as the nodes of one region do.
type fleet struct {
	keys  *seal.Keyset
	store session.Store
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{keys, memstate.NewSessions()}
}

func (f *fleet) node(t testing.TB, l session.Limits) *session.Manager {
	t.Helper()
	m, err := session.New(session.Config{Keys: f.keys, Store: f.store, Log: slog.New(slog.DiscardHandler), Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func create(t testing.TB, m *session.Manager, p ident.Principal) (string, *session.Session) {
	t.Helper()
	id, s, err := m.Create(t.Context(), eng, p, wire.V20250618, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id, s
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %v %s", kind, reason)
		return
	}
	if f := fault.From(err); f.Kind != kind || f.Reason != reason {
		t.Errorf("fault = %v %s, want %v %s", f.Kind, f.Reason, kind, reason)
	}
}

// TestIDIsVisibleAndBounded is M-34 on the form of the id, whatever the client id.
func TestIDIsVisibleAndBounded(t *testing.T) {
	m := newFleet(t).node(t, session.Limits{})
	p := user("u1")
	p.ClientID = "https://client.example/" + strings.Repeat("long", 500)
	id, _ := create(t, m, p)
	if len(id) > 512 {
		t.Errorf("the id has %d bytes, want at most 512", len(id))
	}
	for _, c := range id {
		if c < 0x21 || c > 0x7e {
			t.Errorf("the id holds %q", c)
		}
	}
	if _, err := m.Open(t.Context(), eng, p, id); err != nil {
		t.Errorf("open: %v", err)
	}
}

// TestOpen is every row of M-34: who may open an id, and that all refusals are the same.
func TestOpen(t *testing.T) {
	f := newFleet(t)
	m := f.node(t, session.Limits{})
	mine := user("u1")
	mine.ClientID = "client-a"
	id, s := create(t, m, mine)
	ended, e := create(t, m, mine)
	m.End(t.Context(), e)
	otherClient, team := mine, mine
	otherClient.ClientID, team.Kind = "client-b", ident.KindTeam
	foreign, _ := create(t, newFleet(t).node(t, session.Limits{}), mine)
	cursor := string(f.keys.Seal(nil, seal.Cursor, eng, []byte("x")))
	layout := string(f.keys.Seal(nil, seal.Session, eng, make([]byte, 53)))
	streamed, ss := mustSSE(t, m, mine)
	if got, err := m.OpenSSE(eng, mine, streamed); err != nil || got != ss || !got.IsSSE() {
		t.Errorf("OpenSSE = %v, %v, want the session made", got, err)
	}

	got, err := m.Open(t.Context(), eng, mine, id)
	if err != nil || got != s || got.State().Version != wire.V20250618 || got.UID() != s.UID() {
		t.Fatalf("Open = %v, %v, want the session made", got, err)
	}
	tests := []struct {
		name, gateway string
		who           ident.Principal
		id            string
	}{
		{"another user", eng, user("u2"), id},
		{"another client of the user", eng, otherClient, id},
		{"another kind with the same uid", eng, team, id},
		{"another gateway", sales, mine, id},
		{"another keyset", eng, mine, foreign},
		{"ended", eng, mine, ended},
		{"empty", eng, mine, ""},
		{"garbage", eng, mine, "not-a-session"},
		{"changed", eng, mine, id[:len(id)-2] + map[bool]string{false: "AA", true: "QQ"}[strings.HasSuffix(id, "AA")]},
		{"too long", eng, mine, id + strings.Repeat("A", 512)},
		{"another kind of token", eng, mine, cursor},
		{"unknown layout", eng, mine, layout},
		{"of HTTP+SSE", eng, mine, streamed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.Open(t.Context(), tt.gateway, tt.who, tt.id)
			wantFault(t, err, fault.NotFound, session.ReasonNotFound)
			if err != nil && fault.From(err).Public != "Invalid session ID" {
				t.Errorf("public text is %q", fault.From(err).Public)
			}
		})
	}
}

// TestAnyNodeOpens is M-87 and M-88: no table is needed, and a tombstone counts everywhere.
func TestAnyNodeOpens(t *testing.T) {
	f := newFleet(t)
	a, b := f.node(t, session.Limits{}), f.node(t, session.Limits{})
	id, s := create(t, a, user("u1"))
	there, err := b.Open(t.Context(), eng, user("u1"), id)
	if err != nil || there.UID() != s.UID() || there.State().Version != s.State().Version || !there.Expires().Equal(s.Expires()) {
		t.Fatalf("the other node sees %+v, %v", there, err)
	}
	a.End(t.Context(), s)
	_, err = f.node(t, session.Limits{}).Open(t.Context(), eng, user("u1"), id)
	wantFault(t, err, fault.NotFound, session.ReasonNotFound)
}

type brokenStore struct{}

func (brokenStore) End(context.Context, session.UID, time.Time) error { return errors.New("away") }
func (brokenStore) Load(context.Context, session.UID) (session.Record, error) {
	return session.Record{}, errors.New("away")
}

func (brokenStore) Put(context.Context, session.UID, map[string][]byte) error {
	return errors.New("away")
}

func (brokenStore) Touch(context.Context, []session.UID) ([]session.UID, error) {
	return nil, errors.New("away")
}

// TestStoreAway: sessions go on without the store (M-88).
func TestStoreAway(t *testing.T) {
	f := newFleet(t)
	f.store = brokenStore{}
	a, b := f.node(t, session.Limits{}), f.node(t, session.Limits{})
	id, s := create(t, a, user("u1"))
	if _, err := b.Open(t.Context(), eng, user("u1"), id); err != nil {
		t.Errorf("open on another node: %v", err)
	}
	a.End(t.Context(), s)
	if a.Count() != 0 {
		t.Errorf("%d sessions are left", a.Count())
	}
	if _, err := a.Open(t.Context(), eng, user("u1"), id); fault.From(err).Reason != session.ReasonNotFound {
		t.Errorf("where it has ended: %v, want that it is not there (M-88)", err)
	}
}

func TestLifeAndIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFleet(t).node(t, session.Limits{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()

		id, s := create(t, m, user("u1"))
		streaming, withStream := create(t, m, user("u1"))
		st := &stream{}
		if err := withStream.Listen(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		ends := make(chan string, 10)
		m.OnEnd(func(s *session.Session) { ends <- s.Key() })
		ended := func() (keys []string) {
			for len(ends) > 0 {
				keys = append(keys, <-ends)
			}
			return keys
		}
		time.Sleep(29 * time.Minute)
		if m.Count() != 2 {
			t.Fatalf("%d sessions before the idle time, want 2", m.Count())
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if m.Count() != 1 {
			t.Fatalf("%d records after the idle time, want the one with a stream", m.Count())
		}
		again, err := m.Open(t.Context(), eng, user("u1"), id)
		if err != nil || again == s || again.UID() != s.UID() {
			t.Errorf("an idle session opens as %v, %v, want a new record of it", again, err)
		}
		if diff := cmp.Diff([]string{s.Key()}, ended()); diff != "" {
			t.Errorf("ended after the idle time (-want +got):\n%s", diff)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		for _, old := range []string{id, streaming} {
			_, err := m.Open(t.Context(), eng, user("u1"), old)
			wantFault(t, err, fault.NotFound, session.ReasonNotFound)
		}
		if st.closed != 1 {
			t.Errorf("the stream was closed %d times after the session's 24 hours", st.closed)
		}
		if diff := cmp.Diff([]string{s.Key(), withStream.Key()}, ended()); diff != "" {
			t.Errorf("ended after 24 hours (-want +got):\n%s", diff)
		}
		stop()
		if err := <-done; err != nil || m.Count() != 0 {
			t.Errorf("Run = %v with %d sessions left", err, m.Count())
		}
	})
}

// TestSessionsPerCaller: beyond the limit the oldest idle session is ended; if none is idle there is no new one.
func TestSessionsPerCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFleet(t).node(t, session.Limits{PerCaller: 3})
		var ids []string
		make1 := func() *session.Session {
			id, s := create(t, m, user("u1"))
			ids = append(ids, id)
			time.Sleep(time.Second)
			return s
		}
		opens := func(i int) *session.Session {
			s, err := m.Open(t.Context(), eng, user("u1"), ids[i])
			if err != nil {
				wantFault(t, err, fault.NotFound, session.ReasonNotFound)
				return nil
			}
			time.Sleep(time.Second)
			return s
		}
		first, second := make1(), make1()
		make1()
		if err := first.Begin([]byte("1"), nil); err != nil {
			t.Fatal(err)
		}
		opens(1)
		fourth := make1()        // the first is busy, the second was used later
		create(t, m, user("u2")) // others count for themselves
		if opens(0) == nil || opens(1) == nil || opens(2) != nil || opens(3) == nil {
			t.Error("another session than the oldest idle one was ended")
		}
		for _, s := range []*session.Session{second, fourth} {
			if err := s.Begin([]byte("1"), nil); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := m.Create(t.Context(), eng, user("u1"), wire.V20250618, nil)
		wantFault(t, err, fault.Exhausted, session.ReasonLimit)
		if f := fault.From(err); f.Retry <= 0 {
			t.Error("no time to wait is given")
		}
		first.Done([]byte("1"))
		make1()
		if opens(0) != nil || opens(4) == nil {
			t.Error("a session that became idle does not make room")
		}
	})
}

func TestCallsInFlight(t *testing.T) {
	m := newFleet(t).node(t, session.Limits{InFlight: 2})
	id, s := create(t, m, user("u1"))
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := s.Begin([]byte(`"a"`), cancel); err != nil {
		t.Fatal(err)
	}
	wantFault(t, s.Begin([]byte(`"a"`), nil), fault.Invalid, wire.ReasonRequest) // M-11
	if err := s.Begin([]byte("1"), nil); err != nil {
		t.Fatal(err)
	}
	wantFault(t, s.Begin([]byte("2"), nil), fault.Exhausted, session.ReasonBusy)
	if s.Cancel([]byte("2")) || s.Cancel([]byte(`a`)) || s.Cancel([]byte("1")) {
		t.Error("an id that is not cancelable was canceled")
	}
	if !s.Cancel([]byte(`"a"`)) || !errors.Is(context.Cause(ctx), session.ErrCancelled) {
		t.Errorf("the call ended with %v, want ErrCancelled", context.Cause(ctx))
	}
	s.Done([]byte(`"a"`))
	s.Done([]byte(`"never begun"`))
	if err := s.Begin([]byte(`"a"`), nil); err != nil {
		t.Errorf("the id cannot be used again: %v", err)
	}
	s.Done([]byte(`"a"`))

	ctx, cancel = context.WithCancelCause(t.Context())
	if err := s.Begin([]byte("3"), cancel); err != nil {
		t.Fatal(err)
	}
	m.End(t.Context(), s)
	if !errors.Is(context.Cause(ctx), session.ErrEnded) {
		t.Errorf("the call ended with %v, want ErrEnded (M-36)", context.Cause(ctx))
	}
	wantFault(t, s.Begin([]byte("4"), nil), fault.NotFound, session.ReasonNotFound)
	_, err := m.Open(t.Context(), eng, user("u1"), id)
	wantFault(t, err, fault.NotFound, session.ReasonNotFound)
	m.End(t.Context(), s) // twice is once
}

// stream is a connection that keeps what it is told.
type stream struct {
	full              bool
	sent              []string
	closed, refreshed int
}

func (s *stream) Send(message []byte) bool {
	s.sent = append(s.sent, string(message))
	return !s.full
}
func (s *stream) Refresh() { s.refreshed++ }
func (s *stream) Close()   { s.closed++ }

// TestOneStream is M-38: a newer stream replaces the older, and gets the messages.
func TestOneStream(t *testing.T) {
	m := newFleet(t).node(t, session.Limits{})
	_, s := create(t, m, user("u1"))
	if s.Tell([]byte("nobody")) {
		t.Error("a session without a stream takes a message")
	}
	first, second := &stream{}, &stream{}
	for _, st := range []*stream{first, second} {
		if err := s.Listen(t.Context(), st); err != nil || !s.Tell([]byte("hello")) {
			t.Fatalf("listen: %v", err)
		}
	}
	if first.closed != 1 || second.closed != 0 {
		t.Errorf("closed: first %d times, second %d", first.closed, second.closed)
	}
	s.Leave(t.Context(), first) // the older one leaving does not take the newer one's place
	s.SetLogLevel(t.Context(), "debug")
	second.full = true
	if s.Tell([]byte("again")) || first.refreshed != 0 || second.refreshed != 1 || s.Listener() != second {
		t.Errorf("told %+v and %+v", first, second)
	}
	if diff := cmp.Diff([][]string{{"hello"}, {"hello", "again"}}, [][]string{first.sent, second.sent}); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	m.End(t.Context(), s)
	m.End(t.Context(), s)
	if second.closed != 1 {
		t.Errorf("the stream was closed %d times with the session", second.closed)
	}
	s.Leave(t.Context(), second)
	wantFault(t, s.Listen(t.Context(), first), fault.NotFound, session.ReasonNotFound)
}

// TestConcurrentUse opens, uses and ends sessions from many goroutines on two nodes, for the race detector, and checks
// that an ended session never comes back.
func TestConcurrentUse(t *testing.T) {
	f := newFleet(t)
	a, b := f.node(t, session.Limits{PerCaller: 8}), f.node(t, session.Limits{PerCaller: 8})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			p := user(fmt.Sprint("u", g%3))
			for i := range 200 {
				id, s, err := a.Create(t.Context(), eng, p, wire.V20251125, nil)
				if err != nil {
					continue
				}
				if s.Begin([]byte("1"), nil) == nil {
					s.Done([]byte("1"))
				}
				if i%2 == 0 {
					a.End(t.Context(), s)
					if _, err := b.Open(t.Context(), eng, p, id); err == nil {
						t.Error("an ended session opens on the other node")
					}
					if _, err := a.Open(t.Context(), eng, p, id); err == nil {
						t.Error("an ended session opens on its node")
					}
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpen(b *testing.B) {
	m := newFleet(b).node(b, session.Limits{})
	p := ident.Principal{Kind: ident.KindUser, UID: "0199c1d2-7a4e-7c3f-9a55-1f0e6b7d2c13", ClientID: "https://claude.ai/oauth/mcp-oauth-client-metadata"}
	id, _ := create(b, m, p)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Open(b.Context(), eng, p, id); err != nil {
			b.Fatal(err)
		}
	}
}
