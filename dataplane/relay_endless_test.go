// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// endlessLimit is the bound of one message of the servers here (G-51; the default is 10 MiB).
const endlessLimit = 1 << 20

// TestEndlessAnswers is M-13 and its table: whatever part of an answer does not end, a node takes no more of it than the
// bound, keeps nothing of it, and the call ends.
func TestEndlessAnswers(t *testing.T) {
	const (
		stream  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
		chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		json    = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	)
	kilo := strings.Repeat("x", 1<<10)
	for _, tt := range []struct {
		name, head, more string
		most             int // bytes that may be taken
	}{
		{"a line", stream + "data: ", kilo, 2 * endlessLimit},
		{"an event of many lines", stream, "data: " + kilo + "\n", 2 * endlessLimit},
		{"an event without data", stream, "x-" + kilo + ": y\n", 2 * endlessLimit},
		{"a comment", stream + ": ", kilo, 2 * endlessLimit},
		{"a type", stream + "event: ", kilo, 2 * endlessLimit},
		{"an id", stream + "id: ", kilo, 2 * endlessLimit},
		{"a line in chunks", chunked, "400\r\n" + kilo + "\r\n", 2 * endlessLimit},
		{"a document up to the end", json + "\r\n", kilo, 2 * endlessLimit},
		{"a document in chunks", json + "Transfer-Encoding: chunked\r\n\r\n", "400\r\n" + kilo + "\r\n", 2 * endlessLimit},
		{"a document that is announced", json + "Content-Length: 99999999999\r\n\r\n", kilo, 64 << 10},
		{"an array", json + "\r\n[", `{"jsonrpc":"2.0","method":"notifications/message","params":{}},`, 2 * endlessLimit},
		{"a chunk's extension", chunked + "400;", kilo, 64 << 10},
		{"trailers", chunked + "0\r\n", "X: " + kilo + "\r\n", 256 << 10},
		{"headers", "HTTP/1.1 200 OK\r\n", "X-Y: " + kilo + "\r\n", 256 << 10},
		{"a header", "HTTP/1.1 200 OK\r\nX-Y: ", kilo, 256 << 10},
		{"a status line", "HTTP/1.1 200 ", kilo, 256 << 10},
		{"interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n", 64 << 10},
		{"an error's body", "HTTP/1.1 500 No\r\nContent-Type: text/html\r\n\r\n", kilo, 64 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var taken atomic.Int64
			serve := func(c net.Conn) {
				if _, err := takeRequest(c); err != nil {
					return
				}
				text := tt.head
				for {
					n, err := io.WriteString(c, text)
					taken.Add(int64(n))
					if err != nil || taken.Load() > 64*endlessLimit {
						return
					}
					text = tt.more
				}
			}
			inBubble(t, view.Server{Protocol: modernVersion, MaxResponse: endlessLimit}, serve, func(b *bubble) {
				c := b.consumer(true)
				start := time.Now()
				p := &pairing{client: c, origin: b.origin}
				params := p.with(t, `{"name":"srv__echo"}`)
				base := heapNow()
				out := c.request(t, "tools/call", params, func(string) {})
				if memberOf(t, out.result, "isError") != "true" {
					t.Errorf("the call ends with %s %s", out.result, out.fault)
				}
				if n := int(taken.Load()); n > tt.most {
					t.Errorf("%d bytes were taken, want at most %d", n, tt.most)
				}
				if took := time.Since(start); took > 0 {
					t.Errorf("the call took %v", took)
				}
				if grown := heapNow() - base; grown > 1<<20 {
					t.Errorf("%d bytes stay alive", grown)
				}
			})
		})
	}
}

// TestEndlessStreams: streams of small things that go on for ever end by the call's time, with progress by its ceiling
// (M-49), and keep nothing meanwhile.
func TestEndlessStreams(t *testing.T) {
	for _, tt := range []struct {
		name string
		more func(in *inbound, n int) string
		want time.Duration
	}{
		{"comments", func(_ *inbound, n int) string { return fmt.Sprintf(": %d\n", n) }, time.Minute},
		{"ids", func(_ *inbound, n int) string { return fmt.Sprintf("id: %d%s\n\n", n, padding()[:1000]) }, time.Minute},
		{"retries", func(_ *inbound, n int) string { return fmt.Sprintf("retry: %d\n\n", n) }, time.Minute},
		{"other types", func(*inbound, int) string { return "event: x\ndata: " + padding() + "\n\n" }, time.Minute},
		{"responses to nobody", func(_ *inbound, n int) string {
			return fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"id\":\"no %d\",\"result\":{}}\n\n", n)
		}, time.Minute},
		{"progress of others", func(_ *inbound, n int) string {
			return fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"no %d\"}}\n\n", n)
		}, time.Minute},
		{"progress", func(in *inbound, n int) string { return "data: " + floods()[0].message(in, n) + "\n\n" }, 15 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, view.Server{Protocol: modernVersion}, nil, func(b *bubble) {
				base := heapNow()
				var grown atomic.Int64
				left := make(chan time.Duration, 1)
				b.origin.answers(func(in *inbound) {
					start := time.Now()
					in.w.Header().Set("Content-Type", "text/event-stream")
					for n := 0; in.r.Context().Err() == nil; n++ {
						_, _ = io.WriteString(in.w, tt.more(in, n))
						in.w.(http.Flusher).Flush()
						if n == 500 {
							grown.Store(heapNow() - base)
						}
						time.Sleep(tt.want / 600)
					}
					left <- time.Since(start)
				})
				c := b.consumer(true)
				p := &pairing{client: c, origin: b.origin}
				out := c.request(t, "tools/call", p.with(t, `{"name":"srv__echo"}`, `"progressToken":1`), func(string) {})
				if memberOf(t, out.result, "isError") != "true" {
					t.Errorf("the call ends with %s %s", out.result, out.fault)
				}
				if took := <-left; took < tt.want-2*time.Second || took > tt.want+2*time.Second {
					t.Errorf("the server was read for %v, want %v", took, tt.want)
				}
				if n := grown.Load(); n > 1<<20 {
					t.Errorf("%d bytes were alive", n)
				}
			})
		})
	}
}
