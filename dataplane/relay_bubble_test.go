// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// pipes is a network of one address: connections are made in memory, so that they run on the clock of a synctest bubble, and
// hold nothing that has not been read.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble is a node in fake time with one server behind it, which does with each connection or request what a test wants.
type bubble struct {
	t      *testing.T
	node   *relayed
	edge   *pipes
	origin *origin
	client *http.Client
}

// inBubble runs f. serve, if it is set, gets the connections of the server raw.
func inBubble(t *testing.T, s view.Server, serve func(c net.Conn), f func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		front, back := newPipes(), newPipes()
		b := &bubble{t: t, node: newRelayed(t, back.dial), edge: front}
		b.origin = &origin{t: t, legacy: s.Protocol != modernVersion, replies: make(chan received, 256)}
		s.Name, s.URL = "srv", "http://127.0.0.1/mcp"
		next := view.From(nil)
		b.node.putServer(next, &s, aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`))
		b.node.holder.Publish(next.Build("e", 1))
		var servers sync.WaitGroup
		run := func(l *pipes, h http.Handler) *http.Server {
			server := &http.Server{Handler: h}
			servers.Go(func() {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
			return server
		}
		edge := run(front, b.node.edge)
		var origin *http.Server
		if serve == nil {
			origin = run(back, b.origin)
		} else {
			servers.Go(func() {
				for {
					c, err := back.Accept()
					if err != nil {
						return
					}
					servers.Go(func() { defer c.Close(); serve(c) })
				}
			})
		}
		transport := &http.Transport{DialContext: front.dial}
		b.client = &http.Client{Transport: transport}
		t.Cleanup(func() { // before those of the node: what is last is first
			transport.CloseIdleConnections()
			if err := edge.Close(); err != nil {
				t.Error(err)
			}
			if origin == nil {
				_ = back.Close()
			} else if err := origin.Close(); err != nil {
				t.Error(err)
			}
			servers.Wait()
		})
		f(b)
	})
}

func (b *bubble) consumer(modern bool) *consumer {
	b.t.Helper()
	return newConsumer(b.t, b.client, "http://127.0.0.1", "srv", modern)
}

// deaf sends a request on a connection of its own, from which nothing is ever read.
func (b *bubble) deaf(c *consumer, httpMethod, method, body string) net.Conn {
	b.t.Helper()
	conn, err := b.edge.dial(b.t.Context(), "", "")
	if err != nil {
		b.t.Fatal(err)
	}
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if httpMethod == http.MethodGet {
		h.Set("Accept", "text/event-stream")
	}
	if c.session != "" {
		h.Set("Mcp-Session-Id", c.session)
	} else {
		c.mirror(b.t, h, method, body)
	}
	var head strings.Builder
	if err := h.Write(&head); err != nil {
		b.t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "%s /v1/mcp/srv HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n%s", httpMethod, head.String(), len(body), body)
	if err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// callOf is the body of a call, with a progress token.
func (b *bubble) callOf(c *consumer) string {
	p := &pairing{client: c, origin: b.origin}
	return `{"jsonrpc":"2.0","id":"q","method":"tools/call","params":` + p.with(b.t, `{"name":"srv__echo"}`, `"progressToken":"p"`) + `}`
}

// heapNow is what is alive.
func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold is let go of by the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// takeRequest reads a request to its end from a raw connection.
func takeRequest(c net.Conn) (*bufio.Reader, error) {
	r := bufio.NewReader(c)
	request, err := http.ReadRequest(r)
	if err != nil {
		return r, err
	}
	_, err = io.Copy(io.Discard, request.Body)
	return r, err
}

// padding makes messages of 8 KiB.
func padding() string { return strings.Repeat("x", 8<<10) }

// every is how often an endless server sends.
const every = 40 * time.Millisecond
