// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const elicit = `{"jsonrpc":"2.0","id":"q-1","method":"elicitation/create","params":{"message":"name?"}}`

// asking is a server whose calls ask something on their stream, or on the GET
// stream, and end when the answer is there.
func asking(t testing.TB, question string, onGet bool) (s *wireServer, answers chan message) {
	answers = make(chan message, 4)
	s = newWireServer(t, func(w http.ResponseWriter, r *http.Request, m message) {
		w.Header().Set("Content-Type", sseType)
		w.(http.Flusher).Flush()
		if onGet {
			s.say(r.Header.Get("Mcp-Session-Id"), question)
		} else {
			_, _ = io.WriteString(w, "data: "+question+"\n\n")
			w.(http.Flusher).Flush()
		}
		for len(s.all("")) == 0 && r.Context().Err() == nil {
			<-time.After(time.Millisecond)
		}
		for _, a := range s.all("") {
			answers <- a
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(response, "$ID", string(m.ID)))
	})
	return s, answers
}

// TestQuestionsReachTheSink: they go to the call's sink, from its own stream and
// from the session's, and the answer goes back with the session, asynchronously.
func TestQuestionsReachTheSink(t *testing.T) {
	tests := []struct {
		name            string
		question        string
		result, object  string
		want, forbidden string
		relayed         bool
		change          func(*Target)
	}{
		{name: "result", question: elicit, result: `{"action":"cancel"}`, want: `{"action":"cancel"}`, relayed: true},
		{name: "error", question: elicit, object: `{"code":-1,"message":"no"}`, want: `{"code":-1,"message":"no"}`, relayed: true},
		{name: "ping", question: strings.Replace(elicit, "elicitation/create", "ping", 1), want: `{}`},
		{name: "a kind not declared", question: elicit, want: `-32601`, change: func(to *Target) { to.Capabilities = []byte(`{"roots":{}}`) }},
		{name: "unknown kind", question: strings.Replace(elicit, "elicitation/create", "x/y", 1), want: `-32601`},
		{name: "nothing declared", question: elicit, want: `-32601`, change: func(to *Target) { to.Capabilities, to.Session = nil, "c" }},
	}
	for _, tt := range tests {
		for _, onGet := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, GET stream %v", tt.name, onGet), func(t *testing.T) {
				s, answers := asking(t, tt.question, onGet)
				p := newPool(t, nil)
				to := target(s.url, wire.V20251125)
				to.Capabilities = []byte(anything)
				if tt.change != nil {
					tt.change(&to)
				}
				relayed := false
				r, err := p.Call(t.Context(), to, toolCall("tools/call"), func(e Event) error {
					if relayed = true; e.Kind != ServerRequest || e.Method != "elicitation/create" || string(e.ID) != `"q-1"` ||
						string(e.Params) != `{"message":"name?"}` || string(e.Raw) != elicit {
						t.Errorf("%+v", e)
					}
					answer, progress := e.Answer, e.Progress
					go func() {
						progress([]byte(`{"progressToken":7,"progress":1}`))
						answer(nonempty(tt.result), nonempty(tt.object))
						answer([]byte(`{"again":1}`), nil) // has no effect
						progress([]byte(`{"progressToken":7,"progress":2}`))
					}()
					return nil
				})
				if err != nil || string(r.Raw) != `{"ok":true}` || relayed != tt.relayed {
					t.Fatalf("%s %s %v, relayed %v", r.Raw, r.Error, err, relayed)
				}
				a := receive(t, answers)
				if told := s.all("notifications/progress"); tt.relayed && (len(told) != 1 || string(told[0].Params) != `{"progressToken":7,"progress":1}`) {
					t.Errorf("told %v of the progress (M-50)", told)
				}
				if got := string(a.Result) + string(a.Error); string(a.ID) != `"q-1"` || sessionOf(a) != "s1" || !strings.Contains(got, tt.want) {
					t.Errorf("answer %s %s in %s, want %s", a.ID, got, sessionOf(a), tt.want)
				}
			})
		}
	}
}

