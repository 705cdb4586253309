// SPDX-License-Identifier: Apache-2.0

// Package shim adds a token to requests: the conformance suite has no option for one, and Penstock no mode without.
//
// The programs under deploy/conformance call it. It must never change a request or an answer in any other way, or the suite
// would test the shim.
package shim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// Shim is a reverse proxy on loopback.
type Shim struct {
	// Addr is host:port.
	Addr string

	server *http.Server
	served chan error
}

// URL returns the address at which the shim answers for a URL of the target.
func (s *Shim) URL(target string) string {
	_, rest, _ := strings.Cut(target, "://")
	_, path, _ := strings.Cut(rest, "/")
	return "http://" + s.Addr + "/" + path
}

// Start starts a shim in front of the origin of target, with the token for that gateway. Paths stay as they are.
func Start(ctx context.Context, target, token string) (*Shim, error) {
	origin, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Shim{Addr: l.Addr().String(), served: make(chan error, 1)}
	s.server = &http.Server{Handler: handler(origin, token), ReadHeaderTimeout: 10 * time.Second}
	go func() { s.served <- s.server.Serve(l) }()
	return s, nil
}

func handler(origin *url.URL, token string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = origin.Scheme, origin.Host
			r.Out.Host = r.In.Host // the check against DNS rebinding must reach the node
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		// Without it the transport would ask for gzip by itself.
		Transport:     &http.Transport{DisableCompression: true},
		FlushInterval: -1,
		// A client that goes before it has its answer is nothing to log.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Read before it is sent: a proxy that still reads the request when the answer comes cuts off one answer in a hundred.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	})
}

// maxBody is far beyond what the suite sends.
const maxBody = 16 << 20

// Stop ends the shim and every connection through it.
func (s *Shim) Stop() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
