// SPDX-License-Identifier: Apache-2.0

package sseclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEndpoint: M-45, resolved against the stream's URL, of the same origin.
func TestEndpoint(t *testing.T) {
	const base = "https://host.example/a/sse?x=1"
	tests := []struct {
		text string
		err  error
	}{
		{"/messages?sessionId=1", nil},
		{"messages?sessionId=1", nil},
		{"?sessionId=1", nil},
		{"https://host.example:443/m", nil},
		{"https://HOST.example/m", ErrOrigin}, // another name for the client
		{"https://host.example:444/m", ErrOrigin},
		{"http://host.example/m", ErrOrigin},
		{"//evil.example/m", ErrOrigin},
		{"https://host.example@evil.example/m", ErrEndpoint},
		{"javascript:x", ErrEndpoint},
		{"http://[", ErrEndpoint},
		{"", nil},
	}
	for _, tt := range tests {
		e, err := endpoint(base, tt.text)
		if !errors.Is(err, tt.err) || (e == nil) != (tt.err != nil) {
			t.Errorf("%q: %v, want %v", tt.text, err, tt.err)
		}
	}
}

func open(t *testing.T, ctx context.Context, answer http.HandlerFunc) (*Conn, error) {
	t.Helper()
	web := httptest.NewServer(answer)
	t.Cleanup(web.Close)
	client, err := httpclient.New(httpclient.Config{Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	to, err := httpclient.ParseEndpoint(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange.Exchange{Peer: exchange.Peer{HTTP: client, To: to, Pool: "p", Limit: 1 << 10}}
	c, err := Open(ctx, context.Background(), x, web.URL, 200*time.Millisecond)
	if n := client.Stats().Active; err != nil && n != 0 {
		t.Errorf("%d connections are held after a failure", n)
	}
	return c, err
}

func stream(text string, hold bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, text)
		w.(http.Flusher).Flush()
		if hold {
			<-r.Context().Done()
		}
	}
}

func TestOpen(t *testing.T) {
	var status *StatusError
	tests := []struct {
		name   string
		answer http.HandlerFunc
		ok     func(error) bool
	}{
		{"another event first", stream("data: {}\n\n", true), func(err error) bool { return errors.Is(err, ErrEndpoint) }},
		{"an end", stream("", false), func(err error) bool { return errors.Is(err, ErrEndpoint) }},
		{"silence", stream("", true), func(err error) bool { return errors.Is(err, ErrEndpoint) }},
		{"too large", stream("event: endpoint\ndata: "+strings.Repeat("x", 2000), true), func(err error) bool { return errors.Is(err, ErrEndpoint) }},
		{"405", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(405) }, func(err error) bool { return errors.As(err, &status) && status.Status == 405 }},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, func(err error) bool { return errors.As(err, &status) && status.Status == 200 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := open(t, t.Context(), tt.answer); c != nil || !tt.ok(err) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := open(t, ctx, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// TestRun: messages come in order, other events do not, and Close or the end of
// the stream ends it, not the end of what opened it.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := open(t, ctx, stream("event: endpoint\ndata: /m\n\n: hi\n\ndata: 1\n\nevent: other\ndata: x\n\ndata:\n\nevent: message\ndata: 2\n\n", true))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	var got string
	err = c.Run(func(_ context.Context, text []byte) error {
		if got += string(text); got == "12" {
			c.Close()
		}
		return nil
	})
	if got != "12" || !errors.Is(err, context.Canceled) {
		t.Errorf("%q %v", got, err)
	}
	c, err = open(t, t.Context(), stream("event: endpoint\ndata: /m\n\ndata: 1\n\n", false))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(func(context.Context, []byte) error { return nil }); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	refused := errors.New("refused")
	c, err = open(t, t.Context(), stream("event: endpoint\ndata: /m\n\ndata: 1\n\n", true))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(func(context.Context, []byte) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
}
