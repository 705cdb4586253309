// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const serverSecret = "canary-secret-of-the-server"

// world is the room on a real store and vault, with a provider whom Ada and Bob have logged in with.
type world struct {
	t      testing.TB
	idp    *provider
	mcp    *resourceServer
	logins *logins
	store  *sqlstore.Store
	vault  *vault.Vault
	x      *exchange.Exchanger
	log    *obstest.Log
	view   atomic.Pointer[directory.View]
	late   atomic.Int64 // added to the clock

	server   directory.Server // published by publish
	provider directory.Provider
	gone     []string // users who are not there
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, newProvider(t, "ada", "bob"))
}

// newWorldWith is a world with a provider that may have been in others before: making its key takes longer than everything else.
func newWorldWith(t testing.TB, p *provider) *world {
	t.Helper()
	p.reset(t)
	w := &world{t: t, idp: p, log: &obstest.Log{}}
	w.mcp = newResourceServer(t)
	w.logins = &logins{kept: make(map[string]tokens), wants: make(map[string]exchange.StepUp)}
	w.logins.renew = func(refresh string) (tokens, error) {
		return w.idp.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	}
	keyset := filepath.Join(t.TempDir(), "keys.json")
	w.must(envelope.CreateKeyFile(keyset))
	keys, err := envelope.OpenKeyFile(keyset)
	w.must(err)
	w.store, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.vault, err = vault.New(vault.Config{Secrets: w.store, KMS: keys, Log: log, Now: w.now})
	w.must(err)
	w.x, err = exchange.New(exchange.Config{
		View: w.view.Load, Subjects: w.logins, Vault: w.vault, Audit: w.store, Egress: egress.Policy{AllowLoopback: true}, Log: log, Now: w.now,
	})
	w.must(err)
	w.provider = directory.Provider{
		UID: "p1", Name: "example", Issuer: w.idp.issuer, ClientID: clientID, Kept: &directory.Kept{}, SecretVersion: w.put("p1", w.idp.secret),
	}
	w.server = directory.Server{UID: "s1", Name: "crm", URL: w.mcp.URL, Made: "m1", Exchange: &directory.Exchange{
		Provider: "example", Grant: directory.GrantTokenExchange, Subject: directory.SubjectAccessToken, Audience: "crm", Scopes: []string{"openid", "email"},
	}}
	w.publish()
	return w
}

// put keeps the secret of a client.
func (w *world) put(owner, secret string) string {
	w.t.Helper()
	version, err := w.vault.Put(w.t.Context(), owner, vault.Secret{ClientSecret: obs.Secret(secret)})
	w.must(err)
	return version
}

func (w *world) publish() {
	s, p := w.server, w.provider
	content := directory.Content{Servers: []*directory.Server{&s}, Providers: []*directory.Provider{&p}}
	for _, name := range []string{"ada", "bob"} {
		content.Users = append(content.Users, &directory.User{User: compile.User{
			UID: "uid-" + name, Name: name + "@example.com", Deactivated: slices.Contains(w.gone, name),
			Identities: []compile.Identity{{Issuer: w.idp.issuer, Subject: name}},
		}})
	}
	w.view.Store(directory.NewView(content))
}

// change changes how the server's credential is made, as an administrator does: under another version.
func (w *world) change(how func(x *directory.Exchange)) {
	x := *w.server.Exchange
	how(&x)
	w.server.Exchange, w.server.Made = &x, w.server.Made+"."
	w.publish()
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.late.Load())) }
func (w *world) pass(d time.Duration) { w.late.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// signIn has somebody log in, as the room that keeps tokens sees it.
func (w *world) signIn(who string) tokens {
	w.t.Helper()
	got := w.idp.signIn(who)
	w.logins.put("uid-"+who, got)
	return got
}

// resolve returns the header that a node gets.
func (w *world) resolve(who string, refused bool) (string, time.Time, error) {
	w.t.Helper()
	return w.resolveWith(who, "", refused)
}

func (w *world) resolveWith(who, presented string, refused bool) (string, time.Time, error) {
	w.t.Helper()
	by := ""
	if presented != "" {
		by = "example"
	}
	s, until, err := w.x.Resolve(w.t.Context(), w.view.Load().Server("crm"), "uid-"+who, obs.Secret(presented), by, refused)
	return s.Headers["Authorization"].Reveal(), until, err
}

// want resolves, and checks whose token it is.
func (w *world) want(who string, refused bool) string {
	w.t.Helper()
	header, _, err := w.resolve(who, refused)
	w.must(err)
	if whose := w.idp.whose(header); whose != who {
		w.t.Fatalf("%s gets a token of %q", who, whose)
	}
	return header
}

// refusedWith checks the fault of a resolution, whole.
func (w *world) refusedWith(err error, kind fault.Kind, reason, text string) {
	w.t.Helper()
	if f := fault.From(err); err == nil || f.Kind != kind || f.Reason != reason || f.Public != text {
		w.t.Errorf("got %v\nwant %s %s: %s", err, kind, reason, text)
	}
}

// events returns the audit events, as "actor action result reason target".
func (w *world) events() []string {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 1000)
	w.must(err)
	var list []string
	for _, r := range records {
		e := r.Event
		list = append(list, strings.Join([]string{e.Actor, e.Action, e.Result, e.Reason, e.Target}, " "))
	}
	return list
}

