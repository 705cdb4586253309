// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// browser keeps cookies, as browsers do.
type browser struct {
	w       *world
	peer    string
	cookies map[string]string
	set     []*http.Cookie // of the last answer
}

func (w *world) browser() *browser {
	return &browser{w: w, peer: "192.0.2.1:1", cookies: make(map[string]string)}
}

func (b *browser) do(method, target string, form url.Values) answer {
	b.w.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.RemoteAddr = b.peer
	for name, value := range b.cookies {
		r.Header.Add("Cookie", name+"="+value)
	}
	w := httptest.NewRecorder()
	b.w.handler.ServeHTTP(w, r)
	result := w.Result()
	defer result.Body.Close()
	b.set = result.Cookies()
	for _, c := range b.set {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return answer{StatusCode: result.StatusCode, Header: result.Header, Body: w.Body.String()}
}

// answer is what a browser got.
type answer struct {
	StatusCode int
	Header     http.Header
	Body       string
}

func (b *browser) get(target string) answer { return b.do("GET", target, nil) }
func (b *browser) post(target string, form url.Values) answer {
	return b.do("POST", target, form)
}

// form opens a login page and returns its hidden fields.
func (b *browser) form(request string) url.Values {
	b.w.t.Helper()
	target := login.PagePath
	if request != "" {
		target += "?request=" + request
	}
	answer := b.get(target)
	if answer.StatusCode != http.StatusOK {
		b.w.t.Fatalf("login page: %d", answer.StatusCode)
	}
	fields := url.Values{}
	for _, m := range regexp.MustCompile(`name="(csrf|request)" value="([^"]*)"`).FindAllStringSubmatch(answer.Body, -1) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	return fields
}

// away opens a login page, chooses the provider, and returns where the browser is led.
func (b *browser) away(request string) string {
	b.w.t.Helper()
	answer := b.post("/login/provider/okta", b.form(request))
	text := answer.Body
	m := regexp.MustCompile(`href="(http://127[^"]*)"`).FindStringSubmatch(text)
	if answer.StatusCode != http.StatusOK || m == nil {
		b.w.t.Fatalf("choice of a provider: %d %s", answer.StatusCode, text)
	}
	return html.UnescapeString(m[1])
}

// visit lets the browser go to the provider, and returns the path that it is sent back to.
func (b *browser) visit(at string) string {
	b.w.t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := c.Get(at)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer answer.Body.Close()
	back, ok := strings.CutPrefix(answer.Header.Get("Location"), issuer)
	if !ok {
		b.w.t.Fatalf("the provider answers %d %v; mistakes: %v", answer.StatusCode, answer.Header, b.w.idp.Mistakes)
	}
	return back
}

// federate logs in at the provider and returns the last answer.
func (b *browser) federate(request string) answer {
	b.w.t.Helper()
	return b.get(b.visit(b.away(request)))
}

// current returns who is logged in, "" for nobody.
func (b *browser) current() string {
	b.w.t.Helper()
	l := b.login()
	if l == nil {
		return ""
	}
	return l.User
}

func (b *browser) login() *store.Login {
	b.w.t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range b.cookies {
		r.Header.Add("Cookie", name+"="+value)
	}
	l, err := b.w.login.Current(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return l
}
