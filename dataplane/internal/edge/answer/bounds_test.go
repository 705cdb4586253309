// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// keeping is a tape that keeps the very events that are written, as the replay buffer of a session does.
type keeping struct {
	events [][]byte
	taken  chan struct{}
	ended  bool
}

func (k *keeping) Tape() Tape             { return k }
func (k *keeping) Prime() []byte          { return nil }
func (k *keeping) Taken() <-chan struct{} { return k.taken }
func (k *keeping) End()                   { k.ended = true }
func (k *keeping) Record(m []byte, _ bool) ([]byte, bool) {
	event := sse.AppendEvent(nil, "message", fmt.Sprint("s-", len(k.events)+1), m)
	k.events = append(k.events, event)
	return event, true
}

// watched is a guard that counts how often the stream was lost.
type watched struct{ lost atomic.Int64 }

func (w *watched) MayGoOn() bool { return true }
func (w *watched) Lost()         { w.lost.Add(1) }

// wired is a recorder with a connection behind it, which tells when it is closed.
type wired struct {
	*slow
	here net.Conn
	cut  atomic.Bool
}

func (w *wired) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.cut.Store(true)
	return w.here, nil, nil
}

// TestKeptEventsStay: what is kept for a client that comes back is never written to, not by keep-alives either (M-19, M-40).
func TestKeptEventsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, k := httptest.NewRecorder(), &keeping{taken: make(chan struct{})}
		a := NewPool(nil).Start(rec, Either, always())
		a.Keep(k)
		a.Send(progress("1", 1))
		synctest.Wait()
		want := string(k.events[0])
		time.Sleep(2 * Heartbeat)
		synctest.Wait()
		if !strings.Contains(rec.Body.String(), ": keep-alive") {
			t.Fatalf("no keep-alive in %q", rec.Body)
		}
		if got := string(k.events[0]); got != want {
			t.Errorf("the kept event became %q", got)
		}
		a.Finish(http.StatusOK, Body{[]byte(`{}`)})
	})
}

// TestLostStream is M-20 and M-31: a stream that cannot go on is closed at once, not when the call ends, which may go on for
// a client that can come back. Who guards it is told.
func TestLostStream(t *testing.T) {
	question := text("notifications/unknown", `"x":1`)
	for _, tt := range []struct {
		name string
		kept bool
		lose func(w *wired, k *keeping, a *Writer)
	}{
		{"too slow, nothing kept", false, func(_ *wired, _ *keeping, a *Writer) {
			for range maxQueued + 2 {
				a.Send(question)
			}
		}},
		{"too slow", true, func(_ *wired, _ *keeping, a *Writer) {
			for range maxQueued + 2 {
				a.Send(question)
			}
		}},
		{"the client reads on another connection", true, func(_ *wired, k *keeping, _ *Writer) { close(k.taken) }},
		{"the write fails", true, func(w *wired, _ *keeping, a *Writer) {
			w.err = net.ErrClosed
			a.Send(question)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer here.Close()
				defer there.Close()
				w := &wired{slow: &slow{ResponseRecorder: httptest.NewRecorder(), release: make(chan struct{})}, here: here}
				k, g := &keeping{taken: make(chan struct{})}, &watched{}
				a := NewPool(nil).Start(w, Either, g)
				if tt.kept {
					a.Keep(k)
				}
				a.Stream()
				synctest.Wait()
				tt.lose(w, k, a)
				close(w.release)
				synctest.Wait()
				select {
				case <-a.Done():
				default:
					t.Fatal("the stream goes on")
				}
				if g.lost.Load() != 1 || w.cut.Load() != tt.kept {
					t.Errorf("lost %d times, connection closed %v, want once, %v", g.lost.Load(), w.cut.Load(), tt.kept)
				}
				sent := w.Body.Len()
				a.Send(question)
				a.Finish(http.StatusOK, Body{[]byte(`{}`)})
				if w.Body.Len() != sent || g.lost.Load() != 1 {
					t.Error("the stream was written to after its end, or lost twice")
				}
				if tt.kept && !strings.Contains(string(k.events[len(k.events)-1]), "data: {}") {
					t.Error("the response is not kept")
				}
			})
		})
	}
}

// TestNotLost: a stream that ends as it should is not lost, and its connection is the server's.
func TestNotLost(t *testing.T) {
	w, g := &wired{slow: &slow{ResponseRecorder: httptest.NewRecorder(), release: make(chan struct{})}}, &watched{}
	close(w.release)
	a := NewPool(nil).Start(w, Either, g)
	a.Keep(&keeping{taken: make(chan struct{})})
	a.Send(progress("1", 1))
	a.Finish(http.StatusOK, Body{[]byte(`{}`)})
	if g.lost.Load() != 0 || w.cut.Load() {
		t.Error("lost")
	}
}

// TestLargeMessage: a message that is larger than a queue may be reaches a client that keeps up. Only what has to wait
// behind others is bounded (mcp.md §2.1).
func TestLargeMessage(t *testing.T) {
	large := text("sampling/createMessage", `"x":"`+strings.Repeat("x", 2*maxQueuedBytes)+`"`)
	q := queue{}
	if !q.add(large, render(large)) || q.broken {
		t.Fatal("an empty queue refuses it")
	}
	q.add(large, render(large))
	if !q.broken {
		t.Errorf("%d bytes are queued", q.bytes)
	}
}
