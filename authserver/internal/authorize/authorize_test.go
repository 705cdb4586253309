// SPDX-License-Identifier: Apache-2.0

package authorize_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize"
	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
)

const callback = authorizetest.Callback

func world(t *testing.T, s authorizetest.Settings) *authorizetest.World {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "auth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return authorizetest.New(t, st, s)
}

// page checks that an answer is a page that leads nowhere, with the headers of AZ-16.
func page(t *testing.T, a authorizetest.Answer, status int, text string) {
	t.Helper()
	if a.Status != status || a.Header.Get("Location") != "" {
		t.Errorf("got %d with Location %q, want a page with %d", a.Status, a.Header.Get("Location"), status)
	}
	if !strings.Contains(a.Body, text) {
		t.Errorf("the page does not say %q:\n%s", text, a.Body)
	}
	if !strings.Contains(a.Body, authorizetest.RequestID) {
		t.Error("the page does not show the request's identifier")
	}
	headers(t, a)
}

func headers(t *testing.T, a authorizetest.Answer) {
	t.Helper()
	for name, value := range map[string]string{
		"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "",
	} {
		if got := a.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if policy := a.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'") ||
		!strings.HasSuffix(policy, "; frame-ancestors 'none'; base-uri 'none'") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
}

// refused checks that an answer is a redirect to the client with an error (AZ-20).
func refused(t *testing.T, a authorizetest.Answer, code, state string) {
	t.Helper()
	to, v := a.Location()
	if a.Status != http.StatusSeeOther || to != callback {
		t.Fatalf("got %d to %q, want 303 to the callback\n%s", a.Status, to, a.Body)
	}
	if v.Get("error") != code || v.Get("state") != state || v.Get("iss") != authorizetest.Issuer || v.Has("code") {
		t.Errorf("the answer is %v, want error %s, state %q and iss", v, code, state)
	}
	if !strings.Contains(a.Header.Get("Location"), "iss=https%3A%2F%2Fauth.example.com") {
		t.Errorf("iss is not in %q", a.Header.Get("Location"))
	}
	text := v.Get("error_description")
	if !strings.Contains(text, authorizetest.RequestID) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		t.Errorf("the description is %q", text)
	}
	headers(t, a)
}

func TestTaken(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	p := authorizetest.Params
	for name, ask := range map[string]url.Values{
		"plain":                    p("acme", callback),
		"state of one letter":      p("acme", callback, "state", "x"),
		"no state":                 p("acme", callback, "state", ""),
		"long state":               p("acme", callback, "state", strings.Repeat("s", 2048)),
		"no scope":                 p("acme", callback, "scope", ""),
		"response_mode query":      p("acme", callback, "response_mode", "query"),
		"parameters of OpenID":     p("acme", callback, "nonce", "n", "display", "page", "max_age", "5"),
		"offline_access":           p("acme", callback, "scope", "mcp offline_access"),
		"28 localhost, any port":   p("acme", "http://localhost:51004/callback"),
		"127.0.0.1, any port":      p("acme", "http://127.0.0.1:51004/callback"),
		"only redirect left out":   p("one", callback, "redirect_uri", ""),
		"resource with a slash":    p("acme", callback, "resource", authorizetest.ResourceA+"/"),
		"resource by uid":          p("acme", callback, "resource", "https://gw.example.com/v1/mcp/gw-a"),
		"resource in capitals":     p("acme", callback, "resource", "HTTPS://GW.example.com:443/v1/mcp/eng"),
		"no resource":              p("acme", callback, "resource", ""),
		"a redirect with a query":  p("query", "https://c.example/cb?tenant=1"),
		"a scheme of its own":      p("cursor", "cursor://anysphere.cursor-mcp/oauth/callback"),
		"a client with a secret":   p("secret", callback),
		"registered client, https": p("trusted", callback),
	} {
		t.Run(name, func(t *testing.T) {
			a := w.As("u1").Ask(ask)
			if to, v := a.Location(); a.Status != http.StatusSeeOther || to != consent.Path || v.Get("request") == "" {
				t.Errorf("got %d to %q, want the consent page", a.Status, a.Header.Get("Location"))
			}
			headers(t, a)
			a = w.Browser().Ask(ask)
			if to, v := a.Location(); a.Status != http.StatusSeeOther || to != "/login" || v.Get("request") == "" {
				t.Errorf("nobody logged in: got %d to %q, want the login page", a.Status, a.Header.Get("Location"))
			}
		})
	}
}

func TestPost(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	a := b.Do(authorize.Path, authorizetest.Params("acme", callback))
	if to, _ := a.Location(); a.Status != http.StatusSeeOther || to != consent.Path {
		t.Errorf("a form is not taken: %d %q", a.Status, to)
	}
	// Another site's form comes without the cookie of the login; the next page has it again.
	if to, _ := w.Browser().Do(authorize.Path, authorizetest.Params("acme", callback, "prompt", "none")).Location(); to != consent.Path {
		t.Errorf("a form without cookies leads to %q", to)
	}
	page(t, b.Do(authorize.Path+"?client_id=acme", authorizetest.Params("acme", callback)), 400, "client_id") // once in each
	page(t, b.Do(authorize.Path, authorizetest.Params("acme", callback, "x", strings.Repeat("x", 8<<10))), 413, "8 KiB")
	page(t, b.Do(authorize.Path, authorizetest.Params("acme", callback), func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }), 400, "form")
}

