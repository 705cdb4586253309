// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// stream is what a session's client hears outside of calls.
type stream struct {
	mu   sync.Mutex
	said []string
}

func (s *stream) deliver(connection string, message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, connection+" "+string(message))
}

func (s *stream) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := s.said
	s.said = nil
	return said
}

func note(method, params string) string {
	return "con " + string(wire.AppendNotification(nil, method, raw(params)))
}

// Outside of calls, questions of any upstream go to the client, and notifications that its version knows to its stream
// (M-91).
func TestAttach(t *testing.T) {
	u := &script{version: wire.V20251125}
	b := newBridge(t, u, hold.Limits{})
	p := &person{answer: says(`{"roots":[]}`)}
	var heard stream
	detach := b.Attach("session-1", call.Client{Session: "session-1", Capabilities: []byte(`{"roots":{}}`), Asker: p}, wire.V20250618, heard.deliver)
	s := &sent{got: make(chan struct{}, 8), sink: func(e call.Event) error { u.attached("con", e); return nil }}
	s.ask("1", "roots/list", "")
	<-s.got
	s.ask("2", "sampling/createMessage", "{}")
	<-s.got
	s.tell("notifications/tools/list_changed", "")
	s.tell("notifications/resources/updated", `{"uri":"a:1"}`)
	s.tell("notifications/elicitation/complete", `{"elicitationId":"x"}`)
	s.tell("notifications/tasks/status", `{"taskId":"x"}`)
	s.tell("notifications/cancelled", `{"requestId":9}`)
	want := []string{note("notifications/tools/list_changed", ""), note("notifications/resources/updated", `{"uri":"a:1"}`)}
	if got := heard.take(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if got, want := s.answers(), []string{`1 {"roots":[]}`, `2 {"code":-32601,"message":"Method not found"}`}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	detach()
	detach()
	b.session("session-1").aside("con", call.Event{Method: "notifications/tools/list_changed", Raw: []byte(`{}`)})
	if got := heard.take(); got != nil || u.attached != nil {
		t.Errorf("after detach: heard %q", got)
	}
}

// detach takes questions back and waits for those who ask.
func TestDetachEndsQuestions(t *testing.T) {
	u := &script{}
	b := newBridge(t, u, hold.Limits{})
	asking := make(chan struct{})
	p := &person{answer: func(ctx context.Context, _ string, _ []byte) (call.Answer, error) {
		close(asking)
		<-ctx.Done()
		return call.Answer{}, fault.From(ctx.Err())
	}}
	detach := b.Attach("session-1", call.Client{Capabilities: []byte(all), Asker: p}, wire.V20251125, new(stream).deliver)
	s := &sent{got: make(chan struct{}, 1), sink: func(e call.Event) error { u.attached("con", e); return nil }}
	s.ask("1", "roots/list", "")
	<-asking
	detach()
	if got := s.answers(); len(got) != 1 || !strings.Contains(got[0], "-32603") {
		t.Errorf("told %q", got)
	}
}

// Updates of resources that come with a call while nobody listens are kept, the newest of each, 64 of them; list notices
// are not (M-91).
func TestUpdatesAreKept(t *testing.T) {
	u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
		for i := range 70 {
			s.tell("notifications/resources/updated", fmt.Sprintf(`{"uri":"a:%d"}`, i))
		}
		s.tell("notifications/resources/updated", `{"uri":"a:30","_meta":{"n":2}}`)
		s.tell("notifications/resources/updated", `{"uri":"a:31","x":"`+strings.Repeat("x", 20<<10)+`"}`)
		s.tell("notifications/resources/list_changed", "")
		return ok, "", nil
	}}
	b := newBridge(t, u, hold.Limits{})
	o := outbound(wire.V20251125, wire.V20251125, tool)
	if _, err := b.Call(t.Context(), o, new(heard).sink); err != nil {
		t.Fatal(err)
	}
	var first stream
	detach := b.Attach("session-1", o.Client, o.Version, first.deliver)
	got := first.take()
	if len(got) != 64 || got[0] != note("notifications/resources/updated", `{"uri":"a:6"}`) ||
		got[63] != note("notifications/resources/updated", `{"uri":"a:30","_meta":{"n":2}}`) {
		t.Errorf("heard %d: %q", len(got), got)
	}
	// While somebody listens, what comes with a call is told there.
	if _, err := b.Call(t.Context(), o, new(heard).sink); err != nil {
		t.Fatal(err)
	}
	if got := first.take(); len(got) != 73 {
		t.Errorf("heard %d of 73 while attached", len(got))
	}
	detach()
	var second stream
	b.Attach("session-1", o.Client, o.Version, second.deliver)()
	if got := second.take(); got != nil {
		t.Errorf("heard again: %d", len(got))
	}
	b.EndSession("session-1")
	if !slices.Equal(u.ended, []string{"session-1"}) {
		t.Errorf("ended %q", u.ended)
	}
}

