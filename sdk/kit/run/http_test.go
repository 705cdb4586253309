// SPDX-License-Identifier: Apache-2.0

package run_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/run"
)

// patience bounds every wait for something that must happen soon.
const patience = 10 * time.Second

type server struct {
	url    string
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, s *http.Server, drain time.Duration) server {
	t.Helper()
	l, err := run.Listen("127.0.0.1:0", "test.listen")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- run.HTTPServer("api", l, s, drain).Run(ctx) }()
	return server{"http://" + l.Addr().String(), cancel, ended}
}

func (s server) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the server does not end")
		return nil
	}
}

func get(client *http.Client, url string) (string, error) {
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r.Body)
	return string(body), errors.Join(err, r.Body.Close())
}

// client has its own connections, which end with the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func TestHTTPServerFinishesCallsAndThenStops(t *testing.T) {
	inside, release := make(chan context.Context, 1), make(chan struct{})
	s := start(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside <- r.Context()
		<-release
		_, _ = io.WriteString(w, "finished")
	})}, patience)

	c := client(t)
	answer := make(chan string, 1)
	go func() {
		body, err := get(c, s.url)
		if err != nil {
			body = err.Error()
		}
		answer <- body
	}()
	request := <-inside
	s.cancel()
	// The listener closes first; the call in flight is still served.
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("goes on accepting after the stop")
		}
	}
	if request.Err() != nil {
		t.Error("the call's context ended with the stop")
	}
	select {
	case err := <-s.ended:
		t.Fatalf("ended with a call in flight: %v", err)
	default:
	}
	close(release)
	if got := <-answer; got != "finished" {
		t.Errorf("the call in flight got %q", got)
	}
	if err := s.end(t); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestHTTPServerCutsWhatDoesNotFinish(t *testing.T) {
	inside, ended := make(chan struct{}), make(chan struct{})
	s := start(t, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done() // ends when the connection is cut
		close(ended)
	})}, 50*time.Millisecond)

	c := client(t)
	failed := make(chan error, 1)
	go func() {
		_, err := get(c, s.url)
		failed <- err
	}()
	<-inside
	s.cancel()
	if err := s.end(t); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "finish calls within 50ms") {
		t.Errorf("got %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the call that was cut got an answer")
	}
	<-ended
}

func TestHTTPServerTellsStreamsToEnd(t *testing.T) {
	inside, stopping := make(chan struct{}), make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-stopping
		_, _ = io.WriteString(w, "bye")
	})}
	srv.RegisterOnShutdown(func() { close(stopping) })
	s := start(t, srv, patience)
	c := client(t)
	answer := make(chan string, 1)
	go func() {
		body, _ := get(c, s.url)
		answer <- body
	}()
	<-inside
	s.cancel()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	if got := <-answer; got != "bye" {
		t.Errorf("the stream got %q", got)
	}
}

func TestHTTPServerReportsABrokenListener(t *testing.T) {
	l, err := run.Listen("127.0.0.1:0", "test.listen")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = run.Group(t.Context(), run.HTTPServer("admin api", l, &http.Server{}, time.Second))
	if !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "admin api: serve: ") {
		t.Errorf("got %v", err)
	}
}

func TestHTTPServerServesTLSFromItsConfig(t *testing.T) {
	fixture := httptest.NewTLSServer(nil) // for its certificate and a client that trusts it
	defer fixture.Close()
	s := start(t, &http.Server{
		TLSConfig: &tls.Config{Certificates: fixture.TLS.Certificates, MinVersion: tls.VersionTLS13},
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
	}, patience)
	c := fixture.Client()
	defer c.CloseIdleConnections()
	if got, err := get(c, strings.Replace(s.url, "http:", "https:", 1)); err != nil || got != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	s.cancel()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

// TestLameDuck: connections that are open when the stop begins are served until the grace is over, others are refused at once.
func TestLameDuck(t *testing.T) {
	stopping := make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-stopping:
			w.Header().Set("Connection", "close")
		default:
		}
		_, _ = io.WriteString(w, "hello")
	})}
	l, err := run.Listen("127.0.0.1:0", "test.listen")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run.LameDuck("api", l, s, patience, patience).Run(ctx) }()
	kept := &http.Client{Transport: &http.Transport{}}
	defer kept.CloseIdleConnections()
	if got, err := get(kept, url); got != "hello" {
		t.Fatal(got, err)
	}
	close(stopping)
	cancel()
	for refused := false; !refused; {
		c, err := net.Dial("tcp", l.Addr().String())
		if refused = err != nil; !refused {
			_ = c.Close()
		}
	}
	if got, err := get(kept, url); got != "hello" {
		t.Errorf("on the open connection: %q, %v", got, err)
	}
	select { // the last connection closed with that answer: nobody waits for the rest of the grace
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience / 2):
		t.Error("the server does not end with its last connection")
	}
}
