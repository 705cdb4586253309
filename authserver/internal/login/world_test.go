// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/login/password"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/router"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	issuer       = "https://auth.example.com"
	clientID     = "penstock app" // the space wants escaping in HTTP Basic
	clientSecret = "s3cret/+:%"
	goodPassword = "correct horse battery"
)

// world is a room on a real store and vault, with a provider and a control plane beside it.
type world struct {
	t       *testing.T
	store   *sqlstore.Store
	vault   *vault.Vault
	idp     *loginfake.Provider
	plane   *plane
	login   *login.Login
	handler http.Handler
	log     *obstest.Log
	late    atomic.Int64 // added to the clock

	loggedOut []string // user, provider, jti and end of each logout that a provider asked for
	logOut    error    // what comes of it
}

// newWorld makes a world with three users: alice has an account at the provider, bob and the deactivated carol have none.
func newWorld(t *testing.T, change func(*login.Config)) *world {
	t.Helper()
	w := &world{t: t, idp: loginfake.New(t), log: &obstest.Log{}}
	var err error
	if w.store, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	w.vault = newVault(t, w.store)
	version, err := w.vault.Put(t.Context(), "idp-uid", vault.Secret{ClientSecret: clientSecret})
	if err != nil {
		t.Fatal(err)
	}
	w.idp.Client = loginfake.Client{ID: clientID, Secret: clientSecret, Method: "client_secret_basic", RedirectURI: issuer + "/login/callback/okta"}
	w.plane = &plane{
		users: []*directory.User{
			user("alice-uid", "alice@example.com", compile.Identity{Issuer: w.idp.Issuer, Subject: "sub-1"}),
			user("bob-uid", "bob@example.com"),
			{User: compile.User{UID: "carol-uid", Name: "carol@example.com", Deactivated: true}},
		},
		provider: directory.Provider{
			UID: "idp-uid", Name: "okta", DisplayName: "Okta", Issuer: w.idp.Issuer, ClientID: clientID, SecretVersion: version,
			Scopes: []string{"email", "profile"}, GroupsClaim: "groups", MapsGroups: true,
		},
	}
	w.plane.publish()
	c := login.Config{
		Issuer: issuer, Store: w.store, View: w.plane.view.Load, Directory: w.plane, Secrets: w.vault, Destinations: destinations{},
		LogOut: func(_ context.Context, user, provider, jti string, end time.Time) error {
			w.loggedOut = append(w.loggedOut, strings.Join([]string{user, provider, jti, end.Format(time.RFC3339)}, " "))
			return w.logOut
		},
		LogOutSession: func(_ context.Context, provider, session, jti string, end time.Time) error {
			w.loggedOut = append(w.loggedOut, strings.Join([]string{"session " + session, provider, jti, end.Format(time.RFC3339)}, " "))
			return w.logOut
		},
		HTTP: &http.Client{}, LocalUsers: true, Hash: password.Params{Memory: 64, Passes: 1, Threads: 1},
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: w.now,
	}
	w.idp.Now = w.now
	if change != nil {
		change(&c)
	}
	if w.login, err = login.New(c); err != nil {
		t.Fatal(err)
	}
	w.handler = w.serve(c.Issuer)
	return w
}

