// SPDX-License-Identifier: Apache-2.0

package authorizetest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize"
	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// What the world is made of (auth.md, "Symbols").
const (
	Issuer    = "https://auth.example.com"
	ResourceA = "https://gw.example.com/v1/mcp/eng"
	ResourceB = "https://gw.example.com/v1/mcp/support"
	Challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B
	RequestID = "3f9c1a0b7e42"

	Callback = "https://c.example/cb" // of the clients "acme", "trusted" and "secret"
)

// World is an organisation: user u1 may use gateway A ("eng") only, u2 both, u3 is deactivated.
type World struct {
	T       testing.TB
	Store   store.OAuth
	Handler http.Handler
	Authz   *authorize.Handler
	View    *directory.View // nil: not there yet
	Clients *clients.Clients

	now       time.Time
	down      *Down
	document  *httptest.Server
	documents map[string]string // by path
}

// Settings change the world before it begins.
type Settings struct {
	Issuer, DefaultResource string
	Trusted                 []string   // client_ids
	Trust                   cimd.Trust // the zero value takes all documents
}

// New returns a world on an empty store.
func New(t testing.TB, st store.OAuth, s Settings) *World {
	t.Helper()
	w := &World{
		T: t, Store: st, View: view(), now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
		down: &Down{OAuth: st}, documents: make(map[string]string),
	}
	if s.Issuer == "" {
		s.Issuer = Issuer
	}
	if s.Trust.Mode == "" {
		s.Trust.Mode = cimd.Any
	}
	w.document = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		text, ok := w.documents[r.URL.Path]
		if !ok {
			http.NotFound(out, r)
			return
		}
		out.Header().Set("Content-Type", "application/json")
		out.Write([]byte(text))
	}))
	t.Cleanup(w.document.Close)
	w.Clients = w.clients(s)
	logins := Logins{Store: st, Issuer: s.Issuer}
	var err error
	w.Authz, err = authorize.New(authorize.Config{
		Issuer: s.Issuer, Store: w.down, View: func() *directory.View { return w.View }, Clients: w.Clients, Logins: logins,
		DefaultResource: s.DefaultResource, Now: w.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	decide, err := consent.New(consent.Config{
		Issuer: s.Issuer, Store: w.down, View: func() *directory.View { return w.View }, Clients: w.Clients, Logins: logins,
		CodeTTL: time.Minute, GrantTTL: 90 * 24 * time.Hour, Now: w.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(pages.Base(s.Issuer)+authorize.Path, w.Authz)
	mux.Handle(pages.Base(s.Issuer)+consent.Path, decide)
	w.Handler = mux
	return w
}

// Now is the time in the world.
func (w *World) Now() time.Time { return w.now }

// Wait lets time pass.
func (w *World) Wait(d time.Duration) { w.now = w.now.Add(d) }

// Break makes every change of the store fail, as a database that is away does, until the function it returns is called.
func (w *World) Break() (mend func()) {
	w.down.broken.Store(true)
	return func() { w.down.broken.Store(false) }
}

func (w *World) clients(s Settings) *clients.Clients {
	w.T.Helper()
	limiter, err := limit.New(limit.Config{Now: w.Now})
	if err != nil {
		w.T.Fatal(err)
	}
	rules, err := redirect.NewRules(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(w.document.Certificate())
	c, err := clients.New(clients.Config{
		View: func() *directory.View { return w.View }, Store: w.Store, Limiter: limiter, Issuer: s.Issuer, TokenEndpoint: s.Issuer + "/token",
		Redirects: rules, TrustedClients: s.Trusted, Trust: s.Trust, Egress: egress.Policy{AllowLoopback: true}, RootCAs: authorities,
		TTL: 30 * 24 * time.Hour, Now: w.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return c
}

// Document serves a client metadata document and returns its client_id. members go over the ones that a document has to have.
func (w *World) Document(path string, members map[string]any) string {
	w.T.Helper()
	id := w.document.URL + path
	all := map[string]any{
		"client_id": id, "client_name": "Claude", "redirect_uris": []string{"http://127.0.0.1/callback", "http://localhost/callback"},
		"grant_types": []string{"authorization_code", "refresh_token"},
	}
	for k, v := range members {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		w.T.Fatal(err)
	}
	w.documents[path] = string(text)
	return id
}

// Remove takes a document away.
func (w *World) Remove(path string) { delete(w.documents, path) }

// Register stores a client that registered itself. id begins with "dcr_".
func (w *World) Register(id string, members map[string]any) {
	w.T.Helper()
	all := map[string]any{
		"client_id": id, "client_name": "Cursor", "redirect_uris": []string{Callback}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
	for k, v := range members {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		w.T.Fatal(err)
	}
	err = w.Store.Update(w.T.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateClient(ctx, store.Client{
			ID: id, Metadata: text, Fingerprint: sha256.Sum256([]byte(id)), CreateTime: w.now, ExpireTime: w.now.Add(24 * time.Hour),
		})
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
}

func view() *directory.View {
	team := func(name string, members ...string) *compile.Team {
		t := &compile.Team{Name: name, UID: "t-" + name, Members: map[string]struct{}{}}
		for _, m := range members {
			t.Members[m] = struct{}{}
		}
		return t
	}
	gateway := func(uid, name, title, of string, scopes ...string) *directory.Gateway {
		return &directory.Gateway{UID: uid, Name: name, DisplayName: title, OAuth: true, Scopes: scopes, Visibility: compile.Visibility{Teams: []string{of}}}
	}
	user := func(uid, name, title string, off bool) *directory.User {
		return &directory.User{User: compile.User{UID: uid, Name: name, Deactivated: off}, DisplayName: title}
	}
	local := []string{Callback, "http://127.0.0.1/callback", "http://localhost/callback"}
	return directory.NewView(directory.Content{
		Origin: "https://gw.example.com",
		Users:  []*directory.User{user("u1", "ada@example.com", "Ada Lovelace", false), user("u2", "bob@example.com", "", false), user("u3", "eve@example.com", "", true)},
		Teams:  []*compile.Team{team("a", "ada@example.com", "bob@example.com", "eve@example.com"), team("b", "bob@example.com")},
		Gateways: []*directory.Gateway{
			gateway("gw-a", "eng", "Engineering", "a", "mcp", "mcp:write"), gateway("gw-b", "support", "", "b", "mcp"),
			{UID: "gw-c", Name: "static", OAuth: false, Scopes: []string{"mcp"}, Visibility: compile.Visibility{Organization: true}},
		},
		Clients: []*directory.Client{
			{UID: "c1", Name: "acme", DisplayName: "Acme", RedirectURIs: local, Method: directory.MethodNone},
			{UID: "c2", Name: "trusted", DisplayName: "House App", RedirectURIs: local, Method: directory.MethodNone, Trusted: true},
			{UID: "c3", Name: "secret", DisplayName: "Server", RedirectURIs: local, Method: directory.MethodClientSecret, SecretSHA256: [][32]byte{{1}}},
			{UID: "c4", Name: "off", RedirectURIs: local, Method: directory.MethodNone, Disabled: true},
			{UID: "c5", Name: "tls", RedirectURIs: []string{"https://127.0.0.1/callback"}, Method: directory.MethodNone},
			{UID: "c6", Name: "one", DisplayName: "One", RedirectURIs: []string{Callback}, Method: directory.MethodNone},
			{UID: "c7", Name: "robot", Method: directory.MethodClientSecret, RedirectURIs: []string{Callback}, SecretSHA256: [][32]byte{{1}}},
			{UID: "c8", Name: "cursor", DisplayName: "Cursor", RedirectURIs: []string{"cursor://anysphere.cursor-mcp/oauth/callback"}, Method: directory.MethodNone},
			{UID: "c9", Name: "query", DisplayName: "Query", RedirectURIs: []string{"https://c.example/cb?tenant=1"}, Method: directory.MethodNone},
		},
	})
}

// Down is a store that changes can be kept from.
type Down struct {
	store.OAuth

	broken atomic.Bool
}
