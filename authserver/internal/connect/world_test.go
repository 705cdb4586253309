// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/authserver/internal/connect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/router"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	issuer = "https://auth.example.com"
	canary = "canary-5d1c-never-in-clear"
)

// world is the room on a real store and vault, with a control plane beside it.
type world struct {
	t       *testing.T
	dir     string
	store   *sqlstore.Store
	vault   *vault.Vault
	plane   *plane
	fake    *upstreamfake.Fake
	idp     *loginfake.Provider
	keeper  *subject.Keeper
	login   *login.Login
	up      *upstream.Upstream
	connect *connect.Handler
	handler http.Handler
	log     *obstest.Log
	view    *directory.View
	late    atomic.Int64 // added to the clock
}

func newWorld(t *testing.T, more ...*directory.Server) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: &obstest.Log{}, fake: upstreamfake.New(t), idp: loginfake.New(t), plane: &plane{connections: map[string]directory.Installation{}}}
	var err error
	w.store, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(w.dir, "a.db"))
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	w.must(envelope.CreateKeyFile(keyFile))
	keys, err := envelope.OpenKeyFile(keyFile)
	w.must(err)
	w.vault, err = vault.New(vault.Config{Secrets: w.store, KMS: keys, Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	w.view = directory.NewView(directory.Content{
		Users: []*directory.User{
			{User: compile.User{UID: "u-ada", Name: "ada@example.com", Identities: []compile.Identity{{Issuer: w.idp.Issuer, Subject: "sub-1"}}}, DisplayName: "Ada Lovelace"},
			{User: compile.User{UID: "u-bob", Name: "bob@example.com", Identities: []compile.Identity{{Issuer: w.idp.Issuer, Subject: "sub-2"}}}},
			{User: compile.User{UID: "u-eve", Name: "eve@example.com", Deactivated: true}},
		},
		Gateways: []*directory.Gateway{{UID: "g1", Name: "eng", DisplayName: "Engineering"}},
		Servers: append([]*directory.Server{
			{UID: "s3", Name: "jira", DisplayName: "Jira", URL: w.fake.MCP, OAuth: &directory.OAuth{}},
			{UID: "s4", Name: "other", URL: w.fake.MCP, OAuth: &directory.OAuth{}},
			{UID: "s1", Name: "github", DisplayName: "GitHub", URL: "https://mcp.github.example/mcp", Headers: []string{"Authorization", "X-Org"}},
			{UID: "s2", Name: "plain", URL: "https://plain.example/mcp"},
			{UID: "s5", Name: "linear", DisplayName: "Linear", URL: "https://mcp.linear.example/mcp", Made: "m_1", ProviderGive: &directory.ProviderGive{
				Provider: "okta", Audience: "linear",
			}},
		}, more...),
		Providers: []*directory.Provider{{
			UID: "idp-1", Name: "okta", DisplayName: "Okta", Issuer: w.idp.Issuer, ClientID: "penstock", Kept: &directory.Kept{Scopes: []string{"offline_access"}},
		}},
		Connections: []*directory.Connection{{UID: "c-u-ada/jira", Name: "ada-jira", Server: "jira", Owner: "ada@example.com"}},
	})
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.up, err = upstream.New(upstream.Config{
		Issuer: issuer, View: func() *directory.View { return w.view }, Vault: w.vault, Audit: w.store, Egress: egress.Policy{AllowLoopback: true}, Log: log,
	})
	w.must(err)
	w.openLogin(log)
	w.connect, err = connect.New(connect.Config{
		Issuer: issuer, Store: w.store, View: func() *directory.View { return w.view }, Logins: logins{w.login}, Installer: w.plane, Vault: w.vault,
		Upstream: w.up, Subjects: w.keeper, Log: log, Now: w.now,
	})
	w.must(err)
	limiter, err := limit.New(limit.Config{})
	w.must(err)
	w.handler, err = router.New(router.Config{
		Issuer: issuer, Limiter: limiter, Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider(),
		Routes: []router.Route{
			{Methods: "GET, POST", Path: connect.Path, Handler: w.connect, Page: true, MaxBody: 1 << 20},
			{Methods: "GET", Path: upstream.CallbackPath, Handler: http.HandlerFunc(w.connect.Callback), Page: true},
			{Methods: "GET", Path: login.CallbackPath, Handler: http.HandlerFunc(w.login.Callback), Page: true},
		},
	})
	w.must(err)
	return w
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.late.Load())) }
func (w *world) pass(d time.Duration) { w.late.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// logins takes the cookie for a uid and a secret; the rest is the room's.
type logins struct{ *login.Login }

func (logins) Current(r *http.Request) (*store.Login, error) {
	user, _, ok := strings.Cut(pages.CookieValue(r, issuer, pages.LoginCookie), "/")
	if !ok {
		return nil, nil
	}
	return &store.Login{User: user, Hash: sha256.Sum256([]byte(user))}, nil
}

// plane is a control plane that keeps connections by user and server.
type plane struct {
	mu          sync.Mutex // guards what follows
	connections map[string]directory.Installation
	calls       int
	fail        map[int]error // by number of the call, from 1
}

func (p *plane) ConnectServer(_ context.Context, i directory.Installation) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if err := p.fail[p.calls]; err != nil {
		return "", err
	}
	key := i.User + "/" + i.Server
	if had, ok := p.connections[key]; !ok || i.Version != "" {
		if had.Version == i.Version && ok {
			return "", fmt.Errorf("the version %s twice", i.Version)
		}
		p.connections[key] = i
	}
	return "c-" + key, nil
}

