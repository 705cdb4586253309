// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// sent is one request that a scripted upstream got.
type sent struct {
	call.Outbound
	sink func(call.Event) error
	told []string // answers to its questions
	mu   sync.Mutex
	got  chan struct{} // gets an element for each answer
}

// ask asks a question; its answer is noted as "id result" or "id error".
func (s *sent) ask(id, method, params string) {
	s.relay(call.Event{Method: method, Params: raw(params), ID: []byte(id), Answer: func(a call.Answer) {
		s.mu.Lock()
		s.told = append(s.told, id+" "+string(a.Result)+string(a.Error))
		s.mu.Unlock()
		s.got <- struct{}{}
	}})
}

func (s *sent) answers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.told...)
}

// tell sends a notification.
func (s *sent) tell(method, params string) {
	s.relay(call.Event{Method: method, Params: raw(params)})
}

// relay gives an event whose bytes are gone when it returns.
func (s *sent) relay(e call.Event) {
	e.Raw = wire.AppendNotification(nil, e.Method, e.Params)
	if e.Params != nil {
		e.Params = e.Raw[bytes.Index(e.Raw, e.Params):][:len(e.Params)]
	}
	_ = s.sink(e)
	for i := range e.Raw {
		e.Raw[i] = '#'
	}
}

func raw(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// script is an upstream that does what a test says.
type script struct {
	version wire.Version
	run     func(ctx context.Context, s *sent) (result, object string, err error)

	mu       sync.Mutex
	calls    []*sent
	notified []string
	watch    func(ctx context.Context, o *call.Outbound, want call.Subscription, sink func(call.Event) error) error
	attached func(connection string, e call.Event)
	ended    []string
}

// Call implements Upstream.
func (u *script) Call(ctx context.Context, o *call.Outbound, sink func(call.Event) error) (call.Reply, error) {
	s := &sent{Outbound: *o, sink: sink, got: make(chan struct{}, 64)}
	u.mu.Lock()
	u.calls = append(u.calls, s)
	u.mu.Unlock()
	result, object, err := u.run(ctx, s)
	return call.Reply{Result: raw(result), Error: raw(object), Version: u.version}, err
}

// Attach implements Upstream.
func (u *script) Attach(_ string, _ call.Reach, sink func(connection string, e call.Event)) func() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.attached = sink
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.attached = nil
	}
}

// Watch implements Upstream.
func (u *script) Watch(ctx context.Context, o *call.Outbound, want call.Subscription, sink func(call.Event) error) error {
	return u.watch(ctx, o, want, sink)
}

// EndSession implements Upstream.
func (u *script) EndSession(session string) { u.ended = append(u.ended, session) }

// Notify implements Notifier.
func (u *script) Notify(session, method string, _ []byte, _ http.Header) {
	u.notified = append(u.notified, session+" "+method)
}

func (u *script) requests() []*sent {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*sent(nil), u.calls...)
}

// states seals as the node does.
type states struct{ keys *seal.Keyset }

func (s states) Seal(gateway string, plain []byte) string {
	return string(s.keys.Seal(nil, seal.RequestState, gateway, plain))
}

func (s states) Open(gateway, token string) ([]byte, bool) {
	plain, err := s.keys.Open(nil, seal.RequestState, gateway, token)
	return plain, err == nil
}

func newStates(t testing.TB) states {
	t.Helper()
	keys, err := seal.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		t.Fatal(err)
	}
	return states{keys}
}

func newBridge(t testing.TB, u Upstream, l hold.Limits) *Bridge {
	t.Helper()
	b := New(Config{Upstream: u, Sealer: newStates(t), Node: "node-a", Log: slog.New(slog.DiscardHandler), Limits: l})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

const all = `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`

// outbound is a call of the tool t by a client of version v that declares all, at a server of version upstream.
func outbound(v, upstream wire.Version, params string) *call.Outbound {
	o := &call.Outbound{
		Gateway: &view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "gw-1", Extensions: []string{compile.ExtensionUI, compile.ExtensionTasks}}},
		Server: &view.Server{
			Name: "srv", Protocol: string(upstream), Questions: compile.Questions{Sampling: true, Elicitation: true, Roots: true},
		},
		Connection: &view.Connection{Name: "con", UID: "con-1", Server: "srv"},
		Principal:  ident.Principal{Kind: "user", UID: "alice", ClientID: "client-1"},
		Client:     call.Client{Capabilities: []byte(all), LogLevel: "info"},
		Version:    v, Method: "tools/call", Params: []byte(params),
	}
	if v.Era() == wire.Legacy {
		o.Client.Session = "session-1"
	}
	return o
}

// retry is the request sent again with answers.
func retry(o *call.Outbound, responses, state string) *call.Outbound {
	next := *o
	params := bytes.TrimSuffix(bytes.Clone(o.Params), []byte(`}`))
	if responses != "" {
		next.Responses = []byte(responses)
		params = append(append(params, `,"inputResponses":`...), responses...)
	}
	if state != "" {
		next.State = wire.Quote(state)
		params = append(append(params, `,"requestState":`...), next.State...)
	}
	next.Params = append(params, '}')
	return &next
}

// required is a result of type input_required.
type required struct {
	ResultType    string                     `json:"resultType"`
	InputRequests map[string]json.RawMessage `json:"inputRequests"`
	RequestState  string                     `json:"requestState"`
}

func input(t testing.TB, r call.Reply) required {
	t.Helper()
	var q required
	if err := json.Unmarshal(r.Result, &q); err != nil || q.ResultType != "input_required" {
		t.Fatalf("result %s error %s: %v, want input_required", r.Result, r.Error, err)
	}
	return q
}

// heard collects what a client's sink gets.
type heard struct {
	mu       sync.Mutex
	messages []string
}

func (h *heard) sink(message []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, string(message))
	return nil
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.messages...)
}

// person answers as a test says; it notes what it was asked.
type person struct {
	answer func(ctx context.Context, method string, params []byte) (call.Answer, error)

	mu    sync.Mutex
	asked []string
}

// Ask implements call.Asker.
func (p *person) Ask(ctx context.Context, q call.Question) (call.Answer, error) {
	p.mu.Lock()
	p.asked = append(p.asked, q.Method+" "+string(q.Params))
	p.mu.Unlock()
	return p.answer(ctx, q.Method, q.Params)
}

func says(result string) func(context.Context, string, []byte) (call.Answer, error) {
	return func(context.Context, string, []byte) (call.Answer, error) {
		return call.Answer{Result: []byte(result)}, nil
	}
}
