// SPDX-License-Identifier: Apache-2.0

package discover_test

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
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/discover"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// upstream answers discoveries; it takes as long as a test says.
type upstream struct {
	mu     sync.Mutex
	asked  []string // "<seconds since start> <server> <connection>"
	start  time.Time
	takes  time.Duration
	busy   int
	most   int
	answer discover.Listing
	err    error
}

// List implements discover.Lister.
func (u *upstream) List(ctx context.Context, s *view.Server, c *view.Connection) (discover.Listing, error) {
	u.mu.Lock()
	name := "-"
	if c != nil {
		name = c.Name
	}
	u.asked = append(u.asked, fmt.Sprintf("%.1f %s %s", time.Since(u.start).Seconds(), s.Name, name))
	u.busy++
	u.most = max(u.most, u.busy)
	takes := u.takes
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.busy--
		u.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
		return u.answer, u.err
	case <-ctx.Done():
		return discover.Listing{}, ctx.Err()
	}
}

// ledger takes reports.
type ledger struct {
	mu      sync.Mutex
	reports []string // "<cause> <tools or reason>"
	last    *discover.Listing
	refuse  int // this many reports fail
}

// ReportDiscovery implements discover.Reporter.
func (l *ledger) ReportDiscovery(_ context.Context, c discover.Cause, found *discover.Listing, f *fault.Fault) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse > 0 {
		l.refuse--
		return errors.New("no control plane")
	}
	text := c.TaskID + c.Server + " "
	if f != nil {
		text += f.Reason
	} else {
		text += fmt.Sprint(len(found.Tools))
	}
	l.reports, l.last = append(l.reports, text), found
	return nil
}

// world runs a Discoverer in front of two servers, s with the connection c, and free without one, until the test ends.
type world struct {
	*discover.Discoverer

	upstream *upstream
	ledger   *ledger
	stop     func() // what the upstream and the ledger remember may be read after it
}

func start(t *testing.T) *world {
	t.Helper()
	b := view.From(nil)
	b.PutServer("s", &view.Server{Name: "s", NeedsSecret: true})
	b.PutServer("free", &view.Server{Name: "free"})
	b.PutConnection("c", &view.Connection{Name: "c", Server: "s"})
	b.PutConnection("c2", &view.Connection{Name: "c2", Server: "s"})
	for i := range 8 {
		name := fmt.Sprint("many-", i)
		b.PutServer(name, &view.Server{Name: name})
	}
	holder := view.NewHolder()
	holder.Publish(b.Build("epoch", 1))
	w := &world{upstream: &upstream{start: time.Now()}, ledger: &ledger{}}
	w.Discoverer = discover.New(discover.Config{Lister: w.upstream, Reporter: w.ledger, View: holder, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return w
}

// M-71: at most one discovery a second, the first at once, and none is lost.
func TestChanged(t *testing.T) {
	for _, tc := range []struct {
		name  string
		takes time.Duration
		tell  func(w *world)
		want  []string
	}{
		{"once", 0, func(w *world) { w.Changed("s", "c") }, []string{"0.0 s c"}},
		{"a burst is one more", 0, func(w *world) {
			for range 100 {
				w.Changed("s", "c")
				time.Sleep(time.Millisecond)
			}
		}, []string{"0.0 s c", "1.0 s c"}},
		{"without end", 0, func(w *world) {
			for range 35 {
				w.Changed("s", "c")
				time.Sleep(100 * time.Millisecond)
			}
		}, []string{"0.0 s c", "1.0 s c", "2.0 s c", "3.0 s c", "4.0 s c"}},
		{"while it is discovered", 3 * time.Second, func(w *world) {
			w.Changed("s", "c")
			time.Sleep(time.Second)
			w.Changed("s", "c")
		}, []string{"0.0 s c", "3.0 s c"}},
		{"again, much later", 0, func(w *world) {
			w.Changed("s", "c")
			time.Sleep(time.Minute)
			w.Changed("s", "c")
		}, []string{"0.0 s c", "60.0 s c"}},
		{"the newest connection", 0, func(w *world) {
			w.Changed("s", "c")
			time.Sleep(time.Millisecond)
			w.Changed("s", "gone")
			w.Changed("s", "c2")
		}, []string{"0.0 s c", "1.0 s c2"}},
		{"without credential", 0, func(w *world) { w.Changed("free", "") }, []string{"0.0 free -"}},
		{"unknown server", 0, func(w *world) { w.Changed("gone", "c") }, nil},
		{"unknown connection", 0, func(w *world) { w.Changed("s", "gone") }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t)
				w.upstream.takes = tc.takes
				tc.tell(w)
				time.Sleep(10 * time.Second)
				w.stop()
				if diff := cmp.Diff(tc.want, w.upstream.asked); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if len(w.ledger.reports) != len(tc.want) {
					t.Errorf("reports: %q", w.ledger.reports)
				}
			})
		})
	}
}

