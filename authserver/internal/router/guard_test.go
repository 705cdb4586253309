// SPDX-License-Identifier: Apache-2.0

package router_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/router"
)

func TestLimits(t *testing.T) {
	h := newRouter(t, func(c *router.Config) {
		l, err := limit.New(limit.Config{Rates: map[string]limit.Rate{
			limit.Login: {PerMinute: 1, Burst: 2}, limit.Token: {PerMinute: 60, Burst: 100}, limit.TokenClient: {PerMinute: 6, Burst: 2},
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.Limiter = l
	})
	// §16 row 55.
	for i := range 21 {
		r := ask(h, "POST", "/api/auth/oauth2/register", "{}")
		if i < 20 && r.StatusCode != 200 || i == 20 && r.StatusCode != 429 {
			t.Fatalf("registration %d: %d", i+1, r.StatusCode)
		}
		if i == 20 {
			if got := r.Body; r.Header.Get("Retry-After") != "3" || !strings.HasPrefix(got, `{"error":"too_many_requests",`) {
				t.Errorf("Retry-After %q, %s", r.Header.Get("Retry-After"), got)
			}
		}
	}
	for range 2 {
		ask(h, "GET", "/login", "")
	}
	r := ask(h, "GET", "/login", "")
	if r.StatusCode != 429 || r.Header.Get("Retry-After") != "60" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		t.Errorf("third page: %d, %v", r.StatusCode, r.Header)
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for range 2 {
		r := ask(h, "POST", "/api/auth/oauth2/token", "client_id=c1&code=x", form...)
		if got := r.Body; got != "token POST  19 <nil>" {
			t.Errorf("the handler read %q", got)
		}
	}
	if r := ask(h, "POST", "/api/auth/oauth2/token", "client_id=c1", form...); r.StatusCode != 429 {
		t.Errorf("third request of a client: %d", r.StatusCode)
	}
	if r := ask(h, "POST", "/api/auth/oauth2/token", "", "Authorization", "Basic YzE6eA=="); r.StatusCode != 429 {
		t.Errorf("third request of a client, in HTTP Basic: %d", r.StatusCode)
	}
	if r := ask(h, "POST", "/api/auth/oauth2/token", "client_id=c2", form...); r.StatusCode != 200 {
		t.Errorf("request of another client: %d", r.StatusCode)
	}
}

// TestClientAddress is RL-4.
func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, tc := range []struct {
		name      string
		trusted   []netip.Prefix
		peer      string
		forwarded []string
		want      string
	}{
		{"nobody is trusted by default", nil, "10.1.1.1:1", []string{"203.0.113.9"}, "10.1.1.1"},
		{"a stranger is not believed", trusted, "198.51.100.7:1", []string{"203.0.113.9"}, "198.51.100.7"},
		{"one proxy", trusted, "10.1.1.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client wrote before", trusted, "10.1.1.1:1", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", trusted, "10.1.1.1:1", []string{"1.2.3.4, 203.0.113.9, 10.2.2.2"}, "203.0.113.9"},
		{"two lines are one list", trusted, "10.1.1.1:1", []string{"1.2.3.4", "203.0.113.9, 10.2.2.2"}, "203.0.113.9"},
		{"only proxies", trusted, "10.1.1.1:1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"no header", trusted, "10.1.1.1:1", nil, "10.1.1.1"},
		{"no address ends the list", trusted, "10.1.1.1:1", []string{"203.0.113.9, unknown, 10.2.2.2"}, "10.2.2.2"},
		{"with ports", trusted, "10.1.1.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"IPv6", trusted, "[2001:db8::1]:1", []string{"[2001:470::9]:4711"}, "2001:470::9"},
		{"IPv6 in brackets", trusted, "[2001:db8::1]:1", []string{"[2001:470::9]"}, "2001:470::9"},
		{"IPv4 in IPv6", trusted, "[::ffff:10.1.1.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"no TCP", trusted, "pipe", []string{"203.0.113.9"}, "invalid IP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newRouter(t, func(c *router.Config) { c.TrustedProxies = tc.trusted })
			r := httptest.NewRequest("GET", "/login", nil)
			r.RemoteAddr = tc.peer
			for _, f := range tc.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Header().Get("Echo-IP"); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	h := newRouter(t, func(c *router.Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	r := ask(h, "GET", "/panic/json", "")
	got := r.Body
	if r.StatusCode != 500 || !regexp.MustCompile(`^\{"error":"server_error","error_description":".* Request [0-9a-f]{12}\."\}\n$`).MatchString(got) {
		t.Errorf("%d %s", r.StatusCode, got)
	}
	if text := log.String(); !strings.Contains(text, `"handler panicked"`) || strings.Contains(text, "psr_secret") {
		t.Errorf("log: %s", text)
	}
}

// TestPanicWithinAnAnswer: the connection ends, so that nobody takes half an answer for a whole one.
func TestPanicWithinAnAnswer(t *testing.T) {
	h := newRouter(t, func(c *router.Config) {
		c.Routes = []router.Route{{Methods: "GET", Path: "/half", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("half"))
			panic("no")
		})}}
	})
	s := httptest.NewServer(h)
	defer s.Close()
	r, err := s.Client().Get(s.URL + "/half")
	if err == nil {
		_, err = io.ReadAll(r.Body)
		r.Body.Close()
	}
	if err == nil {
		t.Error("the client got a whole answer")
	}
}

// TestLogAndMetric: neither path nor query is in them, only the route.
func TestLogAndMetric(t *testing.T) {
	var log bytes.Buffer
	reader := sdkmetric.NewManualReader()
	h := newRouter(t, func(c *router.Config) {
		c.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	})
	ask(h, "GET", "/login/callback/canary?code=canary", "", "Authorization", "Bearer canary")
	ask(h, "CANARY", "/canary", "")
	if text := log.String(); strings.Contains(strings.ToLower(text), "canary") || !strings.Contains(text, `"route":"/login/callback/{provider}"`) {
		t.Errorf("log: %s", text)
	}
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int64)
	for _, m := range got.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "penstock_router_requests_total" {
			for _, p := range sum.DataPoints {
				route, _ := p.Attributes.Value("route")
				status, _ := p.Attributes.Value("status")
				counts[fmt.Sprint(route.AsString(), " ", status.AsInt64())] += p.Value
			}
		}
	}
	if fmt.Sprint(counts) != "map[/login/callback/{provider} 200:1 none 404:1]" {
		t.Errorf("counts are %v", counts)
	}
}

// TestAbort: a handler may end the connection, which is no panic to be logged or answered.
func TestAbort(t *testing.T) {
	var log bytes.Buffer
	h := newRouter(t, func(c *router.Config) {
		c.Log = slog.New(slog.NewJSONHandler(&log, nil))
		c.Routes = []router.Route{{Methods: "GET", Path: "/end", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		})}}
	})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
			t.Errorf("the server sees %v", p)
		}
		if log.Len() > 0 {
			t.Errorf("log: %s", log.String())
		}
	}()
	ask(h, "GET", "/end", "")
}

