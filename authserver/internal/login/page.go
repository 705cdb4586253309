// SPDX-License-Identifier: Apache-2.0

package login

import (
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
)

const (
	// browserCookie is the base of the name of the cookie that login forms are bound to, before anybody is logged in.
	browserCookie = "penstock-browser"

	formAbout  = "login" // what the token of a login form is about, with the request
	maxRequest = 512
)

// Page serves [PagePath]: who are you? A request is the secret of the authorization request that waits; without one, the
// person came by herself and goes to her account.
func (l *Login) Page(w http.ResponseWriter, r *http.Request) {
	request := r.URL.Query().Get("request")
	if request == "" {
		current, err := l.Current(r)
		if err != nil {
			l.failed(w, r, err)
			return
		}
		if current != nil {
			pages.Redirect(w, l.base+accountPath)
			return
		}
	}
	view, destination, ok := l.open(w, r, request)
	if !ok {
		return
	}
	browser := l.browser(r)
	if browser == "" {
		browser = newSecret()
		http.SetCookie(w, pages.Cookie(l.c.Issuer, browserCookie, browser, 0))
	}
	l.ask(w, r, http.StatusOK, form{view: view, destination: destination, browser: browser, request: request})
}

// form is a login page to be filled in.
type form struct {
	view        *directory.View
	destination *pages.Destination
	browser     string // secret of the browser's cookie
	request     string
	email       string
	problem     string
}

func (l *Login) ask(w http.ResponseWriter, r *http.Request, status int, f form) {
	p := pages.LoginPage{
		Destination: f.destination, Email: f.email, Request: f.request, Error: f.problem, CSRF: pages.CSRF(f.browser, formAbout, f.request),
	}
	for _, one := range f.view.Providers() {
		p.Buttons = append(p.Buttons, pages.LoginButton{Title: one.Title(), Action: l.base + providerPrefix + one.Name})
	}
	if l.c.LocalUsers {
		p.PasswordAction = l.base + PasswordPath
	}
	pages.Render(w, r, pages.Page{Status: status, Base: l.base, Body: p})
}

// open returns what a login form is for, or answers. The destination is nil without a request.
func (l *Login) open(w http.ResponseWriter, r *http.Request, request string) (*directory.View, *pages.Destination, bool) {
	view, err := l.view()
	if err != nil {
		l.failed(w, r, err)
		return nil, nil, false
	}
	if request == "" {
		return view, nil, true
	}
	if len(request) > maxRequest {
		l.over(w, r)
		return nil, nil, false
	}
	d, err := l.c.Destinations.Describe(r.Context(), request)
	switch {
	case err == nil:
		return view, &d, true
	case isOver(err):
		l.over(w, r)
	default:
		l.failed(w, r, err)
	}
	return nil, nil, false
}

// posted reads a posted login form and checks that this browser was shown it (AZ-15), or answers.
func (l *Login) posted(w http.ResponseWriter, r *http.Request) (form, bool) {
	if err := r.ParseForm(); err != nil {
		l.refuse(w, r, http.StatusBadRequest, pages.ErrorPage{Title: "The form cannot be read", Text: "Go back and try again."})
		return form{}, false
	}
	f := form{browser: l.browser(r), request: r.PostForm.Get("request")}
	if !pages.ValidCSRF(r.PostForm.Get("csrf"), f.browser, formAbout, f.request) {
		l.foreign(w, r, f.request)
		return form{}, false
	}
	var ok bool
	f.view, f.destination, ok = l.open(w, r, f.request)
	return f, ok
}

// browser returns the secret of the browser's cookie, empty if there is none that this room made.
func (l *Login) browser(r *http.Request) string {
	secret := pages.CookieValue(r, l.c.Issuer, browserCookie)
	if _, ok := secretHash(secret); !ok {
		return ""
	}
	return secret
}

func query(name, value string) string { return url.Values{name: {value}}.Encode() }