// checkSecrecy fails the test if the log or the audit has a token or a secret.
func (w *world) checkSecrecy(more ...string) {
	w.t.Helper()
	secrets := append([]string{w.idp.secret, serverSecret}, more...)
	w.logins.mu.Lock()
	secrets = append(secrets, w.logins.seen...)
	w.logins.mu.Unlock()
	for place, text := range map[string]string{"log": w.log.String(), "audit": strings.Join(w.events(), "\n")} {
		for _, s := range secrets {
			if s != "" && strings.Contains(text, s) {
				w.t.Errorf("the %s has %q", place, s)
			}
		}
	}
}

// logins keeps what logins left, in memory, and renews it at the provider. It counts what it is told.
type logins struct {
	renew func(refresh string) (tokens, error)

	mu      sync.Mutex // guards what follows
	kept    map[string]tokens
	dead    []string
	wants   map[string]exchange.StepUp
	seen    []string // every token there was
	renewed int
	refused int
}

var _ exchange.Subjects = (*logins)(nil)

func (l *logins) put(user string, t tokens) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[user] = t
	l.seen = append(l.seen, t.Access, t.ID, t.Refresh)
	delete(l.wants, user)
	l.dead = slices.DeleteFunc(l.dead, func(u string) bool { return u == user })
}

// Token implements exchange.Subjects.
func (l *logins) Token(_ context.Context, user string, _ *directory.Provider, kind directory.Subject) (exchange.Token, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, wanted := l.wants[user]; wanted || slices.Contains(l.dead, user) {
		return exchange.Token{}, fault.New(fault.Precondition, exchange.ReasonDead, "Log in anew.")
	}
	t, there := l.kept[user]
	value := map[directory.Subject]string{
		directory.SubjectAccessToken: t.Access, directory.SubjectIDToken: t.ID, directory.SubjectRefreshToken: t.Refresh,
	}[kind]
	if !there || value == "" {
		return exchange.Token{}, fault.New(fault.Precondition, "CREDENTIAL_MISSING", "Log in first.")
	}
	return exchange.Token{Value: obs.Secret(value)}, nil
}

// Refused implements exchange.Subjects.
func (l *logins) Refused(_ context.Context, user string, _ *directory.Provider, _ directory.Subject, _ obs.Secret) error {
	l.mu.Lock()
	l.refused++
	t, again := l.kept[user], l.renewed > 0
	l.mu.Unlock()
	got, err := l.renew(t.Refresh)
	l.mu.Lock()
	l.renewed++
	l.mu.Unlock()
	if err != nil || got.Error != "" || again {
		l.mu.Lock()
		l.dead = append(l.dead, user)
		l.mu.Unlock()
		return err
	}
	if got.ID == "" {
		got.ID = t.ID
	}
	l.put(user, got)
	return nil
}

// StepUp implements exchange.Subjects.
func (l *logins) StepUp(_ context.Context, user string, _ *directory.Provider, want exchange.StepUp) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wants[user] = want
	return nil
}

func (l *logins) wanted() map[string]exchange.StepUp {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.wants)
}

func (l *logins) counts() (refused, renewed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused, l.renewed
}

// resourceServer is the MCP server, as far as its metadata are concerned (RFC 9728).
type resourceServer struct {
	URL string

	mu       sync.Mutex // guards what follows
	servers  []string   // its authorization servers
	resource string     // empty: its URL
	asked    int
}

func newResourceServer(t testing.TB) *resourceServer {
	t.Helper()
	s := &resourceServer{servers: []string{"https://as.example"}}
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		if len(s.servers) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		resource := s.resource
		if resource == "" {
			resource = s.URL
		}
		reply(w, http.StatusOK, map[string]any{"resource": resource, "authorization_servers": s.servers})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/mcp"
	return s
}

func (s *resourceServer) set(servers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = servers
}
