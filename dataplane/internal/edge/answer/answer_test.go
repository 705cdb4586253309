// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type guard func() bool

func (g guard) MayGoOn() bool { return g() }
func (g guard) Lost()         {}

func always() guard { return func() bool { return true } }

// slow is a client that takes nothing until it is released, and one that is gone afterwards if broken.
type slow struct {
	*httptest.ResponseRecorder
	mu      sync.Mutex
	release chan struct{}
	err     error
	flushes int
}

func (s *slow) Write(b []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.ResponseRecorder.Write(b)
}

func (s *slow) FlushError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	return nil
}

// TestSlowClient: whoever sends is never held up, messages stay in order and are flushed one by one.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{ResponseRecorder: httptest.NewRecorder(), release: make(chan struct{})}
		a := NewPool(nil).Start(w, Either, always())
		start := time.Now()
		for i := range 200 {
			if err := a.Sink()(progress("1", i)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("sending took %v", took)
		}
		finished := make(chan struct{})
		go func() {
			a.Finish(http.StatusOK, Body{[]byte(`{"jsonrpc":"2.0",`), []byte(`"id":1,"result":{}`), []byte(`}`)})
			close(finished)
		}()
		synctest.Wait()
		select {
		case <-finished:
			t.Error("Finish returned before the client took the answer")
		default:
		}
		close(w.release)
		<-finished
		events := strings.Split(strings.TrimSuffix(w.Body.String(), "\n\n"), "\n\n")
		if len(events) != 201 || !strings.HasSuffix(events[0], `"progress":0}}`) || !strings.HasSuffix(events[199], `"progress":199}}`) ||
			events[200] != `event: message`+"\n"+`data: {"jsonrpc":"2.0","id":1,"result":{}}` {
			t.Errorf("%d events, the last is %q", len(events), events[len(events)-1])
		}
		if w.flushes != 202 { // and the head
			t.Errorf("%d flushes, want 202", w.flushes)
		}
	})
}

// TestClientGone: after a failed write nothing is kept, and the answer still ends.
func TestClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{ResponseRecorder: httptest.NewRecorder(), release: make(chan struct{}), err: io.ErrClosedPipe}
		close(w.release)
		a := NewPool(nil).Start(w, Either, always())
		a.Send(progress("1", 1))
		synctest.Wait()
		for i := range 1000 {
			a.Send(progress("1", i))
		}
		if len(a.queue.items) != 0 {
			t.Errorf("%d messages are kept for nobody", len(a.queue.items))
		}
		a.Finish(http.StatusOK, Body{[]byte("{}")})
		if w.Body.Len() != 0 {
			t.Errorf("the body is %q", w.Body)
		}
	})
}

// TestGuard: a stream is asked for every 3 s, and cut when it may not go on.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var may atomic.Bool
		may.Store(true)
		rec := httptest.NewRecorder()
		a := NewPool(nil).Start(rec, Either, guard(func() bool { asked.Add(1); return may.Load() }))
		time.Sleep(Patience + 30*time.Second)
		synctest.Wait()
		if asked.Load() < 9 || strings.Count(rec.Body.String(), ": keep-alive") != 2 {
			t.Errorf("asked %d times in 30 s, sent %q", asked.Load(), rec.Body)
		}
		may.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		before := rec.Body.String()
		a.Send(progress("1", 1))
		time.Sleep(time.Minute)
		a.Finish(http.StatusOK, Body{[]byte("{}")})
		if rec.Body.String() != before {
			t.Errorf("sent after the cut: %q", strings.TrimPrefix(rec.Body.String(), before))
		}
	})
}

