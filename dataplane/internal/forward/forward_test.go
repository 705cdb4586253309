// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func ada() ident.Principal {
	return ident.Principal{
		Kind: ident.KindUser, UID: "u-ada", Name: "ada@example.com", Method: "oauth", TokenID: "jti-1", Claims: []byte(`{"tenant":"acme"}`), ClientID: "https://client.example/c.json",
		Scopes: []string{"mcp", "mcp:write"}, Expires: time.Unix(1_900_000_000, 0),
	}
}

func toA(why string) forward.Request {
	return forward.Request{Node: "a", Why: why, GatewayUID: "g-eng", Principal: ada()}
}

// TestForward is M-93: the request arrives as it came, with what this node has verified and without the token.
func TestForward(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", memberOptions{serve: func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Mcp-Session-Id", "s-2")
		rw.Header().Set("Access-Control-Allow-Origin", "https://evil.example")
		rw.Header().Set("Set-Cookie", "a=b")
		rw.Header().Set("Www-Authenticate", "Bearer")
		rw.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(rw, `{"ok":true}`)
	}})
	f := w.front(frontOptions{request: toA(forward.WhyHeld)})
	const token, body = "pst_u_canary0123456789", "{\"jsonrpc\":\"2.0\", \"id\":1}\n"
	status, head, text := f.call("POST", "/v1/mcp/eng/messages?sessionId=a%2Fb&x=1", body,
		"Authorization", "Bearer "+token, "Cookie", "session="+token, "Proxy-Authorization", token, "X-Api-Key", token,
		"Penstock-Principal", "forged", "Penstock-Forwarded-By", "forged",
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Mcp-Session-Id", "s-1",
		"Mcp-Protocol-Version", "2025-11-25", "Mcp-Param-Region", "eu", "Mcp-Param-Region", "us", "Last-Event-ID", "a.b.c-1", "Traceparent", "00-1-2-01")
	if err := <-f.faults; err != nil {
		t.Fatal(err)
	}
	if status != http.StatusForbidden || text != `{"ok":true}` || head.Get("Mcp-Session-Id") != "s-2" || head.Get("Www-Authenticate") != "Bearer" {
		t.Errorf("the client gets %d %v %q", status, head, text)
	}
	for _, name := range []string{"Access-Control-Allow-Origin", "Set-Cookie"} {
		if head.Get(name) != "" {
			t.Errorf("the client gets the other node's %s", name)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if want := (forward.Carried{From: "front", Why: forward.WhyHeld, GatewayUID: "g-eng", Principal: ada()}); !cmp.Equal(a.seen[0], want) {
		t.Error(cmp.Diff(want, a.seen[0]))
	}
	want := http.Header{
		"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(body))},
		"Mcp-Session-Id": {"s-1"}, "Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Param-Region": {"eu", "us"}, "Last-Event-Id": {"a.b.c-1"},
		"Traceparent": {"00-1-2-01"}, "User-Agent": {"Go-http-client/1.1"},
	}
	if d := cmp.Diff(want, a.head[0]); d != "" {
		t.Errorf("headers (-want +got):\n%s", d)
	}
	if a.body[0] != body {
		t.Errorf("the body is %q", a.body[0])
	}
	if all := fmt.Sprint(a.head, a.body, a.seen, a.seen[0].Principal.Name); strings.Contains(all, "canary") {
		t.Errorf("the token was forwarded: %s", all)
	}
	if d := cmp.Diff(map[string]int64{"held ok": 1}, f.counted()); d != "" {
		t.Error(d)
	}
}

// Events come through one by one, and the other node is told when the client has gone.
func TestForwardStream(t *testing.T) {
	w := newWorld(t)
	next, left := make(chan string), make(chan struct{})
	w.start("a", memberOptions{serve: func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.WriteHeader(http.StatusOK)
		out := http.NewResponseController(rw)
		_ = out.Flush()
		for {
			select {
			case event := <-next:
				_, _ = io.WriteString(rw, event)
				_ = out.Flush()
			case <-r.Context().Done():
				close(left)
				return
			}
		}
	}})
	f := w.front(frontOptions{request: toA(forward.WhyResume)})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	resp := f.send(ctx, "GET", "/v1/mcp/eng", "") // the head is there before any event
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		event := fmt.Sprintf("data: %d", i)
		next <- event + "\n\n"
		for _, want := range []string{event, ""} {
			if got, err := lines.ReadString('\n'); err != nil || got != want+"\n" {
				t.Fatalf("event %d: %q, %v", i, got, err)
			}
		}
	}
	leave()
	<-left
	if err := <-f.faults; fault.KindOf(err) != fault.Canceled {
		t.Errorf("the stream of a client that left ends with %v", err)
	}
}

// An answer that breaks off does so for the client too.
func TestForwardBroken(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", memberOptions{serve: func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 1\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	}})
	wire := w.tap(a.address)
	w.board.put(forward.Node{Name: "a", Address: wire.Addr().String(), Generation: 1})
	f := w.front(frontOptions{request: toA(forward.WhyHeld)})
	resp := f.send(t.Context(), "POST", "/v1/mcp/eng", "{}")
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Fatal(line, err)
	}
	wire.cut()
	if rest, err := io.ReadAll(lines); err == nil {
		t.Errorf("the client sees a proper end after %q", rest)
	}
	f.wantFault(forward.ReasonBroken)
}

// A peer that fails is left alone, until another process has its name.
func TestBreaker(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dials := make(chan struct{}, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dials <- struct{}{}
			_ = c.Close()
		}
	}()
	w.board.put(forward.Node{Name: "a", Address: l.Addr().String(), Generation: 1})
	f := w.front(frontOptions{request: toA(forward.WhyHeld)})
	for range 8 {
		f.call("POST", "/v1/mcp/eng", "{}")
		f.wantFault(forward.ReasonUnreachable)
	}
	_ = l.Close()
	<-done
	if n := len(dials); n == 0 || n > 5 { // 3, and what the half-open breaker lets through on a slow machine
		t.Errorf("8 requests dialed %d times", n)
	}
	a := w.start("a", memberOptions{serve: func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }})
	w.board.put(forward.Node{Name: "a", Address: a.address, Generation: 2})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- f.registry.Run(ctx) }()
	until(t, func() bool {
		status, _, _ := f.call("POST", "/v1/mcp/eng", "{}")
		return <-f.faults == nil && status == http.StatusAccepted
	})
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// TestBusy bounds what is under way to one peer.
func TestBusy(t *testing.T) {
	w := newWorld(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	w.start("a", memberOptions{serve: func(rw http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		rw.WriteHeader(http.StatusAccepted)
	}})
	f := w.front(frontOptions{request: toA(forward.WhyHeld), concurrent: 2})
	done := make(chan int, 2)
	for range 2 {
		go func() {
			status, _, _ := f.call("POST", "/v1/mcp/eng", "{}")
			done <- status
		}()
		<-entered
	}
	f.call("POST", "/v1/mcp/eng", "{}")
	f.wantFault(forward.ReasonBusy)
	close(leave)
	for range 2 {
		if status := <-done; status != http.StatusAccepted {
			t.Errorf("a request within the bound: %d", status)
		}
	}
}

// until waits for what happens by itself.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatal("it does not happen")
		}
	}
}