// Servers are discovered beside each other, and not all of them at once.
func TestManyChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		defer w.stop()
		w.upstream.takes = time.Minute
		for i := range 8 {
			w.Changed(fmt.Sprint("many-", i), "")
		}
		time.Sleep(3 * time.Minute)
		w.stop()
		if w.upstream.most != 4 || len(w.ledger.reports) != 8 {
			t.Errorf("%d at once, %d reports", w.upstream.most, len(w.ledger.reports))
		}
	})
}

// A server that does not answer is a result; a report that is not taken is made again, less and less often.
func TestRediscoveryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		defer w.stop()
		w.upstream.err = fault.New(fault.Unavailable, "UPSTREAM_UNREACHABLE", "no")
		w.ledger.refuse = 3
		w.Changed("s", "c")
		time.Sleep(10 * time.Minute)
		w.stop()
		if diff := cmp.Diff([]string{"0.0 s c", "2.0 s c", "6.0 s c", "14.0 s c"}, w.upstream.asked); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"s UPSTREAM_UNREACHABLE"}, w.ledger.reports); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A node that stops says nothing about the servers that it was discovering.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.upstream.takes = time.Hour
		w.Changed("s", "c")
		synctest.Wait()
		w.stop()
		if len(w.upstream.asked) != 1 || len(w.ledger.reports) != 0 {
			t.Errorf("asked %q, reports %q", w.upstream.asked, w.ledger.reports)
		}
	})
}

// A task's discovery ends after a minute, and reports what came of it under the task's name.
func TestDiscover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		defer w.stop()
		s := &view.Server{Name: "new"}
		w.upstream.answer.Tools = [][]byte{[]byte(`{}`)}
		for _, takes := range []time.Duration{time.Second, 2 * time.Minute} {
			w.upstream.takes = takes
			if err := w.Discover(t.Context(), "task-1", s, nil); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"task-1 1", "task-1 " + fault.ReasonTimeout}, w.ledger.reports); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		w.ledger.refuse = 1
		if err := w.Discover(t.Context(), "task-1", s, nil); err == nil {
			t.Error("the reporter's error is lost")
		}
	})
}

// M-66: the authorities of resources, templates and apps.
func TestAuthorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		defer w.stop()
		raw := func(definitions ...string) (out [][]byte) {
			for _, d := range definitions {
				out = append(out, []byte(d))
			}
			return out
		}
		w.upstream.answer = discover.Listing{
			Resources: raw(`{"uri":"demo://b/1"}`, `{"uri":"demo://b/2"}`, `{"uri":"FILE:///x"}`, `{"URI":"no://1"}`, `{"uri":7}`, `7`, `{"uri":"none"}`),
			Templates: raw(`{"uriTemplate":"tpl://x/{id}"}`, `{"uriTemplate":"any://{host}/"}`),
			Tools: raw(`{"name":"a","_meta":{"ui":{"resourceUri":"ui://app/a.html"}}}`, `{"name":"b","_meta":{"ui/resourceUri":"ui://old/b.html"}}`,
				`{"name":"c"}`, `{"name":"d","_meta":[]}`, `{"name":"e","_meta":{"ui":"ui://no"}}`),
		}
		if err := w.Discover(t.Context(), "t", &view.Server{Name: "new"}, nil); err != nil {
			t.Fatal(err)
		}
		want := []string{"demo://b", "file://", "tpl://x", "ui://app", "ui://old"}
		if diff := cmp.Diff(want, w.ledger.last.Authorities); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		w.upstream.answer = discover.Listing{}
		for i := range 1200 {
			w.upstream.answer.Resources = append(w.upstream.answer.Resources, fmt.Appendf(nil, `{"uri":"x://%d"}`, i))
		}
		if err := w.Discover(t.Context(), "t", &view.Server{Name: "new"}, nil); err != nil {
			t.Fatal(err)
		}
		if n := len(w.ledger.last.Authorities); n != 1000 {
			t.Errorf("%d authorities are reported", n)
		}
	})
}

// What a report cannot carry is left out of it.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		defer w.stop()
		large := []byte(`"` + strings.Repeat("x", 64<<10) + `"`)
		w.upstream.answer = discover.Listing{
			ServerInfo: large, Capabilities: large, Instructions: "x" + strings.Repeat("é", 1<<19), Prompts: make([][]byte, 50_001), Tools: make([][]byte, 50_000),
		}
		if err := w.Discover(t.Context(), "t", &view.Server{Name: "new"}, nil); err != nil {
			t.Fatal(err)
		}
		got := w.ledger.last
		if got.ServerInfo != nil || got.Capabilities != nil || len(got.Prompts) != 50_000 || len(got.Tools) != 50_000 || got.Templates != nil {
			t.Errorf("%d bytes of server info, %d of capabilities, %d prompts, %d tools", len(got.ServerInfo), len(got.Capabilities), len(got.Prompts), len(got.Tools))
		}
		if len(got.Instructions) != 1<<20-1 || !utf8.ValidString(got.Instructions) {
			t.Errorf("instructions of %d bytes", len(got.Instructions))
		}
	})
}
