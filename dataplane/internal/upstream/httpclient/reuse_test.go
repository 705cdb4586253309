// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// script is a server that answers each connection with a function.
func script(t testing.TB, serve func(n int, c net.Conn, r *bufio.Reader)) *Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return endpoint(t, "http://"+l.Addr().String()+"/")
}

// take reads one request and reports whether there was one.
func take(r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestDeadIdleConnection: a connection that the server closed while it was
// idle is seen before use; each request is served exactly once.
func TestDeadIdleConnection(t *testing.T) {
	var served atomic.Int32
	closed := make(chan struct{}, 10)
	to := script(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if take(r) {
			served.Add(1)
			_, _ = io.WriteString(c, okAnswer)
		}
		_ = c.Close()
		closed <- struct{}{}
	})
	c := newClient(t, nil)
	for i := 1; i <= 3; i++ {
		if _, body, err := talk(t.Context(), c, post(to, "x")); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
		<-closed
		waitQuietFails(t, c)
	}
	if n := served.Load(); n != 3 {
		t.Errorf("%d requests served, want 3", n)
	}
}

// waitQuietFails waits until the FIN of the server has arrived.
func waitQuietFails(t *testing.T, c *Client) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		dead := true
		for _, p := range c.pools {
			for _, cn := range p.idle {
				dead = dead && !cn.prober.quiet()
			}
		}
		if dead {
			return
		}
	}
	t.Fatal("the close did not arrive")
}

// TestNeverSentTwice: a request that was written and got no answer is an error
// with Sent, on a fresh and on a used connection, and the server saw it once.
func TestNeverSentTwice(t *testing.T) {
	for _, used := range []bool{false, true} {
		var seen atomic.Int32
		to := script(t, func(_ int, c net.Conn, r *bufio.Reader) {
			for i := 0; take(r); i++ {
				if !used || i == 1 {
					seen.Add(1)
					return
				}
				_, _ = io.WriteString(c, okAnswer)
			}
		})
		c := newClient(t, nil)
		if used {
			if _, _, err := talk(t.Context(), c, post(to, "first")); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := talk(t.Context(), c, post(to, "x"))
		if !Sent(err) || !errors.Is(err, ErrTruncated) {
			t.Errorf("used %v: %v", used, err)
		}
		if n := seen.Load(); n != 1 {
			t.Errorf("used %v: the server saw the request %d times", used, n)
		}
	}
}

// TestUnreadBytes: what a server sends without being asked must not become the
// answer to the next request.
func TestUnreadBytes(t *testing.T) {
	t.Run("with the answer", func(t *testing.T) {
		to := script(t, func(n int, c net.Conn, r *bufio.Reader) {
			for take(r) {
				_, _ = io.WriteString(c, okAnswer+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
			}
		})
		c := newClient(t, nil)
		for range 3 {
			if _, body, err := talk(t.Context(), c, post(to, "")); body != "ok" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
		}
		if c.Stats().Dials != 3 {
			t.Error("a connection with unread bytes was used again")
		}
	})
	t.Run("while idle", func(t *testing.T) {
		more, sent := make(chan struct{}), make(chan struct{})
		to := script(t, func(n int, c net.Conn, r *bufio.Reader) {
			take(r)
			_, _ = io.WriteString(c, okAnswer)
			if n == 1 {
				<-more
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
				close(sent)
			}
			take(r)
		})
		c := newClient(t, nil)
		if _, _, err := talk(t.Context(), c, post(to, "")); err != nil {
			t.Fatal(err)
		}
		close(more)
		<-sent
		waitQuietFails(t, c)
		if _, body, err := talk(t.Context(), c, post(to, "")); body != "ok" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// TestRelease: after the last event of a stream the connection is kept if the
// stream then ends, and only then.
func TestRelease(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
	tests := []struct {
		name, after string
		dials       int64
	}{
		{"ends", "0\r\n\r\n", 1},
		{"comment and end", "3\r\n:\n\n\r\n0\r\n\r\n", 1},
		{"never ends", "", 2},
		{"goes on", "FFFF\r\n" + strings.Repeat("x", 4000), 2},
		{"ends with more behind", "0\r\n\r\nHTTP/1.1", 2},
		{"breaks", "zz\r\n", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			released, wrote := make(chan struct{}), make(chan struct{})
			var once sync.Once
			to := script(t, func(n int, c net.Conn, r *bufio.Reader) {
				for take(r) {
					if n > 1 || isClosed(wrote) {
						_, _ = io.WriteString(c, okAnswer)
						continue
					}
					_, _ = io.WriteString(c, head)
					<-released
					_, _ = io.WriteString(c, tt.after)
					once.Do(func() { close(wrote) })
				}
			})
			c := newClient(t, nil)
			resp, err := c.Do(t.Context(), post(to, ""))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp, make([]byte, 3)); err != nil {
				t.Fatal(err)
			}
			resp.Release()
			resp.Close()
			close(released)
			<-wrote
			if tt.after != "" {
				waitQuietFails(t, c)
			}
			if _, body, err := talk(t.Context(), c, post(to, "")); body != "ok" || err != nil {
				t.Fatalf("%q, %v", body, err)
			}
			if got := c.Stats().Dials; got != tt.dials {
				t.Errorf("%d connections, want %d", got, tt.dials)
			}
		})
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	c := newClient(t, func(cfg *Config) { cfg.IdleTimeout = 200 * time.Millisecond })
	if _, _, err := talk(t.Context(), c, post(endpoint(t, s.URL), "")); err != nil {
		t.Fatal(err)
	}
	c.Sweep()
	if n := c.Stats().Idle; n != 1 {
		t.Errorf("%d idle connections before their time", n)
	}
	until(t, func() bool {
		c.Sweep()
		c.mu.RLock()
		defer c.mu.RUnlock()
		return len(c.pools) == 0
	})
	if _, _, err := talk(t.Context(), c, post(endpoint(t, s.URL), "")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, _, err := talk(t.Context(), c, post(endpoint(t, s.URL), "")); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// TestReleasedAnswerMustEnd: a stream that goes on after its last event is not
// kept open unread, neither is the connection of one that ends closed.
func TestReleasedAnswerMustEnd(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
	released := func(t *testing.T, to *Endpoint) *Client {
		t.Helper()
		c := newClient(t, func(cfg *Config) { cfg.EndTimeout = 20 * time.Millisecond })
		resp, err := c.Do(t.Context(), post(to, ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		resp.Release()
		return c
	}
	t.Run("never ends", func(t *testing.T) {
		left := make(chan struct{})
		c := released(t, script(t, func(_ int, c net.Conn, r *bufio.Reader) {
			take(r)
			_, _ = io.WriteString(c, head)
			take(r) // until the client is gone
			close(left)
		}))
		<-left
		if n := c.Stats().Idle; n != 0 {
			t.Errorf("%d idle connections", n)
		}
	})
	t.Run("ends", func(t *testing.T) {
		c := released(t, script(t, func(_ int, c net.Conn, r *bufio.Reader) {
			take(r)
			_, _ = io.WriteString(c, head+"0\r\n\r\n")
			for take(r) {
				_, _ = io.WriteString(c, okAnswer)
			}
		}))
		until(t, func() bool {
			c.mu.RLock()
			defer c.mu.RUnlock()
			for _, p := range c.pools { // there is one
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.idle) == 1 && p.idle[0].tail == nil
			}
			return false
		})
	})
}
