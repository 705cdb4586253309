// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/clientsfake"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	issuer   = "https://auth.example.com"
	endpoint = issuer + "/api/auth/oauth2/token"
)

// kit is clients with a real store, limiter and web.
type kit struct {
	*clients.Clients
	web   *clientsfake.Web
	store *sqlstore.Store
	log   *bytes.Buffer
	ctx   context.Context //nolint:containedctx // that of the test's request

	mu  sync.Mutex
	now time.Time
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

var _ io.Writer = (*bytes.Buffer)(nil)

func newKit(t *testing.T, change ...func(*clients.Config)) *kit {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	k := &kit{
		web:   clientsfake.New(t, "client.example", "keys.example", "claude.ai", "chatgpt.com", "vscode.dev", "github.com", "goose-docs.ai", "opencode.ai", "zed.dev"),
		store: s, log: &bytes.Buffer{}, now: time.Now().UTC().Truncate(time.Microsecond),
		ctx: reqctx.With(t.Context(), reqctx.Info{ID: "3f9c1a0b7e42", IP: netip.MustParseAddr("192.0.2.7")}),
	}
	limiter, err := limit.New(limit.Config{Now: k.clock})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := redirect.NewRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := clients.Config{
		View: func() *directory.View { return view() }, Store: s, Limiter: limiter, Issuer: issuer, TokenEndpoint: endpoint, TokenEndpointAudience: true,
		Trust: cimd.Trust{Mode: cimd.Any}, Redirects: rules, Scopes: func() []string { return []string{"mcp", "read", "offline_access"} },
		Egress: k.web.Egress, RootCAs: k.web.RootCAs, TTL: 30 * 24 * time.Hour, Now: k.clock, Logger: slog.New(slog.NewJSONHandler(k.log, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	if k.Clients, err = clients.New(c); err != nil {
		t.Fatal(err)
	}
	return k
}

func view() *directory.View {
	return directory.NewView(directory.Content{Origin: "https://gw.example.com", Clients: []*directory.Client{
		{UID: "u-public", Name: "desktop", DisplayName: "Desktop", RedirectURIs: []string{"http://127.0.0.1/callback", "myapp:/cb", "javascript:x"}, Method: directory.MethodNone},
		{
			UID: "u-secret", Name: "backend", DisplayName: "Backend", RedirectURIs: []string{"https://c.example/cb", "http://localhost/cb"},
			Method: directory.MethodClientSecret, SecretSHA256: [][32]byte{sha256.Sum256([]byte("psc_new")), sha256.Sum256([]byte("psc_old"))}, Trusted: true,
		},
		{UID: "u-robot", Name: "robot", Method: directory.MethodClientSecret, SecretSHA256: [][32]byte{sha256.Sum256([]byte("psc_r"))}, Credentials: &directory.Credentials{Gateways: []string{"eng"}}},
		{UID: "u-off", Name: "gone", RedirectURIs: []string{"https://c.example/cb"}, Method: directory.MethodNone, Disabled: true},
	}})
}

// events returns the actions and reasons of the audit log.
func (k *kit) events(t *testing.T) []string {
	t.Helper()
	records, err := k.store.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range records {
		text := r.Event.Action
		if r.Event.Reason != "" {
			text += " " + r.Event.Reason
		}
		if r.Event.RequestID != "3f9c1a0b7e42" || r.Event.IP != "192.0.2.7" {
			t.Errorf("event %s tells nothing of its request: %+v", text, r.Event)
		}
		list = append(list, text)
	}
	return list
}

// refused checks the kind and reason of an error.
func refused(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if f := fault.From(err); err == nil || f.Kind != kind || f.Reason != reason {
		t.Fatalf("got %v, want %s %s", err, kind, reason)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRegisteredClients(t *testing.T) {
	k := newKit(t, func(c *clients.Config) { c.TrustedClients = []string{"desktop"} })
	got, err := k.Client(k.ctx, "desktop")
	if err != nil {
		t.Fatal(err)
	}
	want := &clients.Client{
		ID: "desktop", Origin: clients.Registered, Name: "Desktop", RedirectURIs: []string{"http://127.0.0.1/callback", "myapp:/cb"},
		Grants: []string{"authorization_code", "refresh_token"}, Method: directory.MethodNone, Trusted: true,
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(clients.Client{}), cmpopts.IgnoreFields(clients.Client{}, "Fingerprint")); d != "" {
		t.Errorf("want → got:\n%s", d)
	}
	backend, err := k.Client(k.ctx, "backend")
	if err != nil || !backend.Trusted || len(backend.SecretSHA256) != 2 || backend.Public() {
		t.Errorf("got %+v (%v)", backend, err)
	}
	robot, err := k.Client(k.ctx, "robot")
	if err != nil || !slices.Equal(robot.Grants, []string{"client_credentials"}) || robot.Trusted {
		t.Errorf("got %+v (%v)", robot, err)
	}
	for id, want := range map[string]struct {
		kind   fault.Kind
		reason string
	}{
		"gone": {fault.Denied, clients.ReasonRefused}, "nobody": {fault.NotFound, clients.ReasonUnknown}, "": {fault.NotFound, clients.ReasonUnknown},
		"http://client.example/c.json": {fault.NotFound, clients.ReasonUnknown}, "dcr_nobody": {fault.NotFound, clients.ReasonUnknown},
		"HTTPS://client.example/c.json": {fault.NotFound, clients.ReasonUnknown},
	} {
		_, err := k.Client(k.ctx, id)
		refused(t, err, want.kind, want.reason)
	}
	if n := k.web.Connections(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestNoDirectoryYet(t *testing.T) {
	k := newKit(t, func(c *clients.Config) { c.View = func() *directory.View { return nil } })
	_, err := k.Client(k.ctx, "desktop")
	refused(t, err, fault.Unavailable, clients.ReasonUnready)
}

// register stores a client as the registration endpoint does.
func (k *kit) register(t *testing.T, c store.Client) {
	t.Helper()
	err := k.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateClient(ctx, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDynamicClients(t *testing.T) {
	k := newKit(t)
	k.register(t, store.Client{
		ID: "dcr_A", Metadata: []byte(`{"client_name":"A","redirect_uris":["http://localhost/cb","oldapp://cb"],"token_endpoint_auth_method":"none","grant_types":["authorization_code"],"scope":"mcp"}`),
		CreateTime: k.clock(), ExpireTime: k.clock().Add(time.Hour),
	})
	got, err := k.Client(k.ctx, "dcr_A")
	if err != nil {
		t.Fatal(err)
	}
	want := &clients.Client{
		ID: "dcr_A", Origin: clients.Dynamic, Name: "A", RedirectURIs: []string{"http://localhost/cb"}, Grants: []string{"authorization_code"},
		Scopes: []string{"mcp"}, Method: directory.MethodNone,
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(clients.Client{}), cmpopts.IgnoreFields(clients.Client{}, "Fingerprint")); d != "" {
		t.Errorf("want → got:\n%s", d)
	}

	// REG-9: the end moves with the use, and is written once an hour at most.
	touch := func() (used, expires time.Time) {
		t.Helper()
		c, err := k.Client(k.ctx, "dcr_A")
		if err != nil {
			t.Fatal(err)
		}
		if err := k.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error { return k.Touch(ctx, tx, c) }); err != nil {
			t.Fatal(err)
		}
		row, err := k.store.Client(t.Context(), "dcr_A")
		if err != nil {
			t.Fatal(err)
		}
		return row.UseTime, row.ExpireTime
	}
	first := k.clock()
	if used, expires := touch(); !used.Equal(first) || !expires.Equal(first.Add(30*24*time.Hour)) {
		t.Errorf("used %s, expires %s", used, expires)
	}
	k.pass(59 * time.Minute)
	if used, _ := touch(); !used.Equal(first) {
		t.Errorf("written again after 59 minutes")
	}
	k.pass(time.Minute)
	if used, _ := touch(); !used.Equal(k.clock()) {
		t.Errorf("not written after an hour")
	}
	k.pass(30*24*time.Hour - time.Second)
	if _, err := k.Client(k.ctx, "dcr_A"); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	k.pass(time.Second)
	_, err = k.Client(k.ctx, "dcr_A")
	refused(t, err, fault.NotFound, clients.ReasonUnknown)
}

func TestTouchLeavesOthersAlone(t *testing.T) {
	k := newKit(t)
	c, err := k.Client(k.ctx, "desktop")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error { return k.Touch(ctx, tx, c) }); err != nil {
		t.Errorf("a client that has no row: %v", err)
	}
}

// auth.md §16, loopback matrix: the answer of authorize is a page with 400 where the redirect URI is not the client's.
func TestLoopbackMatrix(t *testing.T) {
	both := []string{"http://127.0.0.1/callback", "http://localhost/callback"}
	for _, tc := range []struct {
		row        string
		registered []string
		method     directory.ClientMethod
		requested  string
		want       bool
	}{
		{"28", both, directory.MethodNone, "http://localhost:51004/callback", true},
		{"29", both, directory.MethodNone, "http://[::1]:51004/callback", false},
		{"31", both, directory.MethodNone, "http://127.0.0.1:51004/other", false},
		{"31", both, directory.MethodNone, "http://127.0.0.1:51004/callback/", false},
		{"32", both, directory.MethodNone, "http://127.0.0.1:51004/callback?x=1", false},
		{"34", both, directory.MethodNone, "http://127.0.0.1:51004/callback#f", false},
		{"35", both, directory.MethodNone, "http://127.0.0.1:0/callback", false},
		{"35", both, directory.MethodNone, "http://127.0.0.1:70000/callback", false},
		{"35", both, directory.MethodNone, "http://127.0.0.1:-1/callback", false},
		{"37", []string{"https://127.0.0.1/callback"}, directory.MethodNone, "http://127.0.0.1:9/callback", false},
		{"40", both, directory.MethodClientSecret, "http://127.0.0.1:51004/callback", false},
		{"40", both, directory.MethodPrivateKeyJWT, "http://localhost:51004/callback", false},
		{"40, its own port", both, directory.MethodClientSecret, "http://localhost/callback", true},
	} {
		c := &clients.Client{RedirectURIs: tc.registered, Method: tc.method}
		if got := c.Redirect(tc.requested); got != tc.want {
			t.Errorf("row %s, %s: got %t", tc.row, tc.requested, got)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := clients.New(clients.Config{}); err == nil {
		t.Error("an empty configuration is taken")
	}
	if got := (&clients.Client{ID: "x"}).Title(); got != "x" {
		t.Errorf("got %q", got)
	}
}
