// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/authserver/internal/pages"
)

// Route is a line of the table.
type Route struct {
	Methods string // "GET", or "GET, POST"; HEAD comes with GET
	// Path is below the issuer's path, in the syntax of [http.ServeMux] without method and host: "/login",
	// "/login/callback/{provider}", "/assets/".
	Path    string
	Handler http.Handler
	Page    bool   // people see it: refusals are pages; otherwise they are JSON
	CORS    bool   // scripts of any origin may read it, without credentials (AS-14); not with Page
	Bucket  string // rate limit of the client's address; empty: none
	// ClientBucket is the rate limit of the client that Client names; a request without one counts for its address alone.
	ClientBucket string
	Client       func(*http.Request) string
	MaxBody      int64 // bytes of the request's body, 0 means 64 KiB
	// WellKnown marks a metadata document: with an issuer that has a path, the path goes after it (RFC 8414 §3.1), and
	// "openid-configuration" is served in both places (OpenID Connect Discovery 1.0 §4).
	WellKnown bool
}

// Limiter is what the router needs of rate limits.
type Limiter interface {
	// Allow takes a request of a key out of a bucket, or says when it may come again.
	Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
}

// Config is what a router needs. Now may be nil, which means time.Now.
type Config struct {
	Issuer string // for its path, and HSTS where it is https
	Routes []Route
	// TrustedProxies are the peers whose X-Forwarded-For is believed; none by default (RL-4).
	TrustedProxies []netip.Prefix
	Limiter        Limiter
	Log            *slog.Logger
	Meter          metric.MeterProvider
	Now            func() time.Time
}

const (
	defaultMaxBody = 64 << 10
	maxDrain       = 1 << 20
	maxQuery       = 8 << 10 // AZ-1
)

// New returns the handler of the public listener. It refuses routes that contradict each other.
func New(c Config) (http.Handler, error) {
	if c.Limiter == nil || c.Log == nil || c.Meter == nil {
		return nil, errors.New("a router needs a limiter, a log and a meter")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	issuer, err := url.Parse(c.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, errors.New("the issuer is not an absolute URL")
	}
	table, err := arrange(c, strings.TrimSuffix(issuer.Path, "/"))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	f := &front{
		mux: mux, trusted: c.TrustedProxies, https: issuer.Scheme == "https", look: look{pages.Base(c.Issuer)}, log: c.Log, now: c.Now,
	}
	mux.HandleFunc("/", f.notFound)
	for _, e := range table {
		for _, pattern := range e.patterns {
			if err := handle(mux, pattern, e); err != nil {
				return nil, err
			}
		}
	}
	return f, f.measure(c.Meter)
}

// arrange gathers the routes of each path.
func arrange(c Config, prefix string) ([]*endpoint, error) {
	var table []*endpoint
	byPath := make(map[string]*endpoint)
	for _, r := range c.Routes {
		if !strings.HasPrefix(r.Path, "/") || r.Handler == nil {
			return nil, fmt.Errorf("the route %q has no path or no handler", r.Path)
		}
		if r.Page && r.CORS {
			return nil, fmt.Errorf("the route %q is a page with CORS", r.Path)
		}
		if (r.ClientBucket == "") != (r.Client == nil) {
			return nil, fmt.Errorf("the route %q limits clients without naming them", r.Path)
		}
		if r.MaxBody == 0 {
			r.MaxBody = defaultMaxBody
		}
		e := byPath[r.Path]
		if e == nil {
			e = &endpoint{name: r.Path, patterns: patterns(r, prefix), page: r.Page, cors: r.CORS, look: look{pages.Base(c.Issuer)}, limiter: c.Limiter, log: c.Log}
			byPath[r.Path] = e
			table = append(table, e)
		}
		if e.page != r.Page || e.cors != r.CORS {
			return nil, fmt.Errorf("the routes of %q contradict each other", r.Path)
		}
		if err := e.add(r); err != nil {
			return nil, err
		}
	}
	return table, nil
}

// patterns returns where a route is served.
func patterns(r Route, prefix string) []string {
	if !r.WellKnown || prefix == "" {
		return []string{prefix + r.Path}
	}
	if strings.HasSuffix(r.Path, "/openid-configuration") {
		return []string{r.Path + prefix, prefix + r.Path}
	}
	return []string{r.Path + prefix}
}

// handle turns the panic of a pattern that [http.ServeMux] refuses into an error.
func handle(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the path %q cannot be served: %v", pattern, p)
		}
	}()
	mux.Handle(pattern, h)
	return nil
}
