// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// watching runs a Watch until the test ends, and gives what it hears.
func watching(t testing.TB, p *Pool, to Target, sub Subscription) (events chan string, end func() error) {
	t.Helper()
	events = make(chan string, 64)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var err error
	group.Go(func() {
		err = p.Watch(ctx, to, sub, func(e Event) error {
			events <- e.Method + " " + string(e.Params)
			if !strings.Contains(string(e.Raw), `"method":"`+e.Method+`"`) {
				t.Errorf("%s is not %s", e.Raw, e.Method)
			}
			return nil
		})
	})
	end = func() error {
		cancel()
		group.Wait()
		return err
	}
	t.Cleanup(func() { _ = end() })
	return events, end
}

// TestWatchLegacy: a session of its own with a GET stream and subscriptions, of
// which only the wanted messages come; a lost session is opened anew.
func TestWatchLegacy(t *testing.T) {
	s := newWireServer(t, nil)
	p := newPool(t, nil)
	to := attachTarget(s.url, "ignored")
	to.Capabilities = nil
	taken := make(chan struct{}, 8)
	events, end := watching(t, p, to, Subscription{
		Tools: true, URIs: []string{"a://1", "a://2"}, Established: func() { taken <- struct{}{} },
	})
	for _, id := range []string{"s1", "s2"} {
		<-taken
		until(t, func() bool { return s.session(id).listens })
		for _, text := range []string{
			`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`,
			strings.Replace(changed, "tools", "prompts", 1), elicit, changed, updated("a://1"),
		} {
			s.say(id, text)
		}
		for _, want := range []string{"notifications/tools/list_changed ", `notifications/resources/updated {"uri":"a://1"}`} {
			if got := receive(t, events); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		var uris []string
		for _, m := range s.all("resources/subscribe") {
			if sessionOf(m) == id {
				uris = append(uris, string(m.Params))
			}
		}
		if !slices.Equal(uris, []string{`{"uri":"a://1"}`, `{"uri":"a://2"}`}) {
			t.Errorf("%s subscribed to %q", id, uris)
		}
		if id == "s1" {
			s.end(id)
		}
	}
	if err := end(); err != nil {
		t.Errorf("%v", err)
	}
	until(t, func() bool { return len(s.all("DELETE")) == 2 })
	for _, a := range s.all("") {
		if !strings.Contains(string(a.Error), "-32601") {
			t.Errorf("the question got %s %s", a.Result, a.Error)
		}
	}
	if n := p.link.Streams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// listenServer is a modern server whose listen streams the test writes.
func listenServer(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, m message, n int)) (url string, params func() []string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Mcp-Method") != m.Method {
			t.Errorf("%v %v", err, r.Header)
		}
		mu.Lock()
		got = append(got, string(m.Params))
		n := len(got)
		mu.Unlock()
		answer(w, r, m, n)
	}))
	t.Cleanup(web.Close)
	return web.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func onStream(w http.ResponseWriter, texts ...string) {
	w.Header().Set("Content-Type", sseType)
	for _, text := range texts {
		_, _ = io.WriteString(w, "data: "+text+"\n\n")
	}
	w.(http.Flusher).Flush()
}

func acknowledged(m message, kinds string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":%s}}`, m.ID, kinds)
}

