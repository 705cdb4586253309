// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// wireServer is a legacy server as seen on the wire: sessions with a GET stream
// each, DELETE, and whatever the test does with requests.
type wireServer struct {
	t            testing.TB
	url          string
	capabilities string                                                  // of initialize
	noGet        bool                                                    // GET is answered 405
	call         func(w http.ResponseWriter, r *http.Request, m message) // requests but initialize and ping

	mu       sync.Mutex
	got      []message
	sessions map[string]*wireSession
}

// wireSession is one session of it.
type wireSession struct {
	id      string
	params  string      // of initialize
	out     chan string // messages for the GET stream
	opened  int         // GET streams so far
	listens bool
	gone    bool
}

func newWireServer(t testing.TB, call func(w http.ResponseWriter, r *http.Request, m message)) *wireServer {
	t.Helper()
	s := &wireServer{
		t: t, call: call, sessions: make(map[string]*wireSession),
		capabilities: `{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"logging":{}}`,
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.url = web.URL + "/mcp"
	return s
}

func (s *wireServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := message{Method: r.Method, Header: r.Header.Clone()}
	if r.Method == http.MethodPost {
		m.Method = ""
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			s.t.Errorf("no JSON: %v", err)
		}
	}
	id := r.Header.Get("Mcp-Session-Id")
	s.mu.Lock()
	s.got = append(s.got, m)
	ses := s.sessions[id]
	s.mu.Unlock()
	switch {
	case m.Method == "initialize":
		s.open(w, m)
	case ses == nil || s.isGone(ses):
		w.WriteHeader(http.StatusNotFound)
	case m.Method == http.MethodGet:
		s.stream(w, r, ses)
	case m.Method == http.MethodDelete:
		s.end(id)
	case m.Method == "" || m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "resources/subscribe" || m.Method == "resources/unsubscribe" || m.Method == "logging/setLevel":
		jsonAnswer(w, m, `{}`)
	default:
		s.call(w, r, m)
	}
}

func (s *wireServer) open(w http.ResponseWriter, m message) {
	s.mu.Lock()
	id := fmt.Sprintf("s%d", len(s.sessions)+1)
	s.sessions[id] = &wireSession{id: id, params: string(m.Params), out: make(chan string, 16)}
	s.mu.Unlock()
	w.Header().Set("Mcp-Session-Id", id)
	jsonAnswer(w, m, `{"protocolVersion":"2025-11-25","capabilities":`+s.capabilities+`}`)
}

func (s *wireServer) stream(w http.ResponseWriter, r *http.Request, ses *wireSession) {
	s.mu.Lock()
	refuse := s.noGet
	ses.opened++
	ses.listens = !refuse
	s.mu.Unlock()
	if refuse {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	defer func() {
		s.mu.Lock()
		ses.listens = false
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", sseType)
	w.(http.Flusher).Flush()
	for {
		select {
		case text, ok := <-ses.out:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, "data: "+text+"\n\n")
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// end makes the server forget a session, and closes its stream.
func (s *wireServer) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[id]; !ses.gone {
		ses.gone = true
		close(ses.out)
	}
}

func (s *wireServer) isGone(ses *wireSession) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ses.gone
}

// say sends a message on the session's GET stream.
func (s *wireServer) say(id, text string) {
	s.mu.Lock()
	ses := s.sessions[id]
	s.mu.Unlock()
	ses.out <- text
}

func (s *wireServer) session(id string) wireSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[id]; ses != nil {
		return *ses
	}
	return wireSession{}
}

// all returns the messages with the method, "" for responses.
func (s *wireServer) all(method string) (out []message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		if m.Method == method {
			out = append(out, m)
		}
	}
	return out
}

func sessionOf(m message) string { return m.Header.Get("Mcp-Session-Id") }

// gate lets a server's handler wait for the test.
type gate struct {
	entered chan string // session ids
	open    chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan string, 16), open: make(chan struct{})} }

func (g *gate) wait(r *http.Request) {
	g.entered <- r.Header.Get("Mcp-Session-Id")
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
