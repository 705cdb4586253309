// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
	"github.com/penstockhq/penstock/sdk/node"
)

// town is an authserver whose directory is there, as it runs, but for the stream that the directory comes by: the test applies
// a state in its place. It remembers every secret that crosses the wire.
type town struct {
	t      *testing.T
	dir    string
	issuer string
	a      *authorization
	db     *sqlstore.Store
	vault  *vault.Vault
	log    *obstest.Log
	spans  *tracetest.InMemoryExporter
	meters http.Handler
	inside string // URL of what nodes and control planes reach
	client *http.Client

	configure func(*Config) // changes its settings; nil: does not

	secrets map[string]string // what it is, by value
}

// newTown returns a town whose directory is that of people, changed.
func newTown(t *testing.T, change ...func(state)) *town {
	t.Helper()
	return newTownWith(t, nil, change...)
}

// newTownWith returns a town with other settings.
func newTownWith(t *testing.T, configure func(*Config), change ...func(state)) *town {
	t.Helper()
	w := &town{t: t, configure: configure, dir: t.TempDir(), log: new(obstest.Log), spans: tracetest.NewInMemoryExporter(), secrets: make(map[string]string)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.issuer = "http://" + l.Addr().String()
	s := w.server()
	w.db, err = sqlstore.Open(t.Context(), s.c.Database.Reveal())
	w.must(err)
	t.Cleanup(func() { w.must(w.db.Close()) })
	v, err := s.openVault(t.Context(), w.db)
	w.must(err)
	w.vault = v
	follows := &link{c: s.c, follower: directory.NewFollower(s.c.Gateways.URL), bans: directory.NewBans()}
	all := people()
	for _, f := range change {
		f(all)
	}
	if rejects := follows.follower.Apply(t.Context(), all, nil, false); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	w.a, err = s.openAuthorization(w.db, v, follows)
	w.must(err)
	w.must(w.a.keys.Start(t.Context()))
	public, err := s.publicServer(w.a)
	w.must(err)
	api, err := credentialapi.New(credentialapi.Config{
		Vault: endingVault{v, w.a.upstream}, Credentials: resolver{view: follows.follower.View, upstream: w.a.upstream, subjects: w.a.subjects, exchanger: w.a.exchanger}, Passwords: w.a, Issuer: w.a, Directory: follows.release(w.db), Links: w.a,
		Log: s.c.Telemetry.Log, Tracer: s.c.Telemetry.Tracer, Meter: s.c.Telemetry.Meter, Propagator: s.c.Telemetry.Propagator,
	})
	w.must(err)
	in := &inside{api: api, grants: w.a.grants, view: follows.follower.View, bans: follows.bans, log: s.c.Telemetry.Log}
	handler, err := in.handler(func(r *http.Request) (ident.Workload, error) { // the role in place of a certificate
		return ident.Workload{Role: ident.Role(r.Header.Get("Test-Role")), Name: "n", Region: r.Header.Get("Test-Region")}, nil
	})
	w.must(err)
	behind := httptest.NewServer(handler)
	t.Cleanup(behind.Close)
	w.inside = behind.URL
	ended := make(chan error, 1)
	go func() { ended <- public.Serve(l) }()
	w.browser()
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		w.must(public.Close())
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return w
}

// server makes a server with its telemetry, which does not run.
func (w *town) server() *Server {
	w.t.Helper()
	telemetry, stop, err := obs.Start(w.t.Context(), obs.Config{Service: "penstock-authserver", LogWriter: w.log, LogLevel: "debug"})
	w.must(err)
	w.t.Cleanup(func() { w.must(stop(context.Background())) })
	tracer := trace.NewTracerProvider(trace.WithSyncer(w.spans))
	telemetry.Tracer, w.meters = tracer, telemetry.Metrics
	c := Config{Version: "test", Telemetry: telemetry, DialControlPlane: func(ctx context.Context) ([]grpc.DialOption, error) { return nil, ctx.Err() }}
	c.Database = obs.Secret("sqlite://" + filepath.Join(w.dir, "authserver.db"))
	c.Vault = VaultSettings{Keyset: filepath.Join(w.dir, "keyset.json"), CreateKeyset: true}
	c.Issuer, c.Gateways.URL, c.Data.Dir = w.issuer, "https://gw.example.com", filepath.Join(w.dir, "data")
	c.ControlPlane.Endpoints, c.Login.LocalUsers = []string{"127.0.0.1:1"}, true
	_, err = conf.Load(conf.Program{Name: "authserver"}, &c.OAuth) // the defaults
	w.must(err)
	c.OAuth.ConfidentialDCR, c.OAuth.RefreshGrace = true, 0
	c.OAuth.CIMD, c.OAuth.CIMDAllow = "allow_listed", []string{"vscode.dev"}
	if w.configure != nil {
		w.configure(&c)
	}
	s, err := New(c)
	w.must(err)
	return s
}

// state is a node.State that does not change: Ada may use the gateway eng and not support.
type state map[node.Key]*distributionv1.Resource

func people() state {
	s := make(state)
	put := func(r *distributionv1.Resource) { s[node.Key{Kind: r.GetKind(), Name: r.GetName()}] = r }
	put(&distributionv1.Resource{Kind: "user", Name: "ada@example.com", Body: &distributionv1.Resource_User{
		User: &resourcev1.User{Name: "ada@example.com", Uid: "uid-ada", DisplayName: "Ada Lovelace"},
	}})
	for name, member := range map[string]string{"eng": "ada@example.com", "support": "bob@example.com"} {
		put(&distributionv1.Resource{Kind: "team", Name: name, Body: &distributionv1.Resource_Team{
			Team: &resourcev1.Team{Name: name, Uid: "uid-team-" + name, Members: []*resourcev1.TeamMember{{User: member}}},
		}})
		put(&distributionv1.Resource{Kind: "gateway", Name: name, Body: &distributionv1.Resource_Gateway{Gateway: &resourcev1.Gateway{
			Name: name, Uid: "uid-" + name, Authentication: &resourcev1.Authentication{Oauth: &resourcev1.OAuthAuthentication{}},
			Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: []string{name}}}},
		}}})
	}
	return s
}