// Refusals of the router itself find the style sheet of an issuer with a path.
func TestRefusalsKnowTheBase(t *testing.T) {
	h := newRouter(t, func(c *router.Config) { c.Issuer = issuer + "/t1" })
	for _, path := range []string{"/t1/nothing", "/t1//x", "/t1/login?" + strings.Repeat("x", 9<<10), "/t1/panic"} {
		if a := ask(h, "GET", path, "", "Accept", "text/html"); !strings.Contains(a.Body, `href="/t1/assets/pages.css"`) {
			t.Errorf("%.12s: %d %s", path, a.StatusCode, a.Body)
		}
	}
	if a := ask(h, "DELETE", "/t1/login", ""); !strings.Contains(a.Body, `href="/t1/assets/pages.css"`) {
		t.Errorf("405: %d %s", a.StatusCode, a.Body)
	}
}

// Row 22: a query that is too long is answered as the route answers.
func TestLongQueries(t *testing.T) {
	h := newRouter(t, nil)
	long := "?x=" + strings.Repeat("x", 9<<10)
	for path, kind := range map[string]string{
		"/api/auth/oauth2/authorize": "text/html; charset=utf-8", "/api/auth/oauth2/token": "application/json",
		"/.well-known/oauth-authorization-server": "application/json", "/nothing": "application/json", "/login//x": "application/json",
	} {
		if a := ask(h, "GET", path+long, ""); a.StatusCode != 414 || a.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %q", path, a.StatusCode, a.Header.Get("Content-Type"))
		}
	}
}
