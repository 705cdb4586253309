// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// left is what a stream leaves behind: it says one thing more when it is stopped.
type left struct {
	stopped int
	last    func()
}

func (l *left) stop() {
	l.stopped++
	if l.last != nil {
		l.last()
	}
}

// streaming begins a stream that is kept, as edge does.
func (r *region) streaming(s *session.Session) (*stream, func(message string) (id string)) {
	r.t.Helper()
	s.Claim(r.t.Context())
	l := &stream{}
	if err := s.Listen(r.t.Context(), l); err != nil {
		r.t.Fatal(err)
	}
	tape := s.Events().Open(true, false)
	return l, func(message string) string { return idOfKept(tape.Record([]byte(message), false)) }
}

// TestHandover is M-91: a node that takes a session's stream waits until the one before has given it up, and finds in the store
// what was said until then.
func TestHandover(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(s *session.Session, l *stream, rest *left) // before the other node claims the stream
		after func(s *session.Session, l *stream, rest *left) // when it has
	}{
		{"its client has gone", func(s *session.Session, l *stream, rest *left) { s.Linger(t.Context(), l, rest.stop) }, nil},
		{"its connection is open", nil, func(s *session.Session, l *stream, rest *left) {
			if l.closed != 1 {
				t.Errorf("the connection was closed %d times", l.closed)
			}
			s.Linger(t.Context(), l, rest.stop)
		}},
		{"nothing is left", func(s *session.Session, l *stream, rest *left) { rest.stop(); s.Leave(t.Context(), l) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRegion(t, func(r *region) {
				a, _ := r.node("a")
				b, _ := r.node("b")
				id, s := r.create(a)
				l, record := r.streaming(s)
				one := record(`{"n":1}`)
				rest := &left{last: func() { record(`{"n":2}`) }}
				if tt.leave != nil {
					tt.leave(s, l, rest)
				}
				synctest.Wait()
				moved, began, done := r.open(b, id), time.Now(), make(chan struct{})
				go func() { moved.Claim(r.t.Context()); close(done) }()
				synctest.Wait()
				if tt.after != nil {
					tt.after(s, l, rest)
				}
				<-done
				if took := time.Since(began); took > 0 {
					t.Errorf("the stream was claimed after %s", took)
				}
				if rest.stopped != 1 {
					t.Errorf("what was left behind was stopped %d times", rest.stopped)
				}
				if _, c, _, ok := moved.Fetch(r.t.Context(), one); !ok || len(c.Events) != 2 || data(c.Events[1]) != `{"n":2}` {
					t.Errorf("the store has %d events", len(c.Events))
				}
			})
		})
	}
}

// TestHandoverOfTheDead: a node that does not answer is waited for, but not for long.
func TestHandoverOfTheDead(t *testing.T) {
	inRegion(t, func(r *region) {
		a, stop := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		r.streaming(s)
		stop()
		began, moved := time.Now(), r.open(b, id)
		if !moved.Claim(r.t.Context()) || time.Since(began) != time.Second {
			t.Errorf("claimed after %s", time.Since(began))
		}
		l := &stream{}
		if err := moved.Listen(r.t.Context(), l); err != nil || l.closed > 0 {
			t.Errorf("the stream: %v, closed %d times", err, l.closed)
		}
	})
}

// TestLingering: what a stream leaves behind ends once, whatever comes first.
func TestLingering(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(r *region, m *session.Manager, s *session.Session)
	}{
		{"the time", func(*region, *session.Manager, *session.Session) { time.Sleep(session.Lingering) }},
		{"a newer stream here", func(r *region, _ *session.Manager, s *session.Session) {
			l, _ := r.streaming(s)
			s.Hears(l)
		}},
		{"the end of the session", func(r *region, m *session.Manager, s *session.Session) { m.End(r.t.Context(), s) }},
		{"the end of the node", func(_ *region, m *session.Manager, _ *session.Session) { m.Settle(time.Second) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRegion(t, func(r *region) {
				m, _ := r.node("a")
				_, s := r.create(m)
				l, _ := r.streaming(s)
				rest := &left{}
				s.Linger(r.t.Context(), l, rest.stop)
				if rest.stopped > 0 || s.StreamNode(r.t.Context()) != "a" {
					t.Errorf("stopped %d times at once, the stream is at %q", rest.stopped, s.StreamNode(r.t.Context()))
				}
				tt.end(r, m, s)
				synctest.Wait()
				if rest.stopped != 1 {
					t.Errorf("stopped %d times", rest.stopped)
				}
				time.Sleep(2 * session.Lingering)
				if rest.stopped != 1 {
					t.Errorf("a while later stopped %d times", rest.stopped)
				}
			})
		})
	}
}

// TestSettle is M-95: a node that shuts down keeps what its streams are to say until their clients are with other nodes.
func TestSettle(t *testing.T) {
	inRegion(t, func(r *region) {
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		l, _ := r.streaming(s)
		rest := &left{}
		s.Linger(r.t.Context(), l, rest.stop)
		settled, began := make(chan time.Duration), time.Now()
		go func() { a.Settle(time.Minute); settled <- time.Since(began) }()
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(r.t.Context())
		defer cancel()
		moved := r.open(b, id)
		moved.Claim(ctx)
		if took := <-settled; took != 2*time.Second || rest.stopped != 1 {
			t.Errorf("settled after %s, stopped %d times", took, rest.stopped)
		}
	})
}

// TestAheadOfTheStore is M-40: a client may have read what the node that died had not written yet; it misses nothing.
func TestAheadOfTheStore(t *testing.T) {
	inRegion(t, func(r *region) {
		a, stop := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		_, record := r.streaming(s)
		record(`{"n":1}`)
		synctest.Wait()
		stop()
		ahead := record(`{"n":2}`)
		moved := r.open(b, id)
		p, c, _, ok := moved.Fetch(r.t.Context(), ahead)
		if !ok || len(c.Events) != 0 {
			t.Fatalf("not resumed: %t, %d events", ok, len(c.Events))
		}
		tape, missed, ok := moved.Events().Continue(p)
		if !ok || len(missed) != 0 {
			t.Errorf("missed %d events, %t", len(missed), ok)
		}
		if got := idOfKept(tape.Record([]byte(`{"n":3}`), false)); got == ahead || got[:len(got)-1] != ahead[:len(ahead)-1] {
			t.Errorf("the next event is %s after %s", got, ahead)
		}
	})
}
