// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

const anything = `{"sampling":{},"elicitation":{"form":{}},"roots":{}}`

func toolCall(method string) Request { return Request{Method: method, Params: []byte(`{"name":"x"}`)} }

// TestWhoSharesASession: section 4 and M-59. Two calls run at a time, then one
// more.
func TestWhoSharesASession(t *testing.T) {
	tests := []struct {
		name   string
		change func(to *Target, i int)
		want   string // sessions of the three calls
		opened int
	}{
		{"one client session", func(to *Target, _ int) { to.Session, to.Capabilities = "c", []byte(anything) }, "s1 s1 s1", 1},
		{"one client session without capabilities", func(to *Target, _ int) { to.Session = "c" }, "s1 s1 s1", 1},
		{"a client session each", func(to *Target, i int) { to.Session = "c" + string(rune('0'+i)) }, "s1 s2 s3", 3},
		{"no session, no capabilities", func(*Target, int) {}, "s1 s1 s1", 1},
		{"leased, the last used first", func(to *Target, _ int) { to.Capabilities = []byte(anything) }, "s1 s2 s1", 2},
		{"leased, other capabilities", func(to *Target, i int) {
			to.Capabilities = []byte([]string{`{"roots":{}}`, `{"sampling":{}}`, `{"sampling":{}}`}[i])
		}, "s1 s2 s2", 2},
		{"leased, other principals", func(to *Target, i int) {
			to.Capabilities, to.PrincipalKey = []byte(anything), string(rune('a'+i))
		}, "s1 s2 s3", 3},
		{"another connection", func(to *Target, i int) { to.Session, to.Key = "c", string(rune('a'+i)) }, "s1 s2 s3", 3},
		{"stateless", func(to *Target, i int) { to.Stateless, to.PrincipalKey = true, string(rune('a'+i)) }, "s1 s1 s1", 1},
		{"stateless, but with capabilities", func(to *Target, i int) {
			to.Stateless, to.PrincipalKey, to.Capabilities = true, string(rune('a'+i)), []byte(anything)
		}, "s1 s2 s3", 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gates := map[string]*gate{"one": newGate(), "two": newGate(), "three": newGate()}
			s := newWireServer(t, func(w http.ResponseWriter, r *http.Request, m message) {
				gates[m.Method].wait(r)
				jsonAnswer(w, m, `{}`)
			})
			p := newPool(t, nil)
			var calls sync.WaitGroup
			var used []string
			begin := func(i int, method string) chan struct{} {
				done := make(chan struct{})
				calls.Go(func() {
					defer close(done)
					to := target(s.url, wire.V20251125)
					tt.change(&to, i)
					if r, err := p.Call(t.Context(), to, toolCall(method), nil); err != nil || r.Version != wire.V20251125 {
						t.Errorf("%+v %v", r, err)
					}
				})
				used = append(used, receive(t, gates[method].entered))
				return done
			}
			first, second := begin(0, "one"), begin(1, "two")
			close(gates["two"].open)
			receive(t, second)
			close(gates["one"].open)
			receive(t, first)
			begin(2, "three")
			close(gates["three"].open)
			calls.Wait()
			if got := strings.Join(used, " "); got != tt.want || len(s.all("initialize")) != tt.opened {
				t.Errorf("sessions %s, %d opened; want %s, %d", got, len(s.all("initialize")), tt.want, tt.opened)
			}
		})
	}
}

// TestCapabilitiesDeclared: what the target says is what initialize and modern
// requests declare.
func TestCapabilitiesDeclared(t *testing.T) {
	for _, capabilities := range []string{"", anything} {
		s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
		to := target(s.url, wire.V20251125)
		to.Capabilities = []byte(capabilities)
		if _, err := newPool(t, nil).Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
			t.Fatal(err)
		}
		want := `"capabilities":` + capabilities
		if capabilities == "" {
			want = `"capabilities":{}`
		}
		if got := s.session("s1").params; !strings.Contains(got, want) {
			t.Errorf("initialize %s lacks %s", got, want)
		}
		modern := newScripted(t, raw(200, jsonType, good))
		to.URL, to.Version = modern.url, wire.V20260728
		if r, err := newPool(t, nil).Call(t.Context(), to, toolCall("tools/call"), nil); err != nil || r.Version != wire.V20260728 {
			t.Fatal(err)
		}
		want = `"io.modelcontextprotocol/clientCapabilities":` + strings.TrimPrefix(want, `"capabilities":`)
		if got := string(modern.all()[0].Params); !strings.Contains(got, want) {
			t.Errorf("request %s lacks %s", got, want)
		}
	}
}

// TestEndSession: the sessions of a client's session are deleted, others stay,
// and a call in progress goes on.
func TestEndSession(t *testing.T) {
	g := newGate()
	s := newWireServer(t, func(w http.ResponseWriter, r *http.Request, m message) {
		if m.Method == "wait" {
			g.wait(r)
		}
		jsonAnswer(w, m, `{}`)
	})
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	for _, to.Session = range []string{"a", "b", ""} {
		if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
			t.Fatal(err)
		}
	}
	var calls sync.WaitGroup
	to.Session = "b"
	calls.Go(func() {
		if _, err := p.Call(t.Context(), to, toolCall("wait"), nil); err != nil {
			t.Error(err)
		}
	})
	receive(t, g.entered)
	p.EndSession("a")
	p.EndSession("b")
	p.EndSession("")
	until(t, func() bool { return len(s.all("DELETE")) == 2 })
	close(g.open)
	calls.Wait()
	for _, m := range s.all("DELETE") {
		if id := sessionOf(m); id != "s1" && id != "s2" {
			t.Errorf("deleted %s", id)
		}
	}
	if n := p.sessions.Load(); n != 1 {
		t.Errorf("%d sessions are left", n)
	}
	to.Session = "a"
	if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil || len(s.all("initialize")) != 4 {
		t.Errorf("%v, %d opened", err, len(s.all("initialize")))
	}
}

// TestLeasedSessionsIdle: leased sessions end when nobody used them for long.
func TestLeasedSessionsIdle(t *testing.T) {
	s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	to.Capabilities = []byte(anything)
	if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
		t.Fatal(err)
	}
	to.Capabilities, to.Session = nil, "c"
	if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{9 * time.Minute, 0}, {11 * time.Minute, 1}, {31 * time.Minute, 1}} {
		list := p.idleSessions(now.Add(tt.after), p.cfg.SessionIdle)
		if len(list) != tt.want {
			t.Errorf("after %v: %d sessions end, want %d", tt.after, len(list), tt.want)
		}
		p.deleteSessions(t.Context(), list)
	}
	if n := len(s.all("DELETE")); n != 2 {
		t.Errorf("%d deleted", n)
	}
}

// TestLogLevel: the upstream is told when the level changes (M-52).
func TestLogLevel(t *testing.T) {
	tests := []struct {
		name, session, asked, want string
		quiet                      bool // it declares no logging
	}{
		{"a session of the client", "c", "info info debug error", "info debug error", false},
		{"a shared one is as verbose as anybody wants", "", "info error debug warning", "info debug", false},
		{"not declared", "c", "info", "", true},
		{"no such level", "c", "loud", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, `{}`) })
			if tt.quiet {
				s.capabilities = `{}`
			}
			p := newPool(t, nil)
			to := target(s.url, wire.V20251125)
			to.Session = tt.session
			for _, level := range strings.Fields(tt.asked) {
				r := toolCall("tools/call")
				r.LogLevel = level
				if _, err := p.Call(t.Context(), to, r, nil); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, m := range s.all("logging/setLevel") {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(string(m.Params), `{"level":"`), `"}`))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}
