// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/connect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// openLogin makes the rooms that people log in with at the identity provider, and that keep what it leaves.
func (w *world) openLogin(log *slog.Logger) {
	w.t.Helper()
	w.idp.Client = loginfake.Client{ID: "penstock", RedirectURI: issuer + "/login/callback/okta"}
	w.idp.Now = w.now
	view := func() *directory.View { return w.view }
	var err error
	w.keeper, err = subject.New(subject.Config{View: view, Vault: w.vault, Audit: w.store, Providers: w, Log: log, Now: w.now})
	w.must(err)
	w.login, err = login.New(login.Config{
		Issuer: issuer, Store: w.store, View: view, Directory: w, Secrets: w.vault, Destinations: w, HTTP: &http.Client{}, Subjects: w.keeper,
		Returned: func(rw http.ResponseWriter, r *http.Request, link, user string) {
			w.connect.Returned(rw, r, link, user)
		},
		LogOut:        func(context.Context, string, string, string, time.Time) error { return nil },
		LogOutSession: func(context.Context, string, string, string, time.Time) error { return nil }, Log: log, Now: w.now,
	})
	w.must(err)
}

// LoginUser implements login.Directory: everybody who may log in is known.
func (w *world) LoginUser(context.Context, directory.Account) (string, uint64, error) {
	return "", 0, fault.New(fault.Denied, directory.ReasonLoginNotAllowed, "No user has the account.")
}

// Describe and Onward implement login.Destinations, as the root does.
func (w *world) Describe(ctx context.Context, request string) (pages.Destination, error) {
	return w.connect.Describe(ctx, request)
}

func (w *world) Onward(request string) string { return connect.Onward(request) }

// Renew and Revoke implement subject.Providers, as the root does.
func (w *world) Renew(ctx context.Context, idp *directory.Provider, r federation.Refresh) (federation.Tokens, federation.Proof, error) {
	return w.login.Renew(ctx, idp, r)
}

func (w *world) Revoke(ctx context.Context, idp *directory.Provider, token obs.Secret) error {
	return w.login.Revoke(ctx, idp, token)
}

// linear makes a link of Ada's for linear.
func (w *world) linear() string {
	w.t.Helper()
	return w.linkOf(connect.Request{User: "u-ada", Server: "linear", Gateway: "eng", Asker: theNode()})
}

// held returns an error unless there is what calls of linear need of somebody's login.
func (w *world) held(user string) error {
	w.t.Helper()
	return w.keeper.Held(w.t.Context(), user, w.view.Provider("okta"), w.view.Server("linear"))
}

func (w *world) seen(name string) string {
	w.idp.Lock()
	defer w.idp.Unlock()
	return w.idp.Seen.Get(name)
}

// EL-4, EL-5, JW-13: a person logs in with the provider; what that leaves is kept, her connection is made without a secret, and the
// link is used up.
func TestIdentify(t *testing.T) {
	w := newWorld(t)
	b := w.browser("u-ada")
	path := w.linear()
	w.want("u-ada", http.MethodGet, path, nil, 200, "Penstock will act for you at <strong>Linear</strong> with your account of <strong>Okta</strong>.")
	back := b.away(path)
	if got := w.seen("scope"); got != "openid offline_access" || w.seen("prompt") != "" {
		t.Errorf("asked for %q, prompt %q", got, w.seen("prompt"))
	}
	rec := b.send(http.MethodGet, back, nil)
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), done) {
		t.Fatalf("callback: %d %s", rec.Code, rec.Body)
	}
	w.must(w.held("u-ada"))
	if got, ok := w.plane.of("u-ada/linear"); !ok || got.Version != "" || len(got.Names) > 0 {
		t.Errorf("the control plane has %+v, %v", got, ok)
	}
	w.want("u-ada", http.MethodGet, path, nil, 410, "The link is over")
	if rec := b.send(http.MethodGet, back, nil); rec.Code != 400 {
		t.Errorf("the answer counts twice: %d", rec.Code)
	}
	want := []string{
		"elicitation.created ok  spiffe://x/node/n  u-ada/linear", "login.ok ok  u-ada  okta", "idp_tokens.kept ok  u-ada  u-ada/okta",
		"elicitation.completed ok  u-ada  u-ada/linear", "login.failed refused state_unknown   okta",
	}
	if got := w.events(); !slices.Equal(got, want) {
		t.Errorf("events: %q", got)
	}
	w.idp.Lock()
	defer w.idp.Unlock()
	if len(w.idp.Mistakes) > 0 {
		t.Error(w.idp.Mistakes)
	}
	w.checkSecrecy(append([]string{strings.TrimPrefix(path, "/connect/")}, w.idp.Secrets...)...)
}

