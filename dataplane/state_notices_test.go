// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// notices are what a server says outside of calls: one with each call, on every stream of the session.
type notices struct {
	mode int // 0: it says nothing, and has no streams

	mu      sync.Mutex
	said    int
	opened  int // streams
	refused int
	streams map[string][]chan string
	kept    []string // of keptStream, of the one session there is
}

const (
	manyStreams = iota + 1 // of a session: each gets every notice
	oneStream              // of a session: another one gets 409
	keptStream             // as oneStream, and it can be resumed
)

func (n *notices) listen(w http.ResponseWriter, r *http.Request, session string) {
	notice := make(chan string, 64)
	n.mu.Lock()
	status := 0
	switch {
	case n.mode == 0:
		status = http.StatusMethodNotAllowed
	case n.mode >= oneStream && len(n.streams[session]) > 0:
		status = http.StatusConflict
		n.refused++
	default:
		if n.streams == nil {
			n.streams = map[string][]chan string{}
		}
		n.opened++
		n.streams[session] = append(n.streams[session], notice)
		n.again(r.Header.Get("Last-Event-ID"), notice)
	}
	n.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		var kept []chan string
		for _, one := range n.streams[session] {
			if one != notice {
				kept = append(kept, one)
			}
		}
		n.streams[session] = kept
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		if w.(http.Flusher).Flush(); r.Context().Err() != nil {
			return
		}
		select {
		case text := <-notice:
			_, _ = fmt.Fprint(w, text)
		case <-r.Context().Done():
			return
		}
	}
}

// again says what was said after an event, and where the stream is now. The caller holds mu.
func (n *notices) again(lastEvent string, notice chan<- string) {
	if n.mode != keptStream {
		return
	}
	after := len(n.kept)
	if _, err := fmt.Sscan(lastEvent, &after); err != nil && lastEvent != "" {
		return
	}
	notice <- fmt.Sprintf("id: %d\ndata:\n\n", after)
	for i, text := range n.kept[after:] {
		notice <- fmt.Sprintf("id: %d\ndata: %s\n\n", after+i+1, text)
	}
}

// count returns how many streams have been opened.
func (n *notices) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opened
}

