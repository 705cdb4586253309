// SPDX-License-Identifier: Apache-2.0

package port

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute

	requestIDHeader = "X-Request-Id"
)

// Server returns an HTTP server for the handler that speaks HTTP/1.1 and HTTP/2 without TLS on one port, which gRPC, gRPC-Web
// and Connect need. It has no write timeout: WaitEnforced may rightly take five minutes. The caller serves it.
func Server(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
	}
}

// Bounded gives a request 30 s to arrive. http.Server.ReadTimeout would also end calls that have long been read and wait for
// their answer.
func Bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if c.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil { // not every writer has one: tests' recorders, for instance
			r.Body = &timedBody{ReadCloser: r.Body, done: func() { _ = c.SetReadDeadline(time.Time{}) }}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline once the body is read.
type timedBody struct {
	io.ReadCloser
	done func()
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.done != nil {
		b.done()
		b.done = nil
	}
	return n, err
}

type requestIDKey struct{}

// plausibleID is what a caller may choose as request id: it goes into logs.
var plausibleID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// Identified gives each request an id, the caller's own if it is plausible, and returns it in X-Request-Id.
func Identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !plausibleID.MatchString(id) {
			id = rand.Text()
		}
		w.Header().Set(requestIDHeader, id)
		w.Header().Set("Cache-Control", "no-store") // answers hold tokens, and Connect allows GET
		next.ServeHTTP(w, r.WithContext(WithRequestID(r.Context(), id)))
	})
}

// RequestID returns the id of the request that ctx belongs to, empty outside of one.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// WithRequestID returns a context of a request with this id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// Headers of the three protocols: what a page may send and what it may read.
const (
	corsRequest = "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, " +
		"X-User-Agent, " + requestIDHeader
	corsResponse = "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, Retry-After, " + requestIDHeader
)

// CrossOrigin lets pages of the given origins call, and no others. Callers authenticate by a header that no browser sends by
// itself, so there is nothing to protect from pages of other origins; they just cannot read the answers.
func CrossOrigin(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		if slices.Contains(origins, strings.ToLower(origin)) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", corsResponse)
			if preflight {
				h.Set("Access-Control-Allow-Methods", "POST, GET")
				h.Set("Access-Control-Allow-Headers", corsRequest)
				h.Set("Access-Control-Max-Age", "7200")
			}
		}
		if preflight {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
