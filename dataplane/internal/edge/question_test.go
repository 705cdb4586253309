// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/session"
)

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// nodeID is what the ids of a node's own requests look like: they name the node, so that any can route the answer (M-12).
var nodeID = regexp.MustCompile(`^"[A-Za-z0-9._-]+\.[0-9]+"$`)

// questionID returns the raw id of a request to the client, whose rest is as given.
func questionID(t *testing.T, message, rest string) string {
	t.Helper()
	var m struct{ ID json.RawMessage }
	if err := json.Unmarshal([]byte(message), &m); err != nil || !nodeID.Match(m.ID) {
		t.Fatalf("the stream has %s, want a question (%v)", message, err)
	}
	if want := `{"jsonrpc":"2.0","id":` + string(m.ID) + `,` + rest + `}`; message != want {
		t.Errorf("the question is %s, want %s", message, want)
	}
	return string(m.ID)
}

// message returns the data of the next event.
func (s *stream) message() string {
	s.t.Helper()
	if got := s.next(); got != "event: message" {
		s.t.Fatalf("the stream has %q, want a message", got)
	}
	data, _ := strings.CutPrefix(s.next(), "data: ")
	return data
}

func (l *live) respond(session, id, rest string) {
	l.t.Helper()
	if got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":`+id+`,`+rest+`}`, session); got.status != http.StatusAccepted || got.text != "" {
		l.t.Errorf("the response to a question: %+v", got)
	}
}

const rootsList = `"method":"roots/list"`

