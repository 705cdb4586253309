// SPDX-License-Identifier: Apache-2.0

package client

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

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

// fakeGateway answers as a gateway of both eras does, and notes what it was asked. It also publishes itself.
type fakeGateway struct {
	url      string
	answers  chan json.RawMessage // to the question of a legacy call
	broken   string               // a tool whose calls fail
	refusing bool                 // refuses to publish
	pages    string               // how the way of a browser ends: "", "not away", "not back"
	asks     int                  // that many calls are answered with a link

	mu        sync.Mutex
	log       []string
	connected int // by a browser
}

func startFake(t *testing.T) *fakeGateway {
	t.Helper()
	f := &fakeGateway{answers: make(chan json.RawMessage, 1)}
	web := httptest.NewServer(f)
	t.Cleanup(web.Close)
	f.url = web.URL
	return f
}

// Publish implements Publisher.
func (f *fakeGateway) Publish(_ context.Context, s gateway.Server) (gateway.Gateway, error) {
	f.note("publish " + s.Name)
	if f.refusing {
		return gateway.Gateway{}, errors.New("refused")
	}
	return gateway.Gateway{URL: f.url, Token: "secret"}, nil
}

// Withdraw implements Publisher.
func (f *fakeGateway) Withdraw(_ context.Context, name string) error {
	f.note("withdraw " + name)
	return nil
}

func (f *fakeGateway) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, what)
}

func (f *fakeGateway) noted() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, "\n")
}

const elicitation = `{"message":"?","requestedSchema":{"type":"object","properties":{"name":{"type":"string","default":"Ada"},"sure":{"type":"boolean"}}}}`

// ServeHTTP implements http.Handler.
func (f *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") == "" {
		f.page(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	m := message{}
	if err != nil || r.Header.Get("Authorization") != "Bearer secret" || r.Method == http.MethodPost && json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.note(described(r, m))
	params := struct {
		Name      string                     `json:"name"`
		Cursor    string                     `json:"cursor"`
		State     string                     `json:"requestState"`
		Responses map[string]json.RawMessage `json:"inputResponses"`
	}{}
	if len(m.Params) > 0 && json.Unmarshal(m.Params, &params) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	isModern := r.Header.Get("Mcp-Protocol-Version") == modern
	result := ""
	switch key := m.Method + " " + params.Name + params.Cursor; {
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	case m.ID != nil && m.Result != nil:
		f.answers <- m.Result
		w.WriteHeader(http.StatusAccepted)
		return
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
		return
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "s1")
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{},"resources":{}}}`
	case m.Method == "server/discover":
		result = `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"prompts":{},"resources":{}}}`
	case key == "tools/list ":
		result = `{"tools":[{"name":"ask","inputSchema":{"type":"object"}}],"nextCursor":"2"}`
	case key == "tools/list 2":
		result = `{"tools":[{"name":"mirror","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"}}}}]}`
	case m.Method == "tools/call" && f.asks > 0:
		f.asks--
		result = `{"isError":true,"content":[{"type":"text","text":"Connect it: ` + f.url + fakeLink + `"}]}`
	case m.Method == "tools/call" && params.Name == f.broken:
		result = `{"isError":true,"content":[{"type":"text","text":"broken"}]}`
	case key == "tools/call ask" && isModern && params.State == "":
		result = `{"resultType":"input_required","requestState":"st","inputRequests":{"q":{"method":"elicitation/create","params":` + elicitation + `}}}`
	case key == "tools/call ask" && isModern:
		f.note("state " + params.State + " answered " + string(params.Responses["q"]))
		result = `{"resultType":"complete","content":[]}`
	case key == "tools/call ask":
		f.ask(w, m.ID)
		return
	case m.Method == "prompts/list":
		result = `{"prompts":[{"name":"p","arguments":[{"name":"x"}]}]}`
	case m.Method == "resources/list":
		result = `{"resources":[{"uri":"file:///ü"}]}`
	default:
		result = `{"content":[]}`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","result":%s,"id":%s}`, result, m.ID)
}

// ask asks on the stream of a call and answers the call when it has the answer.
func (f *fakeGateway) ask(w http.ResponseWriter, id json.RawMessage) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, ": hello\nid: 1\ndata:\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n"+
		"id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"u\",\"method\":\"elicitation/create\",\ndata: \"params\":%s}\n\n", elicitation)
	_ = http.NewResponseController(w).Flush() // a client that is gone gets nothing
	f.note("answered " + string(<-f.answers))
	fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"content\":[]}}\n\n", id)
}

// described is one line about a request.
func described(r *http.Request, m message) string {
	words := []string{r.Method, m.Method}
	if m.Method == "" {
		words[1] = "-"
	}
	var headers []string
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Mcp-") {
			headers = append(headers, strings.TrimPrefix(name, "Mcp-")+"="+values[0])
		}
	}
	slices.Sort(headers)
	return strings.Join(append(words, headers...), " ")
}
