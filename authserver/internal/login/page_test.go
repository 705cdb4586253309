// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// kept is what a browser is told of a cookie.
type kept struct {
	Path, Domain     string
	MaxAge           int
	Secure, HTTPOnly bool
	SameSite         http.SameSite
}

// TestCookies is AZ-15.
func TestCookies(t *testing.T) {
	for _, tc := range []struct {
		issuer, prefix string
		secure         bool
	}{{"https://auth.example.com", "__Host-", true}, {"http://127.0.0.1:8083", "", false}} {
		t.Run(tc.issuer, func(t *testing.T) {
			w := newWorld(t, func(c *login.Config) { c.Issuer = tc.issuer })
			w.setPassword("bob-uid", goodPassword)
			b := w.browser()
			got := make(map[string]kept)
			keep := func() {
				for _, c := range b.set {
					name := c.Name
					if strings.Contains(name, "federation") {
						name = name[:strings.LastIndexByte(name, '-')]
					}
					got[name] = kept{c.Path, c.Domain, c.MaxAge, c.Secure, c.HttpOnly, c.SameSite}
				}
			}
			f := b.form("req1")
			keep()
			b.post("/login/provider/okta", f)
			keep()
			f.Set("email", "bob@example.com")
			f.Set("password", goodPassword)
			b.post("/login/password", f)
			keep()
			one := func(life time.Duration) kept {
				return kept{"/", "", int(life / time.Second), tc.secure, true, http.SameSiteLaxMode}
			}
			want := map[string]kept{
				tc.prefix + "penstock-browser": one(0), tc.prefix + "penstock-federation": one(10 * time.Minute), tc.prefix + "penstock-login": one(7 * 24 * time.Hour),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if b.current() != "bob-uid" {
				t.Error("nobody is logged in")
			}
		})
	}
}

// TestIssuerWithPath: every address is below the issuer's path, that of the callback too.
func TestIssuerWithPath(t *testing.T) {
	w := newWorld(t, func(c *login.Config) { c.Issuer = issuer + "/t1" })
	w.idp.Client.RedirectURI = issuer + "/t1/login/callback/okta"
	b := w.browser()
	page := b.get("/t1/login?request=req1").Body
	for _, want := range []string{`action="/t1/login/password"`, `action="/t1/login/provider/okta"`, `href="/t1/assets/pages.css"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s: %s", want, page)
		}
	}
	csrf := pages.CSRF(b.cookies["__Host-penstock-browser"], "login", "req1")
	away := b.post("/t1/login/provider/okta", url.Values{"csrf": {csrf}, "request": {"req1"}}).Body
	if !strings.Contains(away, url.QueryEscape(w.idp.Client.RedirectURI)) || !strings.Contains(away, `href="/t1/assets/pages.css"`) {
		t.Errorf("redirect_uri or the style sheet is missing in %s", away)
	}
	if over := b.get("/t1/login?request=gone").Body; !strings.Contains(over, `href="/t1/assets/pages.css"`) {
		t.Errorf("no style sheet in %s", over)
	}
}

// TestLoginPage: what it shows, and its headers (AZ-16).
func TestLoginPage(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	answer := b.get("/login?request=req1")
	text := answer.Body
	for _, want := range []string{"Inspector", "client.example", "Engineering", "Continue with Okta", `name="password"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	want := http.Header{
		"Content-Security-Policy": {"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https://client.example https:; frame-ancestors 'none'; base-uri 'none'"},
		"X-Frame-Options":         {"DENY"}, "Referrer-Policy": {"no-referrer"}, "Cache-Control": {"no-store"},
	}
	for name, value := range want {
		if diff := cmp.Diff(value, answer.Header[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if !strings.Contains(b.get("/login").Body, "Continue with Okta") {
		t.Error("the page without a request has no provider")
	}
}

func TestRequestsThatAreNot(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	good := b.form("req1")
	for request, status := range map[string]int{"gone": 400, strings.Repeat("x", 600): 400, "down": 503} {
		answer := b.get("/login?request=" + request)
		if text := answer.Body; answer.StatusCode != status || answer.Header.Get("Location") != "" || strings.Contains(text, "<form") {
			t.Errorf("%s: %d %s", request[:4], answer.StatusCode, text)
		}
	}
	// The request was answered while the form was open.
	gone := url.Values{"request": {"gone"}, "csrf": {pages.CSRF(b.cookies["__Host-penstock-browser"], "login", "gone")}}
	for _, target := range []string{"/login/password", "/login/provider/okta"} {
		if answer := b.post(target, gone); answer.StatusCode != 400 {
			t.Errorf("%s: %d", target, answer.StatusCode)
		}
	}
	if good.Get("csrf") == "" {
		t.Error("no token in the form")
	}
}

// TestNoDirectory: before its first state nobody logs in, and nobody is logged out.
func TestNoDirectory(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	b.federate("req1")
	back := b.visit(b.away("req1"))
	view := w.plane.view.Swap(nil)
	for _, target := range []string{"/login?request=req1", "/login", back} {
		if answer := b.get(target); answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "5" {
			t.Errorf("%s: %d %q", target, answer.StatusCode, answer.Header.Get("Retry-After"))
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Add("Cookie", loginCookie+"="+b.cookies[loginCookie])
	if l, err := w.login.Current(r); l != nil || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v, %v", l, err)
	}
	w.plane.view.Store(view)
	if b.current() != "alice-uid" {
		t.Error("alice was logged out")
	}
	if answer := b.get(back); answer.StatusCode != 303 {
		t.Errorf("the login that was under way: %d", answer.StatusCode)
	}
}
