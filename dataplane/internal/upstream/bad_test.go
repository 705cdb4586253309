// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// message is what a scripted server gets.
type message struct {
	Method string
	ID     json.RawMessage
	Params json.RawMessage
	Result json.RawMessage
	Error  json.RawMessage
	Header http.Header
}

// scripted is an upstream that initializes properly and answers everything else
// by a function. It records what it got.
type scripted struct {
	url string

	mu  sync.Mutex
	got []message
}

func (s *scripted) count(method string) int {
	n := 0
	for _, m := range s.all() {
		if m.Method == method {
			n++
		}
	}
	return n
}

func (s *scripted) all() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]message(nil), s.got...)
}

func newScripted(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, m message)) *scripted {
	t.Helper()
	s := &scripted{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := message{Header: r.Header.Clone()}
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
				t.Errorf("the pool sent no JSON: %v", err)
			}
		} else {
			m.Method = r.Method
		}
		s.mu.Lock()
		s.got = append(s.got, m)
		s.mu.Unlock()
		switch m.Method {
		case "initialize":
			w.Header().Set("Mcp-Session-Id", "session-1")
			jsonAnswer(w, m, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`)
		case "notifications/initialized", "DELETE":
			w.WriteHeader(http.StatusAccepted)
		default:
			answer(w, r, m)
		}
	}))
	t.Cleanup(web.Close)
	s.url = web.URL + "/mcp"
	return s
}

func jsonAnswer(w http.ResponseWriter, m message, result string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"result":%s,"jsonrpc":"2.0","id":%s}`, result, m.ID)
}

func raw(status int, kind, body string) func(http.ResponseWriter, *http.Request, message) {
	return func(w http.ResponseWriter, _ *http.Request, m message) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "$ID", string(m.ID)))
	}
}

// challenged refuses a credential and says why.
func challenged(status int, challenge string) func(http.ResponseWriter, *http.Request, message) {
	return func(w http.ResponseWriter, _ *http.Request, _ message) {
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(status)
	}
}