func nonempty(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// TestTimeStandsStill: the time that a question waits is not the upstream's
// (M-49); without a question the call times out.
func TestTimeStandsStill(t *testing.T) {
	for _, onGet := range []bool{false, true} {
		s, _ := asking(t, elicit, onGet)
		p := newPool(t, nil)
		to := target(s.url, wire.V20251125)
		to.Capabilities, to.CallTimeout = []byte(anything), 100*time.Millisecond
		_, err := p.Call(t.Context(), to, toolCall("tools/call"), func(e Event) error {
			time.AfterFunc(300*time.Millisecond, func() { e.Answer([]byte(`{"action":"decline"}`), nil) })
			return nil
		})
		if err != nil {
			t.Errorf("GET stream %v: %v", onGet, err)
		}
	}
	silentServer := newWireServer(t, func(_ http.ResponseWriter, r *http.Request, _ message) { <-r.Context().Done() })
	to := target(silentServer.url, wire.V20251125)
	to.Capabilities, to.CallTimeout = []byte(anything), 50*time.Millisecond
	p := newPool(t, nil)
	if _, err := p.Call(t.Context(), to, toolCall("tools/call"), nil); fault.From(err).Reason != ReasonTimeout {
		t.Errorf("%v", err)
	}
	until(t, func() bool { return len(silentServer.all("notifications/cancelled")) == 1 })
}

// TestQuestionTakenBack: the upstream's cancelled reaches the sink (M-51).
func TestQuestionTakenBack(t *testing.T) {
	const cancelled = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q-1"}}`
	s := newWireServer(t, raw(200, sseType, "data: "+elicit+"\n\ndata: "+cancelled+"\n\n"+response))
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	to.Session, to.Capabilities = "c", []byte(anything)
	var got []string
	if _, err := p.Call(t.Context(), to, toolCall("tools/call"), func(e Event) error {
		got = append(got, e.Method+" "+string(e.Params))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := `notifications/cancelled {"requestId":"q-1"}`; len(got) != 2 || got[1] != want {
		t.Errorf("%q, want %s", got, want)
	}
}

// TestProgressOnTheGetStream belongs to the call whose token it has.
func TestProgressOnTheGetStream(t *testing.T) {
	g := newGate()
	s := newWireServer(t, func(w http.ResponseWriter, r *http.Request, m message) {
		id := r.Header.Get("Mcp-Session-Id")
		s := r.Context().Value(http.ServerContextKey).(*http.Server).Handler.(*wireServer)
		s.say(id, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":999999}}`)
		s.say(id, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":2,"progressToken":`+string(m.ID)+`,"x":1}}`)
		g.wait(r)
		jsonAnswer(w, m, `{}`)
	})
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	to.Session = "c"
	var got []string
	r := toolCall("tools/call")
	r.ProgressToken = []byte(`"mine"`)
	if _, err := p.Call(t.Context(), to, r, func(e Event) error {
		got = append(got, string(e.Params))
		close(g.open)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != `{"progress":2,"progressToken":"mine","x":1}` {
		t.Errorf("%q", got)
	}
}

// TestSinkIsQuietAfterwards: what comes on the GET stream after the call is for
// nobody; a question gets -32601.
func TestSinkIsQuietAfterwards(t *testing.T) {
	s := newWireServer(t, raw(200, jsonType, good))
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	to.Capabilities = []byte(anything)
	if _, err := p.Call(t.Context(), to, toolCall("tools/call"), func(e Event) error {
		t.Errorf("%s", e.Raw)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.say("s1", elicit)
	until(t, func() bool { return len(s.all("")) == 1 })
	if a := s.all("")[0]; !strings.Contains(string(a.Error), "-32601") {
		t.Errorf("%s %s", a.Result, a.Error)
	}
}

// TestPingFlood: an upstream that asks without end does not make the node send
// without bound.
func TestPingFlood(t *testing.T) {
	s := newWireServer(t, func(w http.ResponseWriter, _ *http.Request, m message) {
		w.Header().Set("Content-Type", sseType)
		for i := range 20_000 {
			_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}\n\n", i)
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(response, "$ID", string(m.ID)))
	})
	p := newPool(t, nil)
	if _, err := p.Call(t.Context(), target(s.url, wire.V20251125), toolCall("tools/call"), nil); err != nil {
		t.Fatal(err)
	}
	if d := p.http.Stats().Dials; d > 80 {
		t.Errorf("%d connections", d)
	}
}

// TestClientGoneWhileAsked: the call is cancelled upstream, and a late answer
// does no harm.
func TestClientGoneWhileAsked(t *testing.T) {
	s, _ := asking(t, elicit, false)
	p := newPool(t, nil)
	to := target(s.url, wire.V20251125)
	to.Capabilities = []byte(anything)
	ctx, cancel := context.WithCancel(t.Context())
	var late func(result, object []byte)
	_, err := p.Call(ctx, to, toolCall("tools/call"), func(e Event) error {
		late = e.Answer
		cancel()
		return nil
	})
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	until(t, func() bool { return len(s.all("notifications/cancelled")) == 1 })
	late([]byte(`{}`), nil)
	until(t, func() bool { return len(s.all("")) == 1 })
}
