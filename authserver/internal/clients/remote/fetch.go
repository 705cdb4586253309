// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/freshness"
)

// Bounds of one request (CIMD-6). The first covers the look-up of the name and the TCP connection.
const (
	connectTimeout = 2 * time.Second
	totalTimeout   = 5 * time.Second
	maxHeader      = 16 << 10
	userAgent      = "Penstock-Authserver"
)

// Bounds of how long a document is good (CIMD-7).
const (
	minFresh = 5 * time.Minute
	maxFresh = 24 * time.Hour
	maxStale = 24 * time.Hour
)

// fetch gets a document once and returns its bytes and how long they are good.
func (c *Cache[T]) fetch(ctx context.Context, u *url.URL, policy egress.Policy) ([]byte, time.Duration, error) {
	transport := &http.Transport{ // no proxy, no cookies, and no connection that outlives the call
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connectTimeout)
			defer cancel()
			return policy.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{RootCAs: c.config.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    totalTimeout,
		DisableCompression:     true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeader,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, 0, fmt.Errorf("make the request: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", userAgent)
	answer, err := client.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("get the document: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if err := acceptable(answer); err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, int64(c.config.MaxBytes)+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read the document: %w", err)
	}
	if len(body) > c.config.MaxBytes {
		return nil, 0, errors.New("the document is too large")
	}
	return body, fresh(answer.Header, c.config.Now()), nil
}

// acceptable refuses answers that are no JSON document (CIMD-3). Only the status code is repeated: the rest is the
// server's.
func acceptable(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %d", answer.StatusCode)
	}
	if e := answer.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return errors.New("the document is compressed")
	}
	media, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return errors.New("the document has no media type")
	}
	kind, suffix, _ := strings.Cut(media, "/")
	if media != "application/json" && (kind == "" || !strings.HasSuffix(suffix, "+json") || suffix == "+json") {
		return errors.New("the document is not application/json")
	}
	return nil
}

// fresh returns how long a document is good, within the bounds of CIMD-7.
func fresh(h http.Header, now time.Time) time.Duration {
	return min(max(freshness.Lifetime(h, now, 0), minFresh), maxFresh)
}
