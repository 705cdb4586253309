// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of tests

func render(method string, p pages.Page) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/x", nil)
	r = r.WithContext(reqctx.With(r.Context(), reqctx.Info{ID: "3f9c1a0b7e42"}))
	w := httptest.NewRecorder()
	pages.Render(w, r, p)
	return w
}

func TestGolden(t *testing.T) {
	for name, page := range samples() {
		t.Run(name, func(t *testing.T) {
			got := render(http.MethodGet, page).Body.String()
			file := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("the page differs from its golden file (-want +got):\n%s", d)
			}
		})
	}
}

// TestPagesAreWhole checks what holds for every page: AZ-16, AU-6, no script, a heading, labelled fields, and nothing that
// html/template had to give up on.
func TestPagesAreWhole(t *testing.T) {
	actions := map[string]string{
		"login": " https://client.example https:", "login-provider": " http://localhost:51004 https:", "consent": " http://localhost:51004 https:",
		"consent-escaped": " https://client.example https:", "consent-app": " cursor: https:", "button": " https://client.example https:",
		"open": " cursor: https:", "open-denied": " cursor: https:",
	}
	for name, page := range samples() {
		t.Run(name, func(t *testing.T) {
			res := render(http.MethodGet, page)
			want := map[string]string{
				"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'" + actions[name] +
					"; frame-ancestors 'none'; base-uri 'none'",
				"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
				"Content-Type": "text/html; charset=utf-8", "Location": "",
			}
			for key, value := range want {
				if got := res.Header().Get(key); got != value {
					t.Errorf("%s is %q, want %q", key, got, value)
				}
			}
			status := page.Status
			if status == 0 {
				status = http.StatusOK
			}
			if res.Code != status {
				t.Errorf("status is %d, want %d", res.Code, status)
			}
			body := res.Body.String()
			if strings.Count(body, "<h1>") != 1 || !strings.Contains(body, "<code>3f9c1a0b7e42</code>") {
				t.Error("the page has not one heading and the request's identifier")
			}
			for _, bad := range []string{"<script", "style=", "ZgotmplZ", "#Zgot", "onclick"} {
				if strings.Contains(body, bad) {
					t.Errorf("the page holds %q", bad)
				}
			}
			for _, input := range regexp.MustCompile(`<input id="(\w+)"`).FindAllStringSubmatch(body, -1) {
				if !strings.Contains(body, `<label for="`+input[1]+`">`) {
					t.Errorf("the field %s has no label", input[1])
				}
			}
		})
	}
}

func TestHead(t *testing.T) {
	res := render(http.MethodHead, samples()["error"])
	if res.Body.Len() != 0 || res.Code != http.StatusBadRequest {
		t.Errorf("HEAD answers %d with the body %q", res.Code, res.Body)
	}
}

func TestAway(t *testing.T) {
	for url, want := range map[string]string{
		"https://idp.example/authorize?a=b&c=d": "0; url=https://idp.example/authorize?a=b&c=d",
		"javascript:alert(1)":                   "0; url=#",
	} {
		if got := render(http.MethodGet, pages.Page{Body: pages.AwayPage{Title: "P", URL: url}}).Header().Get("Refresh"); got != want {
			t.Errorf("Refresh is %q, want %q", got, want)
		}
	}
}

// TestNoDirectiveGetsIn checks that a source cannot end form-action.
func TestNoDirectiveGetsIn(t *testing.T) {
	h := make(http.Header)
	pages.SetHeaders(h, "https://a.example; script-src *", "https://b.example", "", "https://c.example,d")
	want := "form-action 'self' https://b.example https:; frame-ancestors"
	if got := h.Get("Content-Security-Policy"); !strings.Contains(got, want) || strings.Contains(got, "script-src") {
		t.Errorf("the policy is %q", got)
	}
}