func TestLimitsAndMethods(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	// 22
	page(t, b.Ask(authorizetest.Params("acme", callback, "x", strings.Repeat("x", 9<<10))), 414, "8 KiB")
	page(t, b.Do(authorize.Path+"?client_id=%zz", nil), 400, "encoded")
	for _, method := range []string{http.MethodOptions, http.MethodHead, http.MethodPut} {
		a := b.Do(authorize.Path+"?"+authorizetest.Params("acme", callback).Encode(), nil, func(r *http.Request) { r.Method = method })
		if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET, POST" || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s answers %d %v", method, a.Status, a.Header)
		}
	}
}

// TestHostHeaders is row 19.
func TestHostHeaders(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	evil := func(r *http.Request) {
		r.Host = "evil.example"
		r.Header.Set("X-Forwarded-Host", "evil.example")
		r.Header.Set("Forwarded", "host=evil.example")
	}
	a := w.As("u1").Do(authorize.Path+"?"+authorizetest.Params("acme", callback, "scope", "nope").Encode(), nil, evil)
	refused(t, a, "invalid_scope", "st")
	b := w.As("u1")
	a = b.Do(authorize.Path+"?"+authorizetest.Params("acme", callback).Encode(), nil, evil)
	if to, _ := a.Location(); to != consent.Path {
		t.Errorf("the redirect goes to %q", to)
	}
	cookie := a.Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-penstock-request=psb_") || !strings.HasSuffix(cookie, "; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("the cookie is %q", cookie)
	}
	secret := a.Request()
	if p := b.Do(consent.Path+"?request="+secret, nil, evil); strings.Contains(p.Body, "evil") {
		t.Error("the page names a host of the request")
	}
}

// TestIssuers: an issuer may have a path, and may be on loopback without TLS (AS-2, AS-17).
func TestIssuers(t *testing.T) {
	for issuer, c := range map[string]struct{ base, cookie string }{
		"https://auth.example.com/t1": {"/t1", "__Host-penstock-request="},
		"http://127.0.0.1:8083":       {"", "penstock-request="},
	} {
		w := world(t, authorizetest.Settings{Issuer: issuer})
		b := w.Browser()
		a := b.Do(c.base+authorize.Path+"?"+authorizetest.Params("acme", callback).Encode(), nil)
		if to, _ := a.Location(); to != c.base+"/login" || !strings.HasPrefix(a.Header.Get("Set-Cookie"), c.cookie) {
			t.Errorf("%s: got %q and %q", issuer, a.Header.Get("Location"), a.Header.Get("Set-Cookie"))
		}
		a = b.Do(c.base+authorize.Path+"?"+authorizetest.Params("acme", callback, "scope", "nope").Encode(), nil)
		if _, v := a.Location(); v.Get("iss") != issuer {
			t.Errorf("%s: iss is %q", issuer, v.Get("iss"))
		}
		a = b.Do(c.base+authorize.Path+"?client_id=nobody", nil)
		if !strings.Contains(a.Body, `href="`+c.base+`/assets/pages.css"`) {
			t.Errorf("%s: the style sheet is elsewhere:\n%s", issuer, a.Body)
		}
	}
}

// TestPrompt is AZ-21.
func TestPrompt(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	none := authorizetest.Params("acme", callback, "prompt", "none")
	refused(t, w.Browser().Ask(none), "login_required", "st")
	b := w.As("u1")
	a, _ := b.Consent(none)
	refused(t, a, "consent_required", "st")
	b.Allow(authorizetest.Params("acme", callback))
	a, _ = b.Consent(none)
	if to, v := a.Location(); to != callback || v.Get("code") == "" {
		t.Errorf("with a login and consent, prompt=none answers %d %v", a.Status, a.Header)
	}
	// prompt=consent asks again.
	if a, _ = b.Consent(authorizetest.Params("acme", callback, "prompt", "consent")); a.Status != http.StatusOK {
		t.Errorf("prompt=consent answers %d", a.Status)
	}
	// prompt=login wants a login after the request.
	a = b.Ask(authorizetest.Params("acme", callback, "prompt", "login"))
	to, _ := a.Location()
	secret := a.Request()
	if to != "/login" {
		t.Fatalf("prompt=login leads to %q", to)
	}
	if to, v := b.Do(consent.Path+"?request="+secret, nil).Location(); to != "/login" || v.Get("request") != secret {
		t.Errorf("the old login is enough for prompt=login: %q", to)
	}
	d, err := w.Authz.Describe(t.Context(), secret)
	if err != nil || !d.Fresh {
		t.Errorf("the login page is not told to ask: %+v, %v", d, err)
	}
	w.Wait(time.Second)
	b.Login("u1")
	if _, v := b.Do(consent.Path+"?request="+secret, nil).Location(); v.Get("code") == "" {
		t.Error("the new login is not enough for prompt=login")
	}
}

func TestDescribe(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	secret := w.Browser().Ask(authorizetest.Params("acme", "http://localhost:51004/callback")).Request()
	d, err := w.Authz.Describe(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if d.Client != "Acme" || d.RedirectHost != "localhost" || !d.Loopback || d.Gateway != "Engineering" || d.FormAction != "http://localhost:51004" ||
		!d.Registered || d.Fresh || d.ClientHost != "" {
		t.Errorf("the request is described as %+v", d)
	}
	open := w.Browser().Ask(authorizetest.Params("acme", callback, "resource", "")).Request()
	if d, err := w.Authz.Describe(t.Context(), open); err != nil || d.Gateway != "" {
		t.Errorf("without a gateway: %+v, %v", d, err)
	}
	for _, bad := range []string{"", "psq_x", secret[:len(secret)-1]} {
		if _, err := w.Authz.Describe(t.Context(), bad); err == nil {
			t.Errorf("the request %q is described", bad)
		}
	}
	w.Wait(10 * time.Minute)
	if _, err := w.Authz.Describe(t.Context(), secret); err == nil {
		t.Error("a request is described after 10 minutes")
	}
}
