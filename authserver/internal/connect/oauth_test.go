// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/connect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
)

// browser is somebody's, with its cookies.
type browser struct {
	*world

	user    string
	cookies map[string]string
}

func (w *world) browser(user string) *browser {
	w.t.Helper()
	return &browser{w, user, map[string]string{}}
}

func (b *browser) send(method, path string, form url.Values) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.user != "" {
		r.AddCookie(cookie(pages.CookieName(issuer, pages.LoginCookie), b.user+"/secret"))
	}
	for name, value := range b.cookies {
		r.AddCookie(cookie(name, value))
	}
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return rec
}

func cookie(name, value string) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// jira makes a link of Ada's for jira.
func (w *world) jira() string {
	w.t.Helper()
	return w.linkOf(connect.Request{User: "u-ada", Server: "jira", Gateway: "eng", Asker: theNode()})
}

// away goes from a link to the authorization server and returns the path that the browser comes back to.
func (b *browser) away(path string) string {
	b.t.Helper()
	return b.visit(b.send(http.MethodPost, path, b.filled(b.want(b.user, http.MethodGet, path, nil, 200, "<h1>Connect "))))
}

// visit goes where a page leads to, and returns the path that the browser comes back to.
func (b *browser) visit(rec *httptest.ResponseRecorder) string {
	b.t.Helper()
	m := regexp.MustCompile(`href="(http[^"]+/authorize[^"]+)"`).FindStringSubmatch(rec.Body.String())
	if rec.Code != 200 || m == nil {
		b.t.Fatalf("no way to the authorization server: %d %s", rec.Code, rec.Body)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, html.UnescapeString(m[1]), http.NoBody)
	b.must(err)
	res, err := client.Do(r)
	b.must(err)
	_ = res.Body.Close()
	back, ok := strings.CutPrefix(res.Header.Get("Location"), issuer)
	if !ok {
		b.t.Fatalf("the answer goes to %q", res.Header.Get("Location"))
	}
	return back
}

// UP-4, EL-6: a person gives a grant; a node gets an access token of it, and the link is used up.
func TestConnectOAuth(t *testing.T) {
	w := newWorld(t)
	b := w.browser("u-ada")
	path := w.jira()
	back := b.away(path)
	if rec := b.send(http.MethodGet, back, nil); rec.Code != 200 || !strings.Contains(rec.Body.String(), done) {
		t.Fatalf("callback: %d %s", rec.Code, rec.Body)
	}
	if len(b.cookies) != 0 {
		t.Errorf("cookies are left: %v", b.cookies)
	}
	got, _ := w.plane.of("u-ada/jira")
	if !slices.Equal(got.Names, []string{"Authorization"}) {
		t.Errorf("the control plane has %+v", got)
	}
	secret, _, err := w.up.Resolve(t.Context(), "c-u-ada/jira", got.Version, false)
	if err != nil || !w.fake.Valid(secret.Headers["Authorization"].Reveal()) {
		t.Errorf("a node gets nothing of use: %v", err)
	}
	w.want("u-ada", http.MethodGet, path, nil, 410, "The link is over")
	if rec := b.send(http.MethodGet, back, nil); rec.Code != 400 {
		t.Errorf("the answer counts twice: %d", rec.Code)
	}
	w.fake.Check(t)
	w.checkSecrecy(append([]string{strings.TrimPrefix(path, "/connect/")}, w.fake.Secrets...)...)
}

// EL-6, UP-4, §16 157: what a callback refuses, with nothing stored; and whether the link is good afterwards.
func TestCallbackRefusals(t *testing.T) {
	edit := func(back string, change func(q url.Values)) string {
		path, query, _ := strings.Cut(back, "?")
		q, _ := url.ParseQuery(query)
		change(q)
		return path + "?" + q.Encode()
	}
	type row struct {
		name   string
		change func(w *world, b *browser, back string) string
		status int
		text   string
		event  string // the last one
	}
	over := "upstream.credential.failed refused state_unknown   "
	rows := []row{
		{"another browser", func(_ *world, b *browser, back string) string { clear(b.cookies); return back }, 400, "The connection is over", over},
		{"another state", func(_ *world, _ *browser, back string) string {
			return edit(back, func(q url.Values) { q.Set("state", strings.Repeat("A", 43)) })
		}, 400, "The connection is over", over},
		{"no state", func(_ *world, _ *browser, back string) string {
			return edit(back, func(q url.Values) { q.Del("state") })
		}, 400, "The connection is over", over},
		{"two states", func(_ *world, _ *browser, back string) string {
			return edit(back, func(q url.Values) { q.Add("state", "x") })
		}, 400, "The connection is over", over},
		{"another server's callback", func(_ *world, _ *browser, back string) string { return strings.Replace(back, "/jira?", "/other?", 1) }, 400, "The connection is over", over},
		{"eleven minutes later", func(w *world, _ *browser, back string) string { w.pass(11 * time.Minute); return back }, 400, "The connection is over", over},
		{"another iss", func(_ *world, _ *browser, back string) string {
			return edit(back, func(q url.Values) { q.Set("iss", "https://evil.example") })
		}, 400, "UPSTREAM_ISSUER_MISMATCH", "upstream.credential.failed refused upstream_issuer_mismatch u-ada  u-ada/jira"},
		{
			"no iss", func(_ *world, _ *browser, back string) string { return edit(back, func(q url.Values) { q.Del("iss") }) },
			400, "UPSTREAM_ISSUER_MISMATCH", "upstream.credential.failed refused upstream_issuer_mismatch u-ada  u-ada/jira",
		},
		{"refused", func(_ *world, _ *browser, back string) string {
			return edit(back, func(q url.Values) { q.Set("error", "access_denied") })
		}, 400, "Jira is not connected", "upstream.credential.failed refused upstream_refused u-ada  u-ada/jira"},
		{
			"another code", func(_ *world, _ *browser, back string) string {
				return edit(back, func(q url.Values) { q.Set("code", "x") })
			},
			400, "CREDENTIAL_DEAD", "upstream.credential.failed refused credential_dead u-ada  u-ada/jira",
		},
		{
			"somebody else is logged in", func(_ *world, b *browser, back string) string { b.user = "u-bob"; return back },
			403, "This link is not yours", "elicitation.user_mismatch refused user_mismatch u-bob  u-ada/jira",
		},
		{"nobody is logged in", func(_ *world, b *browser, back string) string { b.user = ""; return back }, 303, "", "elicitation.created ok  spiffe://x/node/n  u-ada/jira"},
		{"the server moved", func(w *world, _ *browser, back string) string {
			w.view = directory.NewView(directory.Content{
				Users:   []*directory.User{w.view.User("u-ada")},
				Servers: []*directory.Server{{UID: "s3", Name: "jira", URL: "https://evil.example/mcp", OAuth: &directory.OAuth{}}},
			})
			return back
		}, 400, "CREDENTIAL_DEAD", "upstream.credential.failed refused credential_dead u-ada  u-ada/jira"},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser("u-ada")
			back := tt.change(w, b, b.away(w.jira()))
			rec := b.send(http.MethodGet, back, nil)
			if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.text) {
				t.Errorf("got %d, want %d with %q: %s", rec.Code, tt.status, tt.text, rec.Body)
			}
			if list := w.events(); strings.TrimSpace(list[len(list)-1]) != strings.TrimSpace(tt.event) {
				t.Errorf("the last event is %q, want %q", list[len(list)-1], tt.event)
			}
			if w.plane.calls > 0 {
				t.Error("the control plane was told of something")
			}
			w.fake.Check(t)
			w.checkSecrecy(w.fake.Secrets...)
		})
	}
}