// TestForms: what becomes of an answer by what the client takes.
func TestForms(t *testing.T) {
	const event = "event: message\ndata: {}\n\n"
	for _, tt := range []struct {
		name    string
		form    Form
		status  int
		late    bool
		sent    bool
		abandon bool
		code    int
		body    string
		kind    string
	}{
		{"JSON", Either, 200, false, false, false, 200, "{}", "application/json"},
		{"error status", Either, 404, false, false, false, 404, "{}", "application/json"},
		{"late", Either, 404, true, false, false, 200, event, "text/event-stream"},
		{"message first", Either, 200, false, true, false, 200, "event: message\ndata: " + string(logged(1)) + "\n\n" + event, "text/event-stream"},
		{"events only", Events, 200, false, false, false, 200, event, "text/event-stream"},
		{"events only, error status", Events, 400, false, false, false, 400, "{}", "application/json"},
		{"JSON only, late", JSON, 200, true, true, false, 200, "{}", "application/json"},
		{"abandoned", Either, 0, false, false, true, 200, "", "text/event-stream"},
		{"abandoned, late", Either, 0, true, false, true, 200, "", "text/event-stream"},
		{"abandoned, JSON only", JSON, 0, true, false, true, 202, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := httptest.NewRecorder()
				a := NewPool(nil).Start(rec, tt.form, always())
				a.Header("X-Early", "1")
				if tt.late {
					time.Sleep(Patience + time.Second)
					synctest.Wait()
				}
				if tt.sent {
					a.Send(logged(1))
				}
				a.Header("X-Late", "1")
				if tt.abandon {
					a.Abandon()
				} else {
					a.Finish(tt.status, Body{[]byte("{}")})
				}
				h := rec.Header()
				if rec.Code != tt.code || rec.Body.String() != tt.body || h.Get("Content-Type") != tt.kind {
					t.Errorf("%d %q %q, want %d %q %q", rec.Code, h.Get("Content-Type"), rec.Body, tt.code, tt.kind, tt.body)
				}
				late := tt.form&Events != 0 && (tt.late || tt.sent)
				if (h.Get("X-Late") == "") != late || h.Get("X-Early") != "1" {
					t.Errorf("headers %v: a header after the head is lost, one before is not", h)
				}
			})
		})
	}
}

// TestReuse runs answers of all forms on one pool, for the race detector and for state that leaks from one to the next.
func TestReuse(t *testing.T) {
	p := NewPool(nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 300 {
				rec := httptest.NewRecorder()
				form := []Form{Either, JSON, Events}[(g+i)%3]
				a := p.Start(rec, form, always())
				if i%5 == 0 {
					a.Send(logged(i))
				}
				want := fmt.Sprintf(`{"id":%d}`, i)
				a.Finish(http.StatusOK, Body{[]byte(want)})
				if !strings.Contains(rec.Body.String(), want) || strings.Count(rec.Body.String(), `"id"`) != 1 {
					t.Errorf("answer %q, want %q", rec.Body, want)
				}
			}
		})
	}
	wg.Wait()
}

// TestLength: a large document has its length, so that it is not sent in chunks and a cut is noticed.
func TestLength(t *testing.T) {
	big := []byte(strings.Repeat("x", 1<<20))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		NewPool(nil).JSON(w, http.StatusOK, Body{[]byte("<"), big, []byte(">")})
	}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.ContentLength != int64(len(big)+2) || len(body) != len(big)+2 || body[0] != '<' || body[len(body)-1] != '>' {
		t.Errorf("length %d, %d bytes read, %v", resp.ContentLength, len(body), err)
	}
}

// TestStreamErrors: a client that is gone is seen at the next write.
func TestStreamErrors(t *testing.T) {
	w := &slow{ResponseRecorder: httptest.NewRecorder(), release: make(chan struct{})}
	close(w.release)
	s, err := Open(w)
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func() error{
		"event": func() error { return s.Raw([]byte("data: {}\n\n")) }, "comment": s.Comment,
	} {
		if err := write(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.err = io.ErrClosedPipe
	if err := s.Comment(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v, want that of the connection", err)
	}
	if _, err := Open(noFlush{}); err == nil {
		t.Error("a writer that cannot flush is no stream")
	}
}

type noFlush struct{}

func (noFlush) Header() http.Header         { return http.Header{} }
func (noFlush) Write(b []byte) (int, error) { return len(b), nil }
func (noFlush) WriteHeader(int)             {}
