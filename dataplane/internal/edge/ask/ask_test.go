// SPDX-License-Identifier: Apache-2.0

package ask_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/ask"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// stream is the session's own stream, which notes what it is told.
type stream struct {
	gone bool
	got  []string
}

func (s *stream) Send(m []byte) bool {
	if !s.gone {
		s.got = append(s.got, string(m))
	}
	return !s.gone
}
func (s *stream) Refresh() {}
func (s *stream) Close()   {}

// anyone guards an answer that may go on.
type anyone struct{}

func (anyone) MayGoOn() bool { return true }
func (anyone) Lost()         {}

func newSession(t *testing.T) (*session.Manager, *session.Session) {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(session.Config{Keys: keys, Store: memstate.NewSessions(), Log: slog.New(slog.DiscardHandler), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	_, s, err := m.Create(t.Context(), "g", ident.Principal{Kind: ident.KindUser, UID: "u"}, wire.V20251125, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

// asked is what a question came to.
type asked struct {
	call.Answer
	err error
}

// background asks, and returns where the answer will be.
func background(ctx context.Context, a *ask.Asker, params string) <-chan asked {
	out := make(chan asked, 1)
	go func() {
		var raw []byte
		if params != "" {
			raw = []byte(params)
		}
		r, err := a.Ask(ctx, call.Question{Method: "elicitation/create", Params: raw})
		out <- asked{r, err}
	}()
	synctest.Wait()
	return out
}

// resolve is the client's response to the last question that it got.
func resolve(t *testing.T, s *session.Session, question, member string) {
	t.Helper()
	var q, m wire.Message
	if err := wire.Scan([]byte(question), &q); err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	body := []byte(`{"jsonrpc":"2.0","id":` + string(q.ID.Of([]byte(question))) + `,` + member + `}`)
	if err := wire.Scan(body, &m); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	ask.Resolve(s, &m, body)
	clear(body) // nothing of the request is kept
}

// TestProgress is M-12 and M-50: a question has a progress token of the node's; what the client says under it goes back
// under the upstream's, until the question is answered.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newSession(t)
		get := &stream{}
		if err := s.Listen(t.Context(), get); err != nil {
			t.Fatal(err)
		}
		var told []string
		out := make(chan asked, 1)
		go func() {
			r, err := ask.New(s, nil).Ask(t.Context(), call.Question{
				Method: "sampling/createMessage", Params: []byte(`{"_meta":{"progressToken":1,"x":1.50}}`),
				Progress: func(params []byte) { told = append(told, string(params)) },
			})
			out <- asked{r, err}
		}()
		synctest.Wait()
		var q wire.Message
		if err := wire.Scan([]byte(get.got[0]), &q); err != nil {
			t.Fatal(err)
		}
		token := string(q.Meta.ProgressToken.Of([]byte(get.got[0])))
		if token != string(q.ID.Of([]byte(get.got[0]))) || !strings.Contains(get.got[0], `,"x":1.50}`) {
			t.Errorf("the client has %s", get.got[0])
		}
		say := func(token string) {
			body := []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{ "progressToken":` + token + `,"progress":0.50}}`)
			var m wire.Message
			if err := wire.Scan(body, &m); err != nil {
				t.Fatal(err)
			}
			ask.Progress(s, &m, body)
		}
		say(token)
		say(`1`)
		say(`"n1.99"`)
		resolve(t, s, get.got[0], `"result":{}`)
		if got := <-out; got.err != nil {
			t.Error(got.err)
		}
		say(token)
		if want := `{ "progressToken":1,"progress":0.50}`; len(told) != 1 || told[0] != want {
			t.Errorf("told %q, want %s once", told, want)
		}
	})
}

// TestAsk is M-12 and M-38: a question goes on the stream of its request, else on the session's, whole, under an id of the
// node, and the response to it comes back as it was sent.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newSession(t)
		rec, get := httptest.NewRecorder(), &stream{}
		if err := s.Listen(t.Context(), get); err != nil {
			t.Fatal(err)
		}
		out := answer.NewPool(nil).Start(rec, answer.Either, anyone{})
		a := ask.New(s, out)

		first := background(t.Context(), a, `{ "n":9007199254740993 }`)
		_, event, _ := strings.Cut(rec.Body.String(), "data: ")
		event = strings.TrimSpace(event)
		if !strings.Contains(event, `"method":"elicitation/create","params":{ "n":9007199254740993 }}`) || !strings.Contains(event, `"id":"n1.`) || len(get.got) != 0 {
			t.Fatalf("the request's stream has %q, the session's %q", event, get.got)
		}
		resolve(t, s, event, `"result":{ "x":1.50 }`)
		if got := <-first; got.err != nil || string(got.Result) != `{ "x":1.50 }` || got.Error != nil {
			t.Errorf("%s %s %v", got.Result, got.Error, got.err)
		}
		resolve(t, s, event, `"result":{}`) // once more: nobody waits (M-37)

		a.Close()
		second := background(t.Context(), a, "")
		if len(get.got) != 1 || strings.Contains(get.got[0], "params") {
			t.Fatalf("the session's stream has %q", get.got)
		}
		resolve(t, s, get.got[0], `"error":{"code":-1,"message":"no","x":1.0}`)
		if got := <-second; got.err != nil || string(got.Error) != `{"code":-1,"message":"no","x":1.0}` || len(got.Result) != 0 {
			t.Errorf("%s %s %v", got.Result, got.Error, got.err)
		}

		third := background(t.Context(), a, "")
		resolve(t, s, get.got[1], `"result":[]`)
		if got := <-third; got.err != nil || !strings.Contains(string(got.Error), "-32603") {
			t.Errorf("a result that is no object: %s %s %v", got.Result, got.Error, got.err)
		}
		out.Finish(http.StatusOK, answer.Body{[]byte(`{}`)})
	})
}

