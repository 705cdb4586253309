// SPDX-License-Identifier: Apache-2.0

package router_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/router"
)

const issuer = "https://auth.example.com"

// echo answers with what a handler sees of a request.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		i := reqctx.From(r.Context())
		w.Header().Set("Echo-IP", i.IP.String())
		w.Header().Set("Echo-ID", i.ID)
		w.Header().Set("Echo-Agent", i.UserAgent)
		w.Write(fmt.Appendf(nil, "%s %s %s %d %v", name, r.Method, r.PathValue("provider"), len(body), err)) //nolint:gosec // the test reads it
	})
}

// house is a table like the root's.
func house() []router.Route {
	return []router.Route{
		{Methods: "GET", Path: "/.well-known/oauth-authorization-server", Handler: echo("as"), CORS: true, WellKnown: true},
		{Methods: "GET", Path: "/.well-known/openid-configuration", Handler: echo("oidc"), CORS: true, WellKnown: true},
		{Methods: "GET", Path: "/api/auth/oauth2/authorize", Handler: echo("authorize"), Page: true},
		{Methods: "GET", Path: "/api/auth/oauth2/consent", Handler: echo("consent"), Page: true},
		{Methods: "POST", Path: "/api/auth/oauth2/consent", Handler: echo("decision"), Page: true},
		{
			Methods: "POST", Path: "/api/auth/oauth2/token", Handler: echo("token"), CORS: true, Bucket: limit.Token,
			Client: router.FormClient, ClientBucket: limit.TokenClient,
		},
		{Methods: "POST", Path: "/api/auth/oauth2/register", Handler: echo("register"), CORS: true, Bucket: limit.Register, MaxBody: 100},
		{Methods: "GET", Path: "/login", Handler: echo("login"), Page: true, Bucket: limit.Login},
		{Methods: "GET", Path: "/login/callback/{provider}", Handler: echo("callback"), Page: true},
		{Methods: "GET", Path: "/panic", Page: true, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("psr_secret") })},
		{Methods: "GET", Path: "/panic/json", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("psr_secret") })},
	}
}

