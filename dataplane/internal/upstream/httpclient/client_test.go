// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t testing.TB, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{Dial: (&net.Dialer{}).DialContext}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func endpoint(t testing.TB, url string) *Endpoint {
	t.Helper()
	e, err := ParseEndpoint(url)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func post(to *Endpoint, body string) *Request {
	r := &Request{}
	r.Start("POST", "p", to)
	r.Body, r.Deadline = []byte(body), time.Now().Add(10*time.Second)
	r.Header("Content-Type", "application/json")
	return r
}

// talk sends one request and reads the whole answer.
func talk(ctx context.Context, c *Client, r *Request) (int, string, error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Close()
	body, err := resp.ReadAll(nil, 1<<20)
	return resp.Status, string(body), err
}

func TestRoundTrips(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/chunked":
			for i := range 5 {
				_, _ = io.WriteString(w, strings.Repeat(strconv.Itoa(i), 3000))
				w.(http.Flusher).Flush()
			}
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "after hints")
		case "/redirect":
			http.Redirect(w, r, "/none", http.StatusFound)
		default:
			w.Header().Set("Echo", r.Method+" "+r.Header.Get("Content-Type")+" "+r.Host)
			_, _ = w.Write(body)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := newClient(t, nil)
	var chunks strings.Builder
	for i := range 5 {
		chunks.WriteString(strings.Repeat(strconv.Itoa(i), 3000))
	}
	large := strings.Repeat("x", 300<<10)
	tests := []struct {
		name, path, send string
		status           int
		want             string
	}{
		{"echo", "/", "hello", 200, "hello"},
		{"empty", "/", "", 200, ""},
		{"large both ways", "/", large, 200, large},
		{"chunked", "/chunked", "", 200, chunks.String()},
		{"no content", "/none", "", 204, ""},
		{"interim", "/early", "", 200, "after hints"},
		{"redirect is an answer", "/redirect?a=b", "x", 302, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body, err := talk(t.Context(), c, post(endpoint(t, s.URL+tt.path), tt.send))
			if err != nil || status != tt.status || body != tt.want {
				t.Errorf("%d, %d bytes, %v; want %d, %d bytes", status, len(body), err, tt.status, len(tt.want))
			}
		})
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for sequential requests, want 1", n)
	}
	if st := c.Stats(); st.Idle != 1 || st.Active != 0 || st.Dials != 1 {
		t.Errorf("%+v", st)
	}
}

func TestDialFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := endpoint(t, "http://"+l.Addr().String()+"/")
	_ = l.Close()
	c := newClient(t, nil)
	start := time.Now()
	_, _, err = talk(t.Context(), c, post(to, "x"))
	var e *Error
	if !errors.As(err, &e) || e.Op != "dial" || e.Sent {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("refused after %v", d)
	}
	if c.Stats().Active != 0 {
		t.Error("slot leaked")
	}
}

