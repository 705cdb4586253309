// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

// serve is `bench serve KIND [UPSTREAM]`: one of the servers that a measurement runs as a process of its own. It prints its URL on a line,
// and ends when standard input does, so that none is left behind by a measurement that was killed.
func serve(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	kind, upstream := "", ""
	if len(args) > 0 {
		kind = args[0]
	}
	if len(args) > 1 {
		upstream = args[1]
	}
	handler, err := newHandler(ctx, kind, upstream)
	if err != nil {
		return err
	}
	var listenConfig net.ListenConfig
	listener, err := listenConfig.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: callTimeout}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	go func() { // ends with the process at the latest: a read of standard input cannot be interrupted
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	fmt.Fprintf(stdout, "http://%s/mcp\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", kind, err)
	}
	return nil
}

// newHandler returns the server of a kind.
func newHandler(ctx context.Context, kind, upstream string) (http.Handler, error) {
	if kind == "upstream" {
		return http.HandlerFunc(echo), nil
	}
	target, err := url.Parse(upstream)
	if err != nil || target.Host == "" {
		return nil, fmt.Errorf("serve %s: upstream %q is no URL", kind, upstream)
	}
	switch kind {
	case "rp":
		return reverseProxy(target), nil
	case "rp-buffered":
		return bufferedProxy(target), nil
	case "mcp-go":
		return typedGateway(ctx, upstream)
	}
	return nil, fmt.Errorf("serve: unknown kind %q", kind)
}

// pooled keeps as many connections as there are workers; what else it does is Go's default.
func pooled() *http.Transport {
	return &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute, DisableCompression: true}
}

// reverseProxy is the reference: httputil.ReverseProxy with nothing but a target.
func reverseProxy(target *url.URL) *httputil.ReverseProxy {
	host := &url.URL{Scheme: target.Scheme, Host: target.Host}
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(host) },
		Transport: pooled(),
	}
}

// bufferedProxy reads the request whole before it sends it, and the answer whole before it passes it on.
func bufferedProxy(target *url.URL) http.Handler {
	proxy := reverseProxy(target)
	proxy.ModifyResponse = func(response *http.Response) error {
		body, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		response.ContentLength = int64(len(body))
		response.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		proxy.ServeHTTP(w, r)
	})
}
