// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"crypto/sha256"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestLifeOfALogin(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []time.Duration // between uses
		good  bool            // after the last
	}{
		{"used at once", []time.Duration{0}, true},
		{"not used for almost 12 hours", []time.Duration{12*time.Hour - time.Minute}, true},
		{"not used for 12 hours", []time.Duration{12 * time.Hour}, false},
		{"used every 11 hours", []time.Duration{11 * time.Hour, 11 * time.Hour, 11 * time.Hour}, true},
		{"uses within a minute are not noted", []time.Duration{30 * time.Second, 12*time.Hour - 20*time.Second}, false},
		{"used for almost 7 days", append(repeat(11*time.Hour, 15), 2*time.Hour), true},
		{"used for 7 days", append(repeat(11*time.Hour, 15), 3*time.Hour), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			b := w.browser()
			b.federate("req1")
			for i, step := range tc.steps {
				w.pass(step)
				if good := b.current() == "alice-uid"; good != (tc.good || i < len(tc.steps)-1) {
					t.Errorf("step %d: %v", i, good)
				}
			}
		})
	}
}

func repeat(d time.Duration, n int) []time.Duration {
	var list []time.Duration
	for range n {
		list = append(list, d)
	}
	return list
}

// TestSessionOfTheProvider: a login keeps which session at the provider it came from, if that can be kept.
func TestSessionOfTheProvider(t *testing.T) {
	for name, tt := range map[string]struct {
		sid  any
		want string
	}{
		"named": {"s-1", "s-1"}, "not named": {nil, ""}, "a number": {7, ""}, "too long": {strings.Repeat("s", 256), ""},
		"no database can hold it": {"a\x00b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) {
				if tt.sid != nil {
					c["sid"] = tt.sid
				}
			}})
			b := w.browser()
			b.federate("req1")
			if n := b.login(); n == nil || n.Session != tt.want {
				t.Errorf("login %+v, want the session %q", n, tt.want)
			}
		})
	}
}

// TestDeactivation ends a login for good.
func TestDeactivation(t *testing.T) {
	for name, change := range map[string]func(p *plane){
		"deactivated": func(p *plane) {
			p.users[0] = user("alice-uid", "alice@example.com", p.users[0].Identities...)
			p.users[0].Deactivated = true
		},
		"gone": func(p *plane) { p.users = p.users[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			b := w.browser()
			b.federate("req1")
			var before []*directory.User
			w.plane.change(func(p *plane) { before = append(before, p.users...) })
			w.pass(2 * time.Minute)
			w.plane.change(change)
			if b.current() != "" {
				t.Error("still logged in")
			}
			w.plane.change(func(p *plane) { p.users = before })
			if b.current() != "" {
				t.Error("logged in again without a login")
			}
		})
	}
}

// TestLateDirectory: a user whom this process does not know yet is not logged in, and is once she is known.
func TestLateDirectory(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	b.federate("req1")
	all := w.plane.users
	w.plane.change(func(p *plane) { p.users = nil })
	if b.current() != "" {
		t.Error("logged in")
	}
	w.plane.change(func(p *plane) { p.users = all })
	if b.current() != "alice-uid" {
		t.Error("the login is gone")
	}
}

func TestEnd(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", goodPassword)
	one, two, bob := w.browser(), w.browser(), w.browser()
	one.federate("req1")
	two.federate("req1")
	bob.try("bob@example.com", goodPassword)
	if err := w.login.End(t.Context(), "alice-uid"); err != nil {
		t.Fatal(err)
	}
	if one.current() != "" || two.current() != "" || bob.current() != "bob-uid" {
		t.Errorf("logged in are %q, %q, %q", one.current(), two.current(), bob.current())
	}
}

// TestFixation is AZ-22: a login gets a new secret, and the one before ends.
func TestFixation(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", goodPassword)
	b := w.browser()
	planted := strings.Repeat("A", 43)
	b.cookies[loginCookie] = planted
	b.try("bob@example.com", goodPassword)
	first := b.cookies[loginCookie]
	if first == planted || b.current() != "bob-uid" {
		t.Fatalf("cookie is %q", first)
	}
	b.federate("req1")
	second := b.cookies[loginCookie]
	if second == first || b.current() != "alice-uid" {
		t.Fatalf("cookie is %q", second)
	}
	b.cookies[loginCookie] = first
	if b.current() != "" {
		t.Error("the login before is still good")
	}
}