func (s state) Get(kind, name string) *distributionv1.Resource {
	return s[node.Key{Kind: kind, Name: name}]
}

func (s state) Range(kind string, fn func(*distributionv1.Resource) bool) {
	for k, r := range s {
		if k.Kind == kind && !fn(r) {
			return
		}
	}
}

func (s state) Names(kind string, fn func(string) bool) {
	s.Range(kind, func(r *distributionv1.Resource) bool { return fn(r.GetName()) })
}

func (s state) Blob([sha256.Size]byte) *node.Body { return nil }
func (s state) Epoch() string                     { return "e" }
func (s state) Revision() uint64                  { return 1 }

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// json returns a text member of a JSON body, and remembers it as a secret if what is not empty.
func (r reply) member(w *town, name, what string) string {
	w.t.Helper()
	var all map[string]any
	w.must(json.Unmarshal([]byte(r.body), &all))
	value, _ := all[name].(string)
	if what != "" {
		w.secret(what, value)
	}
	return value
}

// query is that of the address it leads to.
func (r reply) query(w *town) url.Values {
	w.t.Helper()
	u, err := url.Parse(r.header.Get("Location"))
	w.must(err)
	return u.Query()
}

var hidden = regexp.MustCompile(`name="(csrf|request|seen|client|gateway)" value="([^"]*)"`)

// form returns the hidden fields of the form of a page that has a text in it, and remembers the tokens among them.
func (r reply) form(w *town, with string) url.Values {
	w.t.Helper()
	for _, part := range strings.Split(r.body, "</form>") {
		v := url.Values{}
		for _, m := range hidden.FindAllStringSubmatch(part, -1) {
			v.Set(m[1], html.UnescapeString(m[2]))
		}
		if v.Has("csrf") && strings.Contains(part, with) {
			w.secret("CSRF token", v.Get("csrf"))
			return v
		}
	}
	w.t.Fatalf("no form with %q: %d %s", with, r.status, r.body)
	return nil
}

// browser forgets all cookies.
func (w *town) browser() {
	jar, err := cookiejar.New(nil)
	w.must(err)
	w.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get and post go to a path of the issuer; header is pairs.
func (w *town) get(path string) reply {
	w.t.Helper()
	return w.send(http.MethodGet, w.issuer+path, "")
}

func (w *town) post(path string, form url.Values, header ...string) reply {
	w.t.Helper()
	return w.send(http.MethodPost, w.issuer+path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func (w *town) send(method, target, body string, header ...string) reply {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	w.must(err)
	r.Header.Set("User-Agent", "Conversation/1")
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	res, err := w.client.Do(r)
	w.must(err)
	defer func() { w.must(res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	w.must(err)
	for _, c := range res.Cookies() {
		w.secret("cookie "+c.Name, c.Value)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

// asRole posts to what nodes and control planes reach.
func (w *town) asRole(role ident.Role, path, contentType, body string) reply {
	w.t.Helper()
	return w.send(http.MethodPost, w.inside+path, body, "Content-Type", contentType, "Test-Role", string(role))
}

func (w *town) secret(what, value string) {
	w.t.Helper()
	if len(value) < 12 {
		if value != "" {
			w.t.Fatalf("%s %q is too short to be looked for", what, value)
		}
		return // a cookie that is removed
	}
	w.secrets[value] = what
}

func (w *town) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