func TestDangerousAddresses(t *testing.T) {
	for _, address := range []string{"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "//evil.example", "/x", "intent:x", ":"} {
		p := pages.Page{Body: pages.OpenPage{Destination: app(), URL: address}}
		if body := render(http.MethodGet, p).Body.String(); !strings.Contains(body, `href="#"`) {
			t.Errorf("the address %q got onto the page", address)
		}
	}
	p := pages.Page{Body: pages.OpenPage{Destination: app(), URL: `cursor://x/"><b>`}}
	if body := render(http.MethodGet, p).Body.String(); strings.Contains(body, "<b>") {
		t.Error("an address ends its attribute")
	}
}

func TestRedirect(t *testing.T) {
	w := httptest.NewRecorder()
	pages.Redirect(w, "/account")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/account" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
}

func TestAssets(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		kind   string
	}{
		"/assets/pages.css":          {200, "text/css; charset=utf-8"},
		"/t1/assets/pages.css":       {200, "text/css; charset=utf-8"},
		"/assets/icon.svg":           {200, "image/svg+xml"},
		"/assets/":                   {404, "text/html; charset=utf-8"},
		"/assets/none.css":           {404, "text/html; charset=utf-8"},
		"/assets/..":                 {404, "text/html; charset=utf-8"},
		"/assets/../templates/x.css": {404, "text/html; charset=utf-8"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		pages.Assets().ServeHTTP(w, r)
		if w.Code != want.status || w.Header().Get("Content-Type") != want.kind || w.Header().Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: got %d %v", path, w.Code, w.Header())
		}
	}
}

func TestCookies(t *testing.T) {
	for _, c := range []struct{ issuer, base, name, want string }{
		{"https://auth.example.com", "a", "__Host-a", "__Host-a=v; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax"},
		{"http://127.0.0.1:8083", "a", "a", "a=v; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"},
	} {
		if got := pages.Cookie(c.issuer, c.base, "v", 10*time.Minute).String(); got != c.want || pages.CookieName(c.issuer, c.base) != c.name {
			t.Errorf("got %q, want %q", got, c.want)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Add("Cookie", c.name+"=v")
		if got := pages.CookieValue(r, c.issuer, c.base); got != "v" {
			t.Errorf("the cookie reads %q", got)
		}
		r.Header.Add("Cookie", c.name+"=w")
		if got := pages.CookieValue(r, c.issuer, c.base); got != "" {
			t.Errorf("of two cookies one reads %q", got)
		}
	}
	if c := pages.Cookie("https://a.example", "a", "", -1); c.MaxAge != -1 {
		t.Error("the cookie is not removed")
	}
	if c := pages.Cookie("https://a.example", "a", "", 0); c.MaxAge != 0 {
		t.Error("the cookie outlives the browser")
	}
}

func TestCSRF(t *testing.T) {
	token := pages.CSRF("secret", "a", "b")
	if !pages.ValidCSRF(token, "secret", "a", "b") {
		t.Error("the token is not valid")
	}
	for name, bad := range map[string]bool{
		"another secret":  pages.ValidCSRF(token, "secret2", "a", "b"),
		"about else":      pages.ValidCSRF(token, "secret", "a", "c"),
		"joined":          pages.ValidCSRF(token, "secret", "ab"),
		"no secret":       pages.ValidCSRF(pages.CSRF("", "a"), "", "a"),
		"no token":        pages.ValidCSRF("", "secret", "a", "b"),
		"cut":             pages.ValidCSRF(token[1:], "secret", "a", "b"),
		"moved separator": pages.ValidCSRF(pages.CSRF("secret", "a", "bc"), "secret", "ab", "c"),
	} {
		if bad {
			t.Errorf("%s is valid", name)
		}
	}
}

func TestBase(t *testing.T) {
	for issuer, want := range map[string]string{"https://a.example": "", "https://a.example/": "", "https://a.example/t1": "/t1", "http://127.0.0.1:8083/t1/": "/t1", ":": ""} {
		if got := pages.Base(issuer); got != want {
			t.Errorf("the base of %q is %q, want %q", issuer, got, want)
		}
	}
}