// TestWatchModern: subscriptions/listen, begun anew when it ends, with the node's
// subscription id taken out.
func TestWatchModern(t *testing.T) {
	url, params := listenServer(t, func(w http.ResponseWriter, r *http.Request, m message, n int) {
		onStream(w, acknowledged(m, `{"toolsListChanged":true}`),
			`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":`+string(m.ID)+`,"a":`+fmt.Sprint(n)+`}}}`,
			changed, `{"jsonrpc":"2.0","method":"notifications/message","params":{}}`, elicit)
		switch n {
		case 1:
			onStream(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete"}}`, m.ID))
		case 2: // cut
		default:
			<-r.Context().Done()
		}
	})
	p := newPool(t, nil)
	taken := make(chan struct{}, 8)
	events, end := watching(t, p, target(url, wire.V20260728), Subscription{
		Tools: true, Prompts: true, Resources: true, URIs: []string{"a://1", `b"`}, TaskIDs: []string{"t"},
		Established: func() { taken <- struct{}{} },
	})
	for n := range 3 {
		<-taken
		for _, want := range []string{fmt.Sprintf(`notifications/tools/list_changed {"_meta":{"a":%d}}`, n+1), "notifications/tools/list_changed "} {
			if got := receive(t, events); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	want := `"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["a://1","b\""],"taskIds":["t"]}`
	if got := params()[0]; !strings.Contains(got, want) || !strings.Contains(got, `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`) {
		t.Errorf("asked for %s", got)
	}
}

// TestWatchGivesUp: faults that another attempt would not change.
func TestWatchGivesUp(t *testing.T) {
	legacy := func(change func(*wireServer)) func(testing.TB) Target {
		return func(t testing.TB) Target {
			s := newWireServer(t, nil)
			change(s)
			return target(s.url, wire.V20251125)
		}
	}
	modern := func(answer handler) func(testing.TB) Target {
		return func(t testing.TB) Target {
			url, _ := listenServer(t, func(w http.ResponseWriter, r *http.Request, m message, _ int) { answer(w, r, m) })
			return target(url, wire.V20260728)
		}
	}
	sub := Subscription{Tools: true, URIs: []string{"a://1"}}
	tests := []struct {
		name, reason string
		kind         fault.Kind
		to           func(testing.TB) Target
	}{
		{"no GET stream", ReasonNoStream, fault.Precondition, legacy(func(s *wireServer) { s.noGet = true })},
		{"nothing declared", ReasonNoStream, fault.Precondition, legacy(func(s *wireServer) { s.capabilities = `{"tools":{},"resources":{}}` })},
		{"other kinds declared", ReasonNoStream, fault.Precondition, legacy(func(s *wireServer) { s.capabilities = `{"prompts":{"listChanged":true}}` })},
		{"no such method", ReasonNoStream, fault.Precondition, modern(rpc(404, -32601, "null"))},
		{"extension demanded", ReasonNoStream, fault.Precondition, modern(rpc(400, -32021, "{}"))},
		{"nothing acknowledged", ReasonNoStream, fault.Precondition, modern(func(w http.ResponseWriter, r *http.Request, m message) {
			onStream(w, acknowledged(m, `{"toolsListChanged":false,"resourceSubscriptions":[]}`))
			<-r.Context().Done()
		})},
		{"credential", ReasonUnauthorized, fault.Precondition, modern(raw(401, "", ""))},
		{"address", ReasonTarget, fault.Precondition, func(testing.TB) Target { return target("nowhere", wire.V20260728) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t, nil)
			err := p.Watch(t.Context(), tt.to(t), sub, func(Event) error { return nil })
			if f := fault.From(err); f.Reason != tt.reason || f.Kind != tt.kind || !strings.Contains(f.Public, `"fixture"`) {
				t.Errorf("%v, want %s", err, tt.reason)
			}
		})
	}
	t.Run("the sink's error", func(t *testing.T) {
		gone := errors.New("gone")
		to := modern(func(w http.ResponseWriter, r *http.Request, m message) {
			onStream(w, acknowledged(m, `{"toolsListChanged":true}`), changed)
			<-r.Context().Done()
		})(t)
		err := newPool(t, nil).Watch(t.Context(), to, sub, func(Event) error { return gone })
		if fault.KindOf(err) != fault.Canceled || !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the sink's error, legacy", func(t *testing.T) {
		gone := errors.New("gone")
		s := newWireServer(t, nil)
		stop := time.AfterFunc(0, func() { // when it listens
			for !s.session("s1").listens {
				<-time.After(time.Millisecond)
			}
			s.say("s1", changed)
		})
		defer stop.Stop()
		err := newPool(t, nil).Watch(t.Context(), target(s.url, wire.V20251125), sub, func(Event) error { return gone })
		if fault.KindOf(err) != fault.Canceled || !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		p := newPool(t, func(c *Config) { c.MaxStreams = 1 })
		s := newWireServer(t, nil)
		_, end := watching(t, p, target(s.url, wire.V20251125), sub)
		until(t, func() bool { return s.session("s1").listens })
		if err := p.Watch(t.Context(), target(s.url, wire.V20251125), sub, nil); fault.From(err).Reason != ReasonBusy {
			t.Errorf("%v", err)
		}
		_ = end()
	})
	t.Run("the pool closes", func(t *testing.T) {
		p := newPool(t, nil)
		s := newWireServer(t, nil)
		done := make(chan error, 1)
		go func() { done <- p.Watch(t.Context(), target(s.url, wire.V20251125), sub, nil) }()
		until(t, func() bool { return s.session("s1").listens })
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := receive(t, done); fault.From(err).Reason != ReasonUnreachable {
			t.Errorf("%v", err)
		}
	})
}

// TestWatchKeepsTrying: what may pass is tried again; the era is probed.
func TestWatchKeepsTrying(t *testing.T) {
	url, _ := listenServer(t, func(w http.ResponseWriter, r *http.Request, m message, n int) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			raw(200, jsonType, "<")(w, r, m)
		default:
			onStream(w, acknowledged(m, `{"toolsListChanged":true}`), changed)
			<-r.Context().Done()
		}
	})
	events, end := watching(t, newPool(t, nil), target(url, wire.V20260728), Subscription{Tools: true})
	receive(t, events)
	if err := end(); err != nil {
		t.Error(err)
	}
}
