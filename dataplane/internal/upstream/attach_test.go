// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

const changed = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`

func updated(uri string) string {
	return `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}`
}

// heard notes what an attached sink gets.
type heard struct {
	mu  sync.Mutex
	got []string
	all chan Event // with copies of what is valid for the moment only
}

func newHeard() *heard { return &heard{all: make(chan Event, 64)} }

func (h *heard) sink(connection string, e Event) {
	h.mu.Lock()
	h.got = append(h.got, connection+" "+e.Method+" "+string(e.Params))
	h.mu.Unlock()
	h.all <- Event{Kind: e.Kind, Method: e.Method, Params: slices.Clone(e.Params), ID: slices.Clone(e.ID), Answer: e.Answer}
}

func attachTarget(url, session string) Target {
	to := target(url, wire.V20251125)
	to.Session, to.Capabilities = session, []byte(anything)
	return to
}

// TestAttach: while a session is attached its upstream sessions' streams are
// open, those there were and those that come; afterwards they close (M-91).
func TestAttach(t *testing.T) {
	s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
	p := newPool(t, nil)
	one, two := attachTarget(s.url, "c"), attachTarget(s.url, "c")
	two.Key, two.Connection = "conn-2", "second"
	call := func(to Target) {
		t.Helper()
		if _, err := p.Call(t.Context(), to, toolCall("tools/call"), func(e Event) error {
			t.Errorf("the call got %s", e.Raw)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	call(one)
	old, h := newHeard(), newHeard()
	detachOld := p.Attach("c", nil, old.sink)
	detach := p.Attach("c", nil, h.sink)
	detachOld() // has no effect any more
	call(two)
	until(t, func() bool { return s.session("s1").listens && s.session("s2").listens })

	s.say("s1", changed)
	if e := receive(t, h.all); e.Method != "notifications/tools/list_changed" || e.Kind != Notification || e.Answer != nil {
		t.Errorf("%+v", e)
	}
	s.say("s2", updated("a://b"))
	if e := receive(t, h.all); string(e.Params) != `{"uri":"a://b"}` {
		t.Errorf("%+v", e)
	}
	s.say("s2", elicit)
	e := receive(t, h.all)
	e.Answer([]byte(`{"action":"accept"}`), nil)
	until(t, func() bool { return len(s.all("")) == 1 })
	if a := s.all("")[0]; string(a.ID) != `"q-1"` || string(a.Result) != `{"action":"accept"}` || sessionOf(a) != "s2" {
		t.Errorf("%+v", a)
	}
	s.say("s1", strings.Replace(elicit, "elicitation/create", "ping", 1))
	until(t, func() bool { return len(s.all("")) == 2 })
	s.say("s1", `{"jsonrpc":`) // a broken message is no end of the stream
	s.say("s1", changed)
	receive(t, h.all)
	want := []string{
		"fixture-shared notifications/tools/list_changed ", `second notifications/resources/updated {"uri":"a://b"}`,
		`second elicitation/create {"message":"name?"}`, "fixture-shared notifications/tools/list_changed ",
	}
	if !slices.Equal(h.got, want) || len(old.got) != 0 {
		t.Errorf("%q, and the older one %q", h.got, old.got)
	}
	detach()
	detach()
	s.say("s1", elicit)
	until(t, func() bool { return len(s.all("")) == 3 })
	if a := s.all("")[2]; !strings.Contains(string(a.Error), "-32601") {
		t.Errorf("after detaching: %s %s", a.Result, a.Error)
	}
}

// TestRestored: when the upstream loses a session, subscriptions and log level
// are told to the new one, whether a call finds out or the stream of an attached
// session does (M-92).
func TestRestored(t *testing.T) {
	for _, attached := range []bool{false, true} {
		s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
		p := newPool(t, nil)
		to := attachTarget(s.url, "c")
		h := newHeard()
		if attached {
			defer p.Attach("c", nil, h.sink)()
		}
		for _, c := range [][2]string{
			{"resources/subscribe", "b://1"}, {"resources/subscribe", "a://2"}, {"resources/subscribe", "c://3"}, {"resources/unsubscribe", "b://1"},
		} {
			r := Request{Method: c[0], Params: []byte(`{"uri":"` + c[1] + `"}`), LogLevel: "debug"}
			if _, err := p.Call(t.Context(), to, r, nil); err != nil {
				t.Fatal(err)
			}
		}
		until(t, func() bool { return s.session("s1").listens == attached })
		s.end("s1")
		if attached {
			until(t, func() bool { return s.session("s2").listens })
			s.say("s2", updated("a://2"))
			receive(t, h.all)
		}
		if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range append(s.all("resources/subscribe"), s.all("logging/setLevel")...) {
			if sessionOf(m) == "s2" {
				got = append(got, string(m.Params))
			}
		}
		want := []string{`{"uri":"a://2"}`, `{"uri":"c://3"}`, `{"level":"debug"}`}
		if !slices.Equal(got, want) || len(s.all("initialize")) != 2 || len(s.all("tools/call")) < 1 {
			t.Errorf("attached %v: told %q, want %q; %d sessions", attached, got, want, len(s.all("initialize")))
		}
	}
}

// TestNoGetStream: 405 is no failure, and is not asked again.
func TestNoGetStream(t *testing.T) {
	s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
	s.noGet = true
	p := newPool(t, nil)
	for range 3 {
		if _, err := p.Call(t.Context(), attachTarget(s.url, "c"), toolCall("tools/call"), func(Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.all("GET")); n != 1 {
		t.Errorf("%d GET requests", n)
	}
}

// TestOneStreamForCalls: calls that follow each other share the stream.
func TestOneStreamForCalls(t *testing.T) {
	s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
	p := newPool(t, func(c *Config) { c.MaxStreams = 1 })
	for _, session := range []string{"a", "a", "b"} { // b is beyond MaxStreams
		if _, err := p.Call(t.Context(), attachTarget(s.url, session), toolCall("tools/call"), func(Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.all("GET")); n != 1 || sessionOf(s.all("GET")[0]) != "s1" {
		t.Errorf("%d GET requests", n)
	}
}

// TestNotify: a notification of the client goes to all its upstream sessions.
func TestNotify(t *testing.T) {
	s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
	p := newPool(t, nil)
	for _, key := range []string{"k1", "k2"} {
		to := attachTarget(s.url, "c")
		to.Key = key
		if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
			t.Fatal(err)
		}
	}
	p.Notify("c", "notifications/roots/list_changed", nil, http.Header{"X-Tenant": {"a"}})
	p.Notify("other", "notifications/roots/list_changed", nil, nil)
	until(t, func() bool { return len(s.all("notifications/roots/list_changed")) == 2 })
	if got := s.all("notifications/roots/list_changed"); sessionOf(got[0]) == sessionOf(got[1]) {
		t.Errorf("both to %s", sessionOf(got[0]))
	} else if got[0].Header.Get("X-Tenant") != "a" || got[1].Header.Get("X-Tenant") != "a" {
		t.Errorf("without its header (G-40): %v", got)
	}
}
