// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func mustSSE(t *testing.T, m *session.Manager, p ident.Principal) (string, *session.Session) {
	t.Helper()
	id, s, err := m.CreateSSE(t.Context(), eng, p)
	if err != nil {
		t.Fatal(err)
	}
	return id, s
}

// TestCapabilities: the node that saw initialize knows the capabilities as they were declared, every other one what the
// session id holds of them (M-86).
func TestCapabilities(t *testing.T) {
	long := `{"experimental":{"x":"` + strings.Repeat("x", 17<<10) + `"},"roots":{}}`
	for _, tt := range []struct{ name, declared, here, elsewhere string }{
		{"none", ``, ``, `{}`},
		{"empty", `{}`, `{}`, `{}`},
		{
			"everything",
			`{"roots":{"listChanged":true},"sampling":{"tools":{},"context":{}},"elicitation":{"url":{},"form":{}},"x":1}`,
			`{"roots":{"listChanged":true},"sampling":{"tools":{},"context":{}},"elicitation":{"url":{},"form":{}},"x":1}`,
			`{"sampling":{"context":{},"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}`,
		},
		{"bare", `{"elicitation":{},"roots":{"listChanged":false}}`, `{"elicitation":{},"roots":{"listChanged":false}}`, `{"elicitation":{},"roots":{}}`},
		{"url only", `{"elicitation":{"url":{}}}`, `{"elicitation":{"url":{}}}`, `{"elicitation":{"url":{}}}`},
		{"other types", `{"sampling":true,"elicitation":{"url":1},"roots":null}`, `{"sampling":true,"elicitation":{"url":1},"roots":null}`, `{"elicitation":{}}`},
		{"too long to keep", long, `{"roots":{}}`, `{"roots":{}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t)
			var declared []byte
			if tt.declared != "" {
				declared = []byte(tt.declared)
			}
			id, s, err := f.node(t, session.Limits{}).Create(t.Context(), eng, user("u1"), wire.V20250618, declared)
			if err != nil {
				t.Fatal(err)
			}
			clear(declared) // nothing of the request is kept
			there, err := f.node(t, session.Limits{}).Open(t.Context(), eng, user("u1"), id)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{tt.here, tt.elsewhere, "2025-06-18", "info"}
			state := there.State()
			got := []string{string(s.State().Capabilities), string(state.Capabilities), string(state.Version), state.LogLevel}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSSE is M-44 and M-6: a session of HTTP+SSE is on one node, as long as its stream, at the version that initialize
// agrees on later.
func TestSSE(t *testing.T) {
	f := newFleet(t)
	a, b := f.node(t, session.Limits{}), f.node(t, session.Limits{})
	id, s := mustSSE(t, a, user("u1"))
	if state := s.State(); state.Version != "" || state.Capabilities != nil {
		t.Errorf("state before initialize: %+v", state)
	}
	st := &stream{}
	if err := s.Listen(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if !s.Start(wire.V20241105, []byte(`{"roots":{}}`)) || s.Start(wire.V20250326, nil) {
		t.Error("initialize counts once")
	}
	if got := s.State(); got.Version != wire.V20241105 || string(got.Capabilities) != `{"roots":{}}` || st.refreshed != 1 {
		t.Errorf("state %+v, the stream was told %d times", got, st.refreshed)
	}
	plain, _ := create(t, a, user("u1"))
	for _, tt := range []struct {
		name string
		node *session.Manager
		who  string
		id   string
	}{
		{"another node", b, "u1", id}, {"another user", a, "u2", id}, {"garbage", a, "u1", "x"}, {"of Streamable HTTP", a, "u1", plain},
	} {
		_, err := tt.node.OpenSSE(eng, user(tt.who), tt.id)
		if err == nil {
			t.Errorf("%s opens", tt.name)
			continue
		}
		wantFault(t, err, fault.NotFound, session.ReasonNotFound)
	}
	if _, err := a.OpenSSE(eng, user("u1"), id); err != nil {
		t.Error(err)
	}
	a.End(t.Context(), s)
	_, err := a.OpenSSE(eng, user("u1"), id)
	wantFault(t, err, fault.NotFound, session.ReasonNotFound)
}

// TestQuestions is M-12 and M-37 on what the client is asked.
func TestQuestions(t *testing.T) {
	m := newFleet(t).node(t, session.Limits{})
	_, s := create(t, m, user("u1"))
	_, other := create(t, m, user("u1"))
	ask := func(s *session.Session) *session.Question {
		t.Helper()
		q, err := s.Ask()
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q, o := ask(s), ask(other)
	if form := regexp.MustCompile(`^"[0-9a-f]{12}\.[0-9]+"$`); !form.Match(q.ID()) || string(q.ID()) == string(o.ID()) {
		t.Errorf("ids %s and %s, want <node>.<number> and another", q.ID(), o.ID())
	}
	for _, id := range []string{string(o.ID()), `"x.1"`, "1", strings.Trim(string(q.ID()), `"`)} {
		if s.Answer([]byte(id), session.Reply{}) {
			t.Errorf("the unknown id %s has a question", id)
		}
	}
	if !s.Answer(q.ID(), session.Reply{Result: []byte("{}")}) || s.Answer(q.ID(), session.Reply{}) {
		t.Error("a question has one answer")
	}
	if r, ok := <-q.Answered(); !ok || string(r.Result) != "{}" {
		t.Errorf("answer %+v, %v", r, ok)
	}
	q.Drop()
	dropped := ask(s)
	dropped.Drop()
	if s.Answer(dropped.ID(), session.Reply{}) {
		t.Error("a question that was taken back is answered")
	}
	var all []*session.Question
	for range 64 {
		all = append(all, ask(s))
	}
	_, err := s.Ask()
	wantFault(t, err, fault.Exhausted, session.ReasonQuestions)
	m.End(t.Context(), s)
	for _, q := range all {
		if _, ok := <-q.Answered(); ok {
			t.Fatal("a question of an ended session has an answer")
		}
		q.Drop()
	}
	_, err = s.Ask()
	wantFault(t, err, fault.NotFound, session.ReasonNotFound)
}

// TestNodeNames: the name of the node is part of ids, so its form is checked.
func TestNodeNames(t *testing.T) {
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{
		"node-1.eu_west": true, strings.Repeat("x", 63): true, strings.Repeat("x", 64): false, `a"b`: false, "ä": false, "a b": false,
	} {
		m, err := session.New(session.Config{
			Keys: keys, Store: memstate.NewSessions(), Log: slog.New(slog.DiscardHandler), Node: name,
		})
		if (err == nil) != good {
			t.Errorf("node %q: %v", name, err)
		}
		if err != nil {
			continue
		}
		id, s, err := m.CreateSSE(t.Context(), eng, user("u1"))
		if err != nil || len(id) > 512 {
			t.Fatalf("%d bytes of id, %v", len(id), err)
		}
		if _, err := m.OpenSSE(eng, user("u1"), id); err != nil {
			t.Error(err)
		}
		if q, err := s.Ask(); err != nil || !strings.HasPrefix(string(q.ID()), fmt.Sprintf(`"%s.`, name)) {
			t.Errorf("the question of %q is %s, %v", name, q.ID(), err)
		}
	}
}

// FuzzOpen opens arbitrary ids: nothing but what was made opens, and nothing panics.
func FuzzOpen(f *testing.F) {
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		f.Fatal(err)
	}
	m, err := session.New(session.Config{Keys: keys, Store: memstate.NewSessions(), Log: slog.New(slog.DiscardHandler), Node: "n1"})
	if err != nil {
		f.Fatal(err)
	}
	id, s, err := m.Create(f.Context(), eng, user("u1"), wire.V20250618, nil)
	if err != nil {
		f.Fatal(err)
	}
	streamed, ss, err := m.CreateSSE(f.Context(), eng, user("u1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id, []byte(nil))
	f.Add(streamed, []byte("x"))
	f.Add("", make([]byte, 51))
	f.Add(id[:len(id)-1], append([]byte{1}, make([]byte, 60)...))
	f.Add("x", []byte(fmt.Sprintf("\x01%50s", time.Now())))
	f.Fuzz(func(t *testing.T, text string, plain []byte) {
		if got, err := m.Open(t.Context(), eng, user("u1"), text); err == nil && (text != id || got != s) {
			t.Errorf("%q opens", text)
		}
		if got, err := m.OpenSSE(eng, user("u1"), text); err == nil && (text != streamed || got != ss) {
			t.Errorf("%q opens as HTTP+SSE", text)
		}
		// Sealed by the fleet, but no layout of this room or of somebody else.
		sealed := string(keys.Seal(nil, seal.Session, eng, plain))
		if _, err := m.Open(t.Context(), eng, user("u1"), sealed); err == nil {
			t.Errorf("sealed %x opens", plain)
		}
	})
}