func newRouter(t *testing.T, change func(*router.Config)) http.Handler {
	t.Helper()
	limiter, err := limit.New(limit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := router.Config{Issuer: issuer, Routes: house(), Limiter: limiter, Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider()}
	if change != nil {
		change(&c)
	}
	h, err := router.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// answer is what a client got.
type answer struct {
	StatusCode int
	Header     http.Header
	Body       string
}

func ask(h http.Handler, method, target, body string, header ...string) answer {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for pair := range slices.Chunk(header, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{StatusCode: w.Code, Header: w.Result().Header, Body: w.Body.String()}
}

func TestRoutes(t *testing.T) {
	h := newRouter(t, nil)
	for _, tc := range []struct {
		name, method, target string
		body                 string
		status               int
		want                 string // the body, or a part of a page
		allow                string
	}{
		{"get", "GET", "/login", "", 200, "login GET  0 <nil>", ""},
		{"head comes with get", "HEAD", "/login", "", 200, "login HEAD  0 <nil>", ""},
		{"a value in the path", "GET", "/login/callback/okta", "", 200, "callback GET okta 0 <nil>", ""},
		{"two routes of a path", "POST", "/api/auth/oauth2/consent", "a=b", 200, "decision POST  3 <nil>", ""},
		{"the other one", "GET", "/api/auth/oauth2/consent", "", 200, "consent GET  0 <nil>", ""},
		{
			"token is posted (AS-15)", "GET", "/api/auth/oauth2/token", "", 405,
			`{"error":"invalid_request","error_description":"This address takes POST only."}` + "\n", "POST",
		},
		{"page for another method", "DELETE", "/api/auth/oauth2/consent", "", 405, "This address takes GET, HEAD, POST only.", "GET, HEAD, POST"},
		{"unknown path", "GET", "/token", "", 404, `{"error":"not_found","error_description":"There is nothing at this address."}` + "\n", ""},
		{"no redirect to a clean path", "GET", "//login", "", 404, `"not_found"`, ""},
		{"no redirect out of dots", "GET", "/x/../login", "", 404, `"not_found"`, ""},
		{"a slash is another path", "GET", "/login/", "", 404, `"not_found"`, ""},
		{"query over 8 KiB", "GET", "/login?x=" + strings.Repeat("x", 9<<10), "", 414, `<code>invalid_request</code>`, ""},
		{
			"body too large", "POST", "/api/auth/oauth2/register", strings.Repeat("x", 101), 413,
			`{"error":"invalid_request","error_description":"The body of the request is larger than this address takes."}` + "\n", "",
		},
		{"body as large as may be", "POST", "/api/auth/oauth2/register", strings.Repeat("x", 100), 200, "register POST  100 <nil>", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := ask(h, tc.method, tc.target, tc.body)
			got := r.Body
			if r.StatusCode != tc.status || !strings.Contains(got, tc.want) || r.Header.Get("Allow") != tc.allow {
				t.Errorf("%d %q, Allow %q", r.StatusCode, got, r.Header.Get("Allow"))
			}
			if r.Header.Get("Location") != "" {
				t.Errorf("it leads to %s", r.Header.Get("Location"))
			}
			if hsts := r.Header.Get("Strict-Transport-Security"); hsts != "max-age=31536000" {
				t.Errorf("HSTS is %q", hsts)
			}
		})
	}
}

// TestBodyWithoutLength: a chunked body is cut off by the reader.
func TestBodyWithoutLength(t *testing.T) {
	r := httptest.NewRequest("POST", "/api/auth/oauth2/register", io.MultiReader(strings.NewReader(strings.Repeat("x", 200))))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	newRouter(t, nil).ServeHTTP(w, r)
	if got := w.Body.String(); got != "register POST  100 http: request body too large" {
		t.Error(got)
	}
}

// TestPages: what people see is a page with the headers of AZ-16.
func TestPages(t *testing.T) {
	h := newRouter(t, nil)
	for _, tc := range []struct {
		name, method, target string
		status               int
	}{
		{"unknown path in a browser", "GET", "/nothing", 404},
		{"method of a page", "PUT", "/login", 405},
		{"panic", "GET", "/panic", 500},
		{"query over 8 KiB in a browser", "GET", "/api/auth/oauth2/authorize?x=" + strings.Repeat("x", 9<<10), 414},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := ask(h, tc.method, tc.target, "", "Accept", "text/html,application/xhtml+xml;q=0.9")
			got := r.Body
			if r.StatusCode != tc.status || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("%d %s", r.StatusCode, r.Header.Get("Content-Type"))
			}
			if !regexp.MustCompile(`[0-9a-f]{12}`).MatchString(got) {
				t.Error("the page has no request number")
			}
			if r.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("headers are %v", r.Header)
			}
			if strings.Contains(got, "psr_secret") {
				t.Error("the page shows what the handler panicked with")
			}
		})
	}
}

// TestCORS is AS-14.
func TestCORS(t *testing.T) {
	h := newRouter(t, nil)
	for _, tc := range []struct {
		name, method, target, asked string
		status                      int
		origin, methods, headers    string
	}{
		{"preflight of the token endpoint", "OPTIONS", "/api/auth/oauth2/token", "POST", 204, "*", "POST", "Authorization, *"},
		{"preflight of metadata", "OPTIONS", "/.well-known/oauth-authorization-server", "GET", 204, "*", "GET, HEAD", "Authorization, *"},
		{"token", "POST", "/api/auth/oauth2/token", "", 200, "*", "", ""},
		{"a refusal can be read too", "GET", "/api/auth/oauth2/token", "", 405, "*", "", ""},
		{"preflight of authorize", "OPTIONS", "/api/auth/oauth2/authorize", "GET", 405, "", "", ""},
		{"authorize", "GET", "/api/auth/oauth2/authorize", "", 200, "", "", ""},
		{"login", "GET", "/login", "", 200, "", "", ""},
		{"preflight of login", "OPTIONS", "/login", "GET", 405, "", "", ""},
		{"consent", "POST", "/api/auth/oauth2/consent", "", 200, "", "", ""},
		{"nothing", "GET", "/nothing", "", 404, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := []string{"Origin", "https://inspector.example"}
			if tc.asked != "" {
				header = append(header, "Access-Control-Request-Method", tc.asked)
			}
			r := ask(h, tc.method, tc.target, "", header...)
			got := []string{
				r.Header.Get("Access-Control-Allow-Origin"), r.Header.Get("Access-Control-Allow-Methods"),
				r.Header.Get("Access-Control-Allow-Headers"),
			}
			if r.StatusCode != tc.status || fmt.Sprint(got) != fmt.Sprint([]string{tc.origin, tc.methods, tc.headers}) {
				t.Errorf("%d %q", r.StatusCode, got)
			}
			exposed := ""
			if tc.origin != "" {
				exposed = "WWW-Authenticate"
			}
			if e := r.Header.Get("Access-Control-Expose-Headers"); e != exposed {
				t.Errorf("exposed: %q", e)
			}
			if r.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("credentials are allowed")
			}
		})
	}
}