func (n *notices) tell(session string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mode == 0 {
		return
	}
	n.said++
	text := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"notice-%d."}}`, n.said)
	event := "data: " + text + "\n\n"
	if n.mode == keptStream {
		n.kept = append(n.kept, text)
		event = fmt.Sprintf("id: %d\n", len(n.kept)) + event
	}
	for _, one := range n.streams[session] {
		one <- event
	}
}

// owned waits until a node has the GET streams of as many sessions.
func (f *fleet) owned(node string, want int) {
	f.t.Helper()
	f.until("a stream is with "+node, func() bool {
		keys, err := f.redis.Keys(f.t.Context(), "pst:*:get").Result()
		if err != nil {
			f.t.Fatal(err)
		}
		has := 0
		for _, key := range keys {
			if name, err := f.redis.HGet(f.t.Context(), key, "n").Result(); err == nil && name == node {
				has++
			}
		}
		return has == want
	})
}

// reached returns the last event of the one upstream session that the store knows was heard; empty for none.
func (f *fleet) reached() string {
	f.t.Helper()
	keys, err := f.redis.Keys(f.t.Context(), "pst:*:at:*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	if len(keys) != 1 {
		return ""
	}
	value, err := f.redis.Get(f.t.Context(), keys[0]).Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	client, place, _ := strings.Cut(strings.TrimPrefix(keys[0], "pst:{"), "}:at:")
	n := &f.server.notices
	n.mu.Lock()
	defer n.mu.Unlock()
	for session := range n.streams {
		if event, err := f.keys.OpenBytes(nil, seal.Upstream, client+"/"+place+"/"+session, value); err == nil {
			return string(event)
		}
	}
	f.t.Fatal("what the store knows is of no session of the server")
	return ""
}

// TestNoticesReachTheStream is M-91: what an upstream says outside of a call that runs on one node arrives once on the stream
// that is on another, whichever was first, and wherever the stream goes.
func TestNoticesReachTheStream(t *testing.T) {
	redis := redistest.Start(t)
	for name, mode := range map[string]int{"many streams": manyStreams, "one stream": oneStream} {
		t.Run(name, func(t *testing.T) {
			if err := newFleetClient(t, redis).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			f := newFleet(t, redis)
			f.server.notices.mode = mode
			c := f.join("node-c")
			said := 0
			call := func(s string) {
				t.Helper()
				said++
				if _, text, _ := f.post(f.b, s, echo); !strings.Contains(text, `"content":[]`) || strings.Contains(text, "notice-") {
					t.Errorf("the call of notice %d has the answer %s", said, text)
				}
			}
			hear := func(at *eventsRead) {
				t.Helper()
				at.want(fmt.Sprintf("notice-%d.", said))
			}
			open := func(s, node string, owns int, joins bool) *eventsRead { // joins: what another node has opened
				t.Helper()
				before := f.server.notices.count()
				at := f.a
				if node == "node-c" {
					at = c
				}
				stream := f.reading(f.send(at, http.MethodGet, s, "", "")) //nolint:bodyclose // closed with its node, or by wantEnd
				stream.want("")
				f.owned(node, owns)
				f.until("the node hears the server", func() bool { return !joins || f.server.notices.count() > before })
				return stream
			}

			late := f.open(f.b)
			f.post(f.b, late, echo) // its notice comes with the call: nobody listens
			said++
			early := f.open(f.a)
			atA := open(early, "node-a", 1, false)
			for range 3 { // the first call opens the upstream's session
				call(early)
				hear(atA)
			}
			lateA := open(late, "node-a", 2, true)
			for range 3 {
				call(late)
				hear(lateA)
			}

			// The stream moves, and comes back.
			atC := open(late, "node-c", 1, true)
			lateA.wantEnd()
			call(late)
			hear(atC)
			lateA = open(late, "node-a", 2, true)
			atC.wantEnd()
			call(late)
			hear(lateA)

			// The first node dies: it tells nobody.
			_ = f.own[0].Close()
			if err := f.nodes[0].pool.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.a.CloseClientConnections()
			for i, s := range []string{early, late} {
				stream := open(s, "node-c", i+1, true)
				for range 2 {
					call(s)
					hear(stream)
				}
				_ = stream.body.Close()
				f.owned("node-c", i)
				stream = open(s, "node-c", i+1, false)
				call(s)
				hear(stream)
			}
		})
	}
}

// TestNoticesWhileAway is M-40, M-91 and M-92: what an upstream says while the client is on its way to another node arrives
// there, once: the node before has kept it, or, if that has died, the upstream says it again.
func TestNoticesWhileAway(t *testing.T) {
	redis := redistest.Start(t)
	for _, tt := range []struct {
		name string
		mode int
		dies bool
	}{
		{"many streams", manyStreams, false},
		{"one stream", oneStream, false},
		{"kept by the server", keptStream, false},
		{"kept by the server, the node dies", keptStream, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := newFleetClient(t, redis).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			f := newFleet(t, redis)
			f.server.notices.mode = tt.mode
			s, said := f.open(f.a), 0
			stream := f.reading(f.send(f.a, http.MethodGet, s, "", "")) //nolint:bodyclose // closed below
			stream.want("")
			f.owned("node-a", 1)
			call := func(node *httptest.Server) {
				t.Helper()
				said++
				if _, text, _ := f.post(node, s, echo); !strings.Contains(text, `"content":[]`) {
					t.Errorf("the call of notice %d has the answer %s", said, text)
				}
			}
			call(f.a)
			id := stream.want("notice-1.")
			if tt.dies {
				f.until("the store knows that the notice was heard", func() bool { return f.reached() == "1" })
				_ = f.own[0].Close()
				_ = f.nodes[0].pool.Close(t.Context())
				f.a.CloseClientConnections()
			}
			_ = stream.body.Close()
			call(f.b)
			call(f.b)
			back := f.resume(f.b, s, id)
			next := func(want string) {
				t.Helper()
				_, data, ok := back.next()
				for strings.Contains(data, "list_changed") { // it may have missed that, too
					_, data, ok = back.next()
				}
				if !ok || !strings.Contains(data, want) {
					t.Errorf("the stream goes on with %q, want %s", data, want)
				}
			}
			next("notice-2.")
			next("notice-3.")
			call(f.b)
			next("notice-4.")
			_ = back.body.Close()
		})
	}
}
