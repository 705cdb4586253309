// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// TestRecordMoves is M-88 and M-89: what a client has declared, set and subscribed to is there on a node that did not see it,
// and a change on one node is seen on the others without asking the store.
func TestRecordMoves(t *testing.T) {
	inRegion(t, func(r *region) {
		ctx := r.t.Context()
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		s.SetLogLevel(ctx, "debug")
		s.Subscribed(ctx, "test://1", true)
		s.Subscribed(ctx, "test://2", true)
		s.Subscribed(ctx, "test://1", false)
		moved := r.open(b, id)
		if got := moved.State(); got.LogLevel != "debug" || string(got.Capabilities) != declared || got.Version != wire.V20251125 {
			t.Errorf("moved: %+v", got)
		}
		if d := cmp.Diff([]string{"test://2"}, moved.Inherited()); d != "" || moved.Inherited() != nil || s.Inherited() != nil {
			t.Errorf("inherited, but not once:\n%s", d)
		}
		loads := r.store.loads.Load()
		moved.SetLogLevel(ctx, "error")
		for range 10 {
			r.open(a, id)
			r.open(b, id)
		}
		if got := s.State().LogLevel; got != "error" {
			t.Errorf("the level on the first node is %s", got)
		}
		if n := r.store.loads.Load() - loads; n != 0 {
			t.Errorf("20 requests asked the store %d times (M-87)", n)
		}
	})
}

// TestMissingRecord is M-88: a record that is not there is no end, and the node that has the session puts it again.
func TestMissingRecord(t *testing.T) {
	inRegion(t, func(r *region) {
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		s.SetLogLevel(r.t.Context(), "debug")
		r.store.Sessions = memstate.NewSessions() // flushed; the nodes hear nothing of each other now
		if got := r.open(b, id).State(); got.LogLevel != "info" || strings.Contains(string(got.Capabilities), "experimental") {
			t.Errorf("without a record: %+v, want what the id says", got)
		}
		time.Sleep(9 * time.Minute)
		r.open(a, id)
		time.Sleep(3 * time.Minute)
		c, _ := r.node("c")
		if got := r.open(c, id).State(); got.LogLevel != "debug" || string(got.Capabilities) != declared {
			t.Errorf("after a while: %+v", got)
		}
	})
}

// TestRecordLasts: a record is kept for as long as the session is used, on any node, and 30 min longer.
func TestRecordLasts(t *testing.T) {
	inRegion(t, func(r *region) {
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		s.SetLogLevel(r.t.Context(), "debug")
		for range 20 {
			time.Sleep(9 * time.Minute)
			r.open(a, id)
		}
		if got := r.open(b, id).State().LogLevel; got != "debug" {
			t.Errorf("after three hours of use the level is %s", got)
		}
		time.Sleep(time.Hour)
		if a.Count()+b.Count() != 0 {
			t.Errorf("%d, %d sessions are known after an hour", a.Count(), b.Count())
		}
		if got := r.open(b, id).State().LogLevel; got != "info" {
			t.Errorf("an hour later the level is %s", got)
		}
	})
}

// TestChannelDown is M-87: a node that does not hear of changes reads the record for each request.
func TestChannelDown(t *testing.T) {
	inRegion(t, func(r *region) {
		a, _ := r.node("a")
		b, stop := r.node("b")
		id, s := r.create(a)
		moved := r.open(b, id)
		stop()
		s.SetLogLevel(r.t.Context(), "debug")
		before := r.store.loads.Load()
		r.open(b, id)
		r.open(b, id)
		if n := r.store.loads.Load() - before; n != 2 || moved.State().LogLevel != "debug" {
			t.Errorf("two requests asked the store %d times, the level is %s", n, moved.State().LogLevel)
		}
		a.End(r.t.Context(), s)
		r.gone("ended elsewhere", b, id)
	})
}

// TestEndReachesAll is M-36 and M-87: an end, and a cancellation, on one node reach the calls and streams on others at once.
func TestEndReachesAll(t *testing.T) {
	inRegion(t, func(r *region) {
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		moved := r.open(b, id)
		ended := 0
		b.OnEnd(func(*session.Session) { ended++ })
		causes := map[string]error{}
		for _, call := range []string{"1", `"x"`} {
			ctx, cancel := context.WithCancelCause(r.t.Context())
			defer cancel(nil)
			if err := moved.Begin([]byte(call), cancel); err != nil {
				t.Fatal(err)
			}
			context.AfterFunc(ctx, func() { causes[call] = context.Cause(ctx) })
		}
		get := &stream{}
		if err := moved.Listen(r.t.Context(), get); err != nil {
			t.Fatal(err)
		}
		s.CancelElsewhere(r.t.Context(), []byte(`"x"`))
		synctest.Wait()
		if len(causes) != 1 || !errors.Is(causes[`"x"`], session.ErrCancelled) {
			t.Errorf("after the cancellation of one: %v", causes)
		}
		a.End(r.t.Context(), s)
		synctest.Wait()
		if !errors.Is(causes["1"], session.ErrEnded) || get.closed != 1 || ended != 1 || b.Count() != 0 {
			t.Errorf("calls %v, stream closed %v, told %d times, %d sessions left", causes, get.closed == 1, ended, b.Count())
		}
		r.gone("on the other node", b, id)
		r.store.Sessions = memstate.NewSessions()
		r.gone("with a store that has forgotten", b, id)
		r.gone("where it has ended", a, id)
	})
}

