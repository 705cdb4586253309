// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

const (
	maxPage = 1 << 20
	// saysConnected is on the page at the end of the way.
	saysConnected = "Connected. Go back to your client"
)

var (
	formField   = regexp.MustCompile(`name="(\w+)" value="([^"]*)"`)
	formAction  = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	buttonLink  = regexp.MustCompile(`<a class="button primary" href="([^"]+)"`)
	markup      = regexp.MustCompile(`(?s)(<head>.*?</head>|<[^>]*>|\s)+`)
	errNoButton = errors.New("the page leads nowhere")
)

// browser is one of the one person that all scenarios are run for. It follows redirects and fills in forms.
type browser struct {
	who  gateway.Person
	with *provider // that she logs in with where a link leads to it; nil if none does
	http *http.Client
	from atomic.Uint32

	mu sync.Mutex // one log-in at a time: all after the first find the cookie
}

func newBrowser(who gateway.Person, with *provider) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &browser{who: who, with: with}
	b.http = &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true, DialContext: b.dial}}
	return b, nil
}

// dial connects from ever other addresses of this machine. Penstock limits how many pages one address gets in a minute, and the
// person of all scenarios at once is as many people as there are scenarios.
func (b *browser) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+b.from.Add(1)%200))}}
	return d.DialContext(ctx, network, addr)
}

// refusedError is the page on which the way to connect a server ended.
type refusedError struct{ page string }

func (e *refusedError) Error() string { return "not connected: " + e.page }

// connect goes the whole way of a link: log in, agree, visit the authorization server or log in with the identity provider, if there
// is one, and come back. A [refusedError] says that Penstock did not go on.
func (b *browser) connect(ctx context.Context, link string) error {
	page, err := b.open(ctx, link)
	if err != nil {
		return err
	}
	if page, err = b.submit(ctx, b.who.Issuer, page, "/connect/", nil); err != nil {
		return err
	}
	m := buttonLink.FindStringSubmatch(page)
	if m == nil || strings.HasPrefix(m[1], "/") {
		return &refusedError{text(page)}
	}
	if page, err = b.get(ctx, html.UnescapeString(m[1])); err != nil {
		return err
	}
	if b.with != nil {
		account := url.Values{"username": {b.with.who.Username}, "password": {b.with.who.Password}}
		if page, err = b.submit(ctx, b.with.issuer, page, providerLogin, account); err != nil {
			return err
		}
	}
	if !strings.Contains(page, saysConnected) {
		return &refusedError{text(page)}
	}
	return nil
}

// open opens a link and logs in where that is asked for.
func (b *browser) open(ctx context.Context, link string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	page, err := b.get(ctx, link)
	if err != nil || !strings.Contains(page, `action="/login/password"`) {
		return page, err
	}
	return b.submit(ctx, b.who.Issuer, page, "/login/password", url.Values{"email": {b.who.Email}, "password": {b.who.Password}})
}

// submit sends the form of a page of that origin whose action begins so, filled in.
func (b *browser) submit(ctx context.Context, origin, page, action string, values url.Values) (string, error) {
	for part := range strings.SplitSeq(page, "</form>") {
		m := formAction.FindStringSubmatch(part)
		if m == nil || !strings.HasPrefix(m[1], action) {
			continue
		}
		form := url.Values{}
		for _, field := range formField.FindAllStringSubmatch(part, -1) {
			form.Set(field[1], html.UnescapeString(field[2]))
		}
		for name, value := range values {
			form[name] = value
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+html.UnescapeString(m[1]), strings.NewReader(form.Encode()))
		if err != nil {
			return "", err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return b.send(r)
	}
	return "", fmt.Errorf("%w: no form for %s: %s", errNoButton, action, text(page))
}

func (b *browser) get(ctx context.Context, at string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return "", err
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) (string, error) {
	response, err := b.http.Do(r)
	if err != nil {
		return "", err
	}
	page, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return string(page), errors.Join(err, response.Body.Close())
}

// text is what a person reads on a page.
func text(page string) string { return strings.TrimSpace(markup.ReplaceAllString(page, " ")) }