// watcher is an upstream whose subscriptions a test sees.
type watcher struct {
	script
	mu      sync.Mutex
	open    []*subscription
	refuse  error
	silent  bool
	history []string
}

type subscription struct {
	uris string
	sink func(call.Event) error
}

func newWatcher() *watcher {
	w := &watcher{script: script{version: wire.V20260728}}
	w.watch = func(ctx context.Context, _ *call.Outbound, want call.Subscription, sink func(call.Event) error) error {
		s := &subscription{strings.Join(want.URIs, " "), sink}
		w.mu.Lock()
		refuse, silent := w.refuse, w.silent
		if refuse != nil {
			w.mu.Unlock()
			return refuse
		}
		w.open = append(w.open, s)
		w.history = append(w.history, s.uris)
		w.mu.Unlock()
		if want.Established != nil && !silent {
			want.Established()
		}
		<-ctx.Done()
		w.mu.Lock()
		w.open = slices.DeleteFunc(w.open, func(o *subscription) bool { return o == s })
		w.mu.Unlock()
		return nil
	}
	return w
}

// behave sets whether subscriptions are refused, or never acknowledged.
func (w *watcher) behave(refuse error, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse, w.silent = refuse, silent
}

func (w *watcher) now() (uris []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.open {
		uris = append(uris, s.uris)
	}
	return uris
}

func subscribeTo(uri string) *call.Outbound {
	o := outbound(wire.V20251125, wire.V20260728, `{"uri":"`+uri+`"}`)
	o.Method = "resources/subscribe"
	return o
}

// The row "resource subscribe", legacy → modern: resources/subscribe becomes a subscription of the node while the session
// is attached.
func TestSubscribeAtModern(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher()
		b := newBridge(t, w, hold.Limits{})
		do := func(o *call.Outbound) {
			t.Helper()
			if reply, err := b.Call(t.Context(), o, nil); err != nil || string(reply.Result) != `{}` {
				t.Fatalf("%s %s %v", reply.Result, reply.Error, err)
			}
			synctest.Wait()
		}
		expect := func(uris ...string) {
			t.Helper()
			if got := w.now(); !slices.Equal(got, uris) {
				t.Errorf("watched %q, want %q", got, uris)
			}
		}
		do(subscribeTo("a:1"))
		expect() // nobody listens
		var heard stream
		o := subscribeTo("a:1")
		detach := b.Attach("session-1", o.Client, o.Version, heard.deliver)
		synctest.Wait()
		expect("a:1")
		do(subscribeTo("a:2"))
		expect("a:1 a:2")
		do(subscribeTo("a:2"))
		expect("a:1 a:2")
		if err := w.open[0].sink(call.Event{Method: "notifications/resources/updated", Raw: []byte(`"u"`)}); err != nil {
			t.Error(err)
		}
		if got := heard.take(); !slices.Equal(got, []string{`con "u"`}) {
			t.Errorf("heard %q", got)
		}
		off := subscribeTo("a:1")
		off.Method = "resources/unsubscribe"
		do(off)
		expect("a:2")
		detach()
		expect()
		detach = b.Attach("session-1", o.Client, o.Version, heard.deliver)
		synctest.Wait()
		expect("a:2")
		b.EndSession("session-1")
		synctest.Wait()
		expect()
		detach()
		if want := []string{"a:1", "a:1 a:2", "a:2", "a:2"}; !slices.Equal(w.history, want) {
			t.Errorf("subscribed %q, want %q", w.history, want)
		}
	})
}

