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

// allowed is how much may be alive for one client that does not read: its queue and what is kept for its return (1 MiB each,
// mcp.md §2.1, M-90), and the buffers on the way.
const allowed = 3 << 20

// flood is a message that a server sends on and on, number n.
type flood struct {
	name    string
	message func(in *inbound, n int) string
}

func floods() []flood {
	return []flood{
		{"progress", func(in *inbound, n int) string {
			_, token, _ := strings.Cut(in.params, `"progressToken":`)
			token, _, _ = strings.Cut(strings.ReplaceAll(token, "}", ","), ",")
			return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d,"message":%q}}`, token, n, padding())
		}},
		{"logs", func(_ *inbound, n int) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":[%d,%q]}}`, n, padding())
		}},
	}
}

// TestClientThatDoesNotRead is M-18 to M-20, M-31, M-41 and M-90: however much a server sends, little of it is alive; the
// server is read as fast as it writes; and after 30 s the client has lost its stream: a modern one its call too.
func TestClientThatDoesNotRead(t *testing.T) {
	const most = 1_000 // messages: 8 MiB in 40 s
	for _, modern := range []bool{true, false} {
		for _, f := range floods() {
			for _, protocol := range []string{modernVersion, legacyVersion} {
				t.Run(fmt.Sprintf("modern %v/%s from %s", modern, f.name, protocol), func(t *testing.T) {
					inBubble(t, view.Server{Protocol: protocol, CallTimeout: 10 * time.Minute}, nil, func(b *bubble) {
						sent, ended := 0, make(chan time.Duration, 1)
						var grown atomic.Int64
						base, start := heapNow(), time.Now()
						b.origin.answers(func(in *inbound) {
							start = time.Now()
							for sent < most && in.r.Context().Err() == nil {
								in.event(f.message(in, sent))
								if sent++; sent == 700 {
									grown.Store(heapNow() - base)
								}
								time.Sleep(every)
							}
							ended <- time.Since(start)
							if in.r.Context().Err() == nil {
								in.last(`{"content":[]}`)
							}
						})
						c := b.consumer(modern)
						conn := b.deaf(c, http.MethodPost, "tools/call", b.callOf(c))
						defer conn.Close()
						if err := conn.SetReadDeadline(time.Now().Add(36 * time.Second)); err != nil {
							t.Fatal(err)
						}
						time.Sleep(35 * time.Second)
						// The rest of what was being written comes, then the end: the client can come back while the call goes on.
						if rest, err := io.ReadAll(conn); err != nil || strings.Contains(string(rest), `"id":"q"`) {
							t.Errorf("after 35 s the connection has %q, %v", rest, err)
						}
						took := <-ended
						if n := grown.Load(); n > allowed {
							t.Errorf("%d bytes are alive for a client that does not read", n)
						}
						if took > time.Duration(sent+1)*every {
							t.Errorf("%d messages took %v: the server waited for the client", sent, took)
						}
						switch {
						case modern && (took < 29*time.Second || took > 31*time.Second):
							t.Errorf("the call went on for %v, want 30 s", took)
						case !modern && sent != most:
							t.Errorf("the call of a session ended after %d messages", sent)
						}
					})
				})
			}
		}
	}
}

// TestClientThatReadsLate: a client that begins to read in time gets the newest progress and the response, in order, and what
// came first; of what it missed nothing is told twice.
func TestClientThatReadsLate(t *testing.T) {
	for _, modern := range []bool{true, false} {
		for _, f := range floods() {
			t.Run(fmt.Sprintf("modern %v/%s", modern, f.name), func(t *testing.T) {
				inBubble(t, view.Server{Protocol: legacyVersion}, nil, func(b *bubble) {
					const n = 250 // in 10 s
					b.origin.answers(func(in *inbound) {
						for i := range n {
							in.event(f.message(in, i))
							time.Sleep(every)
						}
						in.last(`{"content":[{"type":"text","text":"the end"}]}`)
					})
					c := b.consumer(modern)
					conn := b.deaf(c, http.MethodPost, "tools/call", b.callOf(c))
					defer conn.Close()
					time.Sleep(20 * time.Second)
					if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
						t.Fatal(err)
					}
					text, _ := io.ReadAll(conn) // up to the deadline: the connection stays open
					at, numbers := -1, 0
					for line := range strings.Lines(string(text)) {
						data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
						if !ok || data == "" || memberOf(t, data, "method") == "" {
							continue
						}
						number := 0
						_, rest, _ := strings.Cut(data, map[string]string{"progress": `"progress":`, "logs": `"data":[`}[f.name])
						if _, err := fmt.Sscan(strings.NewReplacer(",", " ", "}", " ").Replace(rest), &number); err != nil || number <= at {
							t.Fatalf("after %d comes %.100s: %v", at, data, err)
						}
						at = number
						numbers++
					}
					if numbers == 0 || numbers > 258 || f.name == "progress" && at != n-1 {
						t.Errorf("%d messages up to number %d", numbers, at)
					}
					if !strings.Contains(string(text), "the end") {
						t.Error("the response is missing")
					}
				})
			})
		}
	}
}
