// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// bigQuestion is a question of 256 KiB.
func bigQuestion(id int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"q%d","method":"elicitation/create","params":{"message":%q,"requestedSchema":{"type":"object","properties":{}}}}`,
		id, strings.Repeat("x", 256<<10))
}

// TestSessionStreamThatNobodyReads is M-20 for the session's own stream: messages that must not be lost close it at once, the
// server's stream is read on, and little is alive.
func TestSessionStreamThatNobodyReads(t *testing.T) {
	const most = 500
	inBubble(t, view.Server{Protocol: legacyVersion}, nil, func(b *bubble) {
		told := make(chan time.Duration, 1)
		var grown atomic.Int64
		base := int64(0)
		b.origin.answers(func(in *inbound) { in.result(`{"content":[]}`) })
		c := b.consumer(false)
		ready := make(chan struct{})
		b.origin.listen = func(in *inbound) {
			in.w.Header().Set("Content-Type", "text/event-stream")
			in.w.(http.Flusher).Flush()
			<-ready
			start := time.Now()
			for n := range most {
				in.event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///%d","x":%q}}`, n, padding()))
				time.Sleep(every)
			}
			grown.Store(heapNow() - base)
			told <- time.Since(start)
			<-in.r.Context().Done()
		}
		c.request(t, "tools/call", `{"name":"srv__echo"}`, nil) // opens the session with the server
		conn := b.deaf(c, http.MethodGet, "", "")
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(35 * time.Second)); err != nil {
			t.Fatal(err)
		}
		base = heapNow()
		close(ready)
		took := <-told
		if n := grown.Load(); n > allowed {
			t.Errorf("%d bytes are alive", n)
		}
		if took > (most+1)*every {
			t.Errorf("the server was read for %v: it waited for the client", took)
		}
		time.Sleep(12 * time.Second) // 32 s in all
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("the stream goes on: %v", err)
		}
	})
}

// TestQuestionsToNobody is M-20 and M-38 for what upstreams ask: of any number of questions to a client that does not read,
// only as many wait as may, and little of them is alive; when the call ends, all are answered.
func TestQuestionsToNobody(t *testing.T) {
	const asked = 90
	inBubble(t, view.Server{Protocol: legacyVersion}, nil, func(b *bubble) {
		var grown atomic.Int64
		base := heapNow()
		ended := make(chan struct{})
		b.origin.answers(func(in *inbound) {
			defer close(ended)
			for n := range asked {
				in.event(bigQuestion(n))
				time.Sleep(every)
			}
			grown.Store(heapNow() - base)
			in.last(`{"content":[]}`)
		})
		c := b.consumer(false)
		conn := b.deaf(c, http.MethodPost, "tools/call", b.callOf(c))
		defer conn.Close()
		<-ended
		if n := grown.Load(); n > 2*allowed {
			t.Errorf("%d bytes are alive", n)
		}
		for n := range asked {
			select {
			case <-b.origin.replies:
			case <-time.After(time.Minute):
				t.Fatalf("%d of %d questions were answered", n, asked)
			}
		}
	})
}

// TestFloodOfHeldCall is M-80: while a call waits for its client, of what its server says little is kept: the newest
// progress, 64 log messages, and questions as the queue of a stream would hold them.
func TestFloodOfHeldCall(t *testing.T) {
	const said = 200
	inBubble(t, view.Server{Protocol: legacyVersion}, nil, func(b *bubble) {
		var grown atomic.Int64
		held := make(chan struct{})
		base := heapNow()
		b.origin.answers(func(in *inbound) {
			in.event(`{"jsonrpc":"2.0","id":"first","method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object","properties":{}}}}`)
			<-held
			for n := range said {
				for _, f := range floods() {
					in.event(f.message(in, n))
				}
				if n%4 == 0 {
					in.event(bigQuestion(n))
				}
				time.Sleep(every)
			}
			grown.Store(heapNow() - base)
			in.last(`{"content":[{"type":"text","text":"the end"}]}`)
		})
		c := b.consumer(true)
		p := &pairing{client: c, origin: b.origin}
		call := `{"name":"srv__echo"}`
		out := c.request(t, "tools/call", p.with(t, call, `"progressToken":1`), func(string) {})
		state := memberOf(t, out.result, "requestState")
		if state == "" {
			t.Fatalf("the call is not held: %s %s", out.result, out.fault)
		}
		close(held)
		time.Sleep(said*every + time.Second)
		if n := grown.Load(); n > allowed {
			t.Errorf("%d bytes are alive", n)
		}
		var logs, progress int
		again := strings.TrimSuffix(call, "}") + `,"inputResponses":{"q1":{"action":"decline"}},"requestState":` + state + `}`
		out = c.request(t, "tools/call", p.with(t, again, `"progressToken":2`), func(m string) {
			switch textOf(t, m, "method") {
			case "notifications/message":
				logs++
			case "notifications/progress":
				progress++
			}
		})
		if !strings.Contains(out.result, "the end") || logs > 64 || logs == 0 || progress != 1 {
			t.Errorf("the retry gets %d log messages, %d of progress, %.100s %s", logs, progress, out.result, out.fault)
		}
	})
}