// EL-4, §16 149: somebody else comes back. Nothing of the other one counts, neither a login nor tokens, and the link stays good.
func TestIdentifySomebodyElse(t *testing.T) {
	w := newWorld(t)
	b := w.browser("u-ada")
	path := w.linear()
	back := b.away(path)
	w.idp.Lock()
	w.idp.Subject = "sub-2"
	w.idp.Unlock()
	rec := b.send(http.MethodGet, back, nil)
	if rec.Code != 403 || !strings.Contains(rec.Body.String(), "This link is not yours") {
		t.Errorf("callback: %d %s", rec.Code, rec.Body)
	}
	if len(b.cookies) > 0 {
		t.Errorf("the browser has %v", b.cookies)
	}
	for _, user := range []string{"u-ada", "u-bob"} {
		wantFault(t, w.held(user), fault.Precondition, "CREDENTIAL_MISSING")
	}
	if _, ok := w.plane.of("u-ada/linear"); ok {
		t.Error("there is a connection")
	}
	got := w.events()
	if last := got[len(got)-1]; last != "elicitation.user_mismatch refused user_mismatch u-bob  u-ada/linear" {
		t.Errorf("events: %q", got)
	}
	w.idp.Lock()
	w.idp.Subject = "sub-1"
	w.idp.Unlock()
	if rec := b.send(http.MethodGet, b.away(path), nil); rec.Code != 200 {
		t.Errorf("the link is spoilt: %d", rec.Code)
	}
}

// JAU-6, UP-7: the login is sent with what the provider wants, and counts only if the provider says that it asked.
func TestIdentifyStepUp(t *testing.T) {
	ago := func(w *world, d time.Duration) loginfake.Behavior {
		return loginfake.Behavior{Claims: func(c map[string]any) { c["auth_time"] = w.now().Add(-d).Unix() }}
	}
	for _, tc := range []struct {
		name   string
		want   subject.StepUp
		asked  map[string]string
		ago    time.Duration // since the provider asked who it is; negative: it does not say
		status int
	}{
		{"claims", subject.StepUp{Claims: `{"id_token":{}}`}, map[string]string{"claims": `{"id_token":{}}`}, -1, 200},
		{"acr_values", subject.StepUp{ACRValues: "phr phrh"}, map[string]string{"acr_values": "phr phrh"}, time.Hour, 200},
		{"max_age, just asked", subject.StepUp{MaxAge: 5 * time.Minute}, map[string]string{"max_age": "300"}, 0, 200},
		{"max_age, asked before", subject.StepUp{MaxAge: 5 * time.Minute}, map[string]string{"max_age": "300"}, 10 * time.Minute, 400},
		{"max_age, not said", subject.StepUp{MaxAge: 5 * time.Minute}, map[string]string{"max_age": "300"}, -1, 400},
		{"nothing in particular", subject.StepUp{}, map[string]string{"prompt": "login"}, 0, 200},
		{"nothing in particular, not asked", subject.StepUp{}, map[string]string{"prompt": "login"}, 10 * time.Minute, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser("u-ada")
			if rec := b.send(http.MethodGet, b.away(w.linear()), nil); rec.Code != 200 {
				t.Fatalf("first login: %d", rec.Code)
			}
			w.must(w.keeper.StepUp(t.Context(), "u-ada", w.view.Provider("okta"), tc.want))
			if tc.ago >= 0 {
				w.idp.Set(ago(w, tc.ago))
			}
			b = w.browser("u-ada")
			path := w.linear()
			back := b.away(path)
			for _, name := range []string{"claims", "acr_values", "max_age", "prompt"} {
				if got := w.seen(name); got != tc.asked[name] {
					t.Errorf("%s is %q, want %q", name, got, tc.asked[name])
				}
			}
			if rec := b.send(http.MethodGet, back, nil); rec.Code != tc.status {
				t.Errorf("callback: %d, want %d: %s", rec.Code, tc.status, rec.Body)
			}
			if tc.status == 200 {
				w.must(w.held("u-ada"))
				return
			}
			wantFault(t, w.held("u-ada"), fault.Precondition, "CREDENTIAL_DEAD")
			w.want("u-ada", http.MethodGet, path, nil, 200, "Connect Linear")
		})
	}
}

// OpenID Connect Core 1.0 §11: where a login gave no refresh token, the next one asks for consent.
func TestIdentifyConsent(t *testing.T) {
	w := newWorld(t)
	b := w.browser("u-ada")
	path := w.linear()
	w.idp.Set(loginfake.Behavior{NoRefresh: true})
	rec := b.send(http.MethodGet, b.away(path), nil)
	if rec.Code != 400 || !strings.Contains(rec.Body.String(), "Okta gave no refresh token") {
		t.Errorf("callback: %d %s", rec.Code, rec.Body)
	}
	w.idp.Set(loginfake.Behavior{})
	b = w.browser("u-ada")
	if rec := b.send(http.MethodGet, b.away(path), nil); rec.Code != 200 || w.seen("prompt") != "consent" {
		t.Errorf("again: %d, prompt %q", rec.Code, w.seen("prompt"))
	}
}