// TestIssuerWithPath is AS-2: metadata by insertion (both) and by appending (OpenID Connect), everything else below the path.
func TestIssuerWithPath(t *testing.T) {
	h := newRouter(t, func(c *router.Config) { c.Issuer = issuer + "/t1" })
	for target, status := range map[string]int{
		"/.well-known/oauth-authorization-server/t1": 200,
		"/.well-known/openid-configuration/t1":       200,
		"/t1/.well-known/openid-configuration":       200,
		"/t1/.well-known/oauth-authorization-server": 404,
		"/.well-known/oauth-authorization-server":    404,
		"/.well-known/openid-configuration":          404,
		"/t1/login":                                  200,
		"/t1/login/callback/okta":                    200,
		"/login":                                     404,
	} {
		if r := ask(h, "GET", target, ""); r.StatusCode != status {
			t.Errorf("%s: %d, want %d", target, r.StatusCode, status)
		}
	}
}

func TestRequestInfo(t *testing.T) {
	h := newRouter(t, nil)
	agent := "Mozilla/5.0 \u0001(é)" + strings.Repeat("x", 300)
	a := ask(h, "GET", "/login", "", "User-Agent", agent, "X-Request-Id", "mine")
	b := ask(h, "GET", "/login", "")
	id := a.Header.Get("Echo-ID")
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(id) || id == b.Header.Get("Echo-ID") {
		t.Errorf("identifiers are %q and %q", id, b.Header.Get("Echo-ID"))
	}
	if got, want := a.Header.Get("Echo-Agent"), "Mozilla/5.0 (é)"+strings.Repeat("x", 256-15); got != want {
		t.Errorf("user agent is %q", got)
	}
}

// TestNothingOfTheHost is AS-3: an answer does not depend on what the request says about hosts.
func TestNothingOfTheHost(t *testing.T) {
	h := newRouter(t, nil)
	r := ask(h, "GET", "http://evil.example/nothing", "", "Accept", "text/html", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http")
	if got := r.Body; strings.Contains(got, "evil") || r.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %v", got, r.Header)
	}
}

func TestPlainIssuerHasNoHSTS(t *testing.T) {
	h := newRouter(t, func(c *router.Config) { c.Issuer = "http://127.0.0.1:8083" })
	if r := ask(h, "GET", "/login", ""); r.Header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS on a plain issuer")
	}
}

func TestContradictions(t *testing.T) {
	ok := echo("")
	for _, tc := range []struct {
		name   string
		routes []router.Route
	}{
		{"two routes of a method", []router.Route{{Methods: "GET", Path: "/a", Handler: ok}, {Methods: "GET", Path: "/a", Handler: ok}}},
		{"page and JSON on a path", []router.Route{{Methods: "GET", Path: "/a", Handler: ok}, {Methods: "POST", Path: "/a", Handler: ok, Page: true}}},
		{"page with CORS", []router.Route{{Methods: "GET", Path: "/a", Handler: ok, Page: true, CORS: true}}},
		{"no handler", []router.Route{{Methods: "GET", Path: "/a"}}},
		{"no path", []router.Route{{Methods: "GET", Path: "a", Handler: ok}}},
		{"no method", []router.Route{{Path: "/a", Handler: ok}}},
		{"unknown method", []router.Route{{Methods: "OPTIONS", Path: "/a", Handler: ok}}},
		{"client without a name", []router.Route{{Methods: "GET", Path: "/a", Handler: ok, ClientBucket: limit.TokenClient}}},
		{"patterns that overlap", []router.Route{{Methods: "GET", Path: "/a/{x}/b", Handler: ok}, {Methods: "GET", Path: "/a/b/{x}", Handler: ok}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limiter, err := limit.New(limit.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := router.New(router.Config{
				Issuer: issuer, Routes: tc.routes, Limiter: limiter, Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider(),
			}); err == nil {
				t.Error("no error")
			}
		})
	}
}