// A subscription that the server refuses is one that the client does not have; one that it does not acknowledge is tried
// on. There are at most 256 in a session.
func TestSubscribeAtModernFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher()
		b := newBridge(t, w, hold.Limits{})
		o := subscribeTo("a:1")
		defer b.Attach("session-1", o.Client, o.Version, new(stream).deliver)()
		w.behave(fault.New(fault.Precondition, "UPSTREAM_NO_STREAM", "no"), false)
		if _, err := b.Call(t.Context(), o, nil); fault.From(err).Reason != "UPSTREAM_NO_STREAM" {
			t.Errorf("got %v", err)
		}
		w.behave(nil, true)
		started := time.Now()
		if _, err := b.Call(t.Context(), subscribeTo("a:0"), nil); err != nil || time.Since(started) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(started))
		}
		w.behave(nil, false)
		for i := 2; ; i++ {
			reply, err := b.Call(t.Context(), subscribeTo(fmt.Sprint("a:", i)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if reply.Error != nil {
				if i != 257 {
					t.Errorf("subscription %d: %s", i, reply.Error)
				}
				break
			}
		}
	})
}

// A server whose era was not known, and that does not know the method, is a modern one.
func TestSubscribeAtUnknown(t *testing.T) {
	w := newWatcher()
	w.run = func(context.Context, *sent) (string, string, error) {
		return "", `{"code":-32601,"message":"Method not found"}`, nil
	}
	b := newBridge(t, w, hold.Limits{})
	o := subscribeTo("a:1")
	o.Server.Protocol = ""
	if reply, err := b.Call(t.Context(), o, nil); err != nil || string(reply.Result) != `{}` {
		t.Errorf("%s %s %v", reply.Result, reply.Error, err)
	}
}

// TestWatch is the row "resource subscribe" and list_changed for modern clients: what was wanted and nothing else, of
// either era.
func TestWatch(t *testing.T) {
	tests := []struct {
		name     string
		upstream wire.Version
		want     call.Subscription
		heard    string
	}{
		{"lists", wire.V20251125, call.Subscription{Tools: true, Prompts: true}, "tools/list_changed prompts/list_changed"},
		{"resources", wire.V20260728, call.Subscription{Resources: true, URIs: []string{"a:1"}}, "resources/list_changed resources/updated"},
		{"tasks of a modern upstream", wire.V20260728, call.Subscription{TaskIDs: []string{"x"}}, "tasks"},
		{"tasks of a legacy upstream", wire.V20251125, call.Subscription{TaskIDs: []string{"x"}}, ""},
		{"nothing", wire.V20260728, call.Subscription{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: tt.upstream}
			u.watch = func(_ context.Context, o *call.Outbound, want call.Subscription, sink func(call.Event) error) error {
				s := &sent{sink: sink, got: make(chan struct{}, 1)}
				for _, kind := range []string{"tools/list_changed", "prompts/list_changed", "resources/list_changed", "resources/updated", "tasks", "message", "progress"} {
					s.tell("notifications/"+kind, `{}`)
				}
				s.ask("1", "elicitation/create", form)
				if got := s.answers(); !slices.Equal(got, []string{`1 {"action":"cancel"}`}) {
					t.Errorf("told %q", got)
				}
				if (o.Offer == nil) != (len(want.TaskIDs) == 0) {
					t.Errorf("offered %s", o.Offer)
				}
				return nil
			}
			b := newBridge(t, u, hold.Limits{})
			var got []string
			err := b.Watch(t.Context(), outbound(wire.V20260728, tt.upstream, ""), tt.want, func(m []byte) {
				_, rest, _ := strings.Cut(string(m), "notifications/")
				name, _, _ := strings.Cut(rest, `"`)
				got = append(got, name)
			})
			if err != nil || strings.Join(got, " ") != tt.heard {
				t.Errorf("%v heard %q, want %q", err, got, tt.heard)
			}
		})
	}
}

// roots/list_changed of a client goes to all upstreams of its session.
func TestNotify(t *testing.T) {
	u := &script{}
	b := newBridge(t, u, hold.Limits{})
	b.Notify("session-1", "notifications/roots/list_changed", nil, nil)
	b.Notify("", "notifications/roots/list_changed", nil, nil)
	if want := []string{"session-1 notifications/roots/list_changed"}; !slices.Equal(u.notified, want) {
		t.Errorf("notified %q, want %q", u.notified, want)
	}
}