// TestNewestStream is M-91: of the streams of a session the newest stays, wherever it is; a node that does not hear of it
// finds out when it renews.
func TestNewestStream(t *testing.T) {
	inRegion(t, func(r *region) {
		ctx := r.t.Context()
		a, _ := r.node("a")
		b, _ := r.node("b")
		deaf, stop := r.node("c")
		id, s := r.create(a)
		first, second, third, fourth := &stream{}, &stream{}, &stream{}, &stream{}
		atB, atC := r.open(b, id), r.open(deaf, id)
		listen := func(s *session.Session, l *stream) {
			t.Helper()
			if err := s.Listen(ctx, l); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		listen(s, first)
		if got := atB.StreamNode(ctx); got != "a" {
			t.Errorf("the stream is at %q", got)
		}
		listen(atB, second)
		if first.closed != 1 || second.closed > 0 || s.StreamNode(ctx) != "b" {
			t.Errorf("first closed %v, second %v, the stream is at %q", first.closed > 0, second.closed > 0, s.StreamNode(ctx))
		}
		s.Leave(ctx, first) // it was not the session's any more
		time.Sleep(5 * session.StreamLife)
		if got := s.StreamNode(ctx); got != "b" || second.closed > 0 {
			t.Errorf("a while later the stream is at %q", got)
		}
		stop()
		listen(atC, third)
		if second.closed != 1 {
			t.Error("a newer stream does not close the older")
		}
		listen(s, fourth)
		if third.closed > 0 {
			t.Error("a node that hears nothing knows of a stream")
		}
		s.Leave(ctx, fourth)
		if got := s.StreamNode(ctx); got != "" {
			t.Errorf("after its end the stream is at %q", got)
		}
	})
}

// TestRenewal: a node whose stream has gone to another one without a note closes it within the time of a renewal.
func TestRenewal(t *testing.T) {
	inRegion(t, func(r *region) {
		a, _ := r.node("a")
		_, s := r.create(a)
		get := &stream{}
		if err := s.Listen(r.t.Context(), get); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.store.Sessions.Own(r.t.Context(), s.UID(), "z"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(session.StreamLife)
		synctest.Wait()
		if get.closed != 1 {
			t.Error("the stream is still here")
		}
	})
}

// TestToldUntilHeard is M-91: a stream that the store, or the other nodes, could not be told of is told of as soon as that works.
func TestToldUntilHeard(t *testing.T) {
	for what, fail := range map[string]func(*shared, bool){
		"the store is away":       func(s *shared, on bool) { s.away.Store(on) },
		"the others hear nothing": func(s *shared, on bool) { s.mute.Store(on) },
	} {
		inRegion(t, func(r *region) {
			ctx := r.t.Context()
			a, _ := r.node("a")
			b, _ := r.node("b")
			id, s := r.create(a)
			moved := r.open(b, id)
			fail(r.store, true)
			get := &stream{}
			if err := s.Listen(ctx, get); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1500 * time.Millisecond)
			if elsewhere, _ := b.Where(s.Key()); elsewhere != 0 {
				t.Errorf("%s, and the other node knows", what)
			}
			fail(r.store, false)
			time.Sleep(1500 * time.Millisecond)
			if elsewhere, _ := b.Where(s.Key()); elsewhere == 0 {
				t.Errorf("%s: a second later the other node does not know of the stream", what)
			}
			if got := moved.StreamNode(ctx); got != "a" {
				t.Errorf("%s: the stream is at %q", what, got)
			}
			s.Leave(ctx, get)
		})
	}
}

// TestLook: where a stream is can be asked when the note of it is still under way.
func TestLook(t *testing.T) {
	inRegion(t, func(r *region) {
		ctx := r.t.Context()
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		r.open(b, id)
		r.store.mute.Store(true)
		get := &stream{}
		if err := s.Listen(ctx, get); err != nil {
			t.Fatal(err)
		}
		b.Look(ctx, "no session")
		if elsewhere, _ := b.Where(s.Key()); elsewhere != 0 {
			t.Error("known without having been told")
		}
		b.Look(ctx, s.Key())
		if elsewhere, _ := b.Where(s.Key()); elsewhere == 0 {
			t.Error("not known after a look")
		}
		s.Leave(ctx, get)
		r.store.mute.Store(false)
	})
}

// TestStoreLost is M-88: everything goes on, one line is logged, and what could not be told is told when the store is back.
func TestStoreLost(t *testing.T) {
	inRegion(t, func(r *region) {
		ctx := r.t.Context()
		a, stop := r.node("a")
		b, _ := r.node("b")
		kept, s := r.create(a)
		over, e := r.create(a)
		r.open(b, over)
		r.store.away.Store(true)
		fresh, _ := r.create(a)
		s.SetLogLevel(ctx, "debug")
		get := &stream{}
		if err := s.Listen(ctx, get); err != nil {
			t.Fatal(err)
		}
		a.End(ctx, e)
		r.gone("where it has ended", a, over)
		for _, id := range []string{kept, fresh} {
			r.open(a, id)
			if got := r.open(b, id).State(); got.LogLevel != "info" {
				t.Errorf("on another node: %+v", got)
			}
		}
		if n := strings.Count(r.log.String(), "session store unavailable"); n != 2 {
			t.Errorf("logged %d times, want once by each node:\n%s", n, r.log.String())
		}
		stop() // the subscription breaks as well
		r.store.away.Store(false)
		running, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- a.Run(running) }()
		synctest.Wait()
		r.gone("on the other node", b, over)
		r.open(a, kept)
		if got := r.open(b, kept).State().LogLevel; got != "debug" {
			t.Errorf("the level on the other node is %s", got)
		}
		time.Sleep(session.StreamLife)
		if got := r.open(b, kept).StreamNode(ctx); got != "a" {
			t.Errorf("the stream that was opened meanwhile is at %q", got)
		}
		if !strings.Contains(r.log.String(), "available again") {
			t.Errorf("the end of it is not logged:\n%s", r.log.String())
		}
		s.Leave(ctx, get)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