// broken writes body and then cuts the connection.
func broken(kind, body string) func(http.ResponseWriter, *http.Request, message) {
	return func(w http.ResponseWriter, r *http.Request, m message) {
		raw(200, kind, body)(w, r, m)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

const (
	jsonType = "application/json"
	sseType  = "text/event-stream"
	progress = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$ID,\"progress\":1}}\n\n"
	response = "data: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"ok\":true}}\n\n"
	good     = `{"jsonrpc":"2.0","id":$ID,"result":{"ok":true}}`
)

// TestAnswers has a row for each way in which an upstream can answer a call.
func TestAnswers(t *testing.T) {
	large := strings.Repeat("x", 70_000)
	tests := []struct {
		name       string
		answer     func(http.ResponseWriter, *http.Request, message)
		kind       fault.Kind
		reason     string // "" for an answer
		want       string // result or JSON-RPC error
		relayed    int
		idempotent bool
		calls      int // default 1
	}{
		{name: "JSON", answer: raw(200, jsonType, good), want: `{"ok":true}`},
		{name: "JSON with charset", answer: raw(200, "application/json; charset=utf-8", good), want: `{"ok":true}`},
		{name: "stream", answer: raw(200, sseType, ": hi\n\n"+progress+progress+response), want: `{"ok":true}`, relayed: 2},
		{name: "stream with CRLF and data lines", answer: raw(200, sseType, "event: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":$ID,\"result\":{}}\r\n\r\n"), want: "{}"},
		{name: "other event types are no messages", answer: raw(200, sseType, "event: endpoint\ndata: /x\n\n"+response), want: `{"ok":true}`},
		{name: "empty data is no message", answer: raw(200, sseType, "id: 1\nretry: 10\ndata: \n\n"+response), want: `{"ok":true}`},
		{name: "array", answer: raw(200, jsonType, `[{"jsonrpc":"2.0","method":"notifications/message","params":{}},`+good+`]`), want: `{"ok":true}`, relayed: 1},
		{name: "other notifications pass", answer: raw(200, sseType, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"+response), want: `{"ok":true}`, relayed: 1},
		{name: "progress of another call", answer: raw(200, sseType, strings.ReplaceAll(progress, "$ID", "999999")+response), want: `{"ok":true}`},
		{name: "wrong id first", answer: raw(200, sseType, strings.ReplaceAll(response, "$ID", "999999")+response), want: `{"ok":true}`},
		{name: "id as text is another id", answer: raw(200, sseType, strings.ReplaceAll(response, "$ID", `"$ID"`)+response), want: `{"ok":true}`},
		{name: "error", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32602,"message":"no","data":{"x":12345678901234567890}}}`), want: `{"code":-32602,"message":"no","data":{"x":12345678901234567890}}`},
		{name: "error with 400", answer: raw(400, jsonType, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32602,"message":"no"}}`), want: `{"code":-32602,"message":"no"}`},
		{name: "error without id", answer: raw(500, jsonType, `{"jsonrpc":"2.0","error":{"code":-32603,"message":"no"}}`), want: `{"code":-32603,"message":"no"}`},

		{name: "garbage", answer: raw(200, jsonType, `<html>`), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "page", answer: raw(200, "text/html", `<html>`), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "no content type", answer: raw(200, "", good), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "empty", answer: raw(200, jsonType, ``), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "accepted", answer: raw(202, "", ``), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "wrong id", answer: raw(200, jsonType, strings.ReplaceAll(good, "$ID", "999999")), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "no result", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID}`), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "result that is no object", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID,"result":[]}`), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "key twice", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID,"result":{"isError":true,"isError":false}}`), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "not UTF-8", answer: raw(200, jsonType, "{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"a\":\"\xff\"}}"), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "garbage in stream", answer: raw(200, sseType, progress+"data: {\n\n"+response), kind: fault.Unavailable, reason: ReasonProtocol, relayed: 1},
		{name: "compressed", answer: func(w http.ResponseWriter, _ *http.Request, m message) {
			w.Header().Set("Content-Encoding", "gzip")
			jsonAnswer(w, m, "{}")
		}, kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "redirect", answer: func(w http.ResponseWriter, r *http.Request, _ message) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "405", answer: raw(405, "text/plain", "no"), kind: fault.Unavailable, reason: ReasonProtocol},
		{name: "400 in JSON that is no JSON-RPC", answer: raw(400, jsonType, `{"error":"no"}`), kind: fault.Unavailable, reason: ReasonProtocol},

		{name: "401", answer: raw(401, "", ""), kind: fault.Precondition, reason: ReasonUnauthorized},
		{name: "401 with JSON-RPC", answer: raw(401, jsonType, `{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}`), kind: fault.Precondition, reason: ReasonUnauthorized},
		{name: "403", answer: raw(403, "", ""), kind: fault.Precondition, reason: ReasonUnauthorized},
		{name: "403, more scope wanted (UP-8)", answer: challenged(403, `Bearer error="insufficient_scope", scope="repo"`), kind: fault.Precondition, reason: ReasonScope},
		{name: "403, something else wrong", answer: challenged(403, `Bearer error="invalid_request"`), kind: fault.Precondition, reason: ReasonUnauthorized},
		{name: "401 that names a scope", answer: challenged(401, `Bearer error="insufficient_scope"`), kind: fault.Precondition, reason: ReasonUnauthorized},
		{name: "429", answer: raw(429, "", ""), kind: fault.Unavailable, reason: ReasonUnreachable},
		{name: "503", answer: raw(503, "", ""), kind: fault.Unavailable, reason: ReasonUnreachable},
		{name: "500", answer: raw(500, "text/plain", "boom"), kind: fault.Unavailable, reason: ReasonOutcomeUnknown},
		{name: "500 of an idempotent call", answer: raw(502, "", ""), kind: fault.Unavailable, reason: ReasonUnreachable, idempotent: true, calls: 2},

		{name: "larger than allowed", answer: raw(200, jsonType, `{"jsonrpc":"2.0","id":$ID,"result":{"a":"`+large+`"}}`), kind: fault.Unavailable, reason: ReasonTooLarge},
		{name: "event larger than allowed", answer: raw(200, sseType, "data: "+large+"\n\n"), kind: fault.Unavailable, reason: ReasonTooLarge},
		{name: "event without end", answer: raw(200, sseType, "data: "+large), kind: fault.Unavailable, reason: ReasonTooLarge},

		{name: "cut before an answer", answer: func(http.ResponseWriter, *http.Request, message) { panic(http.ErrAbortHandler) }, kind: fault.Unavailable, reason: ReasonOutcomeUnknown},
		{name: "cut in JSON", answer: broken(jsonType, `{"jsonrpc":"2.0","id"`), kind: fault.Unavailable, reason: ReasonOutcomeUnknown},
		{name: "cut after good JSON", answer: broken(jsonType, good), kind: fault.Unavailable, reason: ReasonOutcomeUnknown},
		{name: "cut in stream", answer: broken(sseType, progress+"data: {\"json"), kind: fault.Unavailable, reason: ReasonOutcomeUnknown, relayed: 1},
		{name: "stream ends without response", answer: raw(200, sseType, progress), kind: fault.Unavailable, reason: ReasonOutcomeUnknown, relayed: 1},
		{name: "idempotent is tried once more", answer: broken(jsonType, `{`), kind: fault.Unavailable, reason: ReasonUnreachable, idempotent: true, calls: 2},
		{name: "not after a message was relayed", answer: broken(sseType, progress), kind: fault.Unavailable, reason: ReasonUnreachable, idempotent: true, relayed: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScripted(t, tt.answer)
			p := newPool(t, nil)
			to := target(s.url, wire.V20251125)
			to.MaxResponse = 64 << 10
			relayed := 0
			r, err := p.Call(t.Context(), to, Request{
				Method: "tools/call", Params: []byte(`{"name":"x"}`), ProgressToken: []byte("1"), Idempotent: tt.idempotent,
			}, func(Event) error { relayed++; return nil })
			if tt.reason != "" {
				f := fault.From(err)
				if f == nil || f.Reason != tt.reason || f.Kind != tt.kind || !strings.Contains(f.Public, `"fixture"`) {
					t.Errorf("%+v, want %s", err, tt.reason)
				}
				if r.Raw != nil || r.Error != nil {
					t.Error("half a result was delivered")
				}
			} else if err != nil || string(r.Raw)+string(r.Error) != tt.want {
				t.Errorf("%s %s %v; want %s", r.Raw, r.Error, err, tt.want)
			}
			if relayed != tt.relayed {
				t.Errorf("%d messages relayed, want %d", relayed, tt.relayed)
			}
			if n := s.count("tools/call"); n != max(tt.calls, 1) {
				t.Errorf("the request was sent %d times, want %d", n, max(tt.calls, 1))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String() + "/mcp"
	_ = l.Close()
	tests := []struct {
		name, reason string
		to           Target
	}{
		{"refused, legacy", ReasonUnreachable, target(gone, wire.V20251125)},
		{"refused, modern", ReasonUnreachable, target(gone, wire.V20260728)},
		{"refused, unknown version", ReasonUnreachable, target(gone, "")},
		{"no URL", ReasonTarget, target("nowhere", wire.V20260728)},
		{"header that cannot be sent", ReasonTarget, func() Target {
			to := target(gone, wire.V20260728)
			to.Header = http.Header{"Authorization": {"Bearer a\r\nX: y"}}
			return to
		}()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t, nil)
			start := time.Now()
			_, err := p.Call(t.Context(), tt.to, Request{Method: "tools/call"}, nil)
			if f := fault.From(err); f.Reason != tt.reason || !strings.Contains(f.Public, `"fixture"`) {
				t.Errorf("%v", err)
			}
			_, err = p.Describe(t.Context(), tt.to)
			if fault.From(err).Reason != tt.reason {
				t.Errorf("Describe: %v", err)
			}
			if d := time.Since(start); d > 500*time.Millisecond {
				t.Errorf("after %v", d)
			}
			if strings.Contains(fmt.Sprint(err), "Bearer") {
				t.Error("the error shows the credential")
			}
		})
	}
}
