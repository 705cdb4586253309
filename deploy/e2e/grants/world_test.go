// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/penstockhq/penstock/authserver"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	adaName       = "ada@example.com"
	adaUID        = "uid-ada"
	serverUID     = "uid-tasks"
	connectionUID = "uid-ada-tasks"
	clientID      = "penstock"
	within        = 30 * time.Second
)

// provider is a real authorization server, zitadel's example, whose answers are remembered, and the MCP server that it protects.
type provider struct {
	issuer, mcp string
	storage     *storage.Storage
	secret      string // of Penstock as its client
	login       string // password of Ada there
	refreshes   atomic.Int32
	down        atomic.Bool
	mu          sync.Mutex // guards secrets
	secrets     []string   // tokens that it gave
	revoked     []string   // tokens that it was told to end
	exchanged   http.Handler
}

func newProvider(t *testing.T, redirect string) *provider {
	t.Helper()
	p := &provider{secret: rand.Text(), login: rand.Text()}
	users, err := json.Marshal(map[string]*storage.User{"ada": {ID: "ada", Username: "ada", Password: p.login, FirstName: "Ada", LastName: "L", Email: adaName}}) //nolint:gosec // of the test
	must(t, err)
	file := filepath.Join(t.TempDir(), "users.json")
	must(t, os.WriteFile(file, users, 0o600))
	store, err := storage.StoreFromFile(file)
	must(t, err)
	p.storage = storage.NewStorageWithClients(store, map[string]*storage.Client{clientID: storage.WebClient(clientID, p.secret, redirect)})
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.issuer = server.URL
	p.exchanged = exampleop.SetupServer(p.issuer, p.storage, nil, false)
	mcp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/oauth-protected-resource/mcp" {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"resource": p.mcp, "authorization_servers": []string{p.issuer}})
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(mcp.Close)
	p.mcp = mcp.URL + "/mcp"
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/revoke" {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		p.mu.Lock()
		p.revoked = append(p.revoked, form.Get("token"))
		p.mu.Unlock()
	}
	if r.URL.Path != "/oauth/token" {
		p.exchanged.ServeHTTP(w, r)
		return
	}
	if p.down.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if form, _ := url.ParseQuery(string(body)); form.Get("grant_type") == "refresh_token" {
		p.refreshes.Add(1)
	}
	rec := httptest.NewRecorder()
	p.exchanged.ServeHTTP(rec, r)
	var said map[string]any
	if json.Unmarshal(rec.Body.Bytes(), &said) == nil {
		p.mu.Lock()
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if s, _ := said[name].(string); s != "" {
				p.secrets = append(p.secrets, s)
			}
		}
		p.mu.Unlock()
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// takes reports whether an access token is good: the provider tells who it is of.
func (p *provider) takes(t *testing.T, authorization string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.issuer+"/userinfo", http.NoBody)
	must(t, err)
	r.Header.Set("Authorization", authorization)
	res, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode == http.StatusOK
}

// house is one database with as many authservers as are started on it.
type house struct {
	dir      string
	issuer   string
	listener net.Listener
	log      *obstest.Log
	password string // of Ada's at Penstock
	known    bool   // it was set

	controlPlane credentialv1connect.CredentialServiceClient // as the last authserver sees one
}

func newHouse(t *testing.T) *house {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return &house{dir: t.TempDir(), issuer: "http://" + l.Addr().String(), listener: l, log: new(obstest.Log), password: rand.Text()}
}