// TestCancelTalker: a server that never pauses does not keep a cancelled exchange.
func TestCancelTalker(t *testing.T) {
	to := script(t, func(_ int, c net.Conn, r *bufio.Reader) {
		take(r)
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for err == nil {
			_, err = io.WriteString(c, "more")
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := newClient(t, nil).Do(ctx, post(to, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	cancel()
	if _, err := io.Copy(io.Discard, resp); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCancel(t *testing.T) {
	for _, stage := range []string{"head", "body"} {
		t.Run(stage, func(t *testing.T) {
			gone := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			to := script(t, func(_ int, c net.Conn, r *bufio.Reader) {
				take(r)
				if stage == "body" {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
				} else {
					cancel()
				}
				_, err := r.ReadByte()
				gone <- err
			})
			c := newClient(t, nil)
			resp, err := c.Do(ctx, post(to, "x"))
			if stage == "body" {
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Close()
				if _, err = io.ReadFull(resp, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
				cancel()
				_, err = resp.Read(make([]byte, 10))
			}
			if !errors.Is(err, context.Canceled) || !Sent(err) {
				t.Errorf("%v", err)
			}
			if err := <-gone; err == nil {
				t.Error("the server did not see the close")
			}
			if resp != nil {
				resp.Close()
			}
			if st := c.Stats(); st.Idle+st.Active != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := newClient(t, nil)
	if _, err := c.Do(ctx, post(endpoint(t, "http://127.0.0.1:1/"), "")); !errors.Is(err, context.Canceled) || Sent(err) {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	to := script(t, func(_ int, c net.Conn, r *bufio.Reader) {
		take(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
		_, _ = r.ReadByte() // until the client gives up
	})
	c := newClient(t, nil)
	r := post(to, "")
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	resp.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = resp.ReadAll(nil, 100)
	var e *Error
	if !errors.As(err, &e) || !e.Timeout() || !e.Sent {
		t.Errorf("%v", err)
	}
	r = post(to, "")
	r.Deadline = time.Now().Add(-time.Second)
	if _, err := c.Do(t.Context(), r); err == nil || Sent(err) {
		t.Errorf("deadline in the past: %v", err)
	}
}

func TestMaxPerHost(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
	}))
	defer s.Close()
	c := newClient(t, func(cfg *Config) { cfg.MaxPerHost = 2 })
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, _, err := talk(t.Context(), c, post(endpoint(t, s.URL), "")); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, func() bool { return c.Stats().Active == 2 })
	r := post(endpoint(t, s.URL), "")
	r.Deadline = time.Now().Add(10 * time.Millisecond)
	var e *Error
	if _, err := c.Do(t.Context(), r); !errors.As(err, &e) || e.Op != "wait" || !e.Timeout() || e.Sent {
		t.Errorf("%v", err)
	}
	close(release)
	wg.Wait()
	if st := c.Stats(); st.Dials > 2 || st.Active != 0 {
		t.Errorf("%+v", st)
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		<-time.After(time.Millisecond)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proto", r.Proto)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(t, func(cfg *Config) { cfg.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13} })
	for range 3 {
		if status, _, err := talk(t.Context(), c, post(endpoint(t, s.URL), "x")); err != nil || status != 200 {
			t.Fatal(status, err)
		}
	}
	if n := c.Stats().Dials; n != 1 {
		t.Errorf("%d connections", n)
	}
	untrusting := newClient(t, nil)
	_, _, err := talk(t.Context(), untrusting, post(endpoint(t, s.URL), "x"))
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) || Sent(err) {
		t.Errorf("%v", err)
	}
}

// TestSlowTLS: to begin to watch an exchange is to have a read run out of time, by which a TLS connection loses nothing.
func TestSlowTLS(t *testing.T) {
	const piece, pieces = 40_000, 4
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(2 * atOnce)
		for range pieces {
			_, _ = io.WriteString(w, strings.Repeat("x", piece))
			_ = http.NewResponseController(w).Flush()
			<-time.After(atOnce / 2)
		}
	}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(t, func(cfg *Config) { cfg.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13} })
	for range 5 {
		if status, body, err := talk(t.Context(), c, post(endpoint(t, s.URL), "x")); err != nil || status != 200 || len(body) != piece*pieces {
			t.Fatal(status, len(body), err)
		}
	}
	if n := c.Stats().Dials; n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestNew(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no dialer": {},
		"negative":  {Dial: (&net.Dialer{}).DialContext, MaxPerHost: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer s.Close()
	c := newClient(t, nil)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := &Request{}
			for i := range 50 {
				want := strconv.Itoa(g*1000 + i)
				r.Start("POST", "p", endpoint(t, s.URL))
				r.Body, r.Deadline = []byte(want), time.Now().Add(10*time.Second)
				if _, body, err := talk(t.Context(), c, r); body != want || err != nil {
					t.Errorf("%q, %v; want %q", body, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}