// TestQuestion is M-12, M-37, M-38: what an upstream asks during a call goes on the stream of that call, and nowhere else;
// the response comes with a request of its own, once.
func TestQuestion(t *testing.T) {
	for _, tt := range []struct{ name, response, told string }{
		{"result", `"result":{ "roots" : [] }`, `{ \"roots\" : [] }`},
		{"error", `"error":{"code":-1,"message":"no"}`, `{\"code\":-1,\"message\":\"no\"}`},
		{"no result object", `"result":5`, `{\"code\":-32603,\"message\":\"The client answered without a result object.\"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				s := l.open(newest)
				get := l.get(s)
				call := l.follow(l.send(t.Context(), http.MethodPost, callBody("1", "question"), s)) //nolint:bodyclose // follow closes it
				id := questionID(t, call.message(), rootsList)
				other := l.open(newest)
				l.respond(other, id, tt.response) // of another session: unknown there
				l.respond(s, `"x.1"`, tt.response)
				call.quiet()
				l.respond(s, id, tt.response)
				if got, want := call.message(), `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"`+tt.told+`"}]}}`; got != want {
					t.Errorf("the upstream is told\n%s, want\n%s", got, want)
				}
				call.wantEnd(0)
				l.respond(s, id, tt.response) // again: unknown by now
				get.quiet()
				_ = get.resp.Body.Close()
				<-get.ended
			})
		})
	}
}

// TestQuestionElsewhere is M-82: a client that takes no stream with its call is asked on the session's own; one that has
// neither cannot be asked.
func TestQuestionElsewhere(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		got := l.do(http.MethodPost, callBody("1", "question"), s, "Accept: application/json")
		if got.status != http.StatusOK || !strings.Contains(got.text, `"id":1,"error":{"code":50301,"message":"The client cannot be asked: it has no stream open."}`) {
			t.Errorf("without a stream: %+v", got)
		}
		get := l.get(s)
		call := l.background(t.Context(), callBody("1", "question"), s, "Accept: application/json")
		id := questionID(t, get.message(), rootsList)
		l.respond(s, id, `"result":{}`)
		if got := <-call; got.kind != "application/json" || !strings.Contains(got.body, `"text":"{}"`) {
			t.Errorf("the call: %+v", got)
		}
		get.quiet()
		_ = get.resp.Body.Close()
		<-get.ended
	})
}

// TestQuestionTakenBack is M-51: what ends the call ends its question, and the client is told.
func TestQuestionTakenBack(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		get := l.get(s)
		call := l.follow(l.send(t.Context(), http.MethodPost, callBody("1", "question"), s)) //nolint:bodyclose // follow closes it
		id := questionID(t, call.message(), rootsList)
		l.do(http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, s)
		if got, want := call.message(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`,"reason":"The question was taken back."}}`; got != want {
			t.Errorf("the stream has %s, want %s", got, want)
		}
		call.wantEnd(0)
		get.quiet()
		_ = get.resp.Body.Close()
		<-get.ended
	})
}

// TestQuestionOfBatch is M-43 and M-38: a member of a batch asks on the batch's stream.
func TestQuestionOfBatch(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open("2025-03-26")
		batch := l.follow(l.send(t.Context(), http.MethodPost, "["+callBody("1", "question")+"]", s)) //nolint:bodyclose // follow closes it
		id := questionID(t, batch.message(), rootsList)
		l.respond(s, id, `"result":{"roots":[]}`)
		if got := batch.message(); !strings.Contains(got, `"id":1,"result"`) {
			t.Errorf("the answer is %s", got)
		}
		batch.wantEnd(0)
	})
}

// TestModernCannotBeAsked is M-22: no JSON-RPC request is sent to a modern client.
func TestModernCannotBeAsked(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		body, headers := modernCall("question")
		if got := l.do(http.MethodPost, body, headers...); !strings.Contains(got.text, `"code":-32603`) || strings.Contains(got.text, "roots/list") {
			t.Errorf("the call: %+v", got)
		}
		if l.calls.last(t).Client.Asker != nil {
			t.Error("upstreams can ask a modern client")
		}
	})
}

// TestSessionStream is M-38: the session's own stream carries what upstreams tell and ask outside of calls, as the session
// has agreed on it, and a newer stream takes its place.
func TestSessionStream(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		l.gateway = "full"
		s := l.open(newest)
		first := l.get(s)
		synctest.Wait()
		const updated = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`
		tell := func(to *stream) {
			t.Helper()
			all := l.calls.listeners()
			if len(all) != 1 {
				t.Fatalf("%d listen", len(all))
			}
			all[0].deliver([]byte(updated))
			if got := to.message(); got != updated {
				t.Errorf("the stream has %s", got)
			}
		}
		tell(first)
		l.do(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}`, s)
		if got := l.calls.listeners()[0].caller.Client; got.LogLevel != "error" || got.Asker == nil || got.Session == "" {
			t.Errorf("upstreams' messages are for %+v", got)
		}
		second := l.get(s)
		first.wantEnd(0)
		synctest.Wait()
		tell(second)

		asker := l.calls.listeners()[0].caller.Client.Asker
		ctx, giveUp := context.WithTimeout(t.Context(), time.Minute)
		defer giveUp()
		said := make(chan string, 1)
		go func() {
			_, err := asker.Ask(ctx, call.Question{Method: "roots/list"})
			said <- text(err)
		}()
		id := questionID(t, second.message(), rootsList)
		time.Sleep(time.Minute)
		if got := second.message(); !strings.Contains(got, `"method":"notifications/cancelled","params":{"requestId":`+id) {
			t.Errorf("after the time of the question the stream has %s", got)
		}
		if got := <-said; got != context.DeadlineExceeded.Error() {
			t.Errorf("the upstream is told %q", got)
		}

		_ = second.resp.Body.Close()
		<-second.ended
		time.Sleep(session.Lingering + time.Second)
		if n := len(l.calls.listeners()); n != 0 {
			t.Errorf("%d still listen", n)
		}
		if _, err := asker.Ask(t.Context(), call.Question{Method: "roots/list"}); err == nil {
			t.Error("a client without a stream is asked")
		}
	})
}

// TestClientTells is M-37: what a client tells reaches upstreams where it concerns them.
func TestClientTells(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		for _, m := range []string{
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"_meta":{"a":1}}}`,
			`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, `{"jsonrpc":"2.0","method":"notifications/other"}`,
		} {
			if got := l.do(http.MethodPost, m, s); got.status != http.StatusAccepted || got.text != "" {
				t.Errorf("%s: %+v", m, got)
			}
		}
		notified, _ := l.calls.heard()
		if len(notified) != 2 || !strings.HasSuffix(notified[0], ` notifications/roots/list_changed {"_meta":{"a":1}}`) || !strings.HasSuffix(notified[1], " notifications/roots/list_changed ") {
			t.Errorf("upstreams were told %q", notified)
		}
		l.do(http.MethodDelete, "", s)
		if _, ended := l.calls.heard(); len(ended) != 1 || !strings.HasPrefix(notified[0], ended[0]+" ") {
			t.Errorf("upstreams were told of the end of %q (M-36)", ended)
		}
	})
}
