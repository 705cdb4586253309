// SPDX-License-Identifier: Apache-2.0

package router

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	scope = "github.com/penstockhq/penstock/authserver/internal/router"

	attrRoute = "route"
	hsts      = "max-age=31536000" // AS-17; a year. Other hosts of the domain are not ours to decide about

	maxUserAgent = 256
	unrouted     = "none"
)

// front is what every request passes first.
type front struct {
	mux     *http.ServeMux
	trusted []netip.Prefix
	https   bool
	look    look
	log     *slog.Logger
	now     func() time.Time

	requests metric.Int64Counter
	duration metric.Float64Histogram
}

func (f *front) measure(provider metric.MeterProvider) (err error) {
	meter := provider.Meter(scope)
	if f.requests, err = meter.Int64Counter(obs.MetricRouterRequests, metric.WithUnit("{request}"),
		metric.WithDescription("HTTP requests by route and status.")); err != nil {
		return err
	}
	f.duration, err = meter.Float64Histogram(obs.MetricRouterDuration, metric.WithUnit("s"),
		metric.WithDescription("Time from a request to the end of its answer."))
	return err
}

// ServeHTTP gives a request its identifier and address and hands it to its route.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := f.now()
	info := reqctx.Info{ID: newID(), IP: clientIP(r, f.trusted), UserAgent: printable(r.UserAgent())}
	a := &answer{ResponseWriter: w, route: unrouted}
	a.Header().Set("X-Content-Type-Options", "nosniff")
	if f.https {
		a.Header().Set("Strict-Transport-Security", hsts)
	}
	r = r.WithContext(reqctx.With(r.Context(), info))
	defer func() { f.done(r, a, f.now().Sub(began)) }() // also when the handler ends the connection

	switch {
	case len(r.URL.RawQuery) > maxQuery:
		f.tooLong(a, r)
	case !isClean(r.URL.Path): // ServeMux would redirect
		f.notFound(a, r)
	default:
		f.mux.ServeHTTP(a, r)
	}
}

// tooLong answers in the form of the route, which has not been found yet: what people are sent to by an app is a page,
// whatever their browser says it takes (AZ-1).
func (f *front) tooLong(a *answer, r *http.Request) {
	page := wantsPage(r)
	if h, _ := f.mux.Handler(r); h != nil {
		if e, ok := h.(*endpoint); ok {
			a.route, page = e.name, e.page
		}
	}
	f.look.refuse(a, r, page, tooLong())
}

// done records a request. Its path and query are no part of it: they may hold secrets.
func (f *front) done(r *http.Request, a *answer, took time.Duration) {
	route := attribute.String(attrRoute, a.route)
	f.requests.Add(r.Context(), 1, metric.WithAttributes(route, attribute.Int(obs.AttrStatus, a.code())))
	f.duration.Record(r.Context(), took.Seconds(), metric.WithAttributes(route))
	f.log.DebugContext(r.Context(), "request answered",
		obs.AttrRequestID, reqctx.From(r.Context()).ID, obs.AttrMethod, method(r.Method), attrRoute, a.route,
		obs.AttrStatus, a.code(), obs.AttrDuration, took)
}

// answer remembers what was answered.
type answer struct {
	http.ResponseWriter
	route  string
	status int // 0: nothing yet
}

// WriteHeader notes the status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK { // not the informational ones, of which there may be several
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write notes the status that goes without saying.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// newID returns 12 hexadecimal digits: enough to find one request in a day's log, short enough to be read out.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the process instead
	return hex.EncodeToString(b[:])
}

func printable(s string) string {
	kept := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if runes := []rune(kept); len(runes) > maxUserAgent {
		return string(runes[:maxUserAgent])
	}
	return kept
}

// isClean reports whether a path has no empty, "." or ".." elements.
func isClean(p string) bool {
	clean := path.Clean(p)
	return p == clean || clean != "/" && p == clean+"/"
}

// method returns a method as it is logged: clients may send anything.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	default:
		return "other"
	}
}