func (p *plane) of(key string) (directory.Installation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.connections[key]
	return i, ok
}

// theNode is who asks for links.
func theNode() ident.Workload {
	return ident.Workload{TrustDomain: "x", Role: ident.RoleNode, Name: "n"}
}

// link makes a link of Ada's for github and returns its path.
func (w *world) link() string {
	w.t.Helper()
	return w.linkOf(connect.Request{User: "u-ada", Server: "github", Client: "https://claude.ai/c.json", Gateway: "eng", Asker: theNode()})
}

func (w *world) linkOf(r connect.Request) string {
	w.t.Helper()
	link, expires, err := w.connect.Create(w.t.Context(), r)
	w.must(err)
	path, ok := strings.CutPrefix(link, issuer)
	if !ok || !regexp.MustCompile(`^/connect/[A-Za-z0-9_-]{22}$`).MatchString(path) || expires.Sub(w.now()).Round(time.Minute) != 10*time.Minute {
		w.t.Fatalf("the link is %s until %s", link, expires)
	}
	return path
}

// send sends a request of somebody's browser, and returns status, body and Location.
func (w *world) send(user, method, path string, form url.Values) (status int, body, location string) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user != "" {
		r.AddCookie(cookie(pages.CookieName(issuer, pages.LoginCookie), user+"/secret"))
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String(), rec.Header().Get("Location")
}

func (w *world) want(user, method, path string, form url.Values, status int, text string) string {
	w.t.Helper()
	got, body, _ := w.send(user, method, path, form)
	if got != status || !strings.Contains(body, text) {
		w.t.Fatalf("%s %s by %s: %d, want %d with %q: %s", method, path, user, got, status, text, body)
	}
	return body
}

// filled is the form of a page with values.
func (w *world) filled(body string, values ...string) url.Values {
	w.t.Helper()
	m := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(body)
	if m == nil {
		w.t.Fatalf("no form: %s", body)
	}
	f := url.Values{"csrf": {html.UnescapeString(m[1])}}
	for i, v := range values {
		f.Set(fmt.Sprint("header", i), v)
	}
	return f
}

// events returns the audit events, as "action result reason actor client target".
func (w *world) events() []string {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 1000)
	w.must(err)
	var list []string
	for _, r := range records {
		e := r.Event
		list = append(list, strings.Join([]string{e.Action, e.Result, e.Reason, e.Actor, e.Client, e.Target}, " "))
	}
	return list
}

// checkSecrecy fails the test if the log, the audit or the database has what nothing may have.
func (w *world) checkSecrecy(secrets ...string) {
	w.t.Helper()
	places := map[string]string{"log": w.log.String(), "audit": strings.Join(w.events(), "\n")}
	files, err := filepath.Glob(filepath.Join(w.dir, "a.db*"))
	w.must(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		w.must(err)
		places[filepath.Base(f)] = string(b)
	}
	for place, text := range places {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				w.t.Errorf("%s has %q", place, s)
			}
		}
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if f := fault.From(err); err == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("got %v, want %s %s", err, kind, reason)
	}
}