func TestLogout(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	b.federate("req1")
	secret := b.cookies[loginCookie]
	for _, csrf := range []string{"", "x", pages.CSRF(secret, "login"), pages.CSRF(strings.Repeat("A", 43), "logout")} {
		if answer := b.post("/logout", url.Values{"csrf": {csrf}}); answer.StatusCode != 403 || b.current() != "alice-uid" {
			t.Errorf("token %q: %d, %q is logged in", csrf, answer.StatusCode, b.current())
		}
	}
	answer := b.post("/logout", url.Values{"csrf": {pages.CSRF(secret, "logout")}})
	if text := answer.Body; answer.StatusCode != 200 || !strings.Contains(text, "You are logged out") || b.cookies[loginCookie] != "" {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
	if got := w.lastEvent(); got != "login.ended ok  alice-uid okta" {
		t.Error(got)
	}
	b.cookies[loginCookie] = secret
	if b.current() != "" {
		t.Error("the login is still good")
	}
	for range 2 { // again, with the old cookie and with none
		if answer := b.post("/logout", url.Values{"csrf": {pages.CSRF(secret, "logout")}}); answer.StatusCode != 200 {
			t.Errorf("again: %d", answer.StatusCode)
		}
	}
	if answer := b.get("/logout"); answer.StatusCode != 405 {
		t.Errorf("GET: %d", answer.StatusCode)
	}
}

// outage is a store that can be away.
type outage struct {
	store.OAuth
	away atomic.Bool
}

func (o *outage) err() error {
	if o.away.Load() {
		return fault.New(fault.Unavailable, store.ReasonUnavailable, "The database cannot be reached.")
	}
	return nil
}

func (o *outage) Password(ctx context.Context, uid string) (store.Password, error) {
	if err := o.err(); err != nil {
		return store.Password{}, err
	}
	return o.OAuth.Password(ctx, uid)
}

func (o *outage) Ticket(ctx context.Context, kind string, hash store.Hash) (store.Ticket, error) {
	if err := o.err(); err != nil {
		return store.Ticket{}, err
	}
	return o.OAuth.Ticket(ctx, kind, hash)
}

func (o *outage) Login(ctx context.Context, hash store.Hash) (store.Login, error) {
	if err := o.err(); err != nil {
		return store.Login{}, err
	}
	return o.OAuth.Login(ctx, hash)
}

func (o *outage) Update(ctx context.Context, fn func(context.Context, store.OAuthTx) error) error {
	if err := o.err(); err != nil {
		return err
	}
	return o.OAuth.Update(ctx, fn)
}

// TestStoreAway: a store that is away is a page 503, and neither a login nor the end of one.
func TestStoreAway(t *testing.T) {
	var o *outage
	w := newWorld(t, func(c *login.Config) {
		o = &outage{OAuth: c.Store}
		c.Store = o
	})
	w.setPassword("bob-uid", goodPassword)
	b := w.browser()
	f := b.form("req1")
	f.Set("email", "bob@example.com")
	f.Set("password", goodPassword)
	back := b.visit(b.away("req1"))
	ask := map[string]func() answer{
		"password": func() answer { return b.post("/login/password", f) },
		"choice":   func() answer { return b.post("/login/provider/okta", f) },
		"callback": func() answer { return b.get(back) },
	}
	o.away.Store(true)
	for name, fn := range ask {
		if answer := fn(); answer.StatusCode != 503 || len(b.set) != 0 {
			t.Errorf("%s: %d %v", name, answer.StatusCode, b.set)
		}
	}
	o.away.Store(false)
	if answer := ask["callback"](); answer.StatusCode != 303 || b.current() != "alice-uid" {
		t.Errorf("callback after the outage: %d", answer.StatusCode)
	}
	o.away.Store(true)
	csrf := pages.CSRF(b.cookies[loginCookie], "logout")
	if answer := b.post("/logout", url.Values{"csrf": {csrf}}); answer.StatusCode != 503 || b.cookies[loginCookie] == "" {
		t.Errorf("logout: %d", answer.StatusCode)
	}
	if answer := b.get("/login"); answer.StatusCode != 503 {
		t.Errorf("page: %d", answer.StatusCode)
	}
	o.away.Store(false)
	if b.current() != "alice-uid" {
		t.Error("alice was logged out")
	}
}

// TestOnlyHashesAreStored: the store has no secret of a login or a browser.
func TestOnlyHashesAreStored(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	b.federate("req1")
	if _, err := w.store.Login(t.Context(), sha256.Sum256([]byte(b.cookies[loginCookie]))); err != nil {
		t.Errorf("the login is not found by its hash: %v", err)
	}
	for _, e := range w.events() {
		for _, value := range b.cookies {
			if strings.Contains(e, value) {
				t.Errorf("an event has a cookie's value: %s", e)
			}
		}
	}
}

// TestForeignCookies: nothing but what this room made is looked up.
func TestForeignCookies(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	b.federate("req1")
	good := b.cookies[loginCookie]
	for _, value := range []string{"", "x", good[1:], good + "A", strings.Repeat("A", 43)} {
		b.cookies[loginCookie] = value
		if got := b.current(); got != "" {
			t.Errorf("%q is %s", value, got)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	for _, value := range []string{good, strings.Repeat("A", 43)} {
		r.Header.Add("Cookie", loginCookie+"="+value)
	}
	if l, err := w.login.Current(r); l != nil || err != nil {
		t.Errorf("two cookies: %v, %v", l, err)
	}
}

// TestAwait: a login that changed something waits for the change.
func TestAwait(t *testing.T) {
	var waited []uint64
	w := newWorld(t, func(c *login.Config) {
		c.Await = func(_ context.Context, revision uint64) error { waited = append(waited, revision); return nil }
	})
	w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) { c["groups"] = []string{"eng"} }})
	b := w.browser()
	if b.federate("req1"); b.current() != "alice-uid" || !cmp.Equal(waited, []uint64{7}) {
		t.Errorf("%q is logged in, waited for %v", b.current(), waited)
	}
}
