// SPDX-License-Identifier: Apache-2.0

package authorizetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Update implements [store.OAuth].
func (d *Down) Update(ctx context.Context, fn func(ctx context.Context, tx store.OAuthTx) error) error {
	if d.broken.Load() {
		return fault.New(fault.Unavailable, "STORE_AWAY", "The store cannot be reached.")
	}
	return d.OAuth.Update(ctx, fn)
}

// Logins are those of the store: a cookie's value is its secret.
type Logins struct {
	Store  store.OAuthReader
	Issuer string
}

// Current implements the interface of authorize and consent.
func (l Logins) Current(r *http.Request) (*store.Login, error) {
	secret := pages.CookieValue(r, l.Issuer, pages.LoginCookie)
	if secret == "" {
		return nil, nil //nolint:nilnil // nobody is logged in
	}
	login, err := l.Store.Login(r.Context(), sha256.Sum256([]byte(secret)))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil, nil //nolint:nilnil,nilerr // nobody is logged in
	}
	return &login, err
}

// Browser keeps cookies.
type Browser struct {
	W       *World
	Cookies map[string]string
}

// Browser returns an empty browser.
func (w *World) Browser() *Browser { return &Browser{W: w, Cookies: make(map[string]string)} }

// As returns a browser that a user (uid) is logged in with.
func (w *World) As(user string) *Browser {
	w.T.Helper()
	b := w.Browser()
	b.Login(user)
	return b
}

// Login logs a user in now.
func (b *Browser) Login(user string) {
	b.W.T.Helper()
	secret := rand.Text()
	err := b.W.Store.Update(b.W.T.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutLogin(ctx, store.Login{
			Hash: sha256.Sum256([]byte(secret)), User: user, Provider: "okta", AMR: []string{"pwd", "otp"},
			AuthTime: b.W.now, UseTime: b.W.now, ExpireTime: b.W.now.Add(12 * time.Hour),
		})
	})
	if err != nil {
		b.W.T.Fatal(err)
	}
	b.Cookies[pages.CookieName(Issuer, pages.LoginCookie)] = secret
}

// Clone returns another tab or another browser with the same cookies.
func (b *Browser) Clone() *Browser { return &Browser{W: b.W, Cookies: maps.Clone(b.Cookies)} }

// Answer is an answer with its body.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Location returns where it redirects to, without and with its parameters.
func (a Answer) Location() (string, url.Values) {
	before, query, _ := strings.Cut(a.Header.Get("Location"), "?")
	values, _ := url.ParseQuery(query)
	return before, values
}

// Request returns the secret of the request that a redirect to another page names.
func (a Answer) Request() string {
	_, v := a.Location()
	return v.Get("request")
}

// Do sends a request. A form makes it a POST.
func (b *Browser) Do(target string, form url.Values, change ...func(*http.Request)) Answer {
	b.W.T.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.Cookies {
		r.Header.Add("Cookie", name+"="+value)
	}
	for _, f := range change {
		f(r)
	}
	r = r.WithContext(reqctx.With(b.W.T.Context(), reqctx.Info{ID: RequestID, IP: netip.MustParseAddr("192.0.2.7"), UserAgent: "test"}))
	rec := httptest.NewRecorder()
	b.W.Handler.ServeHTTP(rec, r)
	res := rec.Result()
	for _, c := range res.Cookies() {
		b.Cookies[c.Name] = c.Value
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: rec.Body.String()}
}

// Params returns a good authorization request of a client, with changes: pairs of a name and a value, where "" leaves the
// parameter out.
func Params(client, redirectURI string, changes ...string) url.Values {
	v := url.Values{
		"client_id": {client}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "code_challenge": {Challenge},
		"code_challenge_method": {"S256"}, "state": {"st"}, "scope": {"mcp"}, "resource": {ResourceA},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			v.Del(changes[i])
			continue
		}
		v.Set(changes[i], changes[i+1])
	}
	return v
}

// Ask sends an authorization request.
func (b *Browser) Ask(v url.Values) Answer {
	b.W.T.Helper()
	return b.Do(authorize.Path+"?"+v.Encode(), nil)
}

// Consent asks, and goes on to the consent page or what comes in its place.
func (b *Browser) Consent(v url.Values) (Answer, string) {
	b.W.T.Helper()
	a := b.Ask(v)
	secret := a.Request()
	if secret == "" {
		b.W.T.Fatalf("the request was not taken: %d %v\n%s", a.Status, a.Header, a.Body)
	}
	return b.Do(consent.Path+"?"+url.Values{"request": {secret}}.Encode(), nil), secret
}

// Form returns the form of a consent page with a decision.
func Form(page Answer, decision string) url.Values {
	v := url.Values{"decision": {decision}}
	for _, field := range regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`).FindAllStringSubmatch(page.Body, -1) {
		v.Set(field[1], field[2])
	}
	return v
}

// Allow asks and allows, and returns the answer.
func (b *Browser) Allow(v url.Values) Answer {
	b.W.T.Helper()
	page, _ := b.Consent(v)
	if page.Status != http.StatusOK || !strings.Contains(page.Body, `value="allow"`) {
		b.W.T.Fatalf("there is no consent page: %d %v\n%s", page.Status, page.Header, page.Body)
	}
	return b.Do(consent.Path, Form(page, "allow"))
}

// Events returns the audit events of an action.
func (w *World) Events(action string) []store.Event {
	w.T.Helper()
	all, err := w.Store.Audit(w.T.Context(), 0, 1000)
	if err != nil {
		w.T.Fatal(err)
	}
	var list []store.Event
	for _, one := range all {
		if one.Event.Action == action {
			list = append(list, one.Event)
		}
	}
	return list
}