// UP-8: a link that a server's refusal of a call led to asks for what the server wants besides, and for all that the grant before was
// asked for with, if that is this person's for this server (MCP 2026-07-28 basic/authorization, step-up).
func TestDepartForMore(t *testing.T) {
	w := newWorld(t)
	const everybody = "read write offline_access"
	asked := func(r connect.Request, scope string) string {
		t.Helper()
		r.Gateway, r.Asker, r.Scope = "eng", theNode(), scope
		path := w.linkOf(r)
		b := w.browser(r.User)
		back := b.away(path)
		if rec := b.send(http.MethodGet, back, nil); rec.Code != 200 {
			t.Fatalf("callback: %d %s", rec.Code, rec.Body)
		}
		return w.fake.Scope()
	}
	ada := connect.Request{User: "u-ada", Server: "jira"}
	if got := asked(ada, ""); got != everybody {
		t.Errorf("asked for %q", got)
	}
	if got := asked(ada, "admin:x write"); got != everybody+" admin:x" {
		t.Errorf("asked for %q", got)
	}
	have, _ := w.plane.of("u-ada/jira")
	before := connect.Request{User: "u-ada", Server: "jira", Connection: "c-u-ada/jira", Version: have.Version}
	if got := asked(before, "third"); got != everybody+" admin:x third" {
		t.Errorf("asked for %q", got)
	}
	for name, r := range map[string]connect.Request{
		"another person":     {User: "u-bob", Server: "jira", Connection: "c-u-ada/jira", Version: have.Version},
		"another server":     {User: "u-ada", Server: "other", Connection: "c-u-ada/jira", Version: have.Version},
		"no such version":    {User: "u-ada", Server: "jira", Connection: "c-u-ada/jira", Version: "v_none"},
		"no such connection": {User: "u-ada", Server: "jira", Connection: "c-none", Version: have.Version},
	} {
		if got := asked(r, "third"); got != everybody+" third" {
			t.Errorf("%s: asked for %q", name, got)
		}
	}
}

// EL-6, §16 149: nobody but the link's person makes a state. §16 157: an authorization server that cannot be used is a page and
// an event with the reason, and the link stays good.
func TestDepart(t *testing.T) {
	w := newWorld(t)
	path := w.jira()
	ada, bob := w.browser("u-ada"), w.browser("u-bob")
	form := w.filled(w.want("u-ada", http.MethodGet, path, nil, 200, "Continue"))
	if rec := bob.send(http.MethodPost, path, form); rec.Code != 403 || len(bob.cookies) != 0 {
		t.Errorf("Bob is sent away: %d %v", rec.Code, bob.cookies)
	}
	w.fake.Set(upstreamfake.Behavior{Metadata: func(m map[string]any) { m["token_endpoint"] = "http://as.example/token" }})
	rec := ada.send(http.MethodPost, path, form)
	if rec.Code != 400 || !strings.Contains(rec.Body.String(), "UPSTREAM_INSECURE") || !strings.Contains(rec.Body.String(), "token endpoint is not an https URL") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if list := w.events(); list[len(list)-1] != "upstream.credential.failed refused upstream_insecure u-ada  u-ada/jira" {
		t.Errorf("events: %q", list)
	}
	w.fake.Set(upstreamfake.Behavior{})
	if rec := ada.send(http.MethodGet, ada.away(path), nil); rec.Code != 200 {
		t.Errorf("afterwards: %d %s", rec.Code, rec.Body)
	}
}