// TestTakenBack is M-51: when the upstream, or the time, ends a question, the client is told, and its answer is too late.
func TestTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newSession(t)
		get := &stream{}
		if err := s.Listen(t.Context(), get); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out := background(ctx, ask.New(s, nil), "")
		if got := <-out; !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("%v", got.err)
		}
		var q wire.Message
		if err := wire.Scan([]byte(get.got[0]), &q); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`"method":"notifications/cancelled","params":{"requestId":%s,`, q.ID.Of([]byte(get.got[0])))
		if len(get.got) != 2 || !strings.Contains(get.got[1], want) {
			t.Errorf("the client is told %q", get.got)
		}
		resolve(t, s, get.got[0], `"result":{}`)
	})
}

// TestNobodyThere: a client without a stream, a session that ends, and too many questions.
func TestNobodyThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newSession(t)
		a := ask.New(s, nil)
		if _, err := a.Ask(t.Context(), call.Question{Method: "roots/list"}); fault.From(err).Reason != ask.ReasonUnreachable {
			t.Errorf("without a stream: %v", err)
		}
		get := &stream{}
		if err := s.Listen(t.Context(), get); err != nil {
			t.Fatal(err)
		}
		var waiting []<-chan asked
		for range 64 {
			waiting = append(waiting, background(t.Context(), a, ""))
		}
		if _, err := a.Ask(t.Context(), call.Question{Method: "roots/list"}); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("the 65th: %v", err)
		}
		if len(get.got) != 64 {
			t.Errorf("%d were sent", len(get.got))
		}
		m.End(t.Context(), s)
		for _, w := range waiting {
			if got := <-w; fault.From(got.err).Reason != ask.ReasonUnreachable {
				t.Fatalf("when the session ends: %v", got.err)
			}
		}
		if _, err := a.Ask(t.Context(), call.Question{Method: "roots/list"}); fault.From(err).Reason != ask.ReasonUnreachable {
			t.Errorf("after the session: %v", err)
		}
		_, s = newSession(t)
		if err := s.Listen(t.Context(), &stream{gone: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := ask.New(s, nil).Ask(t.Context(), call.Question{Method: "roots/list"}); fault.From(err).Reason != ask.ReasonUnreachable {
			t.Errorf("on a stream that takes nothing: %v", err)
		}
	})
}