// start starts an authserver and returns it as a node sees it. The first one has the public listener.
func (h *house) start(t *testing.T, name string, p *plane) credentialv1connect.CredentialServiceClient {
	t.Helper()
	telemetry, stop, err := obs.Start(t.Context(), obs.Config{Service: "penstock-authserver", LogWriter: h.log, LogLevel: "debug"})
	must(t, err)
	c := authserver.Config{Version: "test", Telemetry: telemetry}
	c.Database = obs.Secret("sqlite://" + filepath.Join(h.dir, "authserver.db"))
	c.Vault = authserver.VaultSettings{Keyset: filepath.Join(h.dir, "keyset.json"), CreateKeyset: true}
	c.Issuer, c.Gateways.URL, c.Data.Dir = h.issuer, "https://gw.example.com", filepath.Join(h.dir, name)
	c.Login.LocalUsers, c.Egress.AllowLoopback = true, true
	c.PublicListener, h.listener = h.listener, nil
	c.ControlPlane.Endpoints, c.DialControlPlane = []string{"passthrough:///plane"}, p.serve(t)
	_, err = conf.Load(conf.Program{Name: "authserver"}, &c.OAuth) // the defaults
	must(t, err)
	c.Shutdown.Drain = time.Second
	s, err := authserver.New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
		must(t, stop(context.Background()))
	})
	h.controlPlane = credentialv1connect.NewCredentialServiceClient(s.Local(ident.RoleControlPlane), authserver.LocalURL)
	wait, done := context.WithTimeout(t.Context(), within)
	defer done()
	_, err = h.controlPlane.DeleteSecrets(wait, &credentialv1.DeleteSecretsRequest{ConnectionUid: "nothing"}) // it is there
	must(t, err)
	if !h.known { // once: a new password ends logins
		_, err = h.controlPlane.SetPassword(wait, &credentialv1.SetPasswordRequest{UserUid: adaUID, Password: h.password})
		must(t, err)
		h.known = true
	}
	return credentialv1connect.NewCredentialServiceClient(s.Local(ident.RoleNode), authserver.LocalURL)
}

// secretOf stores the secret of Penstock at the provider for what it belongs to (uid), as a control plane does, and returns its
// version. It needs an authserver, whose directory it is not in: so one is started for it.
func (h *house) secretOf(t *testing.T, owner, secret string) string {
	t.Helper()
	var version string
	t.Run("secret", func(t *testing.T) {
		l := h.listener
		h.listener = nil
		defer func() { h.listener = l }()
		telemetry, stop, err := obs.Start(t.Context(), obs.Config{Service: "penstock-authserver", LogWriter: h.log, LogLevel: "debug"})
		must(t, err)
		c := authserver.Config{Version: "test", Telemetry: telemetry}
		c.Database = obs.Secret("sqlite://" + filepath.Join(h.dir, "authserver.db"))
		c.Vault = authserver.VaultSettings{Keyset: filepath.Join(h.dir, "keyset.json"), CreateKeyset: true}
		c.Issuer, c.Gateways.URL, c.Data.Dir = h.issuer, "https://gw.example.com", filepath.Join(h.dir, "first")
		c.ControlPlane.Endpoints, c.DialControlPlane = []string{"passthrough:///plane"}, new(plane).serve(t)
		_, err = conf.Load(conf.Program{Name: "authserver"}, &c.OAuth)
		must(t, err)
		s, err := authserver.New(c)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		controlPlane := credentialv1connect.NewCredentialServiceClient(s.Local(ident.RoleControlPlane), authserver.LocalURL)
		r, err := controlPlane.PutSecret(t.Context(), &credentialv1.PutSecretRequest{
			ConnectionUid: owner, Secret: &credentialv1.StaticSecret{ClientSecret: secret},
		})
		must(t, err)
		version = r.GetVersion()
		cancel()
		must(t, <-ended)
		must(t, stop(context.Background()))
	})
	return version
}

// browser is Ada's. It follows redirects, and fills in the forms that it is shown.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{t, &http.Client{Jar: jar}}
}

func (b *browser) page(r *http.Request) string {
	b.t.Helper()
	res, err := b.client.Do(r)
	must(b.t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	must(b.t, err)
	return string(body)
}

func (b *browser) get(at string) string {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, at, http.NoBody)
	must(b.t, err)
	return b.page(r)
}

// post fills in the form of a page that has an action; values is pairs.
func (b *browser) post(base, page, action string, values ...string) string {
	b.t.Helper()
	form := url.Values{}
	for _, part := range strings.Split(page, "</form>") {
		if !strings.Contains(part, `action="`+action) {
			continue
		}
		for _, m := range regexp.MustCompile(`name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(part, -1) {
			form.Set(m[1], html.UnescapeString(m[2]))
		}
		for pair := range slices.Chunk(values, 2) {
			form.Set(pair[0], pair[1])
		}
		to := html.UnescapeString(regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(part)[1])
		r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, base+to, strings.NewReader(form.Encode()))
		must(b.t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return b.page(r)
	}
	b.t.Fatalf("no form with the action %s: %s", action, page)
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reasonOf returns the reason of an error of the credential service, empty without one.
func reasonOf(err error) string {
	answer, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ""
	}
	for _, d := range answer.Details() {
		if m, err := d.Value(); err == nil {
			if info, ok := m.(*errdetails.ErrorInfo); ok {
				return info.GetReason()
			}
		}
	}
	return answer.Error()
}