func (w *world) serve(issuer string) http.Handler {
	w.t.Helper()
	many := limit.Rate{PerMinute: 1e6, Burst: 1e6}
	limiter, err := limit.New(limit.Config{Rates: map[string]limit.Rate{limit.Login: many}})
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := router.New(router.Config{
		Issuer: issuer, Limiter: limiter, Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider(),
		Routes: []router.Route{
			{Methods: "GET", Path: login.PagePath, Handler: http.HandlerFunc(w.login.Page), Page: true, Bucket: limit.Login},
			{Methods: "POST", Path: login.PasswordPath, Handler: http.HandlerFunc(w.login.Password), Page: true, Bucket: limit.Login},
			{Methods: "POST", Path: login.ProviderPath, Handler: http.HandlerFunc(w.login.Provider), Page: true, Bucket: limit.Login},
			{Methods: "GET", Path: login.CallbackPath, Handler: http.HandlerFunc(w.login.Callback), Page: true, Bucket: limit.Login},
			{Methods: "POST", Path: login.BackchannelPath, Handler: http.HandlerFunc(w.login.Backchannel)},
			{Methods: "POST", Path: login.LogoutPath, Handler: http.HandlerFunc(w.login.Logout), Page: true, Bucket: limit.Login},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func newVault(t *testing.T, s *sqlstore.Store) *vault.Vault {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := envelope.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	keys, err := envelope.OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.New(vault.Config{Secrets: s, KMS: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func user(uid, name string, identities ...compile.Identity) *directory.User {
	return &directory.User{User: compile.User{UID: uid, Name: name, Identities: identities}}
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.late.Load())) }
func (w *world) pass(d time.Duration) { w.late.Add(int64(d)) }

// events returns the audit events so far, as "action result reason actor target".
func (w *world) events() []string {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	for _, r := range records {
		e := r.Event
		if e.RequestID == "" && e.ActorType != "controlplane" || strings.Contains(string(r.JSON), "@example.com") {
			w.t.Errorf("event without a request, or with an address: %s", r.JSON)
		}
		list = append(list, strings.Join([]string{e.Action, e.Result, e.Reason, e.Actor, e.Target}, " "))
	}
	return list
}

func (w *world) lastEvent() string {
	w.t.Helper()
	list := w.events()
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// plane is a control plane with a view of its users that follows it.
type plane struct {
	view atomic.Pointer[directory.View]

	mu       sync.Mutex // guards what follows
	users    []*directory.User
	provider directory.Provider
	second   bool // there is a provider "entra" too, with the same server behind it
	asked    []directory.Account
	makes    bool  // makes users
	answer   error // in place of an answer
	behind   bool  // the view does not follow
}

func (p *plane) LoginUser(_ context.Context, a directory.Account) (string, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, a)
	if p.answer != nil {
		return "", 0, p.answer
	}
	at := compile.Identity{Issuer: p.provider.Issuer, Subject: a.Subject}
	for _, u := range p.users {
		for _, i := range u.Identities {
			if i == at {
				return u.UID, 7, nil
			}
		}
	}
	if !p.makes {
		return "", 0, fault.New(fault.Denied, directory.ReasonLoginNotAllowed, "No user has the account of "+a.Email+".")
	}
	p.users = append(p.users, user("new-uid", a.Email, at))
	if !p.behind {
		go p.publish() // somewhat later
	}
	return "new-uid", 8, nil
}

func (p *plane) publish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	users, provider := append([]*directory.User(nil), p.users...), p.provider
	providers := []*directory.Provider{&provider}
	if p.second {
		entra := provider
		entra.Name = "entra"
		providers = append(providers, &entra)
	}
	p.view.Store(directory.NewView(directory.Content{Users: users, Providers: providers}))
}

// change changes the control plane and its view.
func (p *plane) change(fn func(p *plane)) {
	p.mu.Lock()
	fn(p)
	p.mu.Unlock()
	p.publish()
}

func (p *plane) accounts() []directory.Account {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// destinations knows the requests "req1" and, to log in anew, "fresh"; the store is down for "down".
type destinations struct{}

func (destinations) Describe(_ context.Context, request string) (pages.Destination, error) {
	switch request {
	case "req1", "fresh":
		return pages.Destination{
			Client: "Inspector", RedirectHost: "client.example", Gateway: "Engineering", FormAction: "https://client.example", Fresh: request == "fresh",
		}, nil
	case "down":
		return pages.Destination{}, fault.New(fault.Unavailable, store.ReasonUnavailable, "The store is down.")
	}
	return pages.Destination{}, fault.New(fault.Invalid, "AUTHORIZATION_REQUEST_OVER", "The request is over.")
}

func (destinations) Onward(request string) string {
	return "/api/auth/oauth2/consent?" + url.Values{"request": {request}}.Encode()
}

// checkSecrecy fails the test if a log has what no log may have.
func (w *world) checkSecrecy(b *browser) {
	w.t.Helper()
	text := w.log.String()
	canaries := []string{"@example.com", clientSecret, goodPassword, "eyJ"}
	for _, value := range b.cookies {
		canaries = append(canaries, value)
	}
	for _, c := range canaries {
		if strings.Contains(text, c) {
			w.t.Errorf("the log has %q: %s", c, text)
		}
	}
}