// Who may not install the server is content with a connection of others, where there is one.
func TestIdentifyWithoutConnection(t *testing.T) {
	denied := fault.New(fault.Denied, directory.ReasonConnectNotAllowed, "You may not connect it.")
	for _, tc := range []struct {
		name        string
		connections []*directory.Connection
		err         error
		status      int
	}{
		{"nobody has one", nil, denied, 403},
		{"somebody has her own", []*directory.Connection{{UID: "c2", Name: "bob-linear", Server: "linear", Owner: "bob@example.com"}}, denied, 403},
		{"the organisation has one", []*directory.Connection{{UID: "c2", Name: "all-linear", Server: "linear"}}, denied, 200},
		{"the control plane is away", []*directory.Connection{{UID: "c2", Name: "all-linear", Server: "linear"}}, fault.New(fault.Unavailable, directory.ReasonUnreachable, "Away."), 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.view = directory.NewView(directory.Content{
				Users:       []*directory.User{{User: compile.User{UID: "u-ada", Name: "ada@example.com", Identities: []compile.Identity{{Issuer: w.idp.Issuer, Subject: "sub-1"}}}}},
				Providers:   []*directory.Provider{w.view.Provider("okta")},
				Servers:     []*directory.Server{w.view.Server("linear")},
				Connections: tc.connections,
			})
			w.plane.fail = map[int]error{1: tc.err}
			b := w.browser("u-ada")
			path := w.linear()
			if rec := b.send(http.MethodGet, b.away(path), nil); rec.Code != tc.status {
				t.Errorf("callback: %d, want %d: %s", rec.Code, tc.status, rec.Body)
			}
			status := 200
			if tc.status == 200 {
				status = 410
			}
			w.want("u-ada", http.MethodGet, path, nil, status, "")
		})
	}
}

// What is changed while the person is away, or was never right, is a page and not a login.
func TestIdentifyRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(w *world, c *directory.Content)
		before bool // the person left
		status int
		text   string
	}{
		{"no such provider", func(_ *world, c *directory.Content) { c.Providers = nil }, false, 400, "is not there or is disabled"},
		{"the provider goes", func(_ *world, c *directory.Content) { c.Providers = nil }, true, 400, "There is no such identity provider"},
		{"its tokens are kept no more", func(_ *world, c *directory.Content) {
			p := *c.Providers[0]
			p.Kept = nil
			c.Providers = []*directory.Provider{&p}
		}, true, 400, "are not kept"},
		{"the server goes", func(_ *world, c *directory.Content) { c.Servers = nil }, true, 410, "The link is over"},
		{"the server's kind changes", func(_ *world, c *directory.Content) {
			c.Servers = []*directory.Server{{UID: "s5", Name: "linear", Headers: []string{"X"}}}
		}, true, 410, "The link is over"},
		{"the link is too old", func(w *world, _ *directory.Content) { w.pass(9*time.Minute + 30*time.Second) }, true, 410, "The link is over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser("u-ada")
			path := w.linear()
			c := directory.Content{
				Users:     []*directory.User{w.view.User("u-ada")},
				Providers: []*directory.Provider{w.view.Provider("okta")}, Servers: []*directory.Server{w.view.Server("linear")},
			}
			change := func() { tc.change(w, &c); w.view = directory.NewView(c) }
			if !tc.before {
				change()
				w.want("u-ada", http.MethodPost, path, b.filled(b.want("u-ada", http.MethodGet, path, nil, 200, "Connect")), tc.status, tc.text)
				return
			}
			if strings.Contains(tc.name, "too old") {
				w.pass(time.Minute) // the link is older than the journey
			}
			back := b.away(path)
			change()
			if rec := b.send(http.MethodGet, back, nil); rec.Code != tc.status || !strings.Contains(rec.Body.String(), tc.text) {
				t.Errorf("callback: %d %s, want %d %s", rec.Code, rec.Body, tc.status, tc.text)
			}
			if _, ok := w.plane.of("u-ada/linear"); ok {
				t.Error("there is a connection")
			}
		})
	}
}

// A form of another login, and another browser, get nowhere.
func TestIdentifyForeign(t *testing.T) {
	w := newWorld(t)
	b := w.browser("u-ada")
	path := w.linear()
	w.want("u-ada", http.MethodPost, path, map[string][]string{"csrf": {"x"}}, 403, "not from this login")
	back := b.away(path)
	if rec := w.browser("u-ada").send(http.MethodGet, back, nil); rec.Code != 400 {
		t.Errorf("another browser comes back: %d", rec.Code)
	}
	wantFault(t, w.held("u-ada"), fault.Precondition, "CREDENTIAL_MISSING")
	if rec := b.send(http.MethodGet, back, nil); rec.Code != 200 {
		t.Errorf("the right one: %d", rec.Code)
	}
}
