// SPDX-License-Identifier: Apache-2.0

package port

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve runs the handler on a loopback port as the control plane does, and returns its URL.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Server(h)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func TestRequestID(t *testing.T) {
	var seen string
	h := Identified(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = RequestID(r.Context()) }))
	for given, kept := range map[string]bool{
		"abc-1": true, "": false, "a b": false, strings.Repeat("x", 65): false, "line\nbreak": false, "é": false,
	} {
		r, w := httptest.NewRequest(http.MethodPost, "/", http.NoBody), httptest.NewRecorder()
		r.Header.Set(requestIDHeader, given)
		h.ServeHTTP(w, r)
		if got := w.Header().Get(requestIDHeader); got != seen || got == "" || (got == given) != kept {
			t.Errorf("%q: answered %q, in the context %q, want it kept: %t", given, got, seen, kept)
		}
	}
}

func TestCORS(t *testing.T) {
	const page = "https://console.example.com"
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	tests := []struct {
		name, method, origin string
		origins              []string
		preflight            bool
		status               int
		allowed              string
	}{
		{"off", http.MethodPost, page, nil, false, http.StatusTeapot, ""},
		{"off, preflight", http.MethodOptions, page, nil, true, http.StatusTeapot, ""},
		{"listed", http.MethodPost, page, []string{page}, false, http.StatusTeapot, page},
		{"listed, preflight", http.MethodOptions, page, []string{page}, true, http.StatusNoContent, page},
		{"other", http.MethodPost, "https://evil.example", []string{page}, false, http.StatusTeapot, ""},
		{"other, preflight", http.MethodOptions, "https://evil.example", []string{page}, true, http.StatusNoContent, ""},
		{"null origin", http.MethodPost, "null", []string{page}, false, http.StatusTeapot, ""},
		{"no origin", http.MethodPost, "", []string{page}, false, http.StatusTeapot, ""},
		{"suffix", http.MethodPost, page + ".evil.example", []string{page}, false, http.StatusTeapot, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, w := httptest.NewRequest(tt.method, "/", http.NoBody), httptest.NewRecorder()
			r.Header.Set("Origin", tt.origin)
			if tt.preflight {
				r.Header.Set("Access-Control-Request-Method", "POST")
			}
			CrossOrigin(tt.origins, inner).ServeHTTP(w, r)
			if w.Code != tt.status || w.Header().Get("Access-Control-Allow-Origin") != tt.allowed {
				t.Errorf("got %d, origin %q; want %d, %q", w.Code, w.Header().Get("Access-Control-Allow-Origin"), tt.status, tt.allowed)
			}
			if w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Error("credentials are allowed")
			}
		})
	}
}

// TestBodyDeadlineEndsWithTheBody: a handler that read its request may take longer than the request was given to arrive.
func TestBodyDeadlineEndsWithTheBody(t *testing.T) {
	var set []time.Time
	setter := deadlineWriter{httptest.NewRecorder(), func(at time.Time) { set = append(set, at) }}
	h := Bounded(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
	}))
	h.ServeHTTP(setter, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body")))
	if len(set) != 2 || set[0].IsZero() || !set[1].IsZero() {
		t.Errorf("got deadlines %v, want one and then none", set)
	}
}

// deadlineWriter records read deadlines.
type deadlineWriter struct {
	http.ResponseWriter
	set func(time.Time)
}

// SetReadDeadline is found by http.ResponseController.
func (w deadlineWriter) SetReadDeadline(at time.Time) error {
	w.set(at)
	return nil
}

// TestServerSpeaksBothVersions: HTTP/1.1 and HTTP/2 with prior knowledge on one port without TLS.
func TestServerSpeaksBothVersions(t *testing.T) {
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Was", r.Proto) }))
	for _, want := range []string{"HTTP/1.1", "HTTP/2.0"} {
		p := new(http.Protocols)
		p.SetHTTP1(want == "HTTP/1.1")
		p.SetUnencryptedHTTP2(want == "HTTP/2.0")
		transport := &http.Transport{Protocols: p}
		res, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Was"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = res.Body.Close()
		transport.CloseIdleConnections()
	}
}
